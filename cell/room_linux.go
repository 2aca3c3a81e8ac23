package cell

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// room is the directory of a cell without namespaces. Its lock is held by the nursery and the warden: whoever can take it
// knows that both are gone, and that what is left may be cleared.
type room struct {
	path string
	lock *os.File
}

const (
	roomPrefix = "cell-"
	lockName   = "lock"
	// moveIn is how long a room may have no lock because it is just being made.
	moveIn = time.Minute
)

func (r *room) home() string { return filepath.Join(r.path, "home") }
func (r *room) temp() string { return filepath.Join(r.path, "tmp") }

// newRoom makes a directory for a cell.
func (n *Nursery) newRoom() (*room, error) {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: make the directory for cells: %w", ErrStart, err)
	}
	path, err := os.MkdirTemp(n.dir, roomPrefix)
	if err != nil {
		return nil, fmt.Errorf("%w: make the cell's directory: %w", ErrStart, err)
	}
	r := &room{path: path}
	if r.lock, err = os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		err = unix.Flock(int(r.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err = errors.Join(err, os.Mkdir(r.home(), 0o700), os.Mkdir(r.temp(), 0o700)); err != nil {
		r.remove()
		return nil, fmt.Errorf("%w: make the cell's directory: %w", ErrStart, err)
	}
	return r, nil
}

// remove clears the directory. A nil room has none.
func (r *room) remove() {
	if r == nil {
		return
	}
	_ = os.RemoveAll(r.path) // what cannot be removed now, the next nursery tries again
	if r.lock != nil {
		r.lock.Close()
	}
}

// occupy writes down the command's process, for whoever finds the room after a crash.
func occupy(lock io.Writer, command int) {
	if s, ok := readStat(command); ok {
		fmt.Fprintf(lock, "%d %s\n", command, s.start)
	}
}

// clearRemains removes the rooms of cells whose nursery and warden are gone, and ends what still runs of them.
func (n *Nursery) clearRemains() error {
	entries, err := os.ReadDir(n.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cell: look for what an earlier process left: %w", err)
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), roomPrefix) {
			continue
		}
		path := filepath.Join(n.dir, entry.Name())
		if cleared, err := clearRoom(path); err != nil {
			n.logger.Warn("cell left by an earlier process not cleared", "path", path, "error", err)
		} else if cleared {
			n.logger.Info("cell left by an earlier process cleared", "path", path)
		}
	}
	return nil
}

func clearRoom(path string) (bool, error) {
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(path); err != nil || time.Since(info.ModTime()) < moveIn {
			return false, nil //nolint:nilerr // it is gone, or its nursery is about to lock it
		}
		return true, os.RemoveAll(path)
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, nil //nolint:nilerr // the lock is held: someone lives there
	}
	var pid int
	var start string
	if _, err := fmt.Fscan(lock, &pid, &start); err == nil {
		// The number alone may be another process's by now.
		if s, ok := readStat(pid); ok && s.start == start {
			killGroup(pid)
		}
	}
	return true, os.RemoveAll(path)
}

// killGroup kills the process group that a command leads.
func killGroup(command int) {
	if command > 1 {
		_ = unix.Kill(-command, unix.SIGKILL) // it may be gone
	}
}

package cell

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	if err := n.ownDir(); err != nil {
		return nil, err
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

// ownDir refuses a directory that somebody else may have prepared, as anyone can below /tmp.
func (n *Nursery) ownDir() error {
	var info unix.Stat_t
	if err := unix.Lstat(n.dir, &info); err != nil {
		return fmt.Errorf("%w: look at %s: %w", ErrStart, n.dir, err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFDIR || int(info.Uid) != os.Geteuid() || info.Mode&0o022 != 0 {
		return fmt.Errorf("%w: %s must be a directory of this user's that nobody else may write to; remove it, or name another", ErrStart, n.dir)
	}
	return nil
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

// clearRemains removes the rooms of cells whose nursery and warden are gone, and ends what still runs of them.
func (n *Nursery) clearRemains() error {
	entries, err := os.ReadDir(n.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cell: look for what an earlier process left: %w", err)
	}
	if err := n.ownDir(); err != nil {
		return err
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
			return false, nil // it is gone, or its nursery is about to lock it
		}
		return true, os.RemoveAll(path)
	}
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, nil // someone lives there
	}
	(&room{path: path}).evict()
	return true, os.RemoveAll(path)
}

// evict ends what still runs of a room whose warden is gone: the processes that have it for their HOME. A process is held by
// its descriptor from before it is looked at until it is killed, so that no other can have taken its number.
func (r *room) evict() {
	mark := []byte("HOME=" + r.home())
	for found := true; found; {
		found = false
		for _, pid := range processes() {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue // it has ended
			}
			environment, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
			if err == nil && slices.ContainsFunc(bytes.Split(environment, []byte{0}), func(v []byte) bool { return bytes.Equal(v, mark) }) {
				found = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil || found
			}
			shut(fd)
		}
	}
}

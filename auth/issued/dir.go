package issued

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The files of the directory, beside the keys.
const (
	listFile     = "revoked.jws"
	registerFile = "issued.jsonl"
	lockName     = ".lock"
)

const (
	othersWrite = 0o022
	lockWait    = 5 * time.Second // how long another process may hold the lock; it takes milliseconds
	lockPoll    = 5 * time.Millisecond
)

// directory is the path of where everything is. Every file but the register is only ever replaced as a whole.
type directory string

func (d directory) path(name string) string { return filepath.Join(string(d), name) }

// check refuses what is no directory, and one in which others could put a key of theirs. One that is not there is
// [fs.ErrNotExist].
func (d directory) check() error {
	info, err := os.Stat(string(d))
	switch {
	case err != nil:
		return fmt.Errorf("look at the directory of tokens: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory: name another one, or move the file away", d)
	case info.Mode().Perm()&othersWrite != 0:
		return fmt.Errorf("%s has mode %#o, and others could put a key of theirs there: run: chmod go-rwx %s", d, info.Mode().Perm(), d)
	}
	return nil
}

// mend says what to do about a list that cannot be used.
func (d directory) mend() string {
	return fmt.Sprintf("restore it; or, if it is lost, move %s away, which ends all tokens", d)
}

// make makes the directory if it is not there, and says whose it is.
func (d directory) make() (owner, error) {
	parent := filepath.Dir(string(d))
	above, err := os.Stat(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return owner{}, fmt.Errorf("%s does not exist: make it with: install -d -m 700 %s", parent, parent)
	}
	if err != nil {
		return owner{}, fmt.Errorf("make the directory of tokens: %w", err)
	}
	switch err := os.Mkdir(string(d), 0o700); {
	case err == nil:
		o := ownerOf(above)
		return o, o.give(func(uid, gid int) error { return os.Lchown(string(d), uid, gid) })
	case !errors.Is(err, fs.ErrExist):
		return owner{}, fmt.Errorf("make the directory of tokens: %w: run it as the user that the gateway runs as", err)
	}
	if err := d.check(); err != nil {
		return owner{}, err
	}
	info, err := os.Stat(string(d))
	if err != nil {
		return owner{}, err
	}
	return ownerOf(info), nil
}

// lock waits until no other process writes.
func (d directory) lock(o owner) (unlock func(), err error) {
	path := d.path(lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w: run it as the user that the gateway runs as", d, err)
	}
	if err := o.give(file.Chown); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock %s: %w", d, err)
	}
	deadline := time.Now().Add(lockWait)
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { file.Close() }, nil // which unlocks it
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			file.Close()
			return nil, fmt.Errorf("lock %s: %w: use a file system with locks", d, err)
		case time.Now().After(deadline):
			file.Close()
			return nil, fmt.Errorf("lock %s: another process holds %s: see which one hangs", d, lockName)
		}
		<-time.After(lockPoll)
	}
}

// read gives a file of at most limit bytes. It follows no link and waits for no pipe.
func (d directory) read(name string, limit int64) ([]byte, error) {
	file, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return content, err
}

func (d directory) open(name string) (*os.File, error) {
	file, err := os.OpenFile(d.path(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("it is not a regular file")
	case info.Mode().Perm()&othersWrite != 0:
		err = fmt.Errorf("it has mode %#o, and others may write to it: chmod 600 it", info.Mode().Perm())
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// replace gives a file another content, whole or not at all, or makes it, with mode 0600. It needs the lock.
func (d directory) replace(name string, content []byte, o owner) error {
	next := d.path("." + name + ".new")
	os.Remove(next) // what a crash has left
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path(name), err)
	}
	_, err = file.Write(content)
	err = errors.Join(err, o.give(file.Chown), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(next, d.path(name))
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		os.Remove(next)
		return fmt.Errorf("write %s: %w", d.path(name), err)
	}
	return nil
}

func (d directory) sync() error {
	dir, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// unchanged compares two looks at a file without reading it.
func unchanged(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// owner is whose the directory is: what root writes there must stay readable to the gateway's user.
type owner struct{ uid, gid int }

func ownerOf(info fs.FileInfo) owner {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return owner{int(stat.Uid), int(stat.Gid)}
	}
	return owner{-1, -1}
}

func (o owner) give(chown func(uid, gid int) error) error {
	if os.Geteuid() != 0 || o.uid <= 0 {
		return nil
	}
	return chown(o.uid, o.gid)
}

// pathText takes the path out of an error of the file system, for errors that name it already.
func pathText(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

package pins

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	othersMode = 0o077       // the permissions of everybody but the owner
	lockWait   = time.Second // how long another process may hold the lock; it takes milliseconds
	lockPoll   = 5 * time.Millisecond
	lockName   = ".lock"
)

// Store keeps the pins of each server in a file of a directory that only its owner may enter. Several processes may use
// one directory: a write takes a lock, reads what is there, and puts a new file in its place. Make it with [NewStore].
type Store struct{ dir string }

// NewStore returns the store below a state_dir, which is an absolute path. Its directory is made when something is kept.
func NewStore(stateDir string) (*Store, error) {
	if !filepath.IsAbs(stateDir) {
		return nil, errors.New("state_dir: write an absolute path")
	}
	return &Store{filepath.Join(filepath.Clean(stateDir), "pins")}, nil
}

// Path is the file of a server.
func (s *Store) Path(server string) string { return filepath.Join(s.dir, server+".json") }

// Tools returns what is kept of a server, by name; nothing if it was never listed.
func (s *Store) Tools(server string) ([]Tool, error) {
	r, _, err := s.read(server)
	if err != nil {
		return nil, err
	}
	return r.tools(), nil
}

// Accept pins the pending definitions of the tools, or of all if there are none, and returns them as they are now. A tool
// may be given with the hash that was looked at, or its first digits, at least 8: then nothing else is pinned. If one of
// them cannot be, none is.
func (s *Store) Accept(server string, wanted map[string]string) ([]Tool, error) {
	var accepted []Tool
	_, _, err := s.update(server, func(r *record) (bool, error) {
		all := wanted
		if len(wanted) == 0 {
			all = make(map[string]string)
			for name, e := range r.Tools {
				if e.Pending != nil {
					all[name] = ""
				}
			}
		}
		for name, hash := range all {
			e := r.Tools[name]
			switch {
			case e == nil || e.Pending == nil:
				return false, fmt.Errorf("%s: nothing is pending for %q: see sallyport pins list", server, Escape(name))
			case hash != "" && (len(hash) < 8 || !strings.HasPrefix(e.Pending.Hash, hash)):
				return false, fmt.Errorf("%s: what is pending for %q has the hash %s, not %s: look at it anew with sallyport pins diff",
					server, Escape(name), e.Pending.Hash[:shortDigits], clip(Escape(hash), 64))
			case e.Pending.Definition == "":
				return false, fmt.Errorf("%s: the definition of %q was too large to be kept, or no UTF-8, and cannot be pinned", server, Escape(name))
			}
		}
		now := time.Now().UTC().Truncate(time.Second)
		for name := range all {
			e := r.Tools[name]
			v := *e.Pending
			v.Accepted, v.By = now, "accept"
			e.Pinned, e.Pending = &v, nil
		}
		for _, tool := range r.tools() {
			if _, ok := all[tool.Name]; ok {
				accepted = append(accepted, tool)
			}
		}
		return len(all) > 0, nil
	})
	if err != nil {
		return nil, err
	}
	return accepted, nil
}

// identity tells whether a file is still the one that was read.
type identity struct{ info fs.FileInfo }

// same compares without reading. A file is only ever replaced, so that another one has another inode; who writes into it by
// other means changes its time or size.
func (id identity) same(info fs.FileInfo) bool {
	if id.info == nil || info == nil {
		return id.info == nil && info == nil
	}
	return os.SameFile(id.info, info) && id.info.Mode() == info.Mode() && id.info.ModTime().Equal(info.ModTime()) && id.info.Size() == info.Size()
}

// look returns what the file is now; nil if there is none.
func (s *Store) look(server string) (fs.FileInfo, error) {
	info, err := os.Lstat(s.Path(server))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(s.Path(server), err)
	}
	return info, nil
}

// read returns the record of a server, an empty one if there is no file.
func (s *Store) read(server string) (*record, identity, error) {
	if !validServer(server) {
		return nil, identity{}, fmt.Errorf("%q is no name of a server", Escape(server))
	}
	path := s.Path(server)
	before, err := s.look(server)
	if err != nil {
		return nil, identity{}, err
	}
	if before == nil {
		return newRecord(server), identity{}, nil
	}
	if err := s.checkDir(); err != nil {
		return nil, identity{}, err
	}
	if err := checkPrivate(path, before, 0); err != nil {
		return nil, identity{}, err
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, identity{}, unreadable(path, err)
	}
	defer func() { _ = file.Close() }() // read-only: closing has nothing left to lose
	opened, err := file.Stat()
	if err != nil {
		return nil, identity{}, unreadable(path, err)
	}
	if err := checkPrivate(path, opened, 0); err != nil { // it may have been replaced since
		return nil, identity{}, err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, identity{}, unreadable(path, err)
	}
	r, err := decode(content, server)
	if err != nil {
		return nil, identity{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, identity{opened}, nil
}

// update lets change alter the record of a server, and stores it if it says so, while no other process does. It returns
// the record that is stored then.
func (s *Store) update(server string, change func(*record) (bool, error)) (*record, identity, error) {
	if !validServer(server) {
		return nil, identity{}, fmt.Errorf("%q is no name of a server", Escape(server))
	}
	owner, err := s.prepare()
	if err != nil {
		return nil, identity{}, err
	}
	unlock, err := s.lock(owner)
	if err != nil {
		return nil, identity{}, err
	}
	defer unlock()
	r, id, err := s.read(server)
	if err != nil {
		return nil, identity{}, err
	}
	changed, err := change(r)
	if err != nil || !changed {
		return r, id, err
	}
	content, err := r.encode()
	if err != nil {
		return nil, identity{}, fmt.Errorf("write %s: %w", s.Path(server), err)
	}
	info, err := s.replace(server, content, owner)
	return r, identity{info}, err
}

// replace puts the content into a new file, which takes the place of the old one when it is on the disk.
func (s *Store) replace(server string, content []byte, owner owner) (fs.FileInfo, error) {
	path := s.Path(server)
	next := path + ".new"
	os.Remove(next) // what a crash has left
	info, err := write(next, content, owner)
	if err != nil {
		os.Remove(next)
		return nil, unwritable(next, err)
	}
	if err := os.Rename(next, path); err != nil {
		os.Remove(next)
		return nil, unwritable(path, err)
	}
	if err := syncDir(s.dir); err != nil {
		return nil, unwritable(s.dir, err)
	}
	return info, nil
}

// prepare makes the directory, or checks the one that is there, and returns whose it is.
func (s *Store) prepare() (owner, error) {
	parent := filepath.Dir(s.dir)
	above, err := os.Stat(parent)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.MkdirAll(parent, 0o700); err == nil {
			above, err = os.Stat(parent)
		}
	}
	if err != nil {
		return owner{}, unwritable(parent, err)
	}
	err = os.Mkdir(s.dir, 0o700)
	switch {
	case err == nil:
		o := ownerOf(above)
		return o, o.give(func(uid, gid int) error { return os.Lchown(s.dir, uid, gid) })
	case !errors.Is(err, fs.ErrExist):
		return owner{}, unwritable(s.dir, err)
	}
	if err := s.checkDir(); err != nil {
		return owner{}, err
	}
	info, err := os.Lstat(s.dir)
	if err != nil {
		return owner{}, unreadable(s.dir, err)
	}
	return ownerOf(info), nil
}

func (s *Store) checkDir() error {
	info, err := os.Lstat(s.dir)
	if err != nil {
		return unreadable(s.dir, err)
	}
	return checkPrivate(s.dir, info, fs.ModeDir)
}

// lock waits until no other process writes.
func (s *Store) lock(owner owner) (unlock func(), err error) {
	path := filepath.Join(s.dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, unwritable(path, err)
	}
	if err := owner.give(file.Chown); err != nil {
		file.Close()
		return nil, unwritable(path, err)
	}
	deadline := time.Now().Add(lockWait)
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { file.Close() }, nil // which unlocks it
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			file.Close()
			return nil, unwritable(path, err)
		case time.Now().After(deadline):
			file.Close()
			return nil, fmt.Errorf("write %s: another process holds %s; see which one hangs", s.dir, lockName)
		}
		<-time.After(lockPoll)
	}
}

// checkPrivate refuses what is of another kind than it should be, a link included, and what others could read or change.
func checkPrivate(path string, info fs.FileInfo, kind fs.FileMode) error {
	if info.Mode().Type() != kind {
		return fmt.Errorf("%s is not what this program has put there; move it away", path)
	}
	if info.Mode().Perm()&othersMode != 0 {
		return fmt.Errorf("%s is open to group or others; run: chmod go-rwx %s", path, path)
	}
	return nil
}

func write(path string, content []byte, owner owner) (info fs.FileInfo, err error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err = file.Write(content); err == nil {
		err = owner.give(file.Chown)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		info, err = file.Stat()
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	return info, err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // read-only: closing has nothing left to lose
	return dir.Sync()
}

// owner is whose the directory is: what root writes there must stay readable to the connector's user.
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

// validServer keeps a name from leading elsewhere. It is what names of servers are in connector.yaml.
func validServer(name string) bool {
	return name != "" && len(name) <= 40 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

func unreadable(path string, err error) error {
	return fmt.Errorf("read %s: %w; check its owner and mode, and those of its directories", path, reason(err))
}

func unwritable(path string, err error) error {
	return fmt.Errorf("write %s: %w; check its directory's owner and mode, and that there is room", path, reason(err))
}

// reason takes the path out, which stands in the message already.
func reason(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return link.Err
	}
	return err
}

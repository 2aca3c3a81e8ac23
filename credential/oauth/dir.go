package oauth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Store keeps what must survive a restart. It is safe for concurrent use.
type Store interface {
	// Lock waits until nobody else has the key, as long as the context allows. unlock is called once.
	Lock(ctx context.Context, key string) (unlock func(), err error)
	// Load returns what was saved last; nil if nothing ever was. What was saved and cannot be read is an error. What Save
	// could not store is stored first; as long as that fails, so does Load.
	Load(key string) ([]byte, error)
	// Save returns when the data would survive a loss of power. After an error either the old or the new data is there, and
	// the new is remembered for the next Load, whoever calls it: what it replaces may be worth nothing.
	Save(key string, data []byte) error
}

const (
	maxStored  = 64 << 10
	othersMode = 0o077 // the permissions of everybody but the owner
)

// Dir is a Store of one file a key in a directory that only its user may enter. Sources that use the same refresh token
// must share one Dir; a directory belongs to one process. Make it with [NewDir].
type Dir struct {
	path string

	mu       sync.Mutex // guards what follows
	turns    map[string]*turn
	unstored map[string][]byte // by key, what could not be written yet
}

var _ Store = (*Dir)(nil)

// turn is who has a key, and who waits for it.
type turn struct {
	taken chan struct{}
	users int
}

// NewDir returns the store in the directory with an absolute path. The directory is made when something is saved.
func NewDir(path string) (*Dir, error) {
	if !filepath.IsAbs(path) {
		return nil, wrong("state_dir: write an absolute path")
	}
	return &Dir{path: filepath.Clean(path), turns: make(map[string]*turn), unstored: make(map[string][]byte)}, nil
}

// Lock implements Store.
func (d *Dir) Lock(ctx context.Context, key string) (unlock func(), err error) {
	d.mu.Lock()
	t := d.turns[key]
	if t == nil {
		t = &turn{taken: make(chan struct{}, 1)}
		d.turns[key] = t
	}
	t.users++
	d.mu.Unlock()
	select {
	case t.taken <- struct{}{}:
		return func() { <-t.taken; d.leave(key, t) }, nil
	case <-ctx.Done():
		d.leave(key, t)
		return nil, context.Cause(ctx)
	}
}

func (d *Dir) leave(key string, t *turn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if t.users--; t.users == 0 {
		delete(d.turns, key)
	}
}

// Load implements Store.
func (d *Dir) Load(key string) ([]byte, error) {
	d.mu.Lock()
	waiting, ok := d.unstored[key]
	d.mu.Unlock()
	if ok {
		if err := d.Save(key, waiting); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(d.path, fileName(key))
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(path, err)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	if err := checkPrivate(path, before, 0); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	defer func() { _ = file.Close() }() // read-only: closing has nothing left to lose
	if opened, err := file.Stat(); err != nil || !os.SameFile(before, opened) {
		return nil, fmt.Errorf("%s was replaced while it was read; see who writes there", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxStored+1))
	if err != nil {
		return nil, unreadable(path, err)
	}
	data, ok := open(content)
	if !ok {
		return nil, fmt.Errorf("%s is damaged; restore it, or authorise again and put the new refresh token where the configuration refers to", path)
	}
	return data, nil
}

// Save implements Store.
func (d *Dir) Save(key string, data []byte) error {
	err := d.save(key, data)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		delete(d.unstored, key)
	} else if _, known := d.unstored[key]; known || len(d.unstored) < maxTokens {
		d.unstored[key] = bytes.Clone(data)
	}
	return err
}

// save puts the data into a new file, which takes the place of the old one when it is on the disk.
func (d *Dir) save(key string, data []byte) error {
	if len(data) > maxStored/2 {
		return errors.New("it is too long to be stored")
	}
	if err := d.prepare(); err != nil {
		return err
	}
	path := filepath.Join(d.path, fileName(key))
	next := path + ".new"
	os.Remove(next) // what a crash has left
	if err := write(next, seal(data)); err != nil {
		os.Remove(next)
		return unwritable(next, err)
	}
	if err := os.Rename(next, path); err != nil {
		os.Remove(next)
		return unwritable(path, err)
	}
	if err := syncDir(d.path); err != nil {
		return unwritable(d.path, err)
	}
	return nil
}

// prepare makes the directory, or checks the one that is there.
func (d *Dir) prepare() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return unwritable(d.path, err)
	}
	return d.check()
}

func (d *Dir) check() error {
	info, err := os.Lstat(d.path)
	if err != nil {
		return unreadable(d.path, err)
	}
	return checkPrivate(d.path, info, fs.ModeDir)
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

func write(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := file.Write(content); err != nil {
		file.Close()
		return err
	}
	if err := file.Sync(); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // read-only: closing has nothing left to lose
	return dir.Sync()
}

// fileName says nothing of the key, which names a principal.
func fileName(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// seal puts a checksum before the data, so that a file that was cut or altered by accident does not pass for another token.
func seal(data []byte) []byte {
	sum := sha256.Sum256(data)
	return append(append([]byte(hex.EncodeToString(sum[:])), '\n'), data...)
}

func open(content []byte) (data []byte, ok bool) {
	if len(content) > maxStored {
		return nil, false
	}
	sum, data, found := bytes.Cut(content, []byte{'\n'})
	want := sha256.Sum256(data)
	return data, found && string(sum) == hex.EncodeToString(want[:])
}

func unreadable(path string, err error) error {
	return fmt.Errorf("read %s: %w; check its owner and mode, and those of its directories", path, reason(err))
}

func unwritable(path string, err error) error {
	return fmt.Errorf("write %s: %w; check its directory's owner and mode, and that there is room", path, reason(err))
}

// reason takes the path out, which stands in the message already.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		return link.Err
	}
	return err
}

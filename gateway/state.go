package gateway

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The files in state_dir.
const (
	resetKeyFile     = "quic-reset.key"
	sessionKeyFile   = "mcp-session.key"
	assertionKeyFile = "assertion.key"
	lockFile         = "lock"
	caFile           = "self-signed-ca.crt"
	caKeyFile        = "self-signed-ca.key"
	certFile         = "self-signed.crt"
	certKeyFile      = "self-signed.key"
)

// errLocked means that another gateway runs on the same state_dir.
var errLocked = errors.New("gateway: state_dir is in use")

// checkStateDir says what to do about a state_dir that cannot be used. It
// tries what Run will do, short of taking the lock.
func checkStateDir(dir string) error {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("state_dir %s does not exist: make it with: install -d -m 700 %s", dir, dir)
	case err != nil:
		return stateDirError(dir, err)
	case !info.IsDir():
		return fmt.Errorf("state_dir %s is not a directory: name another one, or move the file away and run: install -d -m 700 %s", dir, dir)
	}
	file, err := openLock(dir)
	if err != nil {
		return err
	}
	return file.Close()
}

func openLock(dir string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, stateDirError(dir, err)
	}
	return file, nil
}

func stateDirError(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("state_dir %s is not writable by this user: give it and its files to the user that the gateway runs as, with chown -R (%w)", dir, err)
	}
	return fmt.Errorf("state_dir %s cannot be used: make it a directory that this user can write: %w", dir, err)
}

// lockState keeps other gateways from dir until unlock is called, or the
// process ends. The file stays: to remove it would let two gateways hold
// locks on two files of one name.
func lockState(dir string) (unlock func(), err error) {
	file, err := openLock(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = file.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: another gateway runs on %s: stop it, or give each gateway a state_dir of its own", errLocked, dir)
		}
		return nil, fmt.Errorf("state_dir %s: lock: %w: use a file system with locks, not a network share", dir, err)
	}
	return func() { _ = file.Close() }, nil // closing it unlocks
}

// loadOrCreateKey returns the 32-byte key in a file of state_dir, which it makes
// if it is not there. There are two: from one the QUIC stateless reset tokens are
// derived, by which a restarted gateway tells the connectors of its former life
// that their sessions are gone, and each gateway has its own; the other one
// makes the MACs of MCP session ids.
func loadOrCreateKey(path string) (key [32]byte, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := rand.Read(key[:]); err != nil {
			return key, fmt.Errorf("make a key: %w", err)
		}
		return key, writeFileAtomic(path, key[:], 0o600)
	}
	if err != nil {
		return key, fmt.Errorf("read a key: %w", err)
	}
	if len(raw) != len(key) {
		return key, fmt.Errorf("gateway: %s has %d bytes and needs %d: remove it and a new one is made", path, len(raw), len(key))
	}
	copy(key[:], raw)
	return key, nil
}

// writeFileAtomic puts a file in place whole, or not at all.
func writeFileAtomic(path string, content []byte, mode os.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

package gateway

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The files in state_dir.
const (
	resetKeyFile     = "quic-reset.key"
	assertionKeyFile = "assertion.key"
	caFile           = "self-signed-ca.crt"
	caKeyFile        = "self-signed-ca.key"
	certFile         = "self-signed.crt"
	certKeyFile      = "self-signed.key"
)

// loadOrCreateResetKey returns the 32-byte key from which QUIC stateless reset
// tokens are derived. Each gateway has its own: with it a restarted gateway
// tells the connectors of its former life that their sessions are gone.
func loadOrCreateResetKey(path string) (key [32]byte, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := rand.Read(key[:]); err != nil {
			return key, fmt.Errorf("make a reset key: %w", err)
		}
		return key, writeFileAtomic(path, key[:], 0o600)
	}
	if err != nil {
		return key, fmt.Errorf("read the reset key: %w", err)
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

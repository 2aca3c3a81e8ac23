package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	keyBlockType = "PRIVATE KEY" // PKCS#8, RFC 7468 section 10
	maxKeyFile   = 16 << 10
)

// LoadOrCreateKey gives the Ed25519 key in the file at path (PEM, PKCS#8), and makes the file with a new key and mode
// 0600 if there is none. The folder must exist. A key that its group or others may read is refused. Of several processes
// that start at once, one makes the key and the others load it.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("auth: make the key %s: %w", path, err)
	}
	switch err := createKey(path, key); {
	case errors.Is(err, fs.ErrExist):
		return loadKey(path)
	case err != nil:
		return nil, fmt.Errorf("auth: make the key %s: %w", path, err)
	}
	return key, nil
}

// LoadKey gives the Ed25519 key in the file at path, as [LoadOrCreateKey] does; a file that is not there is
// [fs.ErrNotExist].
func LoadKey(path string) (ed25519.PrivateKey, error) { return loadKey(path) }

// ReplaceKey puts a new Ed25519 key in the place of the file at path, which must be there: whoever reads it gets the one or
// the other, whole. What root replaces stays its owner's, who may be a service's user. It gives the public half.
func ReplaceKey(path string) (ed25519.PublicKey, error) {
	if _, err := loadKey(path); err != nil {
		return nil, err
	}
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("auth: make the key %s: %w", path, err)
	}
	if err := writeKey(path, key, takePlace); err != nil {
		return nil, fmt.Errorf("auth: replace the key %s: %w", path, err)
	}
	return public, nil
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("auth: read the key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("auth: read the key %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("auth: the key %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("auth: the key %s has mode %#o and others may use it: chmod 600 it, or delete it to get a new one", path, mode)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("auth: read the key %s: %w", path, err)
	}
	key, ok := parseKey(raw)
	if !ok {
		return nil, fmt.Errorf("auth: %s holds no Ed25519 key in PKCS#8 PEM: restore it, or delete it to get a new one", path)
	}
	return key, nil
}

func parseKey(raw []byte) (ed25519.PrivateKey, bool) {
	block, rest := pem.Decode(raw)
	if block == nil || block.Type != keyBlockType || len(rest) != 0 {
		return nil, false
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, false
	}
	key, ok := parsed.(ed25519.PrivateKey)
	return key, ok
}

// createKey gives the file its name by a link, which fails with [fs.ErrExist] where a rename would replace the key of
// somebody faster.
func createKey(path string, key ed25519.PrivateKey) error {
	return writeKey(path, key, func(from, to string) error {
		err := os.Link(from, to)
		if err == nil || errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Rename(from, to) // some file systems know no links; there this is the best there is
	})
}

// writeKey writes the whole key to a temporary file first, so that no reader and no crash sees half of it, and then has it
// named.
func writeKey(path string, key ed25519.PrivateKey, name func(from, to string) error) (err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: keyBlockType, Bytes: der})
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := name(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// takePlace renames a file to another one, which it replaces, and gives it to the other's owner where only root could have
// made it.
func takePlace(from, to string) error {
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 {
		if err := os.Lchown(from, int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	return os.Rename(from, to)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

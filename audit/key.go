package audit

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	// keyFile is the signing key in state_dir: PEM, PKCS#8.
	keyFile      = "audit.key"
	keyBlockType = "PRIVATE KEY" // PKCS#8, RFC 7468 section 10
	maxKeyFile   = 16 << 10      // bytes

	// keyPrefix begins a public key as text, so that it is not taken for a key of something else.
	keyPrefix = "sallyport-audit-ed25519:"
	// logIDSize is the length of a log's id, in bytes before it is written in hexadecimal.
	logIDSize = 16
)

// PublicKey is the public half of the key that signs a log's checkpoints. The zero PublicKey verifies nothing.
type PublicKey struct{ key ed25519.PublicKey }

// String is the key as text: sallyport-audit-ed25519: and base64url without padding.
func (k PublicKey) String() string {
	return keyPrefix + base64.RawURLEncoding.EncodeToString(k.key)
}

// LogID is the id of the log that the key signs. It is random as the key is, and made with it.
func (k PublicKey) LogID() string {
	sum := sha256.Sum256(append([]byte("sallyport audit log id\n"), k.key...))
	return hex.EncodeToString(sum[:logIDSize])
}

// ParsePublicKey reads what String prints.
func ParsePublicKey(text string) (PublicKey, error) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if !ok || err != nil || len(raw) != ed25519.PublicKeySize {
		return PublicKey{}, errors.New("audit: not a public key as sallyport audit key prints it: " + keyPrefix + "…")
	}
	return PublicKey{key: raw}, nil
}

// ReadPublicKey gives the public half of the key in stateDir, which must have been made. The error wraps
// [fs.ErrNotExist] if it was not.
func ReadPublicKey(stateDir string) (PublicKey, error) {
	key, err := loadKey(filepath.Join(stateDir, keyFile))
	if err != nil {
		return PublicKey{}, err
	}
	return publicHalf(key), nil
}

func publicHalf(key ed25519.PrivateKey) PublicKey {
	public, _ := key.Public().(ed25519.PublicKey) // always is one
	return PublicKey{key: public}
}

// loadOrCreateKey gives the key in the file at path, and makes the file with a new key and mode 0600 if there is none.
// A key that its group or others may use is refused. Of several processes that start at once, one makes the key and
// the others load it.
func loadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("audit: make the key %s: %w", path, err)
	}
	switch err := createKey(path, key); {
	case errors.Is(err, fs.ErrExist):
		return loadKey(path)
	case err != nil:
		return nil, fmt.Errorf("audit: make the key %s: %w", path, err)
	}
	return key, nil
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a named pipe must not block the open
	if err != nil {
		return nil, fmt.Errorf("audit: read the key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("audit: read the key %s: %w", path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("audit: the key %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("audit: the key %s has mode %#o and others may use it: what was signed with it proves nothing; delete it to get a new one, and move the log away", path, mode)
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("audit: read the key %s: %w", path, err)
	}
	key, ok := parseKey(raw)
	if !ok {
		return nil, fmt.Errorf("audit: %s holds no Ed25519 key in PKCS#8 PEM: restore it, or delete it to get a new one and move the log away", path)
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

// createKey writes the whole key to a temporary file first, so that no reader and no crash sees half of it, and then
// gives it its name by a link, which fails with [fs.ErrExist] where a rename would replace the key of somebody faster.
func createKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: keyBlockType, Bytes: der})
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return err
		}
		// Some file systems know no links; there a rename is the best there is.
		if err := os.Rename(f.Name(), path); err != nil {
			return err
		}
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

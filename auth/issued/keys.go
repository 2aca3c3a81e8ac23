package issued

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
)

// A key is in a file of its own, whose name has the time of its making and its id: key-20060102T150405Z-ID.pem. The newest by
// name signs, all verify.
const (
	keyPrefix = "key-"
	keySuffix = ".pem"
	keyTime   = "20060102T150405Z"
	// maxKeys is how many keys there may be at once, as many as a set may have.
	maxKeys = jwk.MaxKeys
)

// keyFile is what a file's name says of the key in it.
type keyFile struct {
	name, id string
	created  time.Time
}

func newKeyFile(id string, created time.Time) keyFile {
	created = created.UTC().Truncate(time.Second)
	return keyFile{name: keyPrefix + created.Format(keyTime) + "-" + id + keySuffix, id: id, created: created}
}

func parseKeyFile(name string) (keyFile, bool) {
	middle, isKey := strings.CutPrefix(name, keyPrefix)
	middle, isPEM := strings.CutSuffix(middle, keySuffix)
	stamp, id, _ := strings.Cut(middle, "-")
	created, err := time.Parse(keyTime, stamp)
	return keyFile{name, id, created}, isKey && isPEM && err == nil && validKeyID(id)
}

// keyFiles lists the directory's keys, the newest first.
func (d directory) keyFiles() ([]keyFile, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("look for keys: %w", err)
	}
	var files []keyFile
	for _, entry := range entries { // by name, so by time
		if file, ok := parseKeyFile(entry.Name()); ok {
			files = append(files, file)
		}
	}
	if len(files) > maxKeys {
		return nil, fmt.Errorf("%s has %d keys, and %d are allowed: delete the oldest", d, len(files), maxKeys)
	}
	slices.Reverse(files)
	return files, nil
}

// load reads a key, which must be the one that the file's name says.
func (d directory) load(file keyFile) (ed25519.PrivateKey, error) {
	key, err := auth.LoadKey(d.path(file.name))
	if err != nil {
		return nil, err
	}
	if auth.KeyID(key.Public().(ed25519.PublicKey)) != file.id {
		return nil, fmt.Errorf("%s holds another key than its name says: restore it, or delete it with all that it has signed", d.path(file.name))
	}
	return key, nil
}

// newKey makes a key, and the file that it shall have: one that is newer by name than all that there are, whatever the
// clock says. It writes nothing.
func newKey(now time.Time, there []keyFile) (file keyFile, key ed25519.PrivateKey, err error) {
	if len(there) > 0 && !now.Truncate(time.Second).After(there[0].created) {
		now = there[0].created.Add(time.Second)
	}
	for {
		var public ed25519.PublicKey
		if public, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
			return keyFile{}, nil, fmt.Errorf("make a key: %w", err)
		}
		if id := auth.KeyID(public); validKeyID(id) {
			return newKeyFile(id, now), key, nil
		}
	}
}

// save writes a new key. It needs the lock.
func (d directory) save(file keyFile, key ed25519.PrivateKey, o owner) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("write %s: %w", d.path(file.name), err)
	}
	var text bytes.Buffer
	if err := pem.Encode(&text, &pem.Block{Type: "PRIVATE KEY", Bytes: der}); err != nil { // RFC 7468 section 10
		return fmt.Errorf("write %s: %w", d.path(file.name), err)
	}
	if _, err := os.Lstat(d.path(file.name)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: it is there already", d.path(file.name))
	}
	return d.replace(file.name, text.Bytes(), o)
}

package issued

import (
	"crypto/ed25519"
	"io"
	"maps"
	"slices"
	"time"

	"sallyport.dev/auth"
)

// ReadListForTest gives the ids of a list that one of the keys has signed.
func ReadListForTest(content []byte, key ed25519.PublicKey) (ids []string, err error) {
	l, err := readList(content, map[string]ed25519.PublicKey{auth.KeyID(key): key})
	return slices.Sorted(maps.Keys(l.revoked)), err
}

// ListForTest signs a list of these ids, as of a time.
func ListForTest(ids []string, at time.Time, key ed25519.PrivateKey) ([]byte, error) {
	l := list{revoked: make(map[string]int64)}
	for _, id := range ids {
		l.revoked[id] = at.Add(time.Hour).Unix()
	}
	return l.next(at, key)
}

// SaveKeyForTest puts a key into a directory.
func SaveKeyForTest(dir string, at time.Time, key ed25519.PrivateKey) error {
	return directory(dir).save(newKeyFile(auth.KeyID(key.Public().(ed25519.PublicKey)), at), key, owner{})
}

// ReadRegisterForTest gives the tokens of a register.
func ReadRegisterForTest(r io.Reader) (tokens []Contents, torn []int, err error) {
	entries, torn, err := readRegister(r)
	for i := range entries {
		tokens = append(tokens, entries[i].contents("issuer"))
	}
	return tokens, torn, err
}

package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/secret"
)

const (
	// minTokenBytes is the shortest configured token: 32 characters of base64 are 192 random bits, which nobody guesses.
	minTokenBytes = 32
	// maxTokenBytes bounds every token before it is looked at, so that a huge one costs nothing.
	maxTokenBytes = 8 << 10
	// maxNameBytes bounds the names of configured tokens, which become subjects and log attributes.
	maxNameBytes = 64
)

// tokenTable finds which of some configured tokens was presented. It keeps digests only, so that a memory dump of it
// gives no token away.
type tokenTable struct {
	digests [][sha256.Size]byte
}

// add checks one configured token and appends it. The error says what to change without a character of the value.
func (t *tokenTable) add(token secret.Value) error {
	if token.IsZero() {
		return errors.New("is empty: give it at least 32 random characters")
	}
	if n := token.Len(); n < minTokenBytes {
		return fmt.Errorf("has %d characters: use at least %d random ones (openssl rand -base64 33)", n, minTokenBytes)
	}
	if n := token.Len(); n > maxTokenBytes {
		return fmt.Errorf("has %d characters: use at most %d", n, maxTokenBytes)
	}
	value := token.Reveal()
	if !isB64Token(value) {
		return errors.New("has characters that a bearer token cannot carry: use letters, digits and -._~+/ with = only at the end")
	}
	if oneCharacter(value) {
		return errors.New("is one character repeated: use random characters (openssl rand -base64 33)")
	}
	digest := sha256.Sum256([]byte(value))
	if _, found := t.lookup(digest); found {
		return errors.New("has the same value as another one: give each its own")
	}
	t.digests = append(t.digests, digest)
	return nil
}

// find gives the index of the configured token that equals this one. It compares with all of them and always in full, so
// the time it takes tells neither which one matched nor how close a guess came.
func (t *tokenTable) find(token string) (int, error) {
	if token == "" {
		return 0, ErrNoToken
	}
	if len(token) > maxTokenBytes {
		return 0, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxTokenBytes)
	}
	i, found := t.lookup(sha256.Sum256([]byte(token)))
	if !found {
		return 0, fmt.Errorf("%w: not one that is configured", ErrInvalid)
	}
	return i, nil
}

func (t *tokenTable) lookup(digest [sha256.Size]byte) (int, bool) {
	match := -1
	for i := range t.digests {
		equal := subtle.ConstantTimeCompare(digest[:], t.digests[i][:])
		match = subtle.ConstantTimeSelect(equal, i, match)
	}
	return match, match >= 0
}

// oneCharacter recognises the placeholder that is a single character held down, with or without base64 padding.
func oneCharacter(s string) bool {
	s = strings.TrimRight(s, "=")
	return s == "" || strings.Trim(s, s[:1]) == ""
}

// checkName accepts what can stand in a log line, a claim and a file name alike: visible ASCII, bounded.
func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes {
		return fmt.Errorf("name must have 1 to %d characters", maxNameBytes)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '|' {
			return errors.New("name must be visible ASCII without spaces and without |")
		}
	}
	return nil
}

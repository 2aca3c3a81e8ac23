package jwk

import (
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

const (
	// MaxSet is the length in bytes above which neither a set nor a key is read.
	MaxSet = 64 << 10
	// MaxKeys is how many keys a set may have.
	MaxKeys = 32
	// maxID is the length in bytes of a key's ID.
	maxID = 128
)

// ErrUnsupported says that a key may be in order, and is none that verifies signatures here: of another kty, crv or alg, or
// for another use.
var ErrUnsupported = errors.New("jwk: the key is not for verifying signatures")

// Key is one public key for verifying signatures. Its values are shared: treat them as read-only.
type Key struct {
	// ID is the key's kid. Empty if it has none.
	ID string
	// Public is an *rsa.PublicKey of 2048 to 8192 bits, an *ecdsa.PublicKey on P-256, P-384 or P-521, or an
	// ed25519.PublicKey.
	Public crypto.PublicKey
	// Algorithms are the JWS algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1) that the key may verify: those of its
	// type and curve, or the one of them that its alg names.
	Algorithms []string
}

// members are a JWK's members as they were sent.
type members map[string]jsontext.Value

// ParseKey reads one public key. It is an error if a private member is there, even an empty one (d, p, q, k …), if the key
// is not for signatures (kty oct, use other than sig, key_ops without verify), if RSA has less than 2048 or more than 8192
// bits or an exponent that is even, below 65537 or above 2^31, if a point is not on its curve, and if any member is there
// twice. Members that nobody here knows are passed over (RFC 7517 section 4). Errors quote nothing that was read.
func ParseKey(raw []byte) (Key, error) {
	if len(raw) > MaxSet {
		return Key{}, fmt.Errorf("jwk: a key of more than %d bytes", MaxSet)
	}
	var m members
	if json.Unmarshal(raw, &m) != nil || m == nil { // its text would quote the key
		return Key{}, errors.New("jwk: the key is not one JSON object with every member once")
	}
	return m.key()
}

// ParseSet reads a set (RFC 7517 section 5) of at most [MaxSet] bytes and [MaxKeys] keys. Keys that are not for verifying
// signatures here are left out, as identity providers publish keys for encryption too; any other that [ParseKey] refuses
// makes the whole set wrong, and so do two keys of one type with the same ID, and a set of which nothing is left.
func ParseSet(raw []byte) ([]Key, error) {
	if len(raw) > MaxSet {
		return nil, fmt.Errorf("jwk: a set of more than %d bytes", MaxSet)
	}
	var set struct {
		Keys []members `json:"keys"`
	}
	if json.Unmarshal(raw, &set) != nil {
		return nil, errors.New("jwk: the set is not one JSON object of keys with every member once")
	}
	if len(set.Keys) > MaxKeys {
		return nil, fmt.Errorf("jwk: a set of more than %d keys", MaxKeys)
	}
	var keys []Key
	for i, m := range set.Keys {
		key, err := m.key()
		switch {
		case errors.Is(err, ErrUnsupported):
			continue
		case err != nil:
			return nil, fmt.Errorf("key number %d of the set: %w", i+1, err)
		case slices.ContainsFunc(keys, key.shares):
			return nil, fmt.Errorf("jwk: key number %d of the set has the kid of another of its type", i+1)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("jwk: the set has no key that verifies signatures")
	}
	return keys, nil
}

// shares says that two keys could not be told apart by ID and type.
func (k Key) shares(other Key) bool {
	return k.ID != "" && k.ID == other.ID && kty(k.Public) == kty(other.Public)
}

// ValidID says whether a text can be the ID of a key: 1 to 128 letters, digits and "._~+/=:@#-". That is more than the IDs
// of known identity providers need, and nothing that would have to be escaped on its way into a log.
func ValidID(id string) bool {
	for i := range len(id) {
		switch c := id[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		case c == '.', c == '_', c == '~', c == '+', c == '/', c == '=', c == ':', c == '@', c == '#', c == '-':
		default:
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

func (m members) key() (Key, error) {
	kty, err := m.text("kty")
	if err != nil {
		return Key{}, err
	}
	var read func() (crypto.PublicKey, []string, error)
	switch kty {
	case "RSA":
		read = m.rsa
	case "EC":
		read = m.ec
	case "OKP":
		read = m.okp
	default:
		return Key{}, fmt.Errorf("%w: another kty than RSA, EC and OKP", ErrUnsupported)
	}
	// RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2, and k of section 6.4 to be sure.
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
		if _, there := m[private]; there {
			return Key{}, errors.New("jwk: the key has private members; whoever published it must make a new one")
		}
	}
	if err := m.forVerifying(); err != nil {
		return Key{}, err
	}
	var key Key
	if key.ID, err = m.optional("kid"); err != nil {
		return Key{}, err
	}
	if key.ID != "" && !ValidID(key.ID) {
		return Key{}, fmt.Errorf("%w: its kid is longer than %d bytes or has unusual characters", ErrUnsupported, maxID)
	}
	if key.Public, key.Algorithms, err = read(); err != nil {
		return Key{}, err
	}
	if key.Algorithms, err = m.narrow(key.Algorithms); err != nil {
		return Key{}, err
	}
	return key, nil
}

// forVerifying judges use and key_ops (RFC 7517 sections 4.2 and 4.3).
func (m members) forVerifying() error {
	use, err := m.optional("use")
	if err != nil {
		return err
	}
	if use != "" && use != "sig" {
		return fmt.Errorf("%w: another use than sig", ErrUnsupported)
	}
	raw, there := m["key_ops"]
	if !there {
		return nil
	}
	var operations []string
	if json.Unmarshal(raw, &operations) != nil {
		return errors.New("jwk: key_ops is not a list of texts")
	}
	if !slices.Contains(operations, "verify") {
		return fmt.Errorf("%w: key_ops without verify", ErrUnsupported)
	}
	return nil
}

// narrow gives the one algorithm that alg names (RFC 7517 section 4.4), or all that the key could verify.
func (m members) narrow(possible []string) ([]string, error) {
	alg, err := m.optional("alg")
	switch {
	case err != nil:
		return nil, err
	case alg == "":
		return possible, nil
	case slices.Contains(possible, alg):
		return []string{alg}, nil
	}
	return nil, fmt.Errorf("%w: its alg is none that its type and curve can verify", ErrUnsupported)
}

// optional gives a member that is a text, or nothing if it is not there.
func (m members) optional(name string) (string, error) {
	if _, there := m[name]; !there {
		return "", nil
	}
	return m.text(name)
}

// text gives a member that must be there and be a text.
func (m members) text(name string) (string, error) {
	raw := m[name]
	var text string
	if raw.Kind() != '"' || json.Unmarshal(raw, &text) != nil {
		return "", fmt.Errorf("jwk: %s is not a text", name)
	}
	return text, nil
}

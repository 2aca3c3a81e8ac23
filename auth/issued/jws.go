package issued

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
)

// jwsHeader is all that a header may hold: what else there could be, a crit, jku, jwk or x5u, is refused for being there (RFC
// 8725 sections 3.1, 3.10 and 3.11). The kid is only ever compared with the names of the keys in the directory.
type jwsHeader struct {
	Alg string `json:"alg"`
	Typ string `json:"typ"`
	Kid string `json:"kid"`
}

// headerOf is the first segment of what a key signs. The ids of keys need no escapes.
func headerOf(typ, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","typ":"` + typ + `","kid":"` + key + `"}`))
}

// sign makes a JWS in compact form.
func sign(typ string, key ed25519.PrivateKey, payload []byte) (string, error) {
	signing := headerOf(typ, auth.KeyID(key.Public().(ed25519.PublicKey))) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := jwt.SigningMethodEdDSA.Sign(signing, key)
	if err != nil {
		return "", err
	}
	return signing + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// signer gives the key that a JWS names as its own, if it has three segments of the base64url alphabet and the one header
// of its type. The alphabet is checked because Go's decoder skips line breaks, which would let one token have many spellings.
func signer(compact, typ string) (key string, ok bool) {
	for i := range len(compact) {
		c := compact[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return "", false
		}
	}
	if strings.Count(compact, ".") != 2 {
		return "", false
	}
	segment, _, _ := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return "", false
	}
	var h jwsHeader
	if json.Unmarshal(raw, &h, json.RejectUnknownMembers(true)) != nil || !validKeyID(h.Kid) {
		return "", false
	}
	return h.Kid, segment == headerOf(typ, h.Kid)
}

// validKeyID recognises what [auth.KeyID] gives. One that begins with "-" is not used: on a command line it looks like a flag.
func validKeyID(id string) bool {
	if len(id) != keyIDBytes || id[0] == '-' {
		return false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	return err == nil && base64.RawURLEncoding.EncodeToString(raw) == id
}

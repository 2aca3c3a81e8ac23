package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"

	"github.com/go-json-experiment/json"
)

// required are the members that make a public key, in the order that a thumbprint needs (RFC 7638 section 3.2).
type required struct {
	Crv string `json:"crv,omitempty"`
	E   string `json:"e,omitempty"`
	Kty string `json:"kty"`
	N   string `json:"n,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// published is a key as a set has it.
type published struct {
	required
	ID  string `json:"kid,omitempty"`
	Use string `json:"use"`
	Alg string `json:"alg,omitempty"`
}

// Thumbprint is the SHA-256 of the key's required members, in base64url (RFC 7638). It is empty for a key that [ParseKey]
// could not have given.
func (k Key) Thumbprint() string {
	r, err := requiredOf(k.Public)
	if err != nil {
		return ""
	}
	text, err := json.Marshal(r)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// MarshalSet writes a set of keys, with their IDs, "use":"sig", and alg where a key has a single algorithm.
func MarshalSet(keys []Key) ([]byte, error) {
	set := struct {
		Keys []published `json:"keys"`
	}{Keys: make([]published, 0, len(keys))}
	for i, k := range keys {
		r, err := requiredOf(k.Public)
		if err != nil {
			return nil, fmt.Errorf("jwk: write key number %d of a set: %w", i+1, err)
		}
		p := published{required: r, ID: k.ID, Use: "sig"}
		if len(k.Algorithms) == 1 {
			p.Alg = k.Algorithms[0]
		}
		set.Keys = append(set.Keys, p)
	}
	return json.Marshal(set)
}

func requiredOf(public crypto.PublicKey) (required, error) {
	r := required{Kty: kty(public)}
	encode := base64.RawURLEncoding.EncodeToString
	switch public := public.(type) {
	case *rsa.PublicKey:
		r.N, r.E = encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			return required{}, errors.New("its point is not on its curve")
		}
		size := len(point) / 2
		r.Crv, r.X, r.Y = public.Curve.Params().Name, encode(point[1:1+size]), encode(point[1+size:])
	case ed25519.PublicKey:
		r.Crv, r.X = "Ed25519", encode(public)
	default:
		return required{}, errors.New("it is neither RSA nor ECDSA nor Ed25519")
	}
	return r, nil
}

// kty is the name of a key's type (RFC 7518 section 6.1, RFC 8037 section 2).
func kty(public crypto.PublicKey) string {
	switch public.(type) {
	case *rsa.PublicKey:
		return "RSA"
	case *ecdsa.PublicKey:
		return "EC"
	case ed25519.PublicKey:
		return "OKP"
	}
	return ""
}

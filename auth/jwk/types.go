package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

const (
	minModulus = 2048 // bits; RFC 7518 section 3.3
	maxModulus = 8192 // bits; above it a verification costs more than milliseconds
	// minExponent is the smallest that FIPS 186-5 section 5.4 allows, an odd number above 2^16.
	minExponent = 1<<16 + 1
	// maxExponentBytes bounds the exponent before it becomes a number; its top bit is looked at afterwards.
	maxExponentBytes = 4
)

// curve is one of RFC 7518 section 6.2.1.1, with the one algorithm that goes with it (section 3.4).
type curve struct {
	name, alg string
	elliptic  elliptic.Curve
}

func curves() []curve {
	return []curve{
		{"P-256", "ES256", elliptic.P256()},
		{"P-384", "ES384", elliptic.P384()},
		{"P-521", "ES512", elliptic.P521()},
	}
}

// size is the length in bytes of a coordinate.
func (c curve) size() int { return (c.elliptic.Params().BitSize + 7) / 8 }

func (m members) rsa() (crypto.PublicKey, []string, error) {
	n, err := m.octets("n")
	if err != nil {
		return nil, nil, err
	}
	e, err := m.octets("e")
	if err != nil {
		return nil, nil, err
	}
	if n[0] == 0 || e[0] == 0 { // section 6.3.1: the minimum number of octets
		return nil, nil, errors.New("jwk: n or e begins with a zero octet")
	}
	modulus := new(big.Int).SetBytes(n)
	if bits := modulus.BitLen(); bits < minModulus || bits > maxModulus {
		return nil, nil, fmt.Errorf("jwk: RSA of less than %d or more than %d bits", minModulus, maxModulus)
	}
	exponent := int64(0)
	if len(e) <= maxExponentBytes {
		for _, b := range e {
			exponent = exponent<<8 | int64(b)
		}
	}
	if exponent < minExponent || exponent >= 1<<31 || exponent%2 == 0 || modulus.Bit(0) == 0 {
		return nil, nil, errors.New("jwk: RSA with an even modulus, or an exponent that is even, below 65537 or above 2^31")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent)}, []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}, nil
}

func (m members) ec() (crypto.PublicKey, []string, error) {
	crv, err := m.text("crv")
	if err != nil {
		return nil, nil, err
	}
	all := curves()
	i := slices.IndexFunc(all, func(c curve) bool { return c.name == crv })
	if i < 0 {
		return nil, nil, fmt.Errorf("%w: another crv than P-256, P-384 and P-521", ErrUnsupported)
	}
	c := all[i]
	x, err := m.octets("x")
	if err != nil {
		return nil, nil, err
	}
	y, err := m.octets("y")
	if err != nil {
		return nil, nil, err
	}
	if len(x) != c.size() || len(y) != c.size() { // section 6.2.1.2: the full length
		return nil, nil, fmt.Errorf("jwk: a coordinate on %s is %d octets long", c.name, c.size())
	}
	public, err := ecdsa.ParseUncompressedPublicKey(c.elliptic, slices.Concat([]byte{4}, x, y)) // SEC 1 section 2.3.3
	if err != nil {
		return nil, nil, fmt.Errorf("jwk: the point is not on %s", c.name)
	}
	return public, []string{c.alg}, nil
}

func (m members) okp() (crypto.PublicKey, []string, error) {
	crv, err := m.text("crv")
	if err != nil {
		return nil, nil, err
	}
	if crv != "Ed25519" {
		return nil, nil, fmt.Errorf("%w: another crv than Ed25519", ErrUnsupported)
	}
	x, err := m.octets("x")
	if err != nil {
		return nil, nil, err
	}
	if len(x) != ed25519.PublicKeySize || !soundPoint(x) {
		return nil, nil, errors.New("jwk: x is no point of Ed25519, or one of small order, for which anyone can sign")
	}
	return ed25519.PublicKey(x), []string{"EdDSA"}, nil
}

// octets gives a member that is at least one byte in base64url without padding (RFC 7515 section 2). The decoder itself
// would skip line ends.
func (m members) octets(name string) ([]byte, error) {
	text, err := m.text(name)
	if err != nil {
		return nil, err
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(decoded) == 0 || base64.RawURLEncoding.EncodedLen(len(decoded)) != len(text) {
		return nil, fmt.Errorf("jwk: %s is not base64url without padding", name)
	}
	return decoded, nil
}

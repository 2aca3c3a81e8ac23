package mint

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/credential"
)

// JWK is the public half of a key (RFC 7517, section 4). It is comparable: two that are equal are the same key.
type JWK struct {
	KeyType   string `json:"kty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
}

// JWKS returns a JWK Set (RFC 7517, section 5).
func JWKS(keys ...JWK) ([]byte, error) {
	if keys == nil {
		keys = []JWK{}
	}
	return json.MarshalIndent(map[string][]JWK{"keys": keys}, "", "  ")
}

// JWK returns the public half of the key of now.
func (m *Minter) JWK(ctx context.Context) (JWK, error) {
	s, err := m.signerOf(ctx)
	if err != nil {
		return JWK{}, err
	}
	return s.jwk, nil
}

// signer is a key that is ready to sign.
type signer struct {
	version credential.Version
	method  jwt.SigningMethod
	private crypto.Signer
	jwk     JWK
}

// signerOf returns the key of now.
func (m *Minter) signerOf(ctx context.Context) (*signer, error) {
	got, err := m.key.Fetch(ctx, credential.Principal{})
	if err != nil {
		return nil, fmt.Errorf("jwt: key: %w", err)
	}
	if last := m.signer.Load(); last != nil && last.version == got.Version {
		return last, nil
	}
	if len(got.Values) != 1 {
		return nil, fmt.Errorf("%w: jwt: key: it is not one text", credential.ErrUnusable)
	}
	s, err := parseKey([]byte(got.Values[0].Reveal()))
	if err != nil {
		return nil, fmt.Errorf("jwt: key: %w", err)
	}
	s.version = got.Version
	if m.cfg.KeyID != "" {
		s.jwk.KeyID = m.cfg.KeyID
	}
	m.signer.Store(s) // of two at once either will do
	return s, nil
}

// parseKey reads a private key in PEM. Its errors quote nothing.
func parseKey(text []byte) (*signer, error) {
	const hint = "write one with: openssl genpkey -algorithm ed25519"
	block, rest := pem.Decode(text)
	for block != nil && !strings.HasSuffix(block.Type, "PRIVATE KEY") && len(rest) > 0 { // openssl writes EC PARAMETERS first
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		return nil, fmt.Errorf("%w: it is no PEM; %s", credential.ErrUnusable, hint)
	}
	var key any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("%w: it is no private key that is not encrypted; %s", credential.ErrUnusable, hint)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: it is no private key; %s", credential.ErrUnusable, hint)
	}
	s := new(signer)
	switch key := key.(type) {
	case ed25519.PrivateKey:
		public, _ := key.Public().(ed25519.PublicKey)
		s.method, s.private = jwt.SigningMethodEdDSA, key
		s.jwk = JWK{KeyType: "OKP", Curve: "Ed25519", X: encode(public)}
	case *ecdsa.PrivateKey:
		if err := s.useECDSA(key); err != nil {
			return nil, err
		}
	case *rsa.PrivateKey:
		if key.N.BitLen() < 2048 {
			return nil, fmt.Errorf("%w: an RSA key needs 2048 bits at least; %s", credential.ErrUnusable, hint)
		}
		s.method, s.private = jwt.SigningMethodRS256, key
		s.jwk = JWK{KeyType: "RSA", N: encode(key.N.Bytes()), E: encode(big.NewInt(int64(key.E)).Bytes())}
	default:
		return nil, fmt.Errorf("%w: it is neither Ed25519 nor ECDSA nor RSA; %s", credential.ErrUnusable, hint)
	}
	s.jwk.Use, s.jwk.Algorithm = "sig", s.method.Alg()
	s.jwk.KeyID = s.jwk.thumbprint()
	return s, nil
}

func (s *signer) useECDSA(key *ecdsa.PrivateKey) error {
	switch key.Curve {
	case elliptic.P256():
		s.method = jwt.SigningMethodES256
	case elliptic.P384():
		s.method = jwt.SigningMethodES384
	default:
		return fmt.Errorf("%w: an ECDSA key has to be on P-256 or P-384", credential.ErrUnusable)
	}
	point, err := key.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		return fmt.Errorf("%w: the ECDSA key is not valid", credential.ErrUnusable)
	}
	half := (len(point) - 1) / 2
	s.private = key
	s.jwk = JWK{KeyType: "EC", Curve: key.Curve.Params().Name, X: encode(point[1 : 1+half]), Y: encode(point[1+half:])}
	return nil
}

// thumbprint is that of RFC 7638, section 3: a digest of the required members, in the order of their names.
func (k JWK) thumbprint() string {
	var text string
	switch k.KeyType {
	case "OKP": // RFC 8037, section 2
		text = fmt.Sprintf(`{"crv":%q,"kty":"OKP","x":%q}`, k.Curve, k.X)
	case "EC":
		text = fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, k.Curve, k.X, k.Y)
	default:
		text = fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, k.E, k.N)
	}
	sum := sha256.Sum256([]byte(text))
	return encode(sum[:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

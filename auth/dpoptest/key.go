// Package dpoptest makes proofs of possession (RFC 9449) for tests: good ones, and proofs that are forged in every way that
// a checker must refuse.
//
// It does not know how a proof is checked or which token it goes with, and nothing outside tests may import it.
package dpoptest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
)

// Key is a caller's key with the one algorithm that it signs with.
type Key struct {
	alg     string
	private crypto.Signer
	jwk     string
}

// New makes a fresh key for an algorithm: ES256, ES384, EdDSA, RS256 or PS256. It panics if there is no such.
func New(alg string) *Key {
	k := &Key{alg: alg}
	var err error
	switch alg {
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	case "RS256", "PS256":
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		panic("dpoptest: no algorithm " + alg)
	}
	if err != nil {
		panic(err)
	}
	k.jwk = jwkOf(k.private.Public())
	return k
}

// jwkOf writes the required members alone, in the order of a thumbprint (RFC 7638 section 3).
func jwkOf(public crypto.PublicKey) string {
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err)
		}
		size := len(point) / 2
		return fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, public.Params().Name, encode(point[1:1+size]), encode(point[1+size:]))
	case *rsa.PublicKey:
		return fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, encode(big.NewInt(int64(public.E)).Bytes()), encode(public.N.Bytes()))
	case ed25519.PublicKey:
		return fmt.Sprintf(`{"crv":"Ed25519","kty":"OKP","x":%q}`, encode(public))
	}
	panic("dpoptest: no such key")
}

// Thumbprint is what the jkt of a token that is bound to the key holds.
func (k *Key) Thumbprint() string { return hash(k.jwk) }

// Public is the public half.
func (k *Key) Public() crypto.PublicKey { return k.private.Public() }

// Header is that of the key's proofs, as JSON.
func (k *Key) Header() string {
	return fmt.Sprintf(`{"typ":"dpop+jwt","alg":%q,"jwk":%s}`, k.alg, k.jwk)
}

// Claims are those of a proof of now with a fresh jti, as JSON. An empty nonce is left out.
func Claims(method, url, token, nonce string) string {
	claims := fmt.Sprintf(`{"jti":%q,"htm":%q,"htu":%q,"iat":%d,"ath":%q`, rand.Text(), method, url, time.Now().Unix(), hash(token))
	if nonce != "" {
		claims += fmt.Sprintf(`,"nonce":%q`, nonce)
	}
	return claims + "}"
}

// Proof makes a proof for one request with a token. Each alter may change header and claims before they are signed.
func (k *Key) Proof(method, url, token, nonce string, alter ...func(header, claims map[string]any)) string {
	header, claims := k.Header(), Claims(method, url, token, nonce)
	if len(alter) == 0 {
		return k.Sign(header, claims)
	}
	var h, c map[string]any
	if err := json.Unmarshal([]byte(header), &h); err != nil {
		panic(err)
	}
	if err := json.Unmarshal([]byte(claims), &c); err != nil {
		panic(err)
	}
	c["iat"] = time.Now().Unix() // whole, where a float would be written with an exponent
	for _, f := range alter {
		f(h, c)
	}
	return k.Sign(marshal(h), marshal(c))
}

func marshal(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// Sign signs any header and claims.
func (k *Key) Sign(header, claims string) string {
	signing := encode([]byte(header)) + "." + encode([]byte(claims))
	signature, err := jwt.GetSigningMethod(k.alg).Sign(signing, k.private)
	if err != nil {
		panic(err)
	}
	return signing + "." + encode(signature)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func hash(s string) string {
	digest := sha256.Sum256([]byte(s))
	return encode(digest[:])
}

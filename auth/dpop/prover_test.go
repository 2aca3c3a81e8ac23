package dpop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/dpop"
)

const (
	target = "https://gw.test/t/acme/wiki"
	token  = "a-token.of~an-agent"
)

// prover makes proofs with one key, and none of the package's own code.
type prover struct {
	alg        string
	jwk        string // the public key
	thumbprint string // RFC 7638
	sign       func(message string) []byte
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func sum(s string) string {
	digest := sha256.Sum256([]byte(s))
	return b64(digest[:])
}

// newProver makes a key for an algorithm of those that are accepted.
func newProver(tb testing.TB, alg string) prover {
	tb.Helper()
	p, err := makeProver(alg)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func makeProver(alg string) (prover, error) {
	switch alg {
	case "ES256", "ES384":
		curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384()}[alg]
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			return prover{}, err
		}
		return ecProver(alg, key)
	case "EdDSA":
		public, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return prover{}, err
		}
		jwk := `{"crv":"Ed25519","kty":"OKP","x":"` + b64(public) + `"}` // in the order of RFC 7638 section 3
		return prover{alg, jwk, sum(jwk), func(s string) []byte { return ed25519.Sign(key, []byte(s)) }}, nil
	case "RS256", "PS256":
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return prover{}, err
		}
		return rsaProver(alg, key), nil
	}
	return prover{}, errors.New("no such algorithm")
}

func ecProver(alg string, key *ecdsa.PrivateKey) (prover, error) {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return prover{}, err
	}
	size := len(point) / 2
	jwk := fmt.Sprintf(`{"crv":%q,"kty":"EC","x":%q,"y":%q}`, key.Params().Name, b64(point[1:1+size]), b64(point[1+size:]))
	return prover{alg, jwk, sum(jwk), func(s string) []byte {
		var digest []byte
		if alg == "ES256" {
			d := sha256.Sum256([]byte(s))
			digest = d[:]
		} else {
			d := sha512.Sum384([]byte(s))
			digest = d[:]
		}
		r, t, err := ecdsa.Sign(rand.Reader, key, digest)
		if err != nil {
			panic(err)
		}
		return append(r.FillBytes(make([]byte, size)), t.FillBytes(make([]byte, size))...)
	}}, nil
}

func rsaProver(alg string, key *rsa.PrivateKey) prover {
	jwk := fmt.Sprintf(`{"e":%q,"kty":"RSA","n":%q}`, b64(big.NewInt(int64(key.E)).Bytes()), b64(key.N.Bytes()))
	return prover{alg, jwk, sum(jwk), func(s string) []byte {
		digest := sha256.Sum256([]byte(s))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
		if alg == "PS256" {
			signature, err = rsa.SignPSS(rand.Reader, key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		}
		if err != nil {
			panic(err)
		}
		return signature
	}}
}

func (p prover) header() string {
	return fmt.Sprintf(`{"typ":"dpop+jwt","alg":%q,"jwk":%s}`, p.alg, p.jwk)
}

// forge signs whatever it is given.
func (p prover) forge(header, claims string) string {
	signing := b64([]byte(header)) + "." + b64([]byte(claims))
	return signing + "." + b64(p.sign(signing))
}

// claims gives those of a good proof of now, with an ID of its own.
func claims() string { return claimsAt(time.Now()) }

func claimsAt(at time.Time) string {
	return fmt.Sprintf(`{"jti":%q,"htm":"POST","htu":%q,"iat":%d,"ath":%q}`, rand.Text(), target, at.Unix(), sum(token))
}

// with adds a claim.
func with(claims, more string) string { return strings.TrimSuffix(claims, "}") + "," + more + "}" }

// request is one whose proof this is.
func request(proof string) auth.Presented {
	return auth.Presented{Token: token, DPoP: true, Proof: proof, Target: auth.Target{Method: "POST", URL: target}}
}

func key() []byte { return []byte("0123456789abcdef0123456789abcdef") }

func newChecker(tb testing.TB, edit ...func(*dpop.Config)) *dpop.Checker {
	tb.Helper()
	cfg := dpop.Config{Key: key()}
	for _, f := range edit {
		f(&cfg)
	}
	c, err := dpop.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func nonced(cfg *dpop.Config) { cfg.Nonce = true }

package dpoptest_test

import (
	"errors"
	"strings"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/dpop"
	"sallyport.dev/auth/dpoptest"
	"sallyport.dev/auth/jwk"
)

const (
	method = "POST"
	target = "https://gw.example.test/t/acme/wiki"
	token  = "a-token.that_is~bound"
)

func present(proof string) auth.Presented {
	return auth.Presented{Token: token, DPoP: true, Proof: proof, Target: auth.Target{Method: method, URL: target}}
}

func newChecker(t *testing.T, nonce bool) *dpop.Checker {
	t.Helper()
	c, err := dpop.New(dpop.Config{Key: []byte("0123456789abcdef0123456789abcdef"), Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestForgeriesAreRefused forges with a key of each algorithm, for a checker that wants nonces and one that does not. Each
// forgery differs from a proof that is accepted, in one point.
func TestForgeriesAreRefused(t *testing.T) {
	c := newChecker(t, false)
	for _, alg := range c.Algorithms() {
		key := dpoptest.New(alg)
		for name, c := range map[string]*dpop.Checker{alg: c, alg + " with nonces": newChecker(t, true)} {
			t.Run(name, func(t *testing.T) {
				for _, f := range key.Forgeries(method, target, token, c.Nonce()) {
					err := c.Check(present(f.Proof), key.Thumbprint())
					var nonce *auth.NonceError
					switch {
					case !errors.Is(err, auth.ErrProof) && !errors.Is(err, auth.ErrMalformed):
						t.Errorf("%s: got %v", f.Name, err)
					case errors.As(err, &nonce):
						t.Errorf("%s: refused for its nonce, which is good", f.Name)
					case strings.Contains(err.Error(), "example.test") || strings.Contains(err.Error(), token):
						t.Errorf("%s: the error shows the proof: %v", f.Name, err)
					}
				}
				if err := c.Check(present(key.Proof(method, target, token, c.Nonce())), key.Thumbprint()); err != nil {
					t.Errorf("the proof that they differ from: %v", err)
				}
			})
		}
	}
}

func TestURLsWithPorts(t *testing.T) {
	c, key := newChecker(t, false), dpoptest.New("EdDSA")
	for _, url := range []string{"http://127.0.0.1:8080/t/acme/wiki", "http://[::1]:8080/t/acme/wiki", "https://wiki--acme.gw.example.test/mcp"} {
		p := present("")
		p.URL = url
		for _, f := range key.Forgeries(method, url, token, "") {
			p.Proof = f.Proof
			if err := c.Check(p, key.Thumbprint()); !errors.Is(err, auth.ErrProof) && !errors.Is(err, auth.ErrMalformed) {
				t.Errorf("%s: %s: got %v", url, f.Name, err)
			}
		}
		p.Proof = key.Proof(method, url, token, "")
		if err := c.Check(p, key.Thumbprint()); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAlterations(t *testing.T) {
	c, key := newChecker(t, false), dpoptest.New("ES256")
	same := func(_, claims map[string]any) { claims["jti"] = "a-jti" }
	for i, want := range []error{nil, auth.ErrProof} {
		if err := c.Check(present(key.Proof(method, target, token, "", same)), key.Thumbprint()); !errors.Is(err, want) {
			t.Errorf("use %d of a jti: got %v, want %v", i+1, err, want)
		}
	}
	other := dpoptest.New("ES256")
	if err := c.Check(present(other.Proof(method, target, token, "", same)), other.Thumbprint()); err != nil {
		t.Errorf("the same jti with another key: %v", err)
	}
}

func TestThumbprint(t *testing.T) {
	for _, alg := range newChecker(t, false).Algorithms() {
		key := dpoptest.New(alg)
		if got := (jwk.Key{Public: key.Public()}).Thumbprint(); got != key.Thumbprint() {
			t.Errorf("%s: got %s, want %s", alg, key.Thumbprint(), got)
		}
	}
}

func TestUnknownAlgorithm(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a key for no algorithm")
		}
	}()
	dpoptest.New("HS256")
}

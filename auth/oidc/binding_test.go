package oidc_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/oidc"
)

// proofs stands for DPoP: the text of the proof is the thumbprint of the key that is proved.
type proofs struct{}

func (proofs) Check(p auth.Presented, thumbprint string) error {
	if p.Proof == "unreadable" {
		return fmt.Errorf("%w: not a proof", auth.ErrMalformed)
	}
	if p.Proof != thumbprint || p.Token == "" || p.URL != resource {
		return fmt.Errorf("%w: not that key", auth.ErrProof)
	}
	return nil
}

func TestBinding(t *testing.T) {
	leaf := &x509.Certificate{Raw: []byte("the leaf, as DER")}
	other := &x509.Certificate{Raw: []byte("another one")}
	sum := sha256.Sum256(leaf.Raw)
	fingerprint := base64.RawURLEncoding.EncodeToString(sum[:])
	key := map[string]any{"jkt": thumbprint}
	certificate := map[string]any{"x5t#S256": fingerprint}
	both := map[string]any{"jkt": thumbprint, "x5t#S256": fingerprint}
	bearer := func(certificates ...*x509.Certificate) auth.Presented {
		return auth.Presented{Certificates: certificates}
	}
	dpop := func(proof string, certificates ...*x509.Certificate) auth.Presented {
		return auth.Presented{DPoP: true, Proof: proof, Certificates: certificates}
	}
	for _, test := range []struct {
		name  string
		cnf   any
		p     auth.Presented
		proof string
		none  bool // no checker of proofs
		want  error
	}{
		{name: "not bound, bearer", p: bearer()},
		{name: "not bound, bearer, with a proof of DPoP", p: auth.Presented{Proof: thumbprint}},
		{name: "not bound, with a certificate", p: bearer(leaf)},
		{name: "not bound, scheme DPoP", p: dpop(thumbprint), want: auth.ErrProof},
		{name: "not bound, scheme DPoP, no checker", p: dpop(thumbprint), none: true, want: auth.ErrProof},

		{name: "key, proved", cnf: key, p: dpop(thumbprint)},
		{name: "key, another's proof", cnf: key, p: dpop("another"), want: auth.ErrProof},
		{name: "key, a proof that cannot be read", cnf: key, p: dpop("unreadable"), want: auth.ErrProof},
		{name: "key, no proof", cnf: key, p: dpop(""), want: auth.ErrProof},
		{name: "key, scheme bearer", cnf: key, p: bearer(), want: auth.ErrProof},
		{name: "key, scheme bearer and a proof", cnf: key, p: auth.Presented{Proof: thumbprint}, want: auth.ErrProof},
		{name: "key, certificate in place of a proof", cnf: key, p: bearer(leaf), want: auth.ErrProof},
		{name: "key, no checker", cnf: key, p: dpop(thumbprint), none: true, want: auth.ErrProof},
		{name: "key, no checker, scheme bearer", cnf: key, p: bearer(), none: true, want: auth.ErrProof},

		{name: "certificate, the right one", cnf: certificate, p: bearer(leaf)},
		{name: "certificate, the right one and a CA", cnf: certificate, p: bearer(leaf, other)},
		{name: "certificate, no checker of proofs", cnf: certificate, p: bearer(leaf), none: true},
		{name: "certificate, another", cnf: certificate, p: bearer(other), want: auth.ErrProof},
		{name: "certificate, not as the leaf", cnf: certificate, p: bearer(other, leaf), want: auth.ErrProof},
		{name: "certificate, none", cnf: certificate, p: bearer(), want: auth.ErrProof},
		{name: "certificate, scheme DPoP", cnf: certificate, p: dpop(thumbprint, leaf), want: auth.ErrProof},

		{name: "both, proved", cnf: both, p: dpop(thumbprint, leaf)},
		{name: "both, key alone", cnf: both, p: dpop(thumbprint), want: auth.ErrProof},
		{name: "both, certificate alone", cnf: both, p: bearer(leaf), want: auth.ErrProof},

		{name: "bound to nothing", cnf: map[string]any{}, p: bearer(leaf), want: auth.ErrProof},
		{name: "bound by kid", cnf: map[string]any{"kid": "a"}, p: bearer(leaf), want: auth.ErrProof},
		{name: "bound by jwk as well", cnf: map[string]any{"jkt": thumbprint, "jwk": map[string]any{}}, p: dpop(thumbprint), want: auth.ErrProof},
		{name: "jkt in another case", cnf: map[string]any{"JKT": thumbprint}, p: bearer(), want: auth.ErrProof},
		{name: "jkt too short", cnf: map[string]any{"jkt": "AA"}, p: dpop("AA"), want: auth.ErrInvalid},
		{name: "jkt padded", cnf: map[string]any{"jkt": thumbprint + "="}, p: dpop(thumbprint + "="), want: auth.ErrInvalid},
		{name: "jkt with a line end", cnf: map[string]any{"jkt": thumbprint + "\n"}, p: dpop(thumbprint + "\n"), want: auth.ErrInvalid},
		{name: "jkt empty", cnf: map[string]any{"jkt": ""}, p: dpop(""), want: auth.ErrInvalid},
		{name: "jkt a list", cnf: map[string]any{"jkt": []string{thumbprint}}, p: dpop(thumbprint), want: auth.ErrInvalid},
		{name: "x5t#S256 empty, no certificate", cnf: map[string]any{"x5t#S256": ""}, p: bearer(), want: auth.ErrInvalid},
		{name: "x5t#S256 of SHA-1", cnf: map[string]any{"x5t#S256": "2jmj7l5rSw0yVb_vlWAYkK_YBwk"}, p: bearer(leaf), want: auth.ErrInvalid},

		{name: "dpop required, key proved", proof: "dpop", cnf: key, p: dpop(thumbprint)},
		{name: "dpop required, not bound", proof: "dpop", p: bearer(), want: auth.ErrProof},
		{name: "dpop required, not bound, scheme DPoP", proof: "dpop", p: dpop(thumbprint), want: auth.ErrProof},
		{name: "dpop required, certificate", proof: "dpop", cnf: certificate, p: bearer(leaf), want: auth.ErrProof},
		{name: "dpop required, both", proof: "dpop", cnf: both, p: dpop(thumbprint, leaf)},
		{name: "certificate required, the right one", proof: "certificate", cnf: certificate, p: bearer(leaf)},
		{name: "certificate required, not bound", proof: "certificate", p: bearer(leaf), want: auth.ErrProof},
		{name: "certificate required, key", proof: "certificate", cnf: key, p: dpop(thumbprint, leaf), want: auth.ErrProof},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := oidc.Options{Proofs: proofs{}}
			if test.none {
				o.Proofs = nil
			}
			f := newFixture(t, func(c *oidc.Config) { c.Proof = test.proof }, o)
			p := test.p
			p.Token, p.Target = f.idp.Issue(map[string]any{"cnf": test.cnf}), call("").Target
			for range 2 { // the second time from the cache
				f.expect(t, p, test.want)
			}
			// An opaque token is bound by what the issuer answers.
			f = newFixture(t, func(c *oidc.Config) {
				introspecting(t)(c)
				c.Proof = test.proof
			}, o)
			p.Token = "opaque"
			answer := answers(t, f, nil)
			if test.cnf != nil {
				answer["cnf"] = test.cnf
			}
			f.idp.Opaque(p.Token, answer)
			want := test.want
			if errors.Is(want, auth.ErrInvalid) { // an answer that makes no sense is none
				want = auth.ErrUnavailable
			}
			f.expect(t, p, want)
		})
	}
}

// TestForwardedBinding: at a connector nobody can prove anything, and nothing is asked.
func TestForwardedBinding(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) { c.Proof = "dpop" }, oidc.Options{Forwarded: true})
	for _, cnf := range []any{nil, map[string]any{"jkt": thumbprint}, map[string]any{"x5t#S256": thumbprint}, map[string]any{"kid": "a"}} {
		f.expect(t, call(f.idp.Issue(map[string]any{"cnf": cnf})), nil)
	}
	f.expect(t, call(f.idp.Issue(map[string]any{"cnf": "x"})), auth.ErrInvalid)
}

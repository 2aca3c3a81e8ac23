package oidc_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/address"
	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/secret"
)

const (
	resource = "https://tunnel.example.com/t/acme/wiki/mcp"
	// secretive marks what no error may quote.
	secretive = "canary-7f3a"
	// good is the header of a genuine token by the key of ES256.
	good = `{"alg":"ES256","typ":"at+jwt","kid":"es256-0"}`
)

// fixture is a verifier with one issuer, in memory.
type fixture struct {
	*oidc.Verifier
	idp *providertest.Server
	// asked counts how often the provider was asked for keys, or about a token.
	asked *atomic.Int64
}

// newFixture lets configure alter what the issuer may do; nil leaves it.
func newFixture(tb testing.TB, configure func(*oidc.Config), o oidc.Options) fixture {
	tb.Helper()
	return newFixtureBy(tb, func(p oidc.Provider) oidc.Provider { return p }, configure, o)
}

// newFixtureBy also puts something between the verifier and the provider.
func newFixtureBy(tb testing.TB, wrap func(oidc.Provider) oidc.Provider, configure func(*oidc.Config), o oidc.Options) fixture {
	tb.Helper()
	idp := providertest.New(tb, providertest.Options{Memory: true, Audience: resource})
	c := oidc.Config{Issuer: idp.Issuer(), Tunnels: []string{"acme"}}
	if o.Forwarded {
		c.Tunnels = nil
	}
	if configure != nil {
		configure(&c)
	}
	f := fixture{idp: idp, asked: new(atomic.Int64)}
	v, err := oidc.NewReaching([]oidc.Config{c}, o, func(c oidc.Config) (oidc.Provider, error) {
		p, err := reachInMemory(c, idp)
		return counting{wrap(p), f.asked}, err
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(v.Close)
	f.Verifier = v
	return f
}

func reachInMemory(c oidc.Config, idp *providertest.Server) (*provider.Provider, error) {
	allowed, err := address.ParsePublic(nil)
	if err != nil {
		return nil, err
	}
	made := provider.Config{Issuer: c.Issuer, Roots: idp.Roots(), Dial: idp.Dial, Allowed: allowed}
	if c.Introspection != nil {
		made.Introspection = &provider.Introspection{ClientID: c.Introspection.ClientID, Secret: secret.New(providertest.ClientSecret)}
	}
	return provider.New(made)
}

type counting struct {
	oidc.Provider
	asked *atomic.Int64
}

func (c counting) Keys(ctx context.Context, kid, alg string) ([]jwk.Key, error) {
	c.asked.Add(1)
	return c.Provider.Keys(ctx, kid, alg)
}

func (c counting) Introspect(ctx context.Context, token string) ([]byte, error) {
	c.asked.Add(1)
	return c.Provider.Introspect(ctx, token)
}

// introspecting lets the issuer be asked about opaque tokens.
func introspecting(tb testing.TB) func(*oidc.Config) {
	ref, err := secret.ParseRef("env:OIDC_TEST_SECRET") // not resolved: the fixture has it
	if err != nil {
		tb.Fatal(err)
	}
	return func(c *oidc.Config) {
		c.Introspection = &oidc.Introspection{ClientID: providertest.ClientID, ClientSecret: ref}
	}
}

// call is a call to the wiki of acme.
func call(token string) auth.Presented {
	return auth.Presented{Token: token, Target: auth.Target{Tunnel: "acme", Server: "wiki", Resource: resource, Method: "POST", URL: resource}}
}

// expect verifies a call, and checks the sentinel, that nothing is given with an error, and that the error quotes nothing.
func (f fixture) expect(t *testing.T, p auth.Presented, want error) auth.Principal {
	t.Helper()
	got, err := f.Verify(t.Context(), p)
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("got %v, want %v", err, want)
	}
	if err == nil {
		if got.Issuer != f.idp.Issuer() || got.Subject == "" || got.Expiry.IsZero() {
			t.Errorf("the principal is %v until %v", got, got.Expiry)
		}
		return got
	}
	if got.Subject != "" || got.Claims != nil || got.May(p.Tunnel, p.Server) {
		t.Errorf("%v is given with the error %v", got, err)
	}
	if strings.Contains(err.Error(), secretive) || len(p.Token) > 0 && strings.Contains(err.Error(), p.Token) {
		t.Errorf("the error quotes what was sent: %v", err)
	}
	return got
}

// with adds members to an object.
func with(object, more string) string { return strings.TrimSuffix(object, "}") + "," + more + "}" }

// replace changes a part that must be there.
func replace(t *testing.T, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("there is no %s in %s", old, text)
	}
	return strings.Replace(text, old, new, 1)
}

// thumbprint is one of somebody's key.
const thumbprint = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

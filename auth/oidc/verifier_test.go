package oidc_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
)

func TestPrincipal(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) { c.Tunnels, c.Servers = []string{"acme", "other"}, []string{"wiki"} }, oidc.Options{})
	got := f.expect(t, call(f.idp.Issue(map[string]any{
		"sub": "somebody", "groups": []string{"a", "b"}, "nbf": 1, "scope": "a b", "cnf": nil, "deep": map[string]any{"x": []any{1.5, nil, true}},
	})), nil)
	if got.Issuer != f.idp.Issuer() || got.Subject != "somebody" {
		t.Errorf("it is %v", got)
	}
	if names := slices.Sorted(maps.Keys(got.Claims)); !slices.Equal(names, []string{"aud", "client_id", "deep", "groups", "iss", "jti", "scope", "sub"}) {
		t.Errorf("it has the claims %v", names)
	}
	if !got.May("acme", "wiki") || !got.May("other", "wiki") || got.May("acme", "crm") || got.May("third", "wiki") {
		t.Errorf("it is granted %v", got.Grant)
	}
}

// TestGrantIsJudgedByOthers: an issuer that does not speak for a tunnel gives a principal without a grant for it, whatever
// is required there, so that the caller can answer as it does for a tunnel that does not exist.
func TestGrantIsJudgedByOthers(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) {
		c.Servers = []string{"wiki"}
		c.Require = map[string]oidc.Requirement{"*": {Scopes: []string{"mcp"}}}
	}, oidc.Options{})
	token := f.idp.Issue(map[string]any{"aud": []string{resource}})
	f.expect(t, call(token), auth.ErrInsufficient)
	for _, at := range [][2]string{{"other", "wiki"}, {"acme", "crm"}, {"", "wiki"}, {"acme", ""}, {"*", "*"}} {
		p := call(token)
		p.Tunnel, p.Server = at[0], at[1]
		if got := f.expect(t, p, nil); got.May(at[0], at[1]) {
			t.Errorf("%q is granted %v", at, got.Grant)
		}
		p.Resource = "https://tunnel.example.com/t/other/wiki/mcp"
		f.expect(t, p, auth.ErrInvalid) // the audience is judged first, and tells nothing of tunnels
	}
}

// TestForwardedGrant: at a connector nobody judges the grant later.
func TestForwardedGrant(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) { c.Servers = []string{"wiki"} }, oidc.Options{Forwarded: true})
	token := f.idp.Issue(nil)
	f.expect(t, call(token), nil)
	for _, at := range [][2]string{{"acme", "crm"}, {"", "wiki"}, {"acme", ""}} {
		p := call(token)
		p.Tunnel, p.Server = at[0], at[1]
		f.expect(t, p, auth.ErrInvalid)
	}
}

func TestRequirements(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) {
		c.Tunnels = []string{"acme", "other"}
		c.Require = map[string]oidc.Requirement{
			"*":         {Scopes: []string{"mcp"}},
			"wiki":      {Scopes: []string{"wiki.read"}, Claims: map[string]string{"groups": "wiki-users"}},
			"acme/wiki": {Scopes: []string{"acme", "mcp"}},
			"acme/*":    {Claims: map[string]string{"email_verified": "true"}},
		}
	}, oidc.Options{})
	all := map[string]any{"scope": "acme mcp  wiki.read more", "groups": []string{"x", "wiki-users"}, "email_verified": true}
	for _, test := range []struct {
		name   string
		change map[string]any
		scopes []string // those of the challenge
		ok     bool
	}{
		{name: "all", ok: true},
		{name: "the claim is a text", change: map[string]any{"groups": "wiki-users"}, ok: true},
		{name: "scp as a text", change: map[string]any{"scope": nil, "scp": "acme mcp wiki.read"}, ok: true},
		{name: "scp as a list", change: map[string]any{"scope": nil, "scp": []string{"acme", "mcp", "wiki.read"}}, ok: true},
		{name: "a flag as a text", change: map[string]any{"email_verified": "true"}, ok: true},
		{name: "no scope", change: map[string]any{"scope": nil}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "scope empty beside scp", change: map[string]any{"scope": "", "scp": "acme mcp wiki.read"}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "the scope of all is missing", change: map[string]any{"scope": "acme wiki.read"}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "the server's scope is missing", change: map[string]any{"scope": "acme mcp"}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "a scope in another case", change: map[string]any{"scope": "acme mcp Wiki.read"}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "a scope within another", change: map[string]any{"scope": "acme mcp wiki.readwrite"}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "scopes by tabs", change: map[string]any{"scope": "acme\tmcp\twiki.read"}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "scp as a list of one", change: map[string]any{"scope": nil, "scp": []string{"acme mcp wiki.read"}}, scopes: []string{"mcp", "wiki.read", "acme"}},
		{name: "a claim is missing", change: map[string]any{"groups": nil}},
		{name: "a claim is another", change: map[string]any{"groups": "wiki"}},
		{name: "a claim is a list without it", change: map[string]any{"groups": []string{"wiki", "users"}}},
		{name: "a claim is in a list of lists", change: map[string]any{"groups": []any{[]string{"wiki-users"}}}},
		{name: "a claim is an object", change: map[string]any{"groups": map[string]any{"wiki-users": true}}},
		{name: "a claim in another case", change: map[string]any{"groups": nil, "Groups": "wiki-users"}},
		{name: "a flag that is false", change: map[string]any{"email_verified": false}},
		{name: "a flag that is a number", change: map[string]any{"email_verified": 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			claims := maps.Clone(all)
			maps.Copy(claims, test.change)
			token := f.idp.Issue(claims)
			if test.ok {
				f.expect(t, call(token), nil)
				return
			}
			f.expect(t, call(token), auth.ErrInsufficient)
			_, err := f.Verify(t.Context(), call(token))
			var insufficient *auth.InsufficientError
			if errors.As(err, &insufficient) != (test.scopes != nil) {
				t.Fatalf("got %v", err)
			}
			if insufficient != nil && !slices.Equal(insufficient.Scopes, test.scopes) {
				t.Errorf("the challenge has %v, want %v", insufficient.Scopes, test.scopes)
			}
		})
	}
	for _, test := range []struct {
		tunnel, server, scope string
		want                  error
	}{
		{"other", "wiki", "mcp wiki.read", nil},
		{"other", "crm", "mcp", nil},
		{"other", "crm", "wiki.read", auth.ErrInsufficient},
		{"acme", "crm", "mcp", auth.ErrInsufficient}, // for the flag
	} {
		p := call(f.idp.Issue(map[string]any{"scope": test.scope, "groups": "wiki-users"}))
		p.Tunnel, p.Server = test.tunnel, test.server
		f.expect(t, p, test.want)
	}
}

// TestAudiences: names in place of URLs, for each of which a server must require something.
func TestAudiences(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) {
		c.Audiences = []string{"api://mcp", "api://old"}
		c.Require = map[string]oidc.Requirement{"*": {Scopes: []string{"mcp"}}}
	}, oidc.Options{})
	for _, test := range []struct {
		name     string
		audience any
		want     error
	}{
		{"one", "api://mcp", nil},
		{"the other", []string{"api://old"}, nil},
		{"both", []string{"api://old", "api://mcp"}, nil},
		{"with the URL", []string{resource, "api://mcp"}, nil},
		{"the URL alone", resource, auth.ErrInvalid},
		{"another's", "api://other", auth.ErrInvalid},
		{"with another's", []string{"api://mcp", "api://other"}, auth.ErrInvalid},
		{"in another case", "API://mcp", auth.ErrInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			f.expect(t, call(f.idp.Issue(map[string]any{"aud": test.audience, "scope": "mcp"})), test.want)
		})
	}
	f.expect(t, call(f.idp.Issue(map[string]any{"aud": "api://mcp"})), auth.ErrInsufficient)

	f = newFixture(t, func(c *oidc.Config) { c.ExtraAudiences = true }, oidc.Options{})
	f.expect(t, call(f.idp.Issue(map[string]any{"aud": []string{"account", resource}})), nil)
	f.expect(t, call(f.idp.Issue(map[string]any{"aud": []string{"account"}})), auth.ErrInvalid)
	p := call(f.idp.Issue(map[string]any{"aud": []string{"account", resource}}))
	p.Resource = ""
	f.expect(t, p, auth.ErrInvalid)
}

// TestRememberedTokenIsJudgedAnew for each call: its audience, what is required, and its binding.
func TestRememberedTokenIsJudgedAnew(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) {
		c.ExtraAudiences = true
		c.Require = map[string]oidc.Requirement{"crm": {Scopes: []string{"crm"}}}
	}, oidc.Options{Proofs: proofs{}})
	crm := strings.Replace(resource, "wiki", "crm", 1)
	token := f.idp.Issue(map[string]any{"aud": []string{resource, crm}, "cnf": map[string]any{"jkt": thumbprint}})
	p := call(token)
	p.DPoP, p.Proof = true, thumbprint
	for range 3 {
		f.expect(t, p, nil)
		other := p
		other.Resource = strings.Replace(resource, "wiki", "third", 1)
		f.expect(t, other, auth.ErrInvalid)
		other = p
		other.Server, other.Resource = "crm", crm
		f.expect(t, other, auth.ErrInsufficient)
		other = p
		other.Proof = ""
		f.expect(t, other, auth.ErrProof)
	}
	if n := f.asked.Load(); n != 1 {
		t.Errorf("keys were asked for %d times", n)
	}
}

func TestKnows(t *testing.T) {
	f := newFixture(t, introspecting(t), oidc.Options{})
	genuine := f.idp.Issue(nil)
	foreign := f.idp.Issue(map[string]any{"iss": "https://other.example"})
	f.idp.Opaque("opaque", answers(t, f, nil))
	for round := range 2 { // before and after they are remembered
		for token, want := range map[string]bool{
			genuine: true, f.idp.Sign(good, f.idp.Claims(nil), "stranger ES256"): true, foreign: false, "opaque": false, "": false, "..": false,
			genuine + "=": false, genuine + ".": false, strings.Repeat("e", 8<<10+1): false,
			f.idp.Sign(good, with(f.idp.Claims(nil), `"iss":"x"`), "ES256"): false,
		} {
			if got := f.Knows(token); got != want {
				t.Errorf("round %d: %.40q… is known: %v", round, token, got)
			}
		}
		f.expect(t, call(genuine), nil)
		f.expect(t, call(foreign), auth.ErrInvalid)
		f.expect(t, call("opaque"), nil)
	}
	if !f.TakesOpaque() || newFixture(t, nil, oidc.Options{}).TakesOpaque() {
		t.Error("TakesOpaque is wrong")
	}
}

func TestAdvertise(t *testing.T) {
	idp := providertest.New(t, providertest.Options{Memory: true})
	v, err := oidc.NewReaching([]oidc.Config{
		{Issuer: "https://a.example", Tunnels: []string{"acme"}, Proof: "dpop", Require: map[string]oidc.Requirement{
			"*": {Scopes: []string{"mcp"}}, "wiki": {Scopes: []string{"wiki.read", "mcp"}}, "acme/crm": {Scopes: []string{"crm"}},
		}},
		{Issuer: "https://b.example", Tunnels: []string{"*"}, Servers: []string{"wiki"}, Proof: "certificate", Require: map[string]oidc.Requirement{
			"wiki": {Scopes: []string{"b"}},
		}},
	}, oidc.Options{}, func(c oidc.Config) (oidc.Provider, error) { return reachInMemory(c, idp) })
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for tunnel, want := range map[string]oidc.Advertised{
		"acme":  {Issuers: []string{"https://a.example", "https://b.example"}, Scopes: []string{"crm", "mcp", "wiki.read", "b"}, BaseScopes: []string{"mcp"}},
		"other": {Issuers: []string{"https://b.example"}, Scopes: []string{"b"}},
	} {
		got := v.Advertise(tunnel)
		if !slices.Equal(got.Issuers, want.Issuers) || !slices.Equal(got.Scopes, want.Scopes) || !slices.Equal(got.BaseScopes, want.BaseScopes) || got.ProofRequired != want.ProofRequired {
			t.Errorf("%s: got %+v, want %+v", tunnel, got, want)
		}
	}
}

// TestConcurrently is for the race detector: tokens known and unknown, of both kinds, by many at a time.
func TestConcurrently(t *testing.T) {
	f := newFixture(t, introspecting(t), oidc.Options{})
	f.idp.Opaque("opaque", answers(t, f, nil))
	tokens := []string{f.idp.Issue(nil), f.idp.Issue(nil, providertest.By("EdDSA")), "opaque", f.idp.Issue(nil, providertest.Head("kid", nil))}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				f.expect(t, call(tokens[(i+j)%len(tokens)]), nil)
				f.expect(t, call(f.idp.Sign(good, f.idp.Claims(nil), "stranger ES256")), auth.ErrInvalid)
				f.Knows(tokens[j%len(tokens)])
				f.Issuers()
			}
		})
	}
	wg.Wait()
}

package oidc_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/config"
)

// file is a configuration as a role has it.
type file struct {
	Issuers []oidc.Config `yaml:"issuers"`
}

func (f *file) Validate() error { return oidc.Validate(f.Issuers, false) }

const everything = `
issuers:
  - issuer: https://idp.example.com/realms/a
    tunnels: [acme, other]
    servers: [wiki, crm]
    audiences: ["api://mcp"]
    extra_audiences: true
    require:
      wiki: { scopes: [wiki.read], claims: { groups: wiki-users, email_verified: "true" } }
      acme/crm: { scopes: [crm] }
      other/*: { claims: { tenant: other } }
    clients: [agent]
    types: [at+jwt, JWT]
    algorithms: [ES256, EdDSA]
    leeway: 10s
    jwks_url: https://keys.example.com/a
    ca_file: /etc/ca.pem
    allowed_ips: [10.0.0.0/8]
    proof: dpop
    introspection: { client_id: gateway, client_secret: "env:X", url: "https://idp.example.com/introspect" }
  - issuer: http://127.0.0.1:8080
    tunnels: ["*"]
    allowed_ips: [127.0.0.1]
`

func TestConfig(t *testing.T) {
	var f file
	if err := config.Decode("gateway.yaml", []byte(everything), &f); err != nil {
		t.Fatal(err)
	}
	c := f.Issuers[1]
	if !slices.Equal(c.Servers, []string{"*"}) || !slices.Equal(c.Types, []string{"at+jwt"}) || len(c.Algorithms) != 10 || c.Leeway != 30*time.Second || c.Proof != "optional" {
		t.Errorf("the defaults are %+v", c)
	}
	if f.Issuers[0].Leeway != 10*time.Second || f.Issuers[0].Require["wiki"].Claims["groups"] != "wiki-users" {
		t.Errorf("read as %+v", f.Issuers[0])
	}
}

func TestBadConfigs(t *testing.T) {
	base := oidc.Config{Issuer: "https://idp.example.com", Tunnels: []string{"acme"}}
	required := map[string]oidc.Requirement{"*": {Scopes: []string{"a"}}}
	for _, test := range []struct {
		name      string
		change    func(c *oidc.Config)
		forwarded bool
		says      []string
	}{
		{"no issuer", func(c *oidc.Config) { c.Issuer = "" }, false, []string{"number 1: issuer: write the provider's URL"}},
		{"no URL", func(c *oidc.Config) { c.Issuer = "idp" }, false, []string{"write an absolute URL"}},
		{"a space", func(c *oidc.Config) { c.Issuer += "/a b" }, false, []string{"write an absolute URL"}},
		{"http", func(c *oidc.Config) { c.Issuer = "http://idp.example.com" }, false, []string{"http is for loopback only"}},
		{"another scheme", func(c *oidc.Config) { c.Issuer = "ftp://idp.example.com" }, false, []string{"the scheme must be https"}},
		{"a user", func(c *oidc.Config) { c.Issuer = "https://u:" + secretive + "@idp.example.com" }, false, []string{"take the user"}},
		{"a query", func(c *oidc.Config) { c.Issuer += "/?a=b" }, false, []string{"no query"}},
		{"a fragment", func(c *oidc.Config) { c.Issuer += "/#a" }, false, []string{"no query and no fragment"}},
		{"a private address", func(c *oidc.Config) { c.Issuer = "https://10.0.0.1" }, false, []string{"add it to allowed_ips"}},
		{"loopback not allowed", func(c *oidc.Config) { c.Issuer = "http://127.0.0.1" }, false, []string{"add it to allowed_ips"}},
		{"no tunnels", func(c *oidc.Config) { c.Tunnels = nil }, false, []string{"tunnels: name the tunnels"}},
		{"tunnels at a connector", func(*oidc.Config) {}, true, []string{"tunnels: leave it out"}},
		{"an empty tunnel", func(c *oidc.Config) { c.Tunnels = []string{""} }, false, []string{"tunnels: one is no name"}},
		{"a pattern", func(c *oidc.Config) { c.Servers = []string{"wiki*"} }, false, []string{"servers: one is no name"}},
		{"an empty audience", func(c *oidc.Config) { c.Audiences, c.Require = []string{""}, required }, false, []string{"audiences: one is empty"}},
		{"17 audiences", func(c *oidc.Config) { c.Audiences, c.Require = slices.Repeat([]string{"a"}, 17), required }, false, []string{"at most 16"}},
		{"audiences without requirements", func(c *oidc.Config) { c.Audiences = []string{"a"} }, false, []string{`"*" does not`}},
		{"audiences, one server without", func(c *oidc.Config) {
			c.Audiences, c.Servers, c.Require = []string{"a"}, []string{"wiki", "crm"}, map[string]oidc.Requirement{"wiki": {Scopes: []string{"a"}}}
		}, false, []string{`"crm" does not`}},
		{"audiences, one tunnel without", func(c *oidc.Config) {
			c.Audiences, c.Tunnels, c.Servers = []string{"a"}, []string{"acme", "other"}, []string{"wiki"}
			c.Require = map[string]oidc.Requirement{"acme/wiki": {Scopes: []string{"a"}}}
		}, false, []string{`"wiki" does not`}},
		{"an empty client", func(c *oidc.Config) { c.Clients = []string{""} }, false, []string{"clients: one is empty"}},
		{"an empty type", func(c *oidc.Config) { c.Types = []string{""} }, false, []string{"types: one is empty"}},
		{"alg none", func(c *oidc.Config) { c.Algorithms = []string{"none"} }, false, []string{"algorithms: one is not among RS256"}},
		{"alg HS256", func(c *oidc.Config) { c.Algorithms = []string{"ES256", "HS256"} }, false, []string{"algorithms: one is not among"}},
		{"leeway too long", func(c *oidc.Config) { c.Leeway = 61 * time.Second }, false, []string{"leeway"}},
		{"leeway negative", func(c *oidc.Config) { c.Leeway = -1 }, false, []string{"leeway"}},
		{"proof none", func(c *oidc.Config) { c.Proof = "none" }, false, []string{"proof: write optional, dpop or certificate"}},
		{"nothing required", func(c *oidc.Config) { c.Require = map[string]oidc.Requirement{"*": {}} }, false, []string{"it requires nothing"}},
		{"a place with two slashes", func(c *oidc.Config) { c.Require = map[string]oidc.Requirement{"a/b/c": required["*"]} }, false, []string{"is no place"}},
		{"a place of all tunnels", func(c *oidc.Config) { c.Require = map[string]oidc.Requirement{"*/wiki": required["*"]} }, false, []string{"is no place"}},
		{"a tunnel that it does not speak for", func(c *oidc.Config) { c.Require = map[string]oidc.Requirement{"other/wiki": required["*"]} }, false, []string{"its tunnel is not among tunnels"}},
		{"a server that it does not speak for", func(c *oidc.Config) {
			c.Servers, c.Require = []string{"wiki"}, map[string]oidc.Requirement{"wikj": required["*"]}
		}, false, []string{"its server is not among servers"}},
		{"a scope with a space", func(c *oidc.Config) { c.Require = map[string]oidc.Requirement{"*": {Scopes: []string{"a b"}}} }, false, []string{"characters that a scope cannot have"}},
		{"a claim about time", func(c *oidc.Config) {
			c.Require = map[string]oidc.Requirement{"*": {Claims: map[string]string{"exp": "1"}}}
		}, false, []string{`"exp" cannot be required`}},
		{"jwks_url http", func(c *oidc.Config) { c.JWKSURL = "http://idp.example.com" }, false, []string{"jwks_url: http is for loopback"}},
		{"allowed_ips no address", func(c *oidc.Config) { c.AllowedIPs = []string{"x"} }, false, []string{"allowed_ips"}},
		{"allowed_ips of metadata", func(c *oidc.Config) { c.AllowedIPs = []string{"169.254.169.254"} }, false, []string{"allowed_ips"}},
		{"introspection without a client", func(c *oidc.Config) { c.Introspection = &oidc.Introspection{} }, false, []string{"client_id and client_secret are both required"}},
		{"introspection without discovery", func(c *oidc.Config) {
			introspecting(t)(c)
			c.JWKSURL = "https://idp.example.com/keys"
		}, false, []string{"introspection: url: it is required with jwks_url"}},
		{"introspection http", func(c *oidc.Config) {
			introspecting(t)(c)
			c.Introspection.URL = "http://idp.example.com"
		}, false, []string{"introspection: url: http is for loopback"}},
		{"several at once", func(c *oidc.Config) { c.Tunnels, c.Leeway, c.Proof = nil, time.Hour, "x" }, false, []string{"tunnels: ", "leeway: ", "proof: "}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := base
			test.change(&c)
			err := oidc.Validate([]oidc.Config{c}, test.forwarded)
			if err == nil {
				t.Fatal("found good")
			}
			for _, says := range test.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("%q does not say %q", err, says)
				}
			}
			if strings.Contains(err.Error(), secretive) {
				t.Errorf("it quotes a password: %v", err)
			}
			if v, err := oidc.New([]oidc.Config{c}, oidc.Options{Forwarded: test.forwarded}); err == nil {
				v.Close()
				t.Error("New takes it")
			}
		})
	}
	if err := oidc.Validate([]oidc.Config{base, base}, false); err == nil || !strings.Contains(err.Error(), "listed twice") {
		t.Errorf("the same issuer twice: %v", err)
	}
	one, two := base, base
	two.Issuer += "/b"
	introspecting(t)(&one)
	introspecting(t)(&two)
	if err := oidc.Validate([]oidc.Config{one, two}, false); err == nil || !strings.Contains(err.Error(), "several have introspection") {
		t.Errorf("two with introspection: %v", err)
	}
}

// TestNew reaches a provider on loopback by what the configuration says alone.
func TestNew(t *testing.T) {
	idp := providertest.New(t, providertest.Options{Audience: resource, Path: "/realms/a"})
	changes := make(chan provider.Event, 16)
	c := oidc.Config{Issuer: idp.Issuer(), Tunnels: []string{"acme"}, CAFile: idp.CAFile(), AllowedIPs: []string{"127.0.0.1"}}
	introspecting(t)(&c)
	t.Setenv("OIDC_TEST_SECRET", providertest.ClientSecret)
	v, err := oidc.New([]oidc.Config{c}, oidc.Options{Events: func(e provider.Event) { changes <- e }})
	if err != nil {
		t.Fatal(err)
	}
	if n := idp.Count(providertest.Document); n != 0 {
		t.Errorf("New asked the issuer %d times", n)
	}
	if p, err := v.Verify(t.Context(), call(idp.Issue(nil))); err != nil || p.Issuer != idp.Issuer() {
		t.Errorf("got %v and %v", p, err)
	}
	idp.Opaque("opaque", map[string]any{"sub": "a", "aud": resource, "exp": time.Now().Unix() + 60})
	if p, err := v.Verify(t.Context(), call("opaque")); err != nil || p.Subject != "a" {
		t.Errorf("got %v and %v", p, err)
	}
	v.Close()
	if e := <-changes; e.Issuer != idp.Issuer() || e.Keys == 0 || e.Failure != "" {
		t.Errorf("told of %+v", e)
	}

	refused := func(says string, change func(*oidc.Config)) {
		t.Helper()
		c := c
		change(&c)
		if v, err := oidc.New([]oidc.Config{c}, oidc.Options{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
			if err == nil {
				v.Close()
			}
		}
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused("ca_file", func(c *oidc.Config) { c.CAFile = "/does/not/exist" })
	refused("no certificate", func(c *oidc.Config) { c.CAFile = empty })
	t.Setenv("OIDC_TEST_SECRET", "")
	refused("client_secret", func(*oidc.Config) {})
}

package e2e_test

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// loopback lets an identity provider of the test be dialled.
var loopback = []string{"127.0.0.0/8"}

// trusting is what a role's configuration says of a provider.
func trusting(idp *providertest.Server) oidc.Config {
	return oidc.Config{Issuer: idp.Issuer(), CAFile: idp.CAFile(), AllowedIPs: loopback}
}

// witness is a server that remembers what arrives.
type witness struct {
	url string

	mu      sync.Mutex // guards headers
	headers []http.Header
}

func newWitness(t *testing.T) *witness {
	t.Helper()
	w := new(witness)
	w.url = serve(t, func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.headers = append(w.headers, r.Header.Clone())
		w.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(stack.Echo(body))
	}).URL
	return w
}

// seen are the headers of all requests, and none of them holds a token.
func (w *witness) seen(t *testing.T, tokens ...string) []http.Header {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, h := range w.headers {
		for name, values := range h {
			for _, value := range values {
				for _, token := range tokens {
					if strings.Contains(value, token) {
						t.Errorf("the upstream got a caller's token in %s", name)
					}
				}
			}
		}
	}
	return w.headers
}

// identified is a stack whose callers come with tokens of a provider, which speaks for the tunnel acme alone.
func identified(t *testing.T, transport tunnel.Transport, servers map[string]connector.Server, p *policy.Policy, more func(*connector.Config)) (*stack.Stack, *providertest.Server) {
	t.Helper()
	idp := providertest.New(t, providertest.Options{})
	s := stack.New(t, stack.Options{
		Transport: transport, Servers: servers, Policy: p,
		Gateway: func(cfg *gateway.Config) {
			issuer := trusting(idp)
			issuer.Tunnels = []string{stack.Tunnel}
			issuer.Require = map[string]oidc.Requirement{"strict": {Scopes: []string{"strict.read"}}, "team": {Claims: map[string]string{"groups": "ops"}}}
			cfg.Agents.Issuers = []oidc.Config{issuer}
			cfg.Tunnels = append(cfg.Tunnels, gateway.Tunnel{Name: "globex", TunnelToken: stack.SecretFile(t, t.TempDir(), "globex.token", strings.Repeat("globex-", 8))})
		},
		Connector: func(cfg *connector.Config) {
			if more != nil {
				more(cfg)
			}
		},
	})
	return s, idp
}

// tokenFor is a genuine token for a server of the stack.
func tokenFor(s *stack.Stack, idp *providertest.Server, server string, claims map[string]any) string {
	all := map[string]any{"aud": s.URL(server)}
	maps.Copy(all, claims)
	return idp.Issue(all)
}

func TestIdentityProvider(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		upstream := newWitness(t)
		rules, err := policy.New([]policy.Rule{{Servers: []string{"*"}, When: `principal.claims.team == "ops" && principal.subject == "olga"`, Allow: true}})
		if err != nil {
			t.Fatal(err)
		}
		servers := map[string]connector.Server{"wiki": {URL: upstream.url}, "strict": {URL: upstream.url}, "team": {URL: upstream.url}}
		s, idp := identified(t, transport, servers, &rules, nil)
		ops := map[string]any{"sub": "olga", "team": "ops"}
		with := func(server, token string) answer {
			return post(t, s, s.AgentWith(t, true, token), server, pingBody)
		}
		token := tokenFor(s, idp, "wiki", ops)
		if got := with("wiki", token); got.status != http.StatusOK {
			t.Fatalf("a genuine token gives %d %s", got.status, got.body)
		}
		mustRefuse(t, with("wiki", tokenFor(s, idp, "wiki", map[string]any{"sub": "eve", "team": "ops"})), http.StatusForbidden, -32003, "no")
		mustRefuse(t, with("wiki", tokenFor(s, idp, "strict", ops)), http.StatusUnauthorized, -32000, "no")

		short := with("strict", tokenFor(s, idp, "strict", ops))
		if e := mustRefuse(t, short, http.StatusForbidden, -32003, "no"); e.Error.Data.Reason != "insufficient_scope" {
			t.Errorf("a token without the scope: %s", short.body)
		}
		if c := short.header.Get("WWW-Authenticate"); !strings.Contains(c, `error="insufficient_scope"`) || !strings.Contains(c, `scope="strict.read"`) ||
			!strings.Contains(c, `resource_metadata="`+s.PublicURL+`/.well-known/oauth-protected-resource/t/acme/strict/mcp"`) {
			t.Errorf("the challenge is %q", c)
		}
		scoped := map[string]any{"sub": "olga", "team": "ops", "scope": "openid strict.read"}
		if got := with("strict", tokenFor(s, idp, "strict", scoped)); got.status != http.StatusOK {
			t.Errorf("a token with the scope gives %d %s", got.status, got.body)
		}
		mustRefuse(t, with("team", tokenFor(s, idp, "team", ops)), http.StatusForbidden, -32003, "no")
		grouped := map[string]any{"sub": "olga", "team": "ops", "groups": []string{"dev", "ops"}}
		if got := with("team", tokenFor(s, idp, "team", grouped)); got.status != http.StatusOK {
			t.Errorf("a token with the claim gives %d %s", got.status, got.body)
		}

		// What is in the other tunnel does not exist for this issuer's principals, though the token is made for it.
		foreign := strings.Replace(s.URL("wiki"), "/t/acme/", "/t/globex/", 1)
		r, err := s.Post(t.Context(), "wiki", pingBody)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Path = "/t/globex/wiki/mcp"
		if got := call(t, s.AgentWith(t, true, idp.Issue(map[string]any{"aud": foreign})), r); got.status != http.StatusNotFound {
			t.Errorf("a tunnel that the issuer does not speak for gives %d", got.status)
		}
		if n := len(upstream.seen(t, token)); n != 3 {
			t.Errorf("the upstream got %d requests, want 3", n)
		}
		if log := s.Log.String(); strings.Contains(log, token) || strings.Contains(log, strings.Split(token, ".")[2]) {
			t.Error("a token is in the log")
		}
	})
}

// The provider is gone: what it has signed before is good, and what an unknown key has signed is not.
func TestIdentityProviderDown(t *testing.T) {
	t.Parallel()
	s, idp := identified(t, tunnel.QUIC, one("wiki", echoes(t)), nil, nil)
	token := tokenFor(s, idp, "wiki", nil)
	if got := post(t, s, s.AgentWith(t, true, token), "wiki", pingBody); got.status != http.StatusOK {
		t.Fatalf("a genuine token gives %d %s", got.status, got.body)
	}
	for _, e := range []providertest.Endpoint{providertest.Document, providertest.JWKS} {
		idp.Misbehave(e, providertest.Failing)
	}
	if got := post(t, s, s.AgentWith(t, true, tokenFor(s, idp, "wiki", map[string]any{"sub": "another"})), "wiki", pingBody); got.status != http.StatusOK {
		t.Errorf("with the provider down, a genuine token gives %d %s", got.status, got.body)
	}
	idp.Rotate(false)
	mustRefuse(t, post(t, s, s.AgentWith(t, true, tokenFor(s, idp, "wiki", nil)), "wiki", pingBody), http.StatusUnauthorized, -32000, "no")
	if got := post(t, s, s.AgentWith(t, true, token), "wiki", pingBody); got.status != http.StatusOK {
		t.Errorf("the token that was good gives %d %s", got.status, got.body)
	}
}

// A connector that verifies agents itself takes nobody's word, and nobody's token but those of its issuers.
func TestVerifyAgents(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		upstream := newWitness(t)
		rules, err := policy.New([]policy.Rule{{Servers: []string{"*"}, When: `principal.claims.team == "ops"`, Allow: true}})
		if err != nil {
			t.Fatal(err)
		}
		var idp *providertest.Server
		var s *stack.Stack
		other := providertest.New(t, providertest.Options{Other: true})
		idp = providertest.New(t, providertest.Options{})
		s = stack.New(t, stack.Options{
			Transport: transport, Servers: one("wiki", upstream.url), Policy: &rules,
			Gateway: func(cfg *gateway.Config) {
				for _, p := range []*providertest.Server{idp, other} {
					issuer := trusting(p)
					issuer.Tunnels = []string{"*"}
					cfg.Agents.Issuers = append(cfg.Agents.Issuers, issuer)
				}
			},
			Connector: func(cfg *connector.Config) {
				cfg.Auth = connector.Auth{URL: "https://" + cfg.Gateway + "/t/" + stack.Tunnel, Issuers: []oidc.Config{trusting(idp)}}
			},
		})
		ops := map[string]any{"sub": "olga", "team": "ops"}
		token := tokenFor(s, idp, "wiki", ops)
		for range 2 { // verified, and remembered
			if got := post(t, s, s.AgentWith(t, true, token), "wiki", pingBody); got.status != http.StatusOK {
				t.Fatalf("a genuine token gives %d %s", got.status, got.body)
			}
		}
		for name, token := range map[string]string{"a static token": stack.AgentToken, "another issuer's": tokenFor(s, other, "wiki", ops)} {
			got := post(t, s, s.AgentWith(t, true, token), "wiki", pingBody)
			if e := mustRefuse(t, got, http.StatusForbidden, -32003, "no"); e.Error.Data.Reason != "caller_not_verified" {
				t.Errorf("%s: %s", name, got.body)
			}
		}
		if status := s.Connector.Status(); len(status.Agents) != 1 || status.Agents[0].Issuer != idp.Issuer() || status.Agents[0].Keys != 5 || status.Agents[0].Failure != "" {
			t.Errorf("the status says %+v", status.Agents)
		}
		for _, h := range upstream.seen(t, token) {
			if _, ok := h["Sallyport-Agent-Token"]; ok {
				t.Error("the agent's token went on to the upstream")
			}
		}
		if log := s.Log.String(); strings.Contains(log, token) {
			t.Error("a token is in the log")
		}
	})
}

// A connector whose auth.url is of another tunnel than the gateway says does not attach: what is required of the one tunnel would
// not be asked of the other.
func TestVerifyAgentsOfAnotherTunnel(t *testing.T) {
	t.Parallel()
	idp := providertest.New(t, providertest.Options{})
	s := stack.New(t, stack.Options{
		Transport: tunnel.TCP, Servers: one("wiki", echoes(t)),
		Connector: func(cfg *connector.Config) {
			cfg.Auth = connector.Auth{URL: "https://" + cfg.Gateway + "/t/globex", Issuers: []oidc.Config{trusting(idp)}}
		},
	})
	until(t, patience, "the connector says why", func() bool { return strings.Contains(s.Log.String(), "auth.url is of another") })
	if got := post(t, s, s.Agent(t, true), "wiki", pingBody); got.status == http.StatusOK {
		t.Error("a call passes")
	}
}

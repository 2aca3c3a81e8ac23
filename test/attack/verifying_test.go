package attack

import (
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/connector"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// newVerifying has a connector attach to a captor that takes no gateway's word on who calls.
func newVerifying(t *testing.T, r *rig, transport tunnel.Transport, token secret.Ref, servers map[string]connector.Server) *captor {
	t.Helper()
	rules, err := policy.New([]policy.Rule{
		{Name: "anybody", Servers: []string{"wiki", "vault"}, Allow: true},
		{Name: "guards", Servers: []string{"guarded"}, When: `principal.claims.groups == "guards"`, Allow: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newCaptor(t, transport, servers, r.Log, connector.Config{
		Policy: rules, TunnelToken: token, Logger: slog.New(slog.NewJSONHandler(r.Log, nil)),
		Upstream: connector.Upstream{AllowedIPs: []string{"127.0.0.1/32"}},
		Auth: connector.Auth{URL: "https://" + r.host + "/t/" + stack.Tunnel, Issuers: []oidc.Config{{
			Issuer: r.idp.private.Issuer(), CAFile: r.idp.private.CAFile(), AllowedIPs: []string{"127.0.0.0/8"},
			Require: map[string]oidc.Requirement{"vault": {Scopes: []string{"vault.read"}}},
		}}},
	})
}

// claimed is what a gateway says of a call: an assertion by its true key, and the caller's tokens.
type claimed struct {
	server  string // default wiki
	alter   func(r *rig, p *auth.Principal)
	tokens  []minted
	forged  bool // the assertion is signed by another key
	without bool // there is no assertion
	fields  func(r *rig) string
}

func (c claimed) order(r *rig) order {
	server := c.server
	if server == "" {
		server = "wiki"
	}
	o := order{line: "POST /t/" + stack.Tunnel + "/" + server + "/mcp HTTP/1.1"}
	if c.fields != nil {
		o.fields = c.fields(r)
	}
	for _, token := range c.tokens {
		o.fields += mcp.HeaderAgentToken + ": " + token(r) + "\r\n"
	}
	a := r.verifying.genuine(server)
	a.Principal = auth.Principal{Issuer: r.idp.private.Issuer(), Subject: "agent"}
	if c.alter != nil {
		c.alter(r, &a.Principal)
	}
	key := authtest.Key()
	if c.forged {
		key = authtest.StrangerKey()
	}
	if !c.without {
		text := authtest.Claims(a, time.Now())
		if len(a.Principal.Claims) > 0 {
			encoded, err := json.Marshal(a.Principal.Claims)
			if err != nil {
				panic(err)
			}
			text = strings.TrimSuffix(text, "}}") + `,"claims":` + string(encoded) + "}}"
		}
		o.assertions = []string{authtest.Forge(authtest.Header(), text, key)}
	}
	return o
}

// verifyingAttacks are what a gateway may try that has been taken over, towards a connector that verifies callers itself.
func verifyingAttacks() (list []attack) {
	own := func(claims map[string]any, options ...providertest.Option) minted {
		return func(r *rig) string { return r.idp.private.Issue(r.claims(claims), options...) }
	}
	at := func(aud func(r *rig) any) minted {
		return func(r *rig) string { return r.idp.private.Issue(r.claims(map[string]any{"aud": aud(r)})) }
	}
	add := func(what string, w want, c claimed) {
		list = append(list, attack{id: "T7", what: what, over: []proto{nobody}, want: w, do: func(_ *testing.T, r *rig, _ proto) (answer, error) {
			return r.verifying.send(c.order(r))
		}})
	}
	passed := want{status: 200, hits: 1, check: func(t *testing.T, _ answer, got []received) {
		t.Helper()
		for _, record := range got {
			checkReceived(t, record, honestBody)
		}
	}}
	unverified := want{status: 403, code: -32003, reason: "caller_not_verified"}
	unauthenticated := want{status: 401, code: -32000, reason: "unauthenticated"}
	denied := want{status: 403, code: -32003, reason: "denied"}
	one := func(token minted) claimed { return claimed{tokens: []minted{token}} }
	saying := func(alter func(r *rig, p *auth.Principal)) claimed {
		return claimed{tokens: []minted{own(nil)}, alter: alter}
	}

	add("an honest call: the assertion, and the caller's own token", passed, one(own(nil)))
	list = append(list, attack{id: "T7", what: "the same assertion and token again, which may be for as long as both live", over: []proto{nobody}, want: want{status: 200, hits: 2, check: passed.check},
		do: func(_ *testing.T, r *rig, _ proto) (answer, error) {
			same := one(own(nil)).order(r)
			if first, err := r.verifying.send(same); err != nil {
				return first, err
			}
			return r.verifying.send(same)
		}})
	add("an assertion without a token", unverified, claimed{})
	add("the token without an assertion", unauthenticated, claimed{tokens: []minted{own(nil)}, without: true})
	add("the token with an assertion of another key", unauthenticated, claimed{tokens: []minted{own(nil)}, forged: true})
	add("an empty token", unverified, one(func(*rig) string { return "" }))
	add("the token twice", unverified, claimed{tokens: []minted{own(nil), own(nil)}})
	add("a forged token and a genuine one", unverified, claimed{tokens: []minted{own(nil, providertest.By("stranger ES256")), own(nil)}})
	add("the token with its scheme", unverified, one(func(r *rig) string { return "Bearer " + own(nil)(r) }))
	add("the token in Authorization alone", unverified, claimed{fields: func(r *rig) string { return "Authorization: Bearer " + own(nil)(r) + "\r\n" }})
	add("a principal of its own making, without a token", unverified, claimed{alter: func(_ *rig, p *auth.Principal) { p.Issuer, p.Subject = "https://gw.test", "root" }})

	for what, subject := range inOrder(map[string]string{"another subject": "admin", "a longer subject": "agent2", "the subject in capitals": "AGENT", "the subject with a space": "agent "}) {
		add("a genuine token, asserted as "+what, unverified, saying(func(_ *rig, p *auth.Principal) { p.Subject = subject }))
	}
	add("a genuine token, asserted as of another issuer", unverified, saying(func(_ *rig, p *auth.Principal) { p.Issuer = "https://idp.example" }))
	add("a genuine token, asserted as of the gateway", unverified, saying(func(r *rig, p *auth.Principal) { p.Issuer = "https://" + r.host }))
	add("a genuine token, asserted as of its issuer with a slash", unverified, saying(func(_ *rig, p *auth.Principal) { p.Issuer += "/" }))
	add("a token of another subject", unverified, one(own(map[string]any{"sub": "other"})))
	add("a token of a provider that only the gateway trusts", unverified, one(genuine(nil)))
	add("the same, asserted as such", unverified, claimed{tokens: []minted{genuine(nil)}, alter: func(r *rig, p *auth.Principal) { p.Issuer = r.idp.acme.Issuer() }})
	add("a token of another provider with the iss of this one", unverified, one(func(r *rig) string {
		return r.idp.other.Issue(r.claims(map[string]any{"iss": r.idp.private.Issuer()}))
	}))
	add("aud of another server of the tunnel", unverified, one(at(func(r *rig) any { return r.resource(quietPath) })))
	add("aud of another tunnel's server", unverified, one(at(func(r *rig) any { return r.resource(foreignPath) })))
	add("aud of another deployment", unverified, one(at(func(*rig) any { return "https://other.example" + wikiPath })))
	add("aud of the gateway that has been taken over", unverified, one(at(func(*rig) any { return authtest.Issuer + wikiPath })))
	add("a token for this server towards another", unverified, claimed{server: "vault", tokens: []minted{own(nil)}})
	add("expired", unverified, one(own(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})))
	add("to be used in an hour", unverified, one(own(map[string]any{"nbf": time.Now().Add(2 * time.Hour).Unix()})))
	add("a stranger's key of the same kid", unverified, one(own(nil, providertest.By("stranger ES256"))))
	add("alg none", unverified, one(func(r *rig) string {
		return r.idp.private.Sign(`{"typ":"at+jwt","alg":"none"}`, r.idp.private.Claims(r.claims(nil)), "")
	}))
	add("HS256 with the public key", unverified, one(func(r *rig) string {
		return r.idp.private.Sign(`{"typ":"at+jwt","alg":"HS256","kid":"`+r.idp.private.KeyID("ES256")+`"}`, r.idp.private.Claims(r.claims(nil)), "ES256 as HS256")
	}))
	add("an id token", unverified, one(own(nil, providertest.Head("typ", "JWT"))))
	add("a key of its own in jwk", unverified, one(own(nil, providertest.Head("jwk", map[string]any{"kty": "oct", "k": "AA"}))))
	add("a static token", unverified, claimed{tokens: []minted{func(*rig) string { return stack.AgentToken }}, alter: ofGateway})
	add("a token of the gateway's own", unverified, claimed{tokens: []minted{func(r *rig) string { return r.issued.byName["wiki"] }}, alter: ofGateway})
	add("an opaque token", unverified, one(func(*rig) string { return "opaque-of-somebody" }))
	add("the assertion in the place of the token", unverified, one(func(r *rig) string {
		return authtest.Forge(authtest.Header(), authtest.Claims(r.verifying.genuine("wiki"), time.Now()), authtest.Key())
	}))
	add("a client certificate, by the gateway's word", unverified, claimed{alter: func(r *rig, p *auth.Principal) { p.Issuer, p.Subject = "https://"+r.host, "ci" }})
	add("a token of 9 KiB", unverified, one(own(map[string]any{"padding": long("a", 9<<10)})))

	// The claims that policy reads are the token's.
	groups := func(value any) func(*rig, *auth.Principal) {
		return func(_ *rig, p *auth.Principal) { p.Claims = map[string]any{"groups": value} }
	}
	guarded := func(claims map[string]any) minted {
		return func(r *rig) string {
			all := map[string]any{"aud": r.resource(guardedPath)}
			maps.Copy(all, claims)
			return own(all)(r)
		}
	}
	add("a claim of the token that policy asks for", passed, claimed{server: "guarded", tokens: []minted{guarded(map[string]any{"groups": "guards"})}})
	add("the same, which the assertion denies: the token counts", passed, claimed{server: "guarded", tokens: []minted{guarded(map[string]any{"groups": "guards"})}, alter: groups("nobody")})
	add("a claim of the assertion that the token has not", denied, claimed{server: "guarded", tokens: []minted{guarded(nil)}, alter: groups("guards")})
	add("a claim of the assertion that the token has otherwise", denied, claimed{server: "guarded", tokens: []minted{guarded(map[string]any{"groups": "guests"})}, alter: groups("guards")})
	vault := func(r *rig) string { return own(map[string]any{"aud": r.resource(vaultPath)})(r) }
	add("a scope that the connector requires and the token has not", want{status: 403, code: -32003, reason: "insufficient_scope"}, claimed{
		server: "vault", tokens: []minted{vault}, alter: func(_ *rig, p *auth.Principal) { p.Claims = map[string]any{"scope": "vault.read"} },
	})
	return list
}

// ofGateway asserts the principal of a token that the gateway itself knows.
func ofGateway(r *rig, p *auth.Principal) { p.Issuer, p.Subject = "https://"+r.host, "tester" }

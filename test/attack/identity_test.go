package attack

import (
	"encoding/base64"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth/dpoptest"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/gateway"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
)

// claimCanary is in the claims of tokens, which belong in no log and no answer.
const claimCanary = "canary-claim-Lb6Rt1Xe8Wq"

// providers are the identity providers of a rig.
type providers struct {
	acme  *providertest.Server // speaks for the tunnel acme
	other *providertest.Server // speaks for globex
	weak  *providertest.Server // speaks for acme, with audiences of its own
	bound *providertest.Server // speaks for acme, by tokens that are bound to a key
	// private is one that a connector trusts, and the gateway does not know.
	private *providertest.Server
	// broken speak for acme and have a fault each, from the beginning.
	broken map[string]*providertest.Server
	since  time.Time
	key    *dpoptest.Key // what tokens of bound are bound to
	// turning change their keys: one for each attack that waits for it.
	turning map[string]*providertest.Server

	introspection secret.Ref
}

// weakAudience is the audience of a provider that cannot name URLs.
const weakAudience = "api://sallyport"

// faulty are faults of a provider that has never been reached before, and of which part.
func faulty() map[string]func(*providertest.Server) {
	both := func(f providertest.Fault) func(*providertest.Server) {
		return func(p *providertest.Server) { p.Misbehave(providertest.JWKS, f) }
	}
	all := map[string]func(*providertest.Server){
		"a document of another issuer": func(p *providertest.Server) {
			p.Misbehave(providertest.Document, providertest.OtherIssuer)
			p.Misbehave(providertest.OAuthDocument, providertest.OtherIssuer)
		},
		"a document that redirects": func(p *providertest.Server) {
			p.Misbehave(providertest.Document, providertest.Redirect)
			p.Misbehave(providertest.OAuthDocument, providertest.Redirect)
		},
	}
	for _, f := range []providertest.Fault{
		providertest.Failing, providertest.Redirect, providertest.Huge, providertest.Empty, providertest.HTML, providertest.Gzip,
		providertest.TooManyKeys, providertest.PrivateKeys, providertest.DuplicateKids,
	} {
		all["keys: "+string(f)] = both(f)
	}
	return all
}

func newProviders(t *testing.T, dir string) *providers {
	t.Helper()
	p := &providers{
		acme: providertest.New(t, providertest.Options{}), other: providertest.New(t, providertest.Options{Other: true}),
		weak: providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}}), bound: providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}}),
		private: providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}}),
		broken:  make(map[string]*providertest.Server), since: time.Now(),
		key: dpoptest.New("ES256"), turning: make(map[string]*providertest.Server),
		introspection: stack.SecretFile(t, dir, "introspection.secret", providertest.ClientSecret),
	}
	for name, break_ := range faulty() {
		p.broken[name] = providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}})
		break_(p.broken[name])
	}
	for _, name := range turnings() {
		p.turning[name] = providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}})
	}
	return p
}

// configure has the gateway trust them.
func (p *providers) configure(cfg *gateway.Config) {
	trust := func(s *providertest.Server, tunnel string) *oidc.Config {
		cfg.Agents.Issuers = append(cfg.Agents.Issuers, oidc.Config{
			Issuer: s.Issuer(), CAFile: s.CAFile(), AllowedIPs: []string{"127.0.0.0/8"}, Tunnels: []string{tunnel},
		})
		return &cfg.Agents.Issuers[len(cfg.Agents.Issuers)-1]
	}
	acme := trust(p.acme, stack.Tunnel)
	acme.Clients = []string{"agent-client", "second-client"}
	acme.Require = map[string]oidc.Requirement{
		"vault": {Scopes: []string{"vault.read"}}, "guarded": {Claims: map[string]string{"groups": "guards"}},
	}
	acme.Introspection = &oidc.Introspection{ClientID: providertest.ClientID, ClientSecret: p.introspection}
	trust(p.other, "globex")
	weak := trust(p.weak, stack.Tunnel)
	weak.Audiences = []string{weakAudience}
	weak.Servers = []string{"wiki"}
	weak.Require = map[string]oidc.Requirement{"*": {Scopes: []string{"wiki"}}}
	trust(p.bound, stack.Tunnel).Proof = oidc.ProofDPoP
	for _, broken := range p.broken {
		trust(broken, stack.Tunnel)
	}
	for _, turning := range p.turning {
		trust(turning, stack.Tunnel)
	}
}

// mustHaveAskedSeldom holds every provider's keys to one fetch in 30 s, and redirects to none.
func (p *providers) mustHaveAskedSeldom(t *testing.T) {
	t.Helper()
	allowed := 1 + int(time.Since(p.since)/(30*time.Second))
	all := []*providertest.Server{p.acme, p.other, p.weak, p.bound, p.private}
	all = slices.AppendSeq(all, maps.Values(p.broken))
	all = slices.AppendSeq(all, maps.Values(p.turning))
	for _, s := range all {
		if n := s.Count(providertest.JWKS); n > allowed {
			t.Errorf("the keys of %s were asked for %d times, and %d are allowed", s.Issuer(), n, allowed)
		}
		if n := s.Count(providertest.Canary); n > 0 {
			t.Errorf("a redirect of %s was followed", s.Issuer())
		}
	}
}

// minted makes a token for one rig.
type minted func(r *rig) string

// resource is the canonical URL of a path.
func (r *rig) resource(path string) string { return "https://" + r.host + path }

// genuine is a token of the provider of acme, for wiki, with other claims in the place of some.
func genuine(claims map[string]any, options ...providertest.Option) minted {
	return func(r *rig) string { return r.idp.acme.Issue(r.claims(claims), options...) }
}

func (r *rig) claims(claims map[string]any) map[string]any {
	all := map[string]any{"aud": r.resource(wikiPath), "note": claimCanary}
	maps.Copy(all, claims)
	return all
}

// signed is a token whose header or claims are altered as text before it is signed.
func signed(key string, header func(string) string, claims func(string) string) minted {
	return func(r *rig) string {
		whole := r.idp.acme.Issue(r.claims(nil), providertest.By(strings.TrimPrefix(strings.TrimPrefix(strings.Split(key+" as ", " as ")[0], "stranger "), "old ")))
		raw, err := base64.RawURLEncoding.DecodeString(strings.Split(whole, ".")[0])
		if err != nil {
			panic(err)
		}
		text, body := string(raw), r.idp.acme.Claims(r.claims(nil))
		if header != nil {
			text = header(text)
		}
		if claims != nil {
			body = claims(body)
		}
		return r.idp.acme.Sign(text, body, key)
	}
}

// presenting sends a token as an honest call does, and looks for it in all that is said of it.
func presenting(target, scheme string, token minted, more ...func(r *rig, token string) []field) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		value := token(r)
		q := request{target: target, fields: []field{{"Authorization", scheme + " " + value}}}
		for _, m := range more {
			q.fields = append(q.fields, m(r, value)...)
		}
		got, err := r.perform(t, attack{send: q}, p)
		if i := strings.LastIndexByte(value, '.'); i > 0 && len(value)-i > 40 {
			log := r.Log.String()
			mustLack(t, "the log", []byte(log[max(0, len(log)-64<<10):]), value[i+1:])
			mustLack(t, "the answer", got.all, value[i+1:])
		}
		r.idp.mustHaveAskedSeldom(t)
		return got, err
	}
}

// providerAttacks are those on tokens of identity providers.
func providerAttacks() (list []attack) {
	refused := want{status: 401, code: -32000, reason: "unauthenticated", check: checkChallenge}
	malformed := want{status: 400, code: -32000, reason: "unauthenticated"}
	passed := want{status: 200, hits: 1}
	missing := want{status: 404, reason: "not_found"}
	scope := want{status: 403, code: -32003, reason: "insufficient_scope"}
	down := want{status: 503, code: -32008, reason: "issuer_unavailable"}
	to := func(target, id, what string, w want, token minted) {
		list = append(list, attack{id: id, what: what, do: presenting(target, "Bearer", token), want: w})
	}
	add := func(id, what string, w want, token minted) { to(wikiPath, id, what, w, token) }
	claim := func(id, what string, w want, name string, value any) {
		add(id, what, w, genuine(map[string]any{name: value}))
	}
	head := func(id, what string, w want, name string, value any) {
		add(id, what, w, genuine(nil, providertest.Head(name, value)))
	}
	text := func(id, what string, w want, old, new string) {
		add(id, what, w, signed("ES256", nil, func(s string) string { return strings.Replace(s, old, new, 1) }))
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }

	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		add("1", "a genuine token, "+alg, passed, genuine(nil, providertest.By(alg)))
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE", ""} {
		add("2", fmt.Sprintf("alg %q without a signature", alg), refused, signed("", func(string) string { return `{"typ":"at+jwt","alg":"` + alg + `"}` }, nil))
		add("2", fmt.Sprintf("alg %q with a genuine signature", alg), refused, genuine(nil, providertest.Head("alg", alg)))
	}
	add("2", "no alg", refused, genuine(nil, providertest.Head("alg", nil)))
	for _, key := range []string{"RS256", "PS256", "ES256", "EdDSA"} {
		add("3", "HS256 with the public key of "+key+" as the secret", refused, signed(key+" as HS256", func(s string) string { return strings.Replace(s, key, "HS256", 1) }, nil))
	}
	for _, pair := range [][2]string{
		{"RS256", "ES256"}, {"RS256", "EdDSA"}, {"ES256", "RS256"}, {"ES256", "PS256"}, {"ES256", "ES384"}, {"ES384", "ES256"}, {"ES256", "EdDSA"}, {"EdDSA", "ES256"},
		{"EdDSA", "RS256"}, {"RS256", "RS1"}, {"ES256", "ES256K"}, {"EdDSA", "Ed25519"}, {"ES256", "es256"}, {"RS256", "HS512"}, {"RS256", "A256KW"}, {"RS256", "RS256 "},
	} {
		add("3", "signed by "+pair[0]+", and said to be "+pair[1], refused, genuine(nil, providertest.By(pair[0]), providertest.Head("alg", pair[1])))
	}
	add("3", "an RSA key for RS256, used for PS256", refused, signed("RS256 as PS256", func(s string) string { return strings.Replace(s, "RS256", "PS256", 1) }, nil))
	add("3", "an RSA key for PS256, used for RS256", refused, signed("PS256 as RS256", func(s string) string { return strings.Replace(s, "PS256", "RS256", 1) }, nil))
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		add("4", "a stranger's key of the same kid, "+alg, refused, signed("stranger "+alg, nil, nil))
	}
	add("4", "a token of the provider of another tunnel, with this one's iss", refused, func(r *rig) string { return r.idp.other.Issue(r.claims(map[string]any{"iss": r.idp.acme.Issuer()})) })
	for _, kid := range []string{"../../etc/passwd", "' OR 1=1 --", "x\x00y", "unknown", "", strings.Repeat("k", 129), "ES256\n", "http://169.254.169.254/keys"} {
		head("5", fmt.Sprintf("kid %.24q", kid), refused, "kid", kid)
	}
	head("5", "a kid of 10 KiB", malformed, "kid", strings.Repeat("k", 10<<10))
	head("5", "a kid that is a number", refused, "kid", 7)
	head("5", "a kid that is a list", refused, "kid", []string{"ES256"})
	for _, name := range []string{"jku", "x5u"} {
		add("6", name+" to a server that nobody asks", refused, func(r *rig) string {
			return r.idp.acme.Issue(r.claims(nil), providertest.Head(name, r.trap.url))
		})
	}
	head("6", "a key of its own in jwk", refused, "jwk", map[string]any{"kty": "oct", "k": "c2VjcmV0"})
	head("6", "a certificate of its own in x5c", refused, "x5c", []string{"MIIB"})
	head("7", "crit with an unknown name", refused, "crit", []string{"exp"})
	head("7", "crit with none", refused, "crit", []string{})
	head("7", "b64: false", refused, "b64", false)
	head("7", "zip", refused, "zip", "DEF")
	timed := func(id, what, name string, off time.Duration) {
		add(id, what, refused, func(r *rig) string { return r.idp.acme.Issue(r.claims(map[string]any{name: in(off)})) })
	}
	timed("8", "exp 61 s ago", "exp", -61*time.Second)
	timed("8", "exp 10 min ago: a clock that is behind", "exp", -10*time.Minute)
	timed("9", "nbf in 61 s", "nbf", 61*time.Second)
	timed("9", "iat in 10 min: a clock that is ahead", "iat", 10*time.Minute)
	claim("10", "no exp", refused, "exp", nil)
	for _, exp := range []string{"9223372036854775808", "1e400", `"9999999999"`, "null", "0", "-1", "[9999999999]", "true", "18446744073709551617"} {
		add("11", "exp "+exp, refused, signed("ES256", nil, func(s string) string {
			i := strings.Index(s, `"exp":`) + len(`"exp":`)
			j := i + strings.IndexAny(s[i:], ",}")
			return s[:i] + exp + s[j:]
		}))
	}
	for name, aud := range inOrder(map[string]func(r *rig) any{
		"12 of another server of the tunnel":  func(r *rig) any { return r.resource(vaultPath) },
		"12 of another tunnel's server":       func(r *rig) any { return r.resource(foreignPath) },
		"13 of another deployment":            func(*rig) any { return "https://other.example" + wikiPath },
		"13 the path alone":                   func(*rig) any { return wikiPath },
		"13 the origin alone":                 func(r *rig) any { return "https://" + r.host },
		"13 with a slash behind":              func(r *rig) any { return r.resource(wikiPath) + "/" },
		"13 in capitals":                      func(r *rig) any { return strings.ToUpper(r.resource(wikiPath)) },
		"13 with a query":                     func(r *rig) any { return r.resource(wikiPath) + "?" },
		"13 none":                             func(*rig) any { return nil },
		"13 empty":                            func(*rig) any { return "" },
		"13 an empty list":                    func(*rig) any { return []string{} },
		"13 a list in a list":                 func(r *rig) any { return []any{[]string{r.resource(wikiPath)}} },
		"13 an object":                        func(r *rig) any { return map[string]any{"aud": r.resource(wikiPath)} },
		"13 weak: the audience of another":    func(*rig) any { return weakAudience },
		"14 a list of this one and a foreign": func(r *rig) any { return []string{r.resource(wikiPath), "https://other.example/"} },
	}) {
		id, what, _ := strings.Cut(name, " ")
		add(id, "aud: "+what, refused, func(r *rig) string { return r.idp.acme.Issue(r.claims(map[string]any{"aud": aud(r)})) })
	}
	add("14", "aud: a list of this one alone", passed, func(r *rig) string {
		return r.idp.acme.Issue(r.claims(map[string]any{"aud": []string{r.resource(wikiPath)}}))
	})
	for what, iss := range inOrder(map[string]func(string) any{
		"with a slash behind":      func(s string) any { return s + "/" },
		"in capitals":              func(s string) any { return strings.ToUpper(s) },
		"with the port left out":   func(s string) any { return s[:strings.LastIndexByte(s, ':')] },
		"in a list":                func(s string) any { return []string{s} },
		"none":                     func(string) any { return nil },
		"empty":                    func(string) any { return "" },
		"of nobody who is trusted": func(string) any { return "https://evil.example" },
		"http":                     func(s string) any { return "http" + strings.TrimPrefix(s, "https") },
	}) {
		add("15", "iss: "+what, refused, func(r *rig) string {
			return r.idp.acme.Issue(r.claims(map[string]any{"iss": iss(r.idp.acme.Issuer())}))
		})
	}
	add("15", "iss: the gateway's own", refused, func(r *rig) string { return r.idp.acme.Issue(r.claims(map[string]any{"iss": "https://" + r.host})) })
	claim("16", "client_id that is not on the list", refused, "client_id", "evil-client")
	claim("16", "azp that is not on the list, client_id that is", refused, "azp", "evil-client")
	claim("16", "neither azp nor client_id", refused, "client_id", nil)
	claim("16", "azp and client_id, both on the list", passed, "azp", "second-client")
	head("17", "typ JWT: an id token", refused, "typ", "JWT")
	head("17", "no typ", refused, "typ", nil)
	head("17", "typ of an assertion", refused, "typ", "sallyport-assertion+jwt")
	head("17", "typ of a proof of possession", refused, "typ", "dpop+jwt")
	head("17", "typ at+jwt in capitals, which is the same", passed, "typ", "AT+JWT")
	text("18", "sub twice", refused, `"sub":`, `"sub":"admin","sub":`)
	text("18", "sub twice, behind an escape", refused, `"sub":`, `"\u0073ub":"admin","sub":`)
	text("18", "sub, and SUB", refused, `"sub":`, `"SUB":"admin","sub":`)
	text("18", "sub, and ſub", refused, `"sub":`, `"ſub":"admin","sub":`)
	text("18", "exp, and Exp", refused, `"exp":`, `"Exp":99999999999,"exp":`)
	text("18", "aud twice", refused, `"aud":`, `"aud":"x","aud":`)
	text("18", "a nested member twice", refused, `"sub":`, `"team":{"a":1,"a":2},"sub":`)
	text("18", "invalid UTF-8 in sub", refused, `"sub":"`, "\"sub\":\"\xff")
	text("18", "a second object behind the claims", refused, `{`, `{}{`)
	claim("18", "no sub", refused, "sub", nil)
	claim("18", "an empty sub", refused, "sub", "")
	claim("18", "a sub that is a number", refused, "sub", 7)
	claim("18", "a sub with a line break", refused, "sub", "admin\nadmin")
	add("18", "alg twice in the header", refused, signed("ES256", func(s string) string { return strings.Replace(s, `"alg"`, `"alg":"none","alg"`, 1) }, nil))
	add("18", "alg, and ALG, in the header", refused, signed("ES256", func(s string) string { return strings.Replace(s, `"alg"`, `"ALG":"none","alg"`, 1) }, nil))
	altered := func(f func(string) string) minted { return func(r *rig) string { return f(genuine(nil)(r)) } }
	add("19", "the last character of the signature in another spelling", refused, altered(malleate))
	add("19", "padding behind the signature", refused, altered(func(s string) string { return s + "==" }))
	add("19", "a fourth part", refused, altered(func(s string) string { return s + ".e30" }))
	add("19", "two parts", refused, altered(func(s string) string { return s[:strings.LastIndexByte(s, '.')] }))
	add("19", "an empty signature", refused, altered(func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] }))
	add("19", "the signature's alphabet is that of base64, not base64url", refused, altered(func(s string) string {
		i := strings.LastIndexByte(s, '.')
		return s[:i] + strings.NewReplacer("-", "+", "_", "/").Replace(s[i:]) + "+"
	}))
	add("19", "other claims under the signature", refused, altered(func(s string) string {
		parts := strings.Split(s, ".")
		raw, _ := base64.RawURLEncoding.DecodeString(parts[1])
		parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(raw), `"sub":"agent"`, `"sub":"admin"`, 1)))
		return strings.Join(parts, ".")
	}))
	claim("20", "a token above 8 KiB", malformed, "padding", strings.Repeat("a", 9<<10))
	list = append(list, attack{id: "21", what: "1000 tokens of unknown kids at once: the keys are asked for once in 30 s", do: manyKids, want: refused})
	for name := range inOrder(faulty()) {
		add("22", "a provider that was never reached, "+name, down, func(r *rig) string { return r.idp.broken[name].Issue(r.claims(nil)) })
	}
	list = append(list,
		attack{id: "26", what: "a provider's token in the query", do: func(t *testing.T, r *rig, p proto) (answer, error) {
			return r.perform(t, attack{send: request{drop: []string{"Authorization"}, target: wikiPath + "?access_token=" + genuine(nil)(r)}}, p)
		}, want: want{status: 400, code: -32600, reason: "invalid_request"}},
		attack{id: "26", what: "a provider's token in a cookie", do: func(t *testing.T, r *rig, p proto) (answer, error) {
			return r.perform(t, attack{send: request{drop: []string{"Authorization"}, fields: []field{{"Cookie", "access_token=" + genuine(nil)(r)}}}}, p)
		}, want: refused},
		attack{id: "26", what: "a provider's token in a form", do: func(t *testing.T, r *rig, p proto) (answer, error) {
			return r.perform(t, attack{send: request{drop: []string{"Authorization"}, fields: []field{{"Content-Type", "application/x-www-form-urlencoded"}}, body: "access_token=" + genuine(nil)(r)}}, p)
		}, want: refused},
		attack{id: "28", what: "two Authorization fields with a provider's token each", do: func(t *testing.T, r *rig, p proto) (answer, error) {
			return r.perform(t, attack{send: request{fields: []field{{"Authorization", "Bearer " + genuine(nil)(r)}, {"Authorization", "Bearer " + genuine(nil)(r)}}}}, p)
		}, want: malformed},
	)

	// Opaque tokens.
	opaque := func(members func(r *rig) map[string]any) minted {
		return func(r *rig) string {
			token := "opaque-" + base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprint(time.Now().UnixNano())))
			if m := members(r); m != nil {
				all := map[string]any{"sub": "agent", "client_id": "agent-client", "aud": r.resource(wikiPath), "exp": in(time.Minute)}
				maps.Copy(all, m)
				maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
				r.idp.acme.Opaque(token, all)
			}
			return token
		}
	}
	with := func(name string, value any) func(*rig) map[string]any {
		return func(*rig) map[string]any { return map[string]any{name: value} }
	}
	add("opaque", "a token that the provider says is active", passed, opaque(with("jti", "1")))
	add("opaque", "one that it does not know", refused, opaque(func(*rig) map[string]any { return nil }))
	add("opaque", "one that it says is not active", refused, opaque(with("active", false)))
	add("opaque", "active as a text", down, opaque(with("active", "true")))
	add("opaque", "no exp", refused, opaque(with("exp", nil)))
	add("opaque", "exp that has passed", refused, opaque(with("exp", in(-time.Hour))))
	add("opaque", "aud of another server", refused, opaque(func(r *rig) map[string]any { return map[string]any{"aud": r.resource(vaultPath)} }))
	add("opaque", "no aud", refused, opaque(with("aud", nil)))
	add("opaque", "iss of another provider", refused, opaque(with("iss", "https://evil.example")))
	add("opaque", "a client that is not on the list", refused, opaque(with("client_id", "evil-client")))

	// Who may what.
	to(vaultPath, "scope", "a token for another server of the tunnel, without its scope", scope, genuineFor(vaultPath, nil))
	to(vaultPath, "scope", "the scope as a part of another", scope, genuineFor(vaultPath, map[string]any{"scope": "vault.readonly xvault.read"}))
	to(vaultPath, "scope", "the scope in capitals", scope, genuineFor(vaultPath, map[string]any{"scope": "VAULT.READ"}))
	to(guardedPath, "scope", "no claim where one is needed", scope, genuineFor(guardedPath, nil))
	to(guardedPath, "scope", "the claim with another value", scope, genuineFor(guardedPath, map[string]any{"groups": "guards2"}))
	to(guardedPath, "scope", "the claim as an object", scope, genuineFor(guardedPath, map[string]any{"groups": map[string]any{"guards": true}}))
	to(foreignPath, "89", "a server of another tunnel, by a token that is made for it", missing, genuineFor(foreignPath, nil))
	to("/t/globex/nowhere/mcp", "89", "one that does not exist there", missing, genuineFor("/t/globex/nowhere/mcp", nil))
	to("/t/nobody/wiki/mcp", "89", "a tunnel that does not exist", missing, genuineFor("/t/nobody/wiki/mcp", nil))
	to(foreignPath, "89", "a server of another tunnel, by a token for this one", refused, genuine(nil))
	to("/t/nobody/wiki/mcp", "89", "a tunnel that does not exist, by a token for this one", refused, genuine(nil))
	add("89", "this tunnel, by a token of the other one's provider", missing, func(r *rig) string { return r.idp.other.Issue(r.claims(nil)) })
	weak := func(claims map[string]any) minted {
		return func(r *rig) string {
			all := map[string]any{"aud": weakAudience}
			maps.Copy(all, claims)
			return r.idp.weak.Issue(all)
		}
	}
	add("13", "an audience that is configured, with the scope of the server", passed, weak(map[string]any{"scope": "wiki"}))
	add("13", "an audience that is configured, without the scope", scope, weak(nil))
	to(vaultPath, "13", "an audience that is configured, for a server that is not the issuer's", missing, weak(map[string]any{"scope": "wiki"}))
	return list
}

// genuineFor is a token for the server of a path.
func genuineFor(path string, claims map[string]any) minted {
	return func(r *rig) string {
		all := map[string]any{"aud": r.resource(path)}
		maps.Copy(all, claims)
		return genuine(all)(r)
	}
}

// manyKids sends tokens that name keys which nobody has, at once, and then one more.
func manyKids(t *testing.T, r *rig, p proto) (answer, error) {
	errs := make(chan error, 1000)
	gate := make(chan struct{}, 20)
	for i := range cap(errs) {
		go func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			token := r.idp.acme.Issue(r.claims(nil), providertest.Head("kid", fmt.Sprintf("none-%d", i)))
			a, err := r.perform(t, attack{send: request{fields: []field{{"Authorization", "Bearer " + token}}}}, p)
			if err == nil && a.status != 401 {
				err = fmt.Errorf("status %d", a.status)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			return answer{}, err
		}
	}
	return presenting(wikiPath, "Bearer", genuine(nil, providertest.Head("kid", "none")))(t, r, p)
}

// malleate changes the last character only in bits that a lax decoder ignores: 64 bytes leave four such bits.
func malleate(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

// inOrder goes through a map by its keys, so that the table is the same each time.
func inOrder[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}

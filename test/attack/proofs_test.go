package attack

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth/dpoptest"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/test/stack"
)

// proofs are the values of a request's DPoP fields.
type proofs func(r *rig, token string) []string

// bound is a token of the provider whose tokens must be bound, for the key of the rig, with other claims in the place of some.
func bound(claims map[string]any) minted {
	return func(r *rig) string {
		all := r.claims(map[string]any{"cnf": map[string]any{"jkt": r.idp.key.Thumbprint()}})
		for name, value := range claims {
			all[name] = value
		}
		return r.idp.bound.Issue(all)
	}
}

// proof is a genuine proof of the rig's key for a call to wiki; alter changes its header and claims before it is signed.
func proof(alter ...func(header, claims map[string]any)) proofs {
	return func(r *rig, token string) []string {
		return []string{r.idp.key.Proof("POST", r.resource(wikiPath), token, "", alter...)}
	}
}

// proving sends a token with its proofs, and looks for those too in all that is said.
func proving(scheme string, token minted, made proofs) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		var values []string
		got, err := presenting(wikiPath, scheme, token, func(r *rig, token string) (fields []field) {
			values = made(r, token)
			for _, value := range values {
				fields = append(fields, field{"DPoP", value})
			}
			return fields
		})(t, r, p)
		log := r.Log.String()
		for _, value := range values {
			if i := strings.LastIndexByte(value, '.'); i > 0 && len(value)-i > 40 {
				mustLack(t, "the log", []byte(log[max(0, len(log)-64<<10):]), value[i+1:])
				mustLack(t, "the answer", got.all, value[i+1:])
			}
		}
		return got, err
	}
}

// checkProofChallenge wants the challenge of the scheme DPoP beside that of Bearer, with the error of RFC 9449 section 7.1.
func checkProofChallenge(code string) func(*testing.T, answer, []received) {
	return func(t *testing.T, a answer, got []received) {
		t.Helper()
		checkChallenge(t, a, got)
		for _, challenge := range a.header.Values("WWW-Authenticate") {
			if strings.HasPrefix(challenge, "DPoP ") && strings.Contains(challenge, `algs="ES256 ES384 EdDSA PS256 RS256"`) && strings.HasSuffix(challenge, `error="`+code+`"`) {
				return
			}
		}
		t.Errorf("no challenge says DPoP, its algorithms and %s: %q", code, a.header.Values("WWW-Authenticate"))
	}
}

// proofAttacks are those on proofs of possession (RFC 9449).
func proofAttacks() (list []attack) {
	refused := want{status: 401, code: -32000, reason: "unauthenticated", check: checkProofChallenge("invalid_dpop_proof")}
	invalid := want{status: 401, code: -32000, reason: "unauthenticated", check: checkProofChallenge("invalid_token")}
	malformed := want{status: 400, code: -32000, reason: "unauthenticated"}
	passed := want{status: 200, hits: 1}
	none := func(*rig, string) []string { return nil }
	with := func(what string, w want, scheme string, token minted, made proofs) {
		list = append(list, attack{id: "24", what: what, do: proving(scheme, token, made), want: w})
	}
	add := func(what string, w want, made proofs) { with(what, w, "DPoP", bound(nil), made) }
	header := func(what string, name string, value any) {
		add(what, refused, proof(func(h, _ map[string]any) { put(h, name, value) }))
	}
	claim := func(what string, w want, name string, value any) {
		add(what, w, proof(func(_, c map[string]any) { put(c, name, value) }))
	}
	by := func(alg string) (token minted, made proofs) {
		key := dpoptest.New(alg)
		return func(r *rig) string {
				return r.idp.bound.Issue(r.claims(map[string]any{"cnf": map[string]any{"jkt": key.Thumbprint()}}))
			}, func(r *rig, token string) []string {
				return []string{key.Proof("POST", r.resource(wikiPath), token, "")}
			}
	}

	for _, alg := range []string{"ES256", "ES384", "EdDSA", "RS256", "PS256"} {
		token, made := by(alg)
		with("a bound token with its proof, "+alg, passed, "DPoP", token, made)
	}
	add("no proof", refused, none)
	add("an empty DPoP field", refused, func(*rig, string) []string { return []string{""} })
	add("two DPoP fields", malformed, func(r *rig, token string) []string { return append(proof()(r, token), proof()(r, token)...) })
	add("two proofs in one field", refused, func(r *rig, token string) []string {
		return []string{proof()(r, token)[0] + ", " + proof()(r, token)[0]}
	})
	list = append(list,
		attack{id: "24", what: "a proof for the second time", do: proveTwice, want: want{status: 401, code: -32000, reason: "unauthenticated", hits: 1, check: refused.check}},
		attack{id: "24", what: "one proof 20 times at once: one call passes", do: proveAtOnce, want: want{status: 401, code: -32000, reason: "unauthenticated", hits: 1, check: refused.check}},
	)

	claim("htm GET", refused, "htm", "GET")
	claim("htm in small letters", refused, "htm", "post")
	claim("no htm", refused, "htm", nil)
	for what, url := range inOrder(map[string]func(r *rig) any{
		"of another server of the tunnel": func(r *rig) any { return r.resource(vaultPath) },
		"of another tunnel":               func(r *rig) any { return r.resource(foreignPath) },
		"of another host":                 func(*rig) any { return "https://evil.example" + wikiPath },
		"of the host without its port":    func(*rig) any { return "https://" + publicName + wikiPath },
		"of another port":                 func(*rig) any { return "https://" + publicName + ":1" + wikiPath },
		"with http":                       func(r *rig) any { return "http://" + r.host + wikiPath },
		"with a user before the host":     func(r *rig) any { return "https://evil.example@" + r.host + wikiPath },
		"the host as user of another":     func(r *rig) any { return "https://" + r.host + "@evil.example" + wikiPath },
		"the path alone":                  func(*rig) any { return wikiPath },
		"with a slash behind":             func(r *rig) any { return r.resource(wikiPath) + "/" },
		"with an escape in its path":      func(r *rig) any { return r.resource("/t/" + stack.Tunnel + "/%77iki/mcp") },
		"with a dot segment":              func(r *rig) any { return r.resource("/t/" + stack.Tunnel + "/./wiki/mcp") },
		"with its path in capitals":       func(r *rig) any { return r.resource(strings.ToUpper(wikiPath)) },
		"in the query of another":         func(r *rig) any { return "https://evil.example/?" + r.resource(wikiPath) },
		"empty":                           func(*rig) any { return "" },
		"none":                            func(*rig) any { return nil },
	}) {
		add("htu: "+what, refused, func(r *rig, token string) []string {
			return proof(func(_, c map[string]any) { put(c, "htu", url(r)) })(r, token)
		})
	}
	add("htu with a query, which does not count", passed, func(r *rig, token string) []string {
		return proof(func(_, c map[string]any) { c["htu"] = r.resource(wikiPath) + "?a=b" })(r, token)
	})
	at := func(d time.Duration) func(_, c map[string]any) {
		return func(_, c map[string]any) { c["iat"] = time.Now().Add(d).Unix() }
	}
	add("iat 120 s ago", refused, proof(at(-120*time.Second)))
	add("iat in 120 s", refused, proof(at(120*time.Second)))
	add("iat 10 min ago: a clock that is behind", refused, proof(at(-10*time.Minute)))
	add("iat 40 s ago", passed, proof(at(-40*time.Second)))
	claim("no iat", refused, "iat", nil)
	claim("iat as a text", refused, "iat", "9999999999")
	claim("no jti", refused, "jti", nil)
	claim("an empty jti", refused, "jti", "")
	claim("a jti of 1 KiB", refused, "jti", strings.Repeat("j", 1<<10))
	claim("no ath", refused, "ath", nil)
	claim("an empty ath", refused, "ath", "")
	add("ath of another token of the same key", refused, func(r *rig, _ string) []string { return proof()(r, bound(nil)(r)) })
	claim("ath of no token", refused, "ath", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")
	add("ath is the token itself", refused, func(r *rig, token string) []string {
		return proof(func(_, c map[string]any) { c["ath"] = token })(r, token)
	})
	claim("a nonce, where none is asked for", passed, "nonce", "chosen")

	add("a proof of another key than cnf.jkt names", refused, func(r *rig, token string) []string {
		return []string{dpoptest.New("ES256").Proof("POST", r.resource(wikiPath), token, "")}
	})
	add("signed by another key than it shows", refused, func(r *rig, token string) []string {
		return []string{dpoptest.New("ES256").Sign(r.idp.key.Header(), dpoptest.Claims("POST", r.resource(wikiPath), token, ""))}
	})
	add("the signature of another proof of the same key", refused, func(r *rig, token string) []string {
		one, other := proof()(r, token)[0], proof()(r, token)[0]
		return []string{one[:strings.LastIndexByte(one, '.')] + other[strings.LastIndexByte(other, '.'):]}
	})
	add("the signature in another spelling", refused, func(r *rig, token string) []string { return []string{malleate(proof()(r, token)[0])} })
	add("alg none without a signature", refused, func(r *rig, token string) []string {
		head := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(r.idp.key.Header(), `"ES256"`, `"none"`, 1)))
		return []string{head + proof()(r, token)[0][strings.IndexByte(proof()(r, token)[0], '.'):strings.LastIndexByte(proof()(r, token)[0], '.')+1]}
	})
	header("alg none with a signature", "alg", "none")
	header("alg HS256", "alg", "HS256")
	header("alg ES384 of a key for ES256", "alg", "ES384")
	header("alg RS1", "alg", "RS1")
	header("no alg", "alg", nil)
	header("no jwk", "jwk", nil)
	header("a symmetric jwk", "jwk", map[string]any{"kty": "oct", "k": "c2VjcmV0"})
	add("a jwk with its private half", refused, proof(func(h, _ map[string]any) { h["jwk"].(map[string]any)["d"] = "AQ" }))
	add("a jwk for encryption", refused, proof(func(h, _ map[string]any) { h["jwk"].(map[string]any)["use"] = "enc" }))
	add("a jwk off its curve", refused, proof(func(h, _ map[string]any) { h["jwk"].(map[string]any)["x"] = strings.Repeat("A", 43) }))
	header("crit", "crit", []string{"exp"})
	header("b64: false", "b64", false)
	header("kid beside jwk", "kid", "x")
	add("jku to a server that nobody asks", refused, func(r *rig, token string) []string {
		return proof(func(h, _ map[string]any) { h["jku"] = r.trap.url })(r, token)
	})
	header("typ JWT", "typ", "JWT")
	header("typ at+jwt", "typ", "at+jwt")
	header("no typ", "typ", nil)
	add("jti twice", refused, func(r *rig, token string) []string {
		claims := dpoptest.Claims("POST", r.resource(wikiPath), token, "")
		return []string{r.idp.key.Sign(r.idp.key.Header(), strings.Replace(claims, `{`, `{"jti":"x",`, 1))}
	})
	add("htu, and HTU", refused, func(r *rig, token string) []string {
		claims := dpoptest.Claims("POST", r.resource(wikiPath), token, "")
		return []string{r.idp.key.Sign(r.idp.key.Header(), strings.Replace(claims, `{`, `{"HTU":"x",`, 1))}
	})
	add("the token in the place of the proof", refused, func(_ *rig, token string) []string { return []string{token} })
	claim("a proof of 5 KiB", refused, "padding", strings.Repeat("a", 5<<10))
	claim("a proof of 12 KiB", malformed, "padding", strings.Repeat("a", 8<<10))

	with("a bound token as Bearer, with its proof", refused, "Bearer", bound(nil), proof())
	with("a bound token as Bearer, without one", refused, "Bearer", bound(nil), none)
	with("a bound token of a provider that does not ask for it, as Bearer", refused, "Bearer", func(r *rig) string {
		return genuine(map[string]any{"cnf": map[string]any{"jkt": r.idp.key.Thumbprint()}})(r)
	}, proof())
	with("a bound token of a provider that does not ask for it, with its proof", passed, "DPoP", func(r *rig) string {
		return genuine(map[string]any{"cnf": map[string]any{"jkt": r.idp.key.Thumbprint()}})(r)
	}, proof())
	with("an unbound token as DPoP, with a proof", refused, "DPoP", genuine(nil), proof())
	with("an unbound token of a provider that asks for proofs, as Bearer", refused, "Bearer", bound(map[string]any{"cnf": nil}), none)
	with("the same, as DPoP with a proof", refused, "DPoP", bound(map[string]any{"cnf": nil}), proof())
	with("a static token as DPoP, with a proof", refused, "DPoP", func(*rig) string { return stack.AgentToken }, proof())
	with("a token that is bound in a way that nobody knows", refused, "DPoP", bound(map[string]any{"cnf": map[string]any{"kid": "x"}}), proof())
	with("cnf as a text", invalid, "DPoP", bound(map[string]any{"cnf": "x"}), proof())
	with("an expired token with a good proof", invalid, "DPoP", bound(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), proof())
	with("a token for another server with a good proof", invalid, "DPoP", func(r *rig) string { return bound(map[string]any{"aud": r.resource(vaultPath)})(r) }, proof())
	with("a forged token with a good proof", invalid, "DPoP", func(r *rig) string {
		return r.idp.bound.Issue(r.claims(map[string]any{"cnf": map[string]any{"jkt": r.idp.key.Thumbprint()}}), providertest.By("stranger ES256"))
	}, proof())
	return list
}

// put sets a member, and nil takes it out.
func put(members map[string]any, name string, value any) {
	if value == nil {
		delete(members, name)
		return
	}
	members[name] = value
}

// once makes one request of a bound token and its proof.
func once(r *rig) request {
	token := bound(nil)(r)
	return request{fields: []field{{"Authorization", "DPoP " + token}, {"DPoP", proof()(r, token)[0]}}}
}

// proveTwice sends one request again.
func proveTwice(t *testing.T, r *rig, p proto) (answer, error) {
	same := attack{send: once(r)}
	if first, err := r.perform(t, same, p); err != nil || first.status != 200 {
		return first, fmt.Errorf("the first call: status %d, %w", first.status, err)
	}
	return r.perform(t, same, p)
}

// proveAtOnce sends one request many times at once, and gives the last refusal.
func proveAtOnce(t *testing.T, r *rig, p proto) (refusal answer, err error) {
	const calls = 20
	same := once(r)
	answers, errs := make(chan answer, calls), make(chan error, calls)
	for range calls {
		go func() {
			send := r.sendH1
			if p == h2 {
				send = r.sendH2
			}
			a, err := send(context.Background(), same)
			answers <- a
			errs <- err
		}()
	}
	passed := 0
	for range calls {
		if e := <-errs; e != nil {
			err = e
		}
		if a := <-answers; a.status == 200 {
			passed++
		} else {
			refusal = a
		}
	}
	if passed != 1 {
		t.Errorf("%d calls passed", passed)
	}
	return refusal, err
}

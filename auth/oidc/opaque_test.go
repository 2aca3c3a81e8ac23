package oidc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
)

// answers are the members of an answer that is good, with changes; nil takes one out.
func answers(t *testing.T, f fixture, change map[string]any) map[string]any {
	t.Helper()
	all := map[string]any{
		"iss": f.idp.Issuer(), "sub": "agent", "client_id": "agent-client", "aud": resource, "scope": "mcp wiki.read",
		"exp": time.Now().Add(10 * time.Minute).Unix(), "token_type": "Bearer",
	}
	for name, value := range change {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	return all
}

func TestOpaque(t *testing.T) {
	f := newFixture(t, func(c *oidc.Config) {
		introspecting(t)(c)
		c.Clients = []string{"agent-client"}
		c.Require = map[string]oidc.Requirement{"wiki": {Scopes: []string{"wiki.read"}}}
	}, oidc.Options{})
	now := time.Now().Unix()
	for _, test := range []struct {
		name   string
		change map[string]any
		want   error
	}{
		{"good", nil, nil},
		{"no iss", map[string]any{"iss": nil}, nil},
		{"no sub, the client is the subject", map[string]any{"sub": nil}, nil},
		{"aud a list", map[string]any{"aud": []string{resource}}, nil},
		{"members of the issuer's own", map[string]any{"username": "a", "x": map[string]any{"y": 1}}, nil},
		{"not active", map[string]any{"active": false}, auth.ErrInvalid},
		{"active as a text", map[string]any{"active": "true"}, auth.ErrUnavailable},
		{"active as a number", map[string]any{"active": 1}, auth.ErrUnavailable},
		{"no exp", map[string]any{"exp": nil}, auth.ErrInvalid},
		{"exp past", map[string]any{"exp": now - 31}, auth.ErrExpired},
		{"exp a text", map[string]any{"exp": "9999999999"}, auth.ErrUnavailable},
		{"nbf in the future", map[string]any{"nbf": now + 61}, auth.ErrInvalid},
		{"aud foreign", map[string]any{"aud": "https://other.example"}, auth.ErrInvalid},
		{"aud foreign too", map[string]any{"aud": []string{resource, "https://other.example"}}, auth.ErrInvalid},
		{"no aud", map[string]any{"aud": nil}, auth.ErrInvalid},
		{"iss another", map[string]any{"iss": "https://other.example"}, auth.ErrInvalid},
		{"iss with a slash", map[string]any{"iss": f.idp.Issuer() + "/"}, auth.ErrInvalid},
		{"neither sub nor client_id", map[string]any{"sub": nil, "client_id": nil}, auth.ErrInvalid},
		{"sub with a line end", map[string]any{"sub": "a\nb"}, auth.ErrUnavailable},
		{"a refresh token", map[string]any{"token_type": "refresh_token"}, auth.ErrInvalid},
		{"a refresh token, by its use", map[string]any{"token_use": "refresh_token"}, auth.ErrInvalid},
		{"an ID token", map[string]any{"token_use": "id"}, auth.ErrInvalid},
		{"a type that is no text", map[string]any{"token_type": 1}, auth.ErrInvalid},
		{"a type in capitals, and a use", map[string]any{"token_type": "BEARER", "token_use": "access_token"}, nil},
		{"client not listed", map[string]any{"client_id": "other"}, auth.ErrInvalid},
		{"a scope is missing", map[string]any{"scope": "mcp"}, auth.ErrInsufficient},
		{"Active beside active", map[string]any{"Sub": "admin"}, auth.ErrUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			token := strings.ReplaceAll("opaque-"+secretive+test.name, " ", "")
			f.idp.Opaque(token, answers(t, f, test.change))
			got := f.expect(t, call(token), test.want)
			if test.want == nil && (got.Subject == "" || got.Claims["active"] != nil || got.Claims["scope"] != "mcp wiki.read") {
				t.Errorf("the principal is %v with %v", got, got.Claims)
			}
		})
	}
	for name, body := range map[string]string{
		"nothing": " ", "null": "null", "a list": "[]", "a member twice": `{"active":false,"active":true}`, "in another case": `{"Active":true}`,
		"two": `{"active":true}{}`, "HTML": "<html>", "broken": `{"active":tr`,
	} {
		f.idp.Say(providertest.Introspection, body)
		f.expect(t, call("opaque-"+encode(name)), auth.ErrUnavailable)
	}
	f.idp.Say(providertest.Introspection, "")
	f.idp.Misbehave(providertest.Introspection, providertest.Failing)
	f.expect(t, call("opaque-failing"), auth.ErrUnavailable)
}

// TestOnlyOpaqueIsAsked: what looks like a JWT is never asked about, lest the issuer be more lenient than we, or see
// somebody else's token.
func TestOnlyOpaqueIsAsked(t *testing.T) {
	f := newFixture(t, introspecting(t), oidc.Options{})
	genuine := f.idp.Issue(nil)
	segments := strings.Split(genuine, ".")
	for name, token := range map[string]string{
		"typ":             f.idp.Issue(nil, providertest.Head("typ", "JWT")),
		"alg none":        f.idp.Sign(`{"alg":"none","typ":"at+jwt"}`, f.idp.Claims(nil), ""),
		"signature":       segments[0] + "." + segments[1] + "." + otherSpelling(segments[2]),
		"empty signature": segments[0] + "." + segments[1] + ".",
		"padding":         genuine + "==",
		"claims twice":    f.idp.Sign(good, with(f.idp.Claims(nil), `"sub":"a"`), "ES256"),
		"another aud":     f.idp.Issue(map[string]any{"aud": "x"}),
		"somebody else's": f.idp.Issue(map[string]any{"iss": "https://other.example"}),
	} {
		t.Run(name, func(t *testing.T) {
			f.idp.Opaque(token, answers(t, f, nil))
			f.expect(t, call(token), auth.ErrInvalid)
		})
	}
	if n := f.idp.Count(providertest.Introspection); n != 0 {
		t.Errorf("the issuer was asked about %d of them", n)
	}
	for name, token := range map[string]string{
		"no dots": "opaque", "dots": "ya29.a0.b", "three segments": "a.b.c", "five segments": "eyJhbGciOiJkaXIifQ..a.b.c",
	} {
		t.Run(name, func(t *testing.T) {
			f.idp.Opaque(token, answers(t, f, nil))
			f.expect(t, call(token), nil)
		})
	}
}

// TestOpaqueIsRemembered for a minute, and a refusal for ten seconds, and never beyond exp.
func TestOpaqueIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, introspecting(t), oidc.Options{})
		asked := func(want int) {
			t.Helper()
			if n := f.idp.Count(providertest.Introspection); n != want {
				t.Errorf("the issuer was asked %d times, want %d", n, want)
			}
		}
		f.idp.Opaque("yes", answers(t, f, nil))
		f.expect(t, call("yes"), nil)
		f.idp.Opaque("yes", map[string]any{"active": false}) // revoked
		time.Sleep(59 * time.Second)
		f.expect(t, call("yes"), nil)
		asked(1)
		time.Sleep(2 * time.Second)
		f.expect(t, call("yes"), auth.ErrInvalid)
		asked(2)

		f.idp.Opaque("yes", answers(t, f, nil))
		time.Sleep(9 * time.Second)
		f.expect(t, call("yes"), auth.ErrInvalid)
		asked(2)
		time.Sleep(2 * time.Second)
		f.expect(t, call("yes"), nil)
		asked(3)

		f.idp.Opaque("short", answers(t, f, map[string]any{"exp": time.Now().Add(5 * time.Second).Unix()}))
		f.expect(t, call("short"), nil)
		time.Sleep(36 * time.Second) // with the leeway
		f.expect(t, call("short"), auth.ErrExpired)
		asked(4)

		f.idp.Misbehave(providertest.Introspection, providertest.Failing)
		f.expect(t, call("unknown"), auth.ErrUnavailable)
		f.idp.Misbehave(providertest.Introspection, providertest.None)
		f.expect(t, call("unknown"), auth.ErrInvalid) // a failure is not remembered
		f.Close()
	})
}

// TestOpaqueIsAskedOnce by many calls at a time, and goes on if the first of them leaves.
func TestOpaqueIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, introspecting(t), oidc.Options{})
		f.idp.Opaque("token", answers(t, f, nil))
		f.idp.Misbehave(providertest.Introspection, providertest.Hang)
		leaving, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := f.Verify(leaving, call("token")); !errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("the call that left got %v", err)
			}
		})
		synctest.Wait()
		for range 100 {
			wg.Go(func() { f.expect(t, call("token"), nil) })
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := f.Verify(impatient, call("token")); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("the call that did not wait got %v", err)
		}
		f.idp.Misbehave(providertest.Introspection, providertest.None)
		leave()
		wg.Wait()
		if n := f.idp.Count(providertest.Introspection); n != 2 {
			t.Errorf("the issuer was asked %d times, want 2: by who left, and by one of the others", n)
		}
		f.Close()
	})
}

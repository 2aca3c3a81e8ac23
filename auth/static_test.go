package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
	"sallyport.dev/secret"
)

const otherToken = "second-token-0123456789-abcdefghijklmnop"

func TestStaticVerify(t *testing.T) {
	grant := auth.Grant{Tunnels: []string{"acme"}, Servers: []string{"wiki"}}
	s, err := auth.NewStatic("https://gw.test", []auth.StaticToken{
		{Name: "ci", Token: secret.New(authtest.Token), Grant: grant},
		{Name: "dev", Token: secret.New(otherToken)},
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Verify(context.Background(), auth.Presented{Token: authtest.Token})
	if err != nil {
		t.Fatal(err)
	}
	if p.Issuer != "https://gw.test" || p.Subject != "ci" || p.Claims != nil || !p.Expiry.IsZero() || !p.May("acme", "wiki") {
		t.Errorf("got %v with grant %v", p, p.Grant)
	}
	if p, err := s.Verify(context.Background(), auth.Presented{Token: otherToken}); err != nil || p.Subject != "dev" || p.May("acme", "wiki") {
		t.Errorf("second token: got %v with grant %v, %v", p, p.Grant, err)
	}
	refused := []struct {
		name, token string
		want        error
	}{
		{"empty", "", auth.ErrNoToken},
		{"unknown", strings.Repeat("ab", 20), auth.ErrInvalid},
		{"prefix", authtest.Token[:39], auth.ErrInvalid},
		{"longer", authtest.Token + "x", auth.ErrInvalid},
		{"other case", strings.ToLower(authtest.Token), auth.ErrInvalid},
		{"huge", strings.Repeat("a", 8<<20), auth.ErrMalformed},
	}
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			p, err := s.Verify(context.Background(), auth.Presented{Token: c.token})
			if !errors.Is(err, c.want) || p.Subject != "" {
				t.Errorf("got %v, %v, want %v", p, err, c.want)
			}
		})
	}
}

func TestNoNeighbourOfATokenIsAccepted(t *testing.T) {
	s := authtest.Static(t, auth.Grant{})
	for i := range authtest.Token {
		for c := byte('0'); c <= 'z'; c++ {
			guess := authtest.Token[:i] + string(rune(c)) + authtest.Token[i+1:]
			if _, err := s.Verify(context.Background(), auth.Presented{Token: guess}); (err == nil) != (guess == authtest.Token) {
				t.Fatalf("%q: %v", guess, err)
			}
		}
	}
}

func TestNoStaticTokensRefuseEveryToken(t *testing.T) {
	s, err := auth.NewStatic("https://gw.test", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(context.Background(), auth.Presented{Token: authtest.Token}); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// badTokens are refused as agent tokens and as tunnel tokens alike.
var badTokens = []struct{ name, value, text string }{
	{"empty", "", "is empty"},
	{"31 characters", otherToken[:31], "31 characters"},
	{"above 8 KiB", strings.Repeat("ab", 4097), "8194 characters"},
	{"space inside", "canary secret-token-0123456789-abcdefghijk", "cannot carry"},
	{"line break at the end", otherToken + "\n", "cannot carry"},
	{"not ASCII", otherToken + "é", "cannot carry"},
	{"equals sign inside", "canary=" + otherToken, "cannot carry"},
	{"one character", strings.Repeat("x", 40), "one character repeated"},
	{"one character, padded", strings.Repeat("A", 40) + "==", "one character repeated"},
	{"only padding", strings.Repeat("=", 40), "cannot carry"},
}

func TestNewStaticRefuses(t *testing.T) {
	for _, c := range badTokens {
		t.Run(c.name, func(t *testing.T) {
			_, err := auth.NewStatic("https://gw.test", []auth.StaticToken{{Name: "ci", Token: secret.New(c.value)}})
			checkRefusal(t, err, `"ci"`, c.text, c.value)
		})
	}
	token := func(name, value string) auth.StaticToken {
		return auth.StaticToken{Name: name, Token: secret.New(value)}
	}
	_, err := auth.NewStatic("https://gw.test", []auth.StaticToken{token("a", authtest.Token), token("b", authtest.Token)})
	checkRefusal(t, err, `"b"`, "same value", authtest.Token)
	_, err = auth.NewStatic("https://gw.test", []auth.StaticToken{token("a", authtest.Token), token("a", otherToken)})
	checkRefusal(t, err, `"a"`, "twice", otherToken)
	_, err = auth.NewStatic("", nil)
	checkRefusal(t, err, "issuer", "public URL", "")
	for _, name := range []string{"", "a b", "a\n", "a|b", "é", strings.Repeat("n", 65)} {
		_, err = auth.NewStatic("https://gw.test", []auth.StaticToken{token(name, otherToken)})
		checkRefusal(t, err, "number 1", "name must", otherToken)
	}
}

func TestNewTunnelsRefuses(t *testing.T) {
	for _, c := range badTokens {
		t.Run(c.name, func(t *testing.T) {
			_, err := auth.NewTunnels([]auth.Tunnel{{Name: "acme", Token: secret.New(c.value)}})
			checkRefusal(t, err, `"acme"`, c.text, c.value)
		})
	}
	tunnel := func(name, value string) auth.Tunnel { return auth.Tunnel{Name: name, Token: secret.New(value)} }
	_, err := auth.NewTunnels([]auth.Tunnel{tunnel("a", authtest.Token), tunnel("b", authtest.Token)})
	checkRefusal(t, err, `"b"`, "same value", authtest.Token)
	_, err = auth.NewTunnels([]auth.Tunnel{tunnel("a", authtest.Token), tunnel("a", otherToken)})
	checkRefusal(t, err, `"a"`, "twice", otherToken)
	_, err = auth.NewTunnels([]auth.Tunnel{{Name: "a", Token: secret.New(otherToken), MaxConnectors: -1}})
	checkRefusal(t, err, `"a"`, "negative", otherToken)
	for _, name := range []string{"", "Acme", "a_b", "a.b", "a--b", strings.Repeat("n", 41)} {
		_, err = auth.NewTunnels([]auth.Tunnel{tunnel(name, otherToken)})
		checkRefusal(t, err, "number 1", "name must", otherToken)
	}
}

func checkRefusal(t *testing.T, err error, name, text, value string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want an error with %s and %q", name, text)
	}
	if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %q, want %s and %q in it", err, name, text)
	}
	if value != "" && strings.Contains(err.Error(), value) || strings.Contains(err.Error(), "canary") {
		t.Errorf("the error shows the value: %q", err)
	}
}

func TestIdentify(t *testing.T) {
	tunnels, err := auth.NewTunnels([]auth.Tunnel{
		{Name: "acme", Token: secret.New(authtest.Token), MaxConnectors: 2},
		{Name: "beta", Token: secret.New(otherToken)},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := tunnels.Identify(authtest.Token)
	if err != nil || got.Name != "acme" || got.MaxConnectors != 2 || !got.Token.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := tunnels.Identify(otherToken); err != nil || got.Name != "beta" {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := tunnels.Identify(authtest.Token[1:]); !errors.Is(err, auth.ErrInvalid) {
		t.Errorf("unknown token: %v", err)
	}
	if _, err := tunnels.Identify(""); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("no token: %v", err)
	}
}

func BenchmarkStaticVerify(b *testing.B) {
	for _, n := range []int{1, 100} {
		tokens := make([]auth.StaticToken, n)
		for i := range tokens {
			tokens[i] = auth.StaticToken{Name: fmt.Sprint("t", i), Token: secret.New(fmt.Sprintf("%s%04d", otherToken, i))}
		}
		s, err := auth.NewStatic("https://gw.test", tokens)
		if err != nil {
			b.Fatal(err)
		}
		for name, token := range map[string]string{"match": otherToken + "0000", "miss": otherToken + "none"} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, err := s.Verify(context.Background(), auth.Presented{Token: token})
					if (err == nil) != (name == "match") {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

package auth_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
)

func assertion() auth.Assertion {
	return auth.Assertion{
		Tunnel: "acme", Server: "wiki", Connector: "inst1",
		Principal: auth.Principal{Issuer: "https://gw.test", Subject: "ci", Grant: auth.Grant{Tunnels: []string{"*"}, Servers: []string{"*"}}},
	}
}

func mustSign(t testing.TB, s *auth.Signer, a auth.Assertion) string {
	t.Helper()
	token, err := s.Sign(a)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// claimsOf reads a token's claims without any of the package's own code.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAssertionRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := assertion()
		a.Principal.Expiry = time.Now().Add(time.Hour)
		a.Principal.Claims = map[string]any{"team": "ops", "n": 1.5, "groups": []any{"a", "b"}, "deep": map[string]any{"x": nil}}
		token := mustSign(t, authtest.Signer(t), a)
		c := authtest.Checker(t, "acme", "inst1")
		for range 2 { // verified, then remembered
			p, err := c.Check(context.Background(), token, "wiki")
			if err != nil {
				t.Fatal(err)
			}
			if p.String() != a.Principal.String() || !p.Expiry.Equal(a.Principal.Expiry) || !reflect.DeepEqual(p.Claims, a.Principal.Claims) {
				t.Errorf("got %v until %v with %v", p, p.Expiry, p.Claims)
			}
			if !p.May("acme", "wiki") || p.May("acme", "db") || p.May("other", "wiki") {
				t.Errorf("grant %v is not this tunnel and server alone", p.Grant)
			}
			if _, err := c.Check(context.Background(), token, "db"); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("for another server: %v", err)
			}
			if _, err := c.Check(context.Background(), token, ""); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("for no server: %v", err)
			}
		}
	})
}

func TestForgeriesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := assertion()
		c := authtest.Checker(t, a.Tunnel, a.Connector)
		genuine := authtest.Forge(authtest.Header(), authtest.Claims(a, time.Now()), authtest.Key())
		for _, f := range authtest.Forgeries(a) {
			for range 2 { // the second time nothing must be remembered
				p, err := c.Check(context.Background(), f.Token, a.Server)
				if !errors.Is(err, f.Want) || p.Subject != "" {
					t.Errorf("%s: got %v, %v; want %v", f.Name, p, err, f.Want)
				}
			}
		}
		if _, err := c.Check(context.Background(), genuine, a.Server); err != nil {
			t.Errorf("the genuine one that the forgeries differ from: %v", err)
		}
		if _, err := c.Check(context.Background(), "", a.Server); !errors.Is(err, auth.ErrNoToken) {
			t.Errorf("no assertion: %v", err)
		}
		if _, err := authtest.Checker(t, a.Tunnel, "inst2").Check(context.Background(), genuine, a.Server); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("at another connector: %v", err)
		}
	})
}

func TestCheckErrorsQuoteNothing(t *testing.T) {
	a := assertion()
	a.Principal.Subject = "canary"
	c := authtest.Checker(t, a.Tunnel, a.Connector)
	for _, f := range authtest.Forgeries(a) {
		_, err := c.Check(context.Background(), f.Token, a.Server)
		if err == nil || strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "passwd") || strings.Contains(err.Error(), f.Token[:min(len(f.Token), 20)]) && f.Token != ".." {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}

func TestAssertionExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := assertion()
		remembering, fresh := authtest.Checker(t, "acme", "inst1"), func() *auth.Checker { return authtest.Checker(t, "acme", "inst1") }
		token := mustSign(t, authtest.Signer(t), a)
		if _, err := remembering.Check(context.Background(), token, "wiki"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30*time.Second + 5*time.Second - time.Millisecond)
		for _, c := range []*auth.Checker{remembering, fresh()} {
			if _, err := c.Check(context.Background(), token, "wiki"); err != nil {
				t.Errorf("within life and leeway: %v", err)
			}
		}
		time.Sleep(time.Millisecond)
		for _, c := range []*auth.Checker{remembering, fresh()} {
			if _, err := c.Check(context.Background(), token, "wiki"); !errors.Is(err, auth.ErrExpired) {
				t.Errorf("past life and leeway: %v", err)
			}
		}
	})
}

func TestSignerReusesWhileTenSecondsRemain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := authtest.Signer(t), assertion()
		first := mustSign(t, s, a)
		time.Sleep(20*time.Second - time.Millisecond)
		if mustSign(t, s, a) != first {
			t.Error("signed anew with more than 10 s left")
		}
		time.Sleep(time.Millisecond)
		second := mustSign(t, s, a)
		if second == first {
			t.Error("handed out again with 10 s left")
		}
		claims := claimsOf(t, second)
		if life := claims["exp"].(float64) - claims["iat"].(float64); life != 30 {
			t.Errorf("lives %v s", life)
		}
	})
}

func TestSignerTellsTuplesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := authtest.Signer(t)
		seen := map[string]string{}
		add := func(name string, alter func(*auth.Assertion)) {
			a := assertion()
			alter(&a)
			token := mustSign(t, s, a)
			if other, ok := seen[token]; ok {
				t.Errorf("%s shares its assertion with %s", name, other)
			}
			seen[token] = name
			if mustSign(t, s, a) != token {
				t.Errorf("%s is not remembered", name)
			}
		}
		hour := time.Now().Add(time.Hour)
		add("plain", func(*auth.Assertion) {})
		add("tunnel", func(a *auth.Assertion) { a.Tunnel = "beta" })
		add("server", func(a *auth.Assertion) { a.Server = "db" })
		add("connector", func(a *auth.Assertion) { a.Connector = "inst2" })
		add("issuer", func(a *auth.Assertion) { a.Principal.Issuer = "https://idp.test" })
		add("subject", func(a *auth.Assertion) { a.Principal.Subject = "dev" })
		add("shifted", func(a *auth.Assertion) { a.Tunnel, a.Server = "acmew", "iki" })
		add("expiry", func(a *auth.Assertion) { a.Principal.Expiry = hour })
		add("claims", func(a *auth.Assertion) { a.Principal.Claims = map[string]any{"role": "reader"} })
		add("other claims", func(a *auth.Assertion) { a.Principal.Claims = map[string]any{"role": "admin"} })
	})
}

func TestAssertionNeverOutlivesItsPrincipal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a := authtest.Signer(t), assertion()
		a.Principal.Expiry = time.Now().Add(12 * time.Second)
		token := mustSign(t, s, a)
		claims := claimsOf(t, token)
		if left := claims["exp"].(float64) - claims["iat"].(float64); left != 12 {
			t.Errorf("lives %v s beside a principal of 12 s", left)
		}
		if _, err := authtest.Checker(t, "acme", "inst1").Check(context.Background(), token, "wiki"); err != nil {
			t.Error(err)
		}
		time.Sleep(11 * time.Second)
		if mustSign(t, s, a) != token {
			t.Error("signed anew although nothing could live longer")
		}
		time.Sleep(time.Second)
		if _, err := s.Sign(a); !errors.Is(err, auth.ErrExpired) {
			t.Errorf("signed for an expired principal: %v", err)
		}
	})
}

func TestSignRefuses(t *testing.T) {
	big := map[string]any{"x": strings.Repeat("y", 4<<10)}
	cases := []struct {
		name  string
		alter func(*auth.Assertion)
		text  string
	}{
		{"no tunnel", func(a *auth.Assertion) { a.Tunnel = "" }, "required"},
		{"no server", func(a *auth.Assertion) { a.Server = "" }, "required"},
		{"no connector", func(a *auth.Assertion) { a.Connector = "" }, "required"},
		{"no issuer", func(a *auth.Assertion) { a.Principal.Issuer = "" }, "required"},
		{"no subject", func(a *auth.Assertion) { a.Principal.Subject = "" }, "required"},
		{"claims above 4 KiB", func(a *auth.Assertion) { a.Principal.Claims = big }, "above 4096"},
		{"claims that are not JSON", func(a *auth.Assertion) { a.Principal.Claims = map[string]any{"f": func() {}} }, "not JSON"},
		{"invalid UTF-8", func(a *auth.Assertion) { a.Principal.Subject = "canary\xff" }, "UTF-8"},
		{"subject too long", func(a *auth.Assertion) { a.Principal.Subject = strings.Repeat("canary", 2000) }, "above 8192"},
	}
	s := authtest.Signer(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := assertion()
			c.alter(&a)
			token, err := s.Sign(a)
			if token != "" || err == nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNewSignerAndNewCheckerRefuse(t *testing.T) {
	if _, err := auth.NewSigner("", authtest.Key()); err == nil {
		t.Error("a signer without issuer")
	}
	if _, err := auth.NewSigner("https://gw.test", ed25519.PrivateKey("short")); err == nil {
		t.Error("a signer without key")
	}
	good := auth.CheckerConfig{Keys: []ed25519.PublicKey{authtest.PublicKey()}, Issuer: "i", Tunnel: "t", Connector: "c"}
	for name, alter := range map[string]func(*auth.CheckerConfig){
		"no key":          func(c *auth.CheckerConfig) { c.Keys = nil },
		"half a key":      func(c *auth.CheckerConfig) { c.Keys = []ed25519.PublicKey{authtest.PublicKey()[:16]} },
		"nine keys":       func(c *auth.CheckerConfig) { c.Keys = slices.Repeat([]ed25519.PublicKey{authtest.PublicKey()}, 9) },
		"no issuer":       func(c *auth.CheckerConfig) { c.Issuer = "" },
		"no tunnel":       func(c *auth.CheckerConfig) { c.Tunnel = "" },
		"no connector":    func(c *auth.CheckerConfig) { c.Connector = "" },
		"negative leeway": func(c *auth.CheckerConfig) { c.Leeway = -1 },
		"large leeway":    func(c *auth.CheckerConfig) { c.Leeway = 61 * time.Second },
	} {
		cfg := good
		alter(&cfg)
		if _, err := auth.NewChecker(cfg); err == nil {
			t.Errorf("a checker with %s", name)
		}
	}
	if !authtest.Signer(t).PublicKeys()[0].Equal(authtest.PublicKey()) {
		t.Error("the signer gives another public key")
	}
}

func TestSignAndCheckConcurrently(t *testing.T) {
	s, c := authtest.Signer(t), authtest.Checker(t, "acme", "inst1")
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				a := assertion()
				a.Principal.Subject = fmt.Sprint("agent", (g+i)%5)
				token, err := s.Sign(a)
				if err != nil {
					t.Error(err)
					return
				}
				if p, err := c.Check(context.Background(), token, "wiki"); err != nil || p.Subject != a.Principal.Subject {
					t.Errorf("got %v, %v for %s", p, err, a.Principal.Subject)
				}
			}
		})
	}
	wg.Wait()
}

package auth_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"sallyport.dev/auth"
)

func TestMay(t *testing.T) {
	cases := []struct {
		name           string
		grant          auth.Grant
		tunnel, server string
		want           bool
	}{
		{"zero grant", auth.Grant{}, "acme", "wiki", false},
		{"no servers", auth.Grant{Tunnels: []string{"*"}}, "acme", "wiki", false},
		{"no tunnels", auth.Grant{Servers: []string{"*"}}, "acme", "wiki", false},
		{"by name", auth.Grant{Tunnels: []string{"acme"}, Servers: []string{"db", "wiki"}}, "acme", "wiki", true},
		{"all", auth.Grant{Tunnels: []string{"*"}, Servers: []string{"*"}}, "acme", "wiki", true},
		{"other tunnel", auth.Grant{Tunnels: []string{"acme"}, Servers: []string{"*"}}, "acme2", "wiki", false},
		{"other server", auth.Grant{Tunnels: []string{"*"}, Servers: []string{"wiki"}}, "acme", "wik", false},
		{"case matters", auth.Grant{Tunnels: []string{"acme"}, Servers: []string{"*"}}, "Acme", "wiki", false},
		{"star is no pattern", auth.Grant{Tunnels: []string{"ac*"}, Servers: []string{"*"}}, "acme", "wiki", false},
		{"empty tunnel", auth.Grant{Tunnels: []string{"*", ""}, Servers: []string{"*"}}, "", "wiki", false},
		{"empty server", auth.Grant{Tunnels: []string{"*"}, Servers: []string{"*"}}, "acme", "", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := (auth.Principal{Grant: c.grant}).May(c.tunnel, c.server); got != c.want {
				t.Errorf("May(%q, %q) = %v, want %v", c.tunnel, c.server, got, c.want)
			}
		})
	}
}

func TestPrincipalPrintsNoClaimAndNoControlCharacter(t *testing.T) {
	p := auth.Principal{
		Issuer: "https://idp.test", Subject: "eve\n\x1b[31m\u009b\u202e",
		Claims: map[string]any{"mail": "canary"},
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "p", p)
	for _, out := range []string{p.String(), fmt.Sprintf("%v %+v", p, p), log.String()} {
		if strings.Contains(out, "canary") {
			t.Errorf("a claim was printed: %q", out)
		}
	}
	if got, want := p.String(), "https://idp.test|eve??[31m??"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestPrincipalFrom(t *testing.T) {
	if p, ok := auth.PrincipalFrom(context.Background()); ok || p.May("acme", "wiki") {
		t.Error("an empty context gave a principal")
	}
	p, ok := auth.PrincipalFrom(auth.WithPrincipal(context.Background(), auth.Principal{Subject: "s"}))
	if !ok || p.Subject != "s" {
		t.Errorf("got %v, %v", p, ok)
	}
}

package connector

import (
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
)

// reloadable makes a connector that dials nobody, with one server, wiki, that has a credential.
func reloadable(t *testing.T, ref secret.Ref, change func(*Config)) (c *Connector, reload func(change func(*Config, *Server))) {
	t.Helper()
	cfg := Config{
		Gateway:     "127.0.0.1:1",
		TunnelToken: secretFile(t, "tunnel", testTunnelToken),
		Policy:      policy.Open(),
		Servers: map[string]Server{"wiki": {
			URL:          "https://wiki.internal/mcp",
			OnReflection: reflectionQuarantine,
			Credentials: []Credential{{
				For:    credential.Who{Issuers: []string{"https://old.example.com", "https://new.example.com"}},
				Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: ref,
			}},
		}},
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, func(change func(*Config, *Server)) {
		t.Helper()
		cfg.Servers = maps.Clone(cfg.Servers)
		wiki := cfg.Servers["wiki"]
		change(&cfg, &wiki)
		if cfg.Servers["wiki"].URL != "" {
			cfg.Servers["wiki"] = wiki
		}
		if waiting, err := c.Reload(cfg); err != nil || len(waiting) > 0 {
			t.Fatalf("%q waits, %v", waiting, err)
		}
	}
}

// echo passes what an upstream sends through the server's guard.
func echo(t *testing.T, u *upstream, text string) string {
	t.Helper()
	answer := &http.Response{Header: make(http.Header), Body: io.NopCloser(strings.NewReader(text))}
	u.guard.watch(t.Context(), answer, func() {})
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

// What a server has had before a reload may still come back after it, to whomever it then answers, and what it gets after it
// may come back in a stream that was open before.
func TestSecretsAreLookedForAfterAReload(t *testing.T) {
	c, reload := reloadable(t, secretFile(t, "key", "Xm4-very-own-secret-T8uPq"), nil)
	before := c.current().servers["wiki"]
	before.guard.use(secret.New("token-of-alice-9fKq27LmZ"), time.Time{})
	reload(func(_ *Config, wiki *Server) { wiki.CallTimeout = time.Minute })
	after := c.current().servers["wiki"]
	if after == before {
		t.Fatal("nothing has changed")
	}
	after.guard.use(secret.New("token-of-bob-4Xw8Rt1Kd0"), time.Time{})
	for _, u := range []*upstream{before, after} {
		if got := echo(t, u, "token-of-alice-9fKq27LmZ token-of-bob-4Xw8Rt1Kd0"); strings.Contains(got, "token") {
			t.Errorf("an agent gets %q", got)
		}
	}
}

// Quarantine ends with another configuration of the very server, and with nothing else.
func TestQuarantineOutlastsAReload(t *testing.T) {
	c, reload := reloadable(t, secretFile(t, "key", "Xm4-very-own-secret-T8uPq"), nil)
	u := c.current().servers["wiki"]
	u.guard.use(secret.New("Xm4-very-own-secret-T8uPq"), time.Time{})
	echo(t, u, "you sent Xm4-very-own-secret-T8uPq")
	reload(func(cfg *Config, _ *Server) { cfg.Upstream.AllowedIPs = []string{"127.0.0.0/8"} })
	if next := c.current().servers["wiki"]; next == u || !next.guard.closed() {
		t.Error("another network that may be dialled lifts it")
	}
	reload(func(_ *Config, wiki *Server) { wiki.CallTimeout = time.Minute })
	if c.current().servers["wiki"].guard.closed() {
		t.Error("it outlasts a change of the server")
	}
}

// Sessions stay their principals' as long as they are the same upstream's.
func TestSessionsOutlastAReload(t *testing.T) {
	c, reload := reloadable(t, secretFile(t, "key", "Xm4-very-own-secret-T8uPq"), nil)
	alice, bob := credential.Principal{Issuer: "https://old.example.com", Subject: "alice"}, credential.Principal{Issuer: "https://old.example.com", Subject: "bob"}
	c.current().servers["wiki"].sessions.began("id", alice, 1)
	reload(func(_ *Config, wiki *Server) { wiki.CallTimeout = time.Minute })
	now := c.current().servers["wiki"].sessions
	if !now.admits("id", alice, 1) || now.admits("id", alice, 2) || now.admits("id", bob, 1) {
		t.Error("a session has lost whom it belongs to")
	}
	reload(func(_ *Config, wiki *Server) { wiki.URL = "https://other.internal/mcp" })
	if c.current().servers["wiki"].sessions == now {
		t.Error("sessions of another upstream are kept")
	}
}

// A name that is another issuer's now leads nobody to what was the first one's.
func TestIssuersAreReloaded(t *testing.T) {
	t.Setenv("SALLYPORT_TEST_VAULT", "root")
	c, reload := reloadable(t, mustParseRef(t, "vault:users/{principal.issuer}/{principal.subject}#token"), func(cfg *Config) {
		cfg.Sources.Vault = vault.Config{Address: "https://127.0.0.1:1", Auth: vault.Auth{Token: mustParseRef(t, "env:SALLYPORT_TEST_VAULT")}}
		cfg.Issuers = map[string]string{"corp": "https://old.example.com"}
	})
	unnamed := func(issuer string) bool {
		_, err := c.current().servers["wiki"].bindings[0].Source.Fetch(t.Context(), credential.Principal{Issuer: issuer, Subject: "alice"})
		if err == nil {
			t.Fatal("there is no Vault")
		}
		return strings.Contains(err.Error(), "no name here")
	}
	if unnamed("https://old.example.com") || !unnamed("https://new.example.com") {
		t.Error("the names are not those that are configured")
	}
	reload(func(cfg *Config, _ *Server) { cfg.Issuers = map[string]string{"corp": "https://new.example.com"} })
	if !unnamed("https://old.example.com") || unnamed("https://new.example.com") || !unnamed("corp") {
		t.Error("after the reload, the names are not those that are configured")
	}
}

// A prefix that may no longer be dialled holds for what is dialled to read secrets too.
func TestAllowedAddressesAreReloaded(t *testing.T) {
	c, reload := reloadable(t, secretFile(t, "key", "Xm4-very-own-secret-T8uPq"), nil)
	reload(func(cfg *Config, _ *Server) { cfg.Upstream.AllowedIPs = []string{"10.0.0.0/8"} })
	if err := c.allowed.Load().Control("tcp", "192.168.0.1:443", nil); err == nil {
		t.Error("an address that was allowed before still is")
	}
}

// A server whose secret a program prints goes when it is taken out: nothing is started by that.
func TestARefusalNamesWhatWaitsForARestart(t *testing.T) {
	c, reload := reloadable(t, secretFile(t, "key", "Xm4-very-own-secret-T8uPq"), nil)
	reload(func(*Config, *Server) {})
	cfg := c.current().cfg
	cfg.StateDir = t.TempDir()
	wiki := cfg.Servers["wiki"]
	wiki.Credentials = []Credential{{OAuth: &oauth.Config{
		Grant: "refresh_token", TokenURL: "https://idp.internal/token", ClientID: "wiki",
		ClientSecret: secretFile(t, "client", "client-secret-0123456789"), RefreshToken: secretFile(t, "refresh", "refresh-token-0123456789"),
	}}}
	cfg.Servers = map[string]Server{"wiki": wiki}
	if _, err := c.Reload(cfg); err == nil || !strings.Contains(err.Error(), "after a restart only: state_dir") {
		t.Errorf("%v", err)
	}
}

func TestARemovedServerGoes(t *testing.T) {
	c, reload := reloadable(t, mustParseRef(t, "exec:/bin/echo x"), nil)
	reload(func(cfg *Config, _ *Server) {
		delete(cfg.Servers, "wiki")
		cfg.Servers["other"] = Server{URL: "https://other.internal/mcp"}
	})
	if c.current().servers["wiki"] != nil {
		t.Error("it is still served")
	}
}

package connector

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/cell"
	"sallyport.dev/config"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/secret"
)

// TestLocalServerConfiguration: each mistake is told in words that say what to write instead.
func TestLocalServerConfiguration(t *testing.T) {
	good := func() Server { return Server{Command: []string{"true"}} }
	for says, change := range map[string]func(*Server){
		"either a command or a url":                 func(s *Server) { s.URL = nowhere },
		"a command gets secrets by env":             func(s *Server) { s.Credentials = []Credential{{}} },
		"for a server with a url":                   func(s *Server) { s.CAFile = "/x" },
		"write a list such as":                      func(s *Server) { s.Command = []string{""} },
		"isolation: namespaces (the default)":       func(s *Server) { s.Isolation = "docker" },
		"network: host (the default) or none":       func(s *Server) { s.Network = "bridge" },
		"network: none needs isolation":             func(s *Server) { s.Network, s.Isolation = "none", cell.None },
		"idle_timeout":                              func(s *Server) { s.IdleTimeout = time.Millisecond },
		"limits: they are numbers above 0":          func(s *Server) { s.Limits.CPUs = -1 },
		"write absolute paths":                      func(s *Server) { s.Read = []string{"data"} },
		"env.HOME: PATH, HOME, LANG and TMPDIR are": func(s *Server) { s.Env = map[string]Variable{"HOME": {Text: "/"}} },
		"env.A=B: this cannot stand":                func(s *Server) { s.Env = map[string]Variable{"A=B": {}} },
		"env: it is for a server with a command": func(s *Server) {
			*s = Server{URL: nowhere, Env: map[string]Variable{"A": {}}}
		},
		"limits: it is for a server with a command": func(s *Server) { *s = Server{URL: nowhere, Limits: Limits{CPUs: 1}} },
	} {
		cfg := testConfig(t, nowhere)
		s := good()
		change(&s)
		cfg.Servers = map[string]Server{"wiki": s}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q is not said: %v", says, err)
		}
	}
	cfg := testConfig(t, nowhere)
	cfg.Servers = map[string]Server{"wiki": good()}
	if err := cfg.Validate(); err != nil || cfg.MaxProcesses != 32 || cfg.Servers["wiki"].IdleTimeout != 10*time.Minute {
		t.Errorf("the defaults: %v, %d, %s", err, cfg.MaxProcesses, cfg.Servers["wiki"].IdleTimeout)
	}
	cfg.MaxProcesses = 5000
	if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "max_processes") {
		t.Errorf("5000 processes: %v", err)
	}
}

// TestVariables: a variable is a text or a reference, and neither is repeated in an error.
func TestVariables(t *testing.T) {
	read := func(text string) (map[string]Variable, error) {
		path := filepath.Join(t.TempDir(), "env.yaml")
		if err := os.WriteFile(path, []byte("env:\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		var into struct {
			Env map[string]Variable `yaml:"env"`
		}
		err := config.Load(path, &into)
		return into.Env, err
	}
	env, err := read("  LEVEL: debug\n  PORT: 8080\n  KEY: { secret: \"file:/etc/key\" }\n")
	if err != nil || env["LEVEL"].Text != "debug" || env["PORT"].Text != "8080" || env["KEY"].Secret.String() != "file:/etc/key" {
		t.Errorf("%v, %v", env, err)
	}
	for _, text := range []string{"  KEY: { secret: canary-1 }\n", "  KEY: { secrt: canary-2 }\n", "  KEY: [canary-3]\n", "  KEY: { secret: \"file:/a\", or: b }\n"} {
		if _, err := read(text); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestLocalServerCheck: --check says which isolation is in force and what the command gets to see, and fails on what is
// missing.
func TestLocalServerCheck(t *testing.T) {
	cfg := testConfig(t, nowhere)
	key := secretFile(t, "key", testKey)
	cfg.StateDir, cfg.File = t.TempDir(), "/etc/sallyport/connector.yaml"
	cfg.Servers = map[string]Server{
		"apart": {Command: []string{"true"}, Env: map[string]Variable{"KEY": {Secret: key}, "LEVEL": {Text: "debug"}}},
		"open":  {Command: []string{"true"}, Isolation: cell.None},
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	warnings := strings.Join(c.Warnings(), "\n")
	for _, want := range []string{"servers.apart: env KEY is exposed to child", "servers.open: isolation is NONE"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning says %q:\n%s", want, warnings)
		}
	}
	facts, errs := c.Check(t.Context())
	if said := strings.Join(facts, "\n"); len(errs) > 0 || !strings.Contains(said, "server apart: isolation: ") || !strings.Contains(said, "namespaces") || !strings.Contains(said, "server open: isolation: ") {
		t.Errorf("%v, %v", facts, errs)
	}
	path, _ := key.File()
	token, _ := cfg.TunnelToken.File()
	for _, hidden := range []string{path, token, cfg.StateDir, cfg.File} {
		if !slices.Contains(c.current().servers["apart"].command.hide(), hidden) {
			t.Errorf("%s is not hidden from commands", hidden)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, errs := c.Check(t.Context()); len(errs) != 1 || !strings.Contains(errs[0].Error(), "servers.apart: env KEY") {
		t.Errorf("%v", errs)
	}
}

// TestLoginsAreHidden: commands see neither what we log in with at Vault nor what systemd has given us.
func TestLoginsAreHidden(t *testing.T) {
	given := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", given)
	ref := func(text string) secret.Ref { return mustParseRef(t, text) }
	for name, auth := range map[string]vault.Auth{
		"token":      {Token: ref("file:/secrets/a")},
		"approle":    {AppRole: &vault.AppRole{RoleID: ref("file:/secrets/a"), SecretID: ref("file:/secrets/b")}},
		"kubernetes": {Kubernetes: &vault.Kubernetes{Role: "r", JWT: ref("file:/secrets/a")}},
		"jwt":        {JWT: &vault.JWT{Role: "r", JWT: ref("file:/secrets/a")}},
	} {
		cfg := testConfig(t, nowhere)
		cfg.TunnelToken = ref("systemd:tunnel")
		cfg.Sources.Vault = vault.Config{Address: "https://vault.internal", Auth: auth}
		cfg.Servers = map[string]Server{"local": {Command: []string{"true"}, Env: map[string]Variable{"KEY": {Secret: ref("systemd:key")}}}}
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		want := []string{"/secrets/a", filepath.Join(given, "tunnel"), filepath.Join(given, "key")}
		if name == "approle" {
			want = append(want, "/secrets/b")
		}
		for _, path := range want {
			if !slices.Contains(cfg.hidden(), path) {
				t.Errorf("%s: %s is not hidden from commands", name, path)
			}
		}
	}
}

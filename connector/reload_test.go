package connector

import (
	"slices"
	"testing"

	"sallyport.dev/config"
	"sallyport.dev/secret"
)

// TestWhatWaitsForARestart compares configurations as they are written, not as they lie in memory.
func TestWhatWaitsForARestart(t *testing.T) {
	load := func() *Config {
		c := new(Config)
		if err := config.Load("testdata/full.good.yml", c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if keys := changedForGood(load(), load()); len(keys) > 0 {
		t.Errorf("the same file twice: %q", keys)
	}
	for key, change := range map[string]func(*Config){
		"gateway":       func(c *Config) { c.Gateway = "other:443" },
		"gateway_ca":    func(c *Config) { c.GatewayCA = "/other" },
		"tunnel_token":  func(c *Config) { c.TunnelToken = secretFile(t, "other", "x") },
		"state_dir":     func(c *Config) { c.StateDir = "/other" },
		"transport":     func(c *Config) { c.Transport = "quic" },
		"connections":   func(c *Config) { c.Connections = 8 },
		"max_processes": func(c *Config) { c.MaxProcesses = 8 },
		"max_body":      func(c *Config) { c.MaxBody = 8 },
		"sources":       func(c *Config) { c.Sources.Vault.Auth.AppRole.Mount = "other" },
	} {
		changed := load()
		change(changed)
		if keys := changedForGood(load(), changed); !slices.Equal(keys, []string{key}) {
			t.Errorf("another %s gives %q", key, keys)
		}
	}
	same := load()
	for name, s := range same.Servers {
		a, errA := identityOf(name, s, *same)
		other := load()
		b, errB := identityOf(name, other.Servers[name], *other)
		if s.CAFile == "" && (errA != nil || errB != nil || a != b) {
			t.Errorf("%s is another server when it is read again: %v, %v", name, errA, errB)
		}
	}
}

// A server that starts a command is never begun, changed or ended by a reload.
func TestCommandsWait(t *testing.T) {
	url := Server{URL: "https://wiki.internal/mcp"}
	command := Server{Command: []string{"/bin/wiki"}}
	program := url
	program.Credentials = []Credential{{Secret: mustParseRef(t, "exec:/bin/get-key a")}}
	other := url
	other.Credentials = []Credential{{Secret: mustParseRef(t, "exec:/bin/get-key b")}}
	for name, test := range map[string]struct {
		now    Server
		before *upstream
		want   bool
	}{
		"a new server":                    {url, nil, false},
		"a new command":                   {command, nil, true},
		"a server becomes a command":      {command, &upstream{cfg: url}, true},
		"a command becomes a server":      {url, &upstream{cfg: command}, true},
		"a new program for its secret":    {program, &upstream{cfg: url}, true},
		"a new server with a program":     {program, nil, true},
		"the same program":                {program, &upstream{cfg: program}, false},
		"another argument of the program": {other, &upstream{cfg: program}, true},
		"a server without its program":    {url, &upstream{cfg: program}, false},
	} {
		if got := waits(test.now, test.before); got != test.want {
			t.Errorf("%s: waits %v", name, got)
		}
	}
}

func mustParseRef(t *testing.T, text string) secret.Ref {
	t.Helper()
	ref, err := secret.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

package gateway

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/secret"
)

func TestWarningsAndOpen(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := func(name string) secret.Ref {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name+"-0123456789abcdefghijklmnopqrstuvwxyz"), 0o600); err != nil {
			t.Fatal(err)
		}
		ref, err := secret.ParseRef("file:" + path)
		if err != nil {
			t.Fatal(err)
		}
		return ref
	}
	base := Config{
		PublicURL: "https://gw.example.com", StateDir: dir, TLS: TLS{SelfSigned: true},
		Tunnels: []Tunnel{{Name: "acme", TunnelToken: file("acme")}},
		Agents:  Agents{Tokens: []Token{{Name: "ci", Token: file("ci"), Tunnels: []string{"acme"}, Servers: []string{"wiki"}}}},
	}
	cases := []struct {
		name           string
		change         func(*Config)
		warning, fact  string
		otherwiseQuiet bool
	}{
		{"self-signed", func(*Config) {}, "self_signed is for trials", "certificate covers gw.example.com until", true},
		{"a name that is not covered", func(c *Config) {
			c.TLS = TLS{CertFile: filepath.Join(dir, certFile), KeyFile: filepath.Join(dir, certKeyFile)}
			c.PublicURL, c.Domain = "https://other.example.com", "gw.example.com"
		}, "does not cover other.example.com", "agents call https://other.example.com/t/", true},
		{"plaintext", func(c *Config) {
			c.Agents.Listen, c.Agents.Trusted = "10.0.0.5:8080", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
		}, "tokens in the clear from [10.0.0.0/24]", "listens on 10.0.0.5:8080 (plaintext TCP)", false},
		{"origins", func(c *Config) { c.Agents.Origins = []string{"https://app.example.com"} }, "web pages of https://app.example.com", "", false},
		{"nobody", func(c *Config) { c.Agents.Tokens = nil }, "nobody may call", "", false},
		{"everything", func(c *Config) {
			c.Agents.Tokens = []Token{{Name: "all", Token: file("all"), Tunnels: []string{"*"}, Servers: []string{"*"}}}
		}, `"all" may use every server of every tunnel`, "token all: tunnels [*], servers [*]", false},
		{"another port", func(c *Config) { c.Listen = "127.0.0.1:7443" }, "public_url has port 443 and listen has port 7443", "", false},
		{"any port", func(c *Config) { c.Listen = "127.0.0.1:0" }, "self_signed", "", true},
		{"a key that others read", func(c *Config) {
			key := filepath.Join(dir, "open.key")
			text, err := os.ReadFile(filepath.Join(dir, certKeyFile))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(key, text, 0o644); err != nil {
				t.Fatal(err)
			}
			c.TLS = TLS{CertFile: filepath.Join(dir, certFile), KeyFile: key}
		}, "run: chmod go-rwx " + filepath.Join(dir, "open.key"), "", true},
		{"health", func(c *Config) { c.Health.Listen = "127.0.0.1:7081" }, "", "listens on 127.0.0.1:7081 (plaintext TCP): probes", false},
	}
	for _, c := range cases {
		cfg := base
		c.change(&cfg)
		g, err := New(cfg)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		warnings, facts := g.Warnings(), strings.Join(g.Open(), "\n")
		if !strings.Contains(strings.Join(warnings, "\n"), c.warning) || c.otherwiseQuiet && len(warnings) != 1 {
			t.Errorf("%s: warnings are %q", c.name, warnings)
		}
		if !strings.Contains(facts, c.fact) {
			t.Errorf("%s: says\n%s", c.name, facts)
		}
		for _, token := range []string{"acme-0123", "ci-0123", "all-0123"} {
			if strings.Contains(facts+strings.Join(warnings, "\n"), token) {
				t.Errorf("%s: a token shows", c.name)
			}
		}
	}
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	g, err := New(base)
	if err != nil {
		t.Fatal(err)
	}
	if warnings := strings.Join(g.Warnings(), "\n"); !strings.Contains(warnings, "chmod go-rwx "+dir+"\n") {
		t.Errorf("an open state_dir: %s", warnings)
	}
}

package gateway

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/config"
)

func TestGoodConfigs(t *testing.T) {
	for file, want := range map[string]string{
		"full":          "127.0.0.1:8443 https://tunnel.example.com:8443 tunnel.example.com 3 1048576",
		"least":         ":443 https://tunnel.example.com tunnel.example.com 2 4194304",
		"loopback_http": ":443 http://127.0.0.1:8080 127.0.0.1 2 4194304",
	} {
		var c Config
		if err := config.Load(filepath.Join("testdata", file+".good.yml"), &c); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		got := fmt.Sprint(c.Listen, " ", c.PublicURL, " ", strings.ToLower(c.Domain), " ", c.Tunnels[0].MaxConnectors, " ", c.Agents.MaxBody)
		if got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

// badConfigs maps each testdata/NAME.bad.yml to texts of its error.
var badConfigs = map[string][]string{
	"unknown_key":           {":5: ", `"lisen"`},
	"pasted_token":          {":5: ", "not a reference"},
	"token_without_servers": {`"ci": tunnels and servers are both required`},
	"token_without_token":   {`"ci": token is required: write env:NAME or file:/path`},
	"plain_untrusted":       {"agents.trusted: list the balancer's prefixes"},
	"trusted_bits":          {"write 10.0.0.0/24"},
	"trusted_all":           {"0.0.0.0/0 is everybody"},
	"origin_path":           {"agents.origins", "without a path"},
	"origin_star":           {"agents.origins", "is no origin"},
	"max_body":              {"agents.max_body: 1 to 67108864 bytes"},
	"health_public":         {"health.listen: only a loopback address"},
	"health_any":            {"health.listen: only a loopback address"},
	"listen":                {"listen: write host:port or :port"},
	"public_http":           {"public_url: http is for loopback only"},
	"public_path":           {"public_url: write scheme, host and port only"},
	"public_user":           {"public_url: write scheme, host and port only"},
	"public_scheme":         {"public_url: the scheme must be https"},
	"nothing":               {"domain or public_url is required", "tls: cert_file and key_file are required", "state_dir: an absolute path is required", "tunnels: at least one"},
	"tls_both":              {"tls: self_signed and cert_file exclude each other"},
	"tls_half":              {"tls: cert_file and key_file are required", "state_dir: an absolute path", `tunnels: "acme": tunnel_token is required`},
	"issuer_own":            {"is this gateway's own public_url"},
	"issuer_tunnel":         {`agents.issuers: "https://idp.example.com": there is no tunnel "acne"`},
	"issuer_no_tunnel":      {`agents.issuers: "https://idp.example.com": tunnels: name the tunnels`},
	"issuer_audience":       {`agents.issuers: "https://idp.example.com"`, "require"},
	"issuer_twice":          {"listed twice"},
	"issuer_http":           {"agents.issuers", "http"},
	"certificate_name":      {`agents.certificates: "ci" is the name of a token too`},
	"certificate_tunnel":    {`agents.certificates: "ci": there is no tunnel "acne"`},
	"certificate_both":      {"agents.certificates"},
	"issued_dir":            {"agents.issued.dir: write an absolute path"},
}

func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yml")
	if err != nil || len(files) != len(badConfigs) {
		t.Errorf("%d files and %d rows, %v", len(files), len(badConfigs), err)
	}
	for name, says := range badConfigs {
		err := config.Load(filepath.Join("testdata", name+".bad.yml"), new(Config))
		var problems *config.Error
		if !errors.As(err, &problems) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, text := range says {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s says\n%v\nand not %q", name, err, text)
			}
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: a value is repeated: %v", name, err)
		}
	}
}

// TestTokens: what New finds wrong with resolved secrets names them, and
// repeats nothing of them.
func TestTokens(t *testing.T) {
	const short = "short-canary-0123456789"
	for name, test := range map[string]struct {
		change func(t *testing.T, c *Config)
		says   string
	}{
		"a short agent token": {func(t *testing.T, c *Config) {
			c.Agents.Tokens[0].Token = secretFile(t, c.StateDir, "x", short)
		}, `"all" has 23 characters: use at least 32`},
		"a short tunnel token": {func(t *testing.T, c *Config) {
			c.Tunnels[0].TunnelToken = secretFile(t, c.StateDir, "x", short)
		}, `"acme" has 23 characters`},
		"an agent token that looks like one of the gateway's own": {func(t *testing.T, c *Config) {
			c.Agents.Tokens[0].Token = secretFile(t, c.StateDir, "x", "spt_"+strings.Repeat("0123", 10))
		}, `"all" begins with spt_`},
		"one token twice": {func(t *testing.T, c *Config) { c.Agents.Tokens[1].Token = c.Agents.Tokens[0].Token }, "same value"},
		"one name twice":  {func(t *testing.T, c *Config) { c.Agents.Tokens[1].Name = "all" }, "listed twice"},
		"a missing file": {func(t *testing.T, c *Config) {
			c.Agents.Tokens[0].Token = secretFile(t, c.StateDir, "x", short)
			if err := os.Remove(filepath.Join(c.StateDir, "x")); err != nil {
				t.Fatal(err)
			}
		}, `"all"`},
		"a tunnel's name":       {func(t *testing.T, c *Config) { c.Tunnels[0].Name, c.Agents.Tokens = "Acme", c.Agents.Tokens[:1] }, "lower-case"},
		"one token for both":    {func(t *testing.T, c *Config) { c.Agents.Tokens[0].Token = c.Tunnels[0].TunnelToken }, `"all" has the same value as the tunnel_token of "acme"`},
		"a tunnel that is not":  {func(t *testing.T, c *Config) { c.Agents.Tokens[1].Tunnels = []string{"acne"} }, `"narrow": there is no tunnel "acne": write one of ["acme"]`},
		"a tunnel listed twice": {func(t *testing.T, c *Config) { c.Tunnels = append(c.Tunnels, c.Tunnels[0]) }, "listed twice"},
		"negative connectors":   {func(t *testing.T, c *Config) { c.Tunnels[0].MaxConnectors = -1 }, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			test.change(t, &cfg)
			_, err := New(cfg)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("%v, want %q", err, test.says)
			}
			for _, canary := range []string{short, testAgentToken, testTunnelToken, testNarrowToken} {
				if strings.Contains(err.Error(), canary) {
					t.Errorf("the error repeats a token: %v", err)
				}
			}
		})
	}
}

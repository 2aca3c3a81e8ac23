package connector

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/config"
	"sallyport.dev/credential"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

func TestGoodConfigs(t *testing.T) {
	for file, want := range map[string]string{
		"full":  "tcp 3 1048576 1m0s false",
		"least": "auto 2 4194304 5m0s true",
	} {
		var c Config
		if err := config.Load(filepath.Join("testdata", file+".good.yml"), &c); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if got := fmt.Sprint(c.Transport, " ", c.Connections, " ", c.MaxBody, " ", c.Servers["wiki"].CallTimeout, " ", c.Policy.IsOpen()); got != want {
			t.Errorf("%s: %s, want %s", file, got, want)
		}
	}
}

// badConfigs maps each testdata/NAME.bad.yml to texts of its error.
var badConfigs = map[string][]string{
	"unknown_key":           {":5: ", `"conections"`},
	"no_policy":             {"policy: required: a list of rules, or the word open"},
	"policy_server":         {`policy: there is no server "wkii"`},
	"policy_when":           {":4: ", "when: line 1, column 4: undeclared reference to 'mcp.tol'"},
	"policy_word":           {":4: "},
	"transport":             {"transport: auto, quic or tcp"},
	"connections":           {"connections: 1 to 8"},
	"max_body":              {"max_body: 1 to"},
	"state_dir":             {"state_dir: write an absolute path"},
	"link_local":            {"upstream.allowed_ips", "link-local"},
	"prefix":                {"upstream.allowed_ips"},
	"nothing":               {"gateway: host:port is required", "tunnel_token: a reference is required", "servers: 1 to 256"},
	"name":                  {"servers.Wiki: the name must be"},
	"url_scheme":            {"servers.wiki: url: write http(s)://"},
	"url_user":              {"servers.wiki: url: write http(s)://"},
	"no_url":                {"servers.wiki: url: write http(s)://"},
	"timeout":               {"servers.wiki: call_timeout: 1s to 1h0m0s"},
	"command":               {"servers.wiki: command: a server has either a command or a url"},
	"plaintext":             {"servers.wiki: credentials over plain http need allow_plaintext: true"},
	"no_secret":             {"servers.wiki: credentials: number 1: secret: a reference is required"},
	"template":              {"servers.wiki: credentials: number 1", "{secret} exactly once"},
	"pasted_secret":         {":7: ", "not a reference"},
	"two_ways":              {"servers.wiki: credentials: number 1: write one of header, basic"},
	"no_way":                {"servers.wiki: credentials: number 1: write one of header, basic"},
	"subject_alone":         {"servers.wiki: credentials: number 1", "put {principal.issuer} before it, or write issuer: at the server"},
	"subject_in_env":        {"servers.wiki: env.KEY", "put {principal.issuer} before it"},
	"principal_in_file":     {":7: ", "not a reference"},
	"subjects_of_many":      {"for: subjects mean something at one issuer only"},
	"mtls_plain":            {"mtls: a certificate is shown over https only"},
	"mtls_half":             {"mtls: it needs certificate: and key:"},
	"refresh_without_state": {"refresh_token: set state_dir"},
	"shared_subject_token":  {"subject_token: all callers would act as one"},
	"jwt_key_of_caller":     {"jwt: secret: one key signs for all callers"},
	"oauth_key_of_caller":   {"oauth: key: one key signs for all callers"},
	"oauth_and_secret":      {"oauth: what it needs stands in it"},
	"sigv4_half":            {"sigv4: access_key: a reference is required"},
	"issuers_twice":         {"issuers.b: it is the same issuer as a"},
	"issuers_name":          {"issuers.A/b: the name must be"},
	"vault_auth":            {"sources.vault", "env:NAME, file:/absolute/path or systemd:NAME"},
	"pins_word":             {"servers.wiki: pins: off, report or quarantine is allowed"},
	"pins_without_state":    {"servers.wiki: pins: quarantine: set state_dir"},
	"reflection":            {"servers.wiki: on_reflection: log (the default) or quarantine"},
	"reserved_header":       {"servers.wiki: credentials: number 1", "reserved"},
	"auth_url":              {"auth.url: write the tunnel's URL at the gateway"},
	"auth_url_server":       {"auth.url: write the tunnel's URL at the gateway"},
	"auth_url_case":         {"auth.url: write the tunnel's URL at the gateway"},
	"auth_no_issuers":       {"auth.issuers: required with auth.url and verify_agents"},
	"auth_require_tunnel":   {`require: "acmee/wiki" is of another tunnel than auth.url`},
	"auth_tunnels":          {`auth.issuers: "https://idp.example.com": tunnels: leave it out`},
	"verify_agents_unknown": {`verify_agents: "https://other.example.com" is none of auth.issuers`},
	"verify_agents_empty":   {"verify_agents: it is empty"},
	"verify_agents_alone":   {"auth.issuers: required with auth.url and verify_agents"},
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

func TestWarningsAndCheck(t *testing.T) {
	c, _ := newConnector(t, newFakeGateway(t), "http://127.0.0.1:9/mcp", withKey(t))
	secret := c.cfg.Servers["wiki"].Credentials[0].Secret
	path, _ := secret.File()
	said := strings.Join(c.Warnings(), "\n")
	for _, want := range []string{"policy is OPEN", "servers.wiki: credentials go over plain http"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q lacks %q", said, want)
		}
	}
	if strings.Contains(said, "readable") {
		t.Errorf("a private file is warned about: %s", said)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(c.Warnings(), "\n"); !strings.Contains(said, path+" is readable by group or others") {
		t.Errorf("%q", said)
	}
	if _, errs := c.Check(t.Context()); len(errs) != 0 {
		t.Errorf("%v", errs)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, errs := c.Check(t.Context())
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "servers.wiki: header authorization") || strings.Contains(errs[0].Error(), testKey) {
		t.Errorf("%v", errs)
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	gone := filepath.Join(t.TempDir(), "gone")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*Config){
		"gateway_ca: open " + gone: func(c *Config) { c.GatewayCA = gone },
		"holds no certificate":     func(c *Config) { c.GatewayCA = empty },
		"servers.wiki: ca_file":    func(c *Config) { c.Servers["wiki"] = Server{URL: nowhere, CAFile: gone} },
		"tunnel_token: ": func(c *Config) {
			path, _ := c.TunnelToken.File()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
	} {
		cfg := testConfig(t, nowhere)
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// quotingError is one that quotes what it could not parse, and is a timeout or
// not.
type quotingError bool

func (quotingError) Error() string     { return "malformed canary" }
func (e quotingError) Timeout() bool   { return bool(e) }
func (e quotingError) Temporary() bool { return false }

func TestUpstreamErrors(t *testing.T) {
	timedOut, cancel := context.WithCancelCause(t.Context())
	cancel(errCallTimeout)
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for name, test := range map[string]struct {
		ctx     context.Context
		err     error
		touched bool
		want    *mcp.Error
	}{
		"no credential":          {t.Context(), fmt.Errorf("x: %w", credential.ErrUnavailable), false, mcp.CredentialUnavailable(nil)},
		"an unusable credential": {t.Context(), fmt.Errorf("x: %w", credential.ErrUnusable), false, mcp.CredentialUnavailable(nil)},
		"another destination":    {t.Context(), fmt.Errorf("x: %w", credential.ErrDestination), false, mcp.CredentialUnavailable(nil)},
		"refused":                {t.Context(), dial(errors.New("refused")), false, mcp.UpstreamUnreachable(nil)},
		"dial timeout":           {t.Context(), dial(quotingError(true)), false, mcp.UpstreamConnectTimeout(nil)},
		"timeout before":         {timedOut, context.Canceled, false, mcp.UpstreamConnectTimeout(nil)},
		"timeout after":          {timedOut, context.Canceled, true, mcp.UpstreamTimeout(nil)},
		"broken after":           {t.Context(), io.EOF, true, mcp.UpstreamBroken(nil)},
		"garbage after":          {t.Context(), quotingError(false), true, mcp.UpstreamBroken(nil)},
		"no trust":               {t.Context(), &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, false, mcp.UpstreamUnreachable(nil)},
	} {
		got := upstreamError(test.ctx, test.err, test.touched)
		if got.Status != test.want.Status || got.Code != test.want.Code || got.Delivered != test.want.Delivered {
			t.Errorf("%s: %d %d %s, want %d %d %s", name, got.Status, got.Code, got.Delivered, test.want.Status, test.want.Code, test.want.Delivered)
		}
		if name != "dial timeout" && strings.Contains(got.Error(), "canary") {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestWeakConfiguration: what can be said before a call fails is said.
func TestWeakConfiguration(t *testing.T) {
	nothing, err := policy.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t, "http://127.0.0.1:1/mcp")
	cfg.Policy = nothing
	cfg.Servers = map[string]Server{"meta": {URL: "http://169.254.169.254/mcp"}}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	warnings := strings.Join(c.Warnings(), "\n")
	for _, want := range []string{"every call is denied", "servers.meta: every call will fail"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no warning says %q:\n%s", want, warnings)
		}
	}
	cfg.TunnelToken = secretFile(t, "short.token", "abc")
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "fewer than 32") {
		t.Errorf("a short tunnel token: %v", err)
	}
}

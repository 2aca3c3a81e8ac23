package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckSaysWhatIsOpenAndWeak(t *testing.T) {
	s := newSite(t)
	if err := os.Chmod(s.etc("acme.token"), 0o644); err != nil {
		t.Fatal(err)
	}
	expect(t, check(t, "gateway", s.install(t, "quickstart/gateway.yaml")), []string{
		"  listens on " + s.gateway + " (TCP and UDP)", "  agents call https://localhost:", "  certificate covers localhost until ",
		"  clients and connectors must trust ", "  tunnel acme: at most 2 connectors", "  token trial: tunnels [acme], servers [*]",
		"  warning: tls.self_signed is for trials", "  warning: file:" + s.etc("acme.token") + " is readable by group or others",
	})
	expect(t, check(t, "gateway", s.install(t, "production/gateway.yaml")), []string{
		"  listens on " + s.health + " (plaintext TCP): probes", "certificate covers tunnel.example.com, 127.0.0.1 until",
		"  warning: agents.origins lets web pages of https://agents.example.com call",
	})
	expect(t, check(t, "gateway", s.install(t, "production/gateway-behind-balancer.yaml")), []string{
		"  listens on " + s.plain + " (plaintext TCP): agents", "  warning: agents.listen takes tokens in the clear from [127.0.0.1/32]",
	})
	expect(t, check(t, "connector", s.install(t, "wiki-token/connector.yaml")), []string{
		"  dials " + s.gateway + " (transport auto, 2 sessions); listens on no port", "  server wiki: " + s.upstream + "/mcp, 1 credentials",
		"  warning: servers.wiki: credentials go over plain http",
	})
	s.install(t, "quickstart/gateway.yaml") // its CA exists by the first check
	expect(t, check(t, "connector", s.install(t, "quickstart/connector.yaml")), []string{"  warning: policy is OPEN"})
}

// TestBadConfigurationExits2 with one problem a line, each with file and line where it has one, with and without --check.
func TestBadConfigurationExits2(t *testing.T) {
	s := newSite(t)
	gateway, connector := s.install(t, "production/gateway.yaml"), s.install(t, "wiki-token/connector.yaml")
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	goodGateway, goodConnector := read(gateway), read(connector)
	for _, c := range []struct {
		name, role, text string
		want             []string
	}{
		{"two unknown keys", "gateway", "lisen: 1\n" + goodGateway + "extra: 2\n", []string{":1: unknown key \"lisen\"", ": unknown key \"extra\""}},
		{"a value where a reference belongs", "gateway", strings.Replace(goodGateway, "file:"+s.etc("ci.token"), "s3cr3t-in-the-file", 1), []string{"secret: not a reference"}},
		{"a missing certificate", "gateway", strings.Replace(goodGateway, "tls.crt", "none.crt", 1), []string{"none.crt"}},
		{"a missing token", "gateway", strings.Replace(goodGateway, "labs.token", "none.token", 1), []string{"none.token", "labs"}},
		{"no tunnels", "gateway", goodGateway[:strings.Index(goodGateway, "tunnels:")] + "\n", []string{"at least one tunnel is required"}},
		{"not YAML", "gateway", "listen: [\n", []string{"not valid YAML"}},
		{"a missing credential", "connector", strings.Replace(goodConnector, "wiki.key", "none.key", 1), []string{"none.key"}},
		{"no policy", "connector", goodConnector[:strings.Index(goodConnector, "policy:")], []string{"policy: required"}},
		{"plain http without consent", "connector", strings.Replace(goodConnector, "allow_plaintext: true", "allow_plaintext: false", 1), []string{"allow_plaintext"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "bad.yaml")
			write(t, path, c.text)
			r := execute(t, "", c.role, "-c", path, "--check")
			if r.code != 2 || r.out != "" {
				t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
			}
			expect(t, r.errOut, append(c.want, "\n"+path))
			if strings.Contains(r.errOut, "s3cr3t") {
				t.Errorf("a value is repeated: %s", r.errOut)
			}
		})
	}
}

package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// What the guide shows of configuration is valid in a file that has the rest, at a gateway, and at a connector where it has the key too.
func TestTelemetryGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/guides/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	write(t, s.etc("otel.key"), "key-of-a-collector")
	tokens := "agents:\n  tokens:\n    - { name: ci, token: \"file:/etc/sallyport/ci.token\", tunnels: [acme], servers: [\"*\"] }\n"
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	for i, block := range blocks {
		rest := "domain: tunnel.example.com\nstate_dir: /var/lib/sallyport\n" +
			"tls: { cert_file: /etc/sallyport/tls.crt, key_file: /etc/sallyport/tls.key }\n" +
			"tunnels:\n  - { name: acme, tunnel_token: \"file:/etc/sallyport/acme.token\" }\n"
		if !strings.Contains(block[1], "agents:") {
			rest += tokens
		}
		valid(t, "gateway", s.place(t, fmt.Sprintf("gateway-%d.yaml", i+1), rest+block[1]))
		if strings.Contains(block[1], "agents:") || strings.Contains(block[1], "health:") {
			continue
		}
		rest = "gateway: tunnel.example.com:443\ntunnel_token: file:/etc/sallyport/acme.token\n" +
			"servers: { wiki: { url: \"http://127.0.0.1:3001/mcp\" } }\npolicy: open\naudit: best_effort\nstate_dir: /var/lib/sallyport-connector\n"
		valid(t, "connector", s.place(t, fmt.Sprintf("connector-%d.yaml", i+1), rest+block[1]))
	}
	if len(blocks) < 8 {
		t.Errorf("the guide has %d blocks", len(blocks))
	}
}

// TestCheckSaysWhatGoesWhere, and at both roles what of that is a mistake.
func TestCheckSaysWhatGoesWhere(t *testing.T) {
	s := newSite(t)
	write(t, s.etc("otel.key"), "key-of-a-collector")
	const telemetry = "telemetry: { otlp: { endpoint: \"http://otel.example.com:4317\", headers: { x-key: { secret: \"file:/etc/sallyport/otel.key\" } } }, traces: { sample: 0.1 } }\n"
	gateway := s.place(t, "gateway-told.yaml", "domain: tunnel.example.com\nstate_dir: /var/lib/sallyport\n"+
		"tls: { cert_file: /etc/sallyport/tls.crt, key_file: /etc/sallyport/tls.key }\n"+
		"tunnels:\n  - { name: acme, tunnel_token: \"file:/etc/sallyport/acme.token\" }\n"+
		"agents:\n  tokens:\n    - { name: ci, token: \"file:/etc/sallyport/ci.token\", tunnels: [acme], servers: [\"*\"] }\n"+telemetry)
	connector := s.place(t, "connector-told.yaml", "gateway: tunnel.example.com:443\ntunnel_token: file:/etc/sallyport/acme.token\n"+
		"servers: { wiki: { url: \"http://127.0.0.1:3001/mcp\" } }\npolicy: open\naudit: best_effort\nstate_dir: /var/lib/sallyport-connector\n"+telemetry)
	for role, path := range map[string]string{"gateway": gateway, "connector": connector} {
		r := execute(t, "", role, "-c", path, "--check")
		for _, want := range []string{
			"telemetry: traces go to http://otel.example.com:4317/v1/traces over http/protobuf, of 0.1 of the calls and of those that fail",
			"telemetry: metrics go to http://otel.example.com:4317/v1/metrics over http/protobuf",
			"telemetry: the headers go to otel.example.com:4317 over plain http",
			"telemetry: otel.example.com:4317 is by custom the port for protocol: grpc",
		} {
			if r.code != 0 || !strings.Contains(r.out, want) {
				t.Errorf("%s --check: exit code %d, without %q\n%s%s", role, r.code, want, r.out, r.errOut)
			}
		}
		if strings.Contains(r.out+r.errOut, "key-of-a-collector") {
			t.Errorf("%s --check shows a secret", role)
		}
	}
}

// valid checks a file, for which no collector is asked.
func valid(t *testing.T, role, path string) {
	t.Helper()
	if r := execute(t, "", role, "-c", path, "--check"); r.code != 0 || !strings.HasPrefix(r.out, path+" is valid\n") || r.errOut != "" {
		t.Errorf("%s --check: exit code %d\n%s%s", role, r.code, r.out, r.errOut)
	}
}

package e2e_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/connector"
)

// The operator asks a running connector how it is, by a socket that is the owner's alone.
func TestConnectorStatus(t *testing.T) {
	t.Parallel()
	binary := build(t)
	d := deploy(t, echoes(t), "quic")
	state := t.TempDir()
	text, err := os.ReadFile(d.connector)
	if err != nil {
		t.Fatal(err)
	}
	rules := "policy:\n  - { name: echoing, servers: [echo], allow: true, limits: { rate: 100/1s } }\n  - { name: try-out, servers: [echo], when: 'mcp.tool == \"x\"', allow: false, mode: report }\n"
	writeFile(t, d.connector, strings.Replace(string(text), "policy: open\n", rules, 1)+"state_dir: "+state+"\naudit: best_effort\n")
	ask := func(more ...string) (out string, code int) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"connector", "status", "-c", d.connector}, more...)...)
		got, _ := cmd.CombinedOutput()
		return string(got), cmd.ProcessState.ExitCode()
	}
	if out, code := ask(); code != 1 || !strings.Contains(out, "no connector answers at "+filepath.Join(state, "connector.sock")) {
		t.Errorf("before it runs: %d, %s", code, out)
	}
	start(t, binary, "gateway", d.gateway).says(t, `"gateway is up"`, 1)
	p := start(t, binary, "connector", d.connector)
	p.says(t, `"attached"`, 2)
	d.call(t)
	out, code := ask()
	for _, want := range []string{"attached to ", "over quic", "policy  rules, 2", "try-out is NOT ENFORCED", "echo", "http://127.0.0.1", "1 calls answered, 0 failed", "audit   best_effort, "} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, %s\nlacks %s", code, out, want)
		}
	}
	out, code = ask("--json")
	var status connector.Status
	if err := json.Unmarshal([]byte(out), &status); err != nil || code != 0 {
		t.Fatalf("%d, %v: %s", code, err, out)
	}
	if len(status.Sessions) != 2 || len(status.Servers) != 1 || status.Servers[0].Answered != 1 || status.Policy.Mode != "rules" || status.Policy.Limited != 1 || status.Instance == "" {
		t.Errorf("%s", out)
	}
	out, code = ask("--metrics")
	for _, want := range []string{"# TYPE mcp_server_operation_duration_seconds histogram", `sallyport_tunnel_sessions{sallyport_transport="quic"} 2`, `sallyport_server="echo"`, `sallyport_tunnel_packets_total{`, `sallyport_policy_decisions_total{`} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%d, %s\nlacks %s", code, out, want)
		}
	}
	socket := filepath.Join(state, "connector.sock")
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode: %v, %v", info.Mode(), err)
	}
	if tcp, _ := sockets(t, p.pid()); len(tcp) > 0 {
		t.Errorf("the connector listens on TCP at %v", tcp)
	}
	p.kill(t)
	if _, err := net.Dial("unix", socket); err == nil {
		t.Error("a killed connector answers")
	}
	start(t, binary, "connector", d.connector).says(t, `"attached"`, 2) // and takes the place of the socket that was left over
	if out, code := ask(); code != 0 || !strings.Contains(out, "0 calls answered") {
		t.Errorf("after a restart: %d, %s", code, out)
	}
}

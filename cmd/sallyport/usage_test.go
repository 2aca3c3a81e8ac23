package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWrongUsageExits2(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"nope", `unknown command "nope"`},
		{"demo --nope", "unknown flag: --nope"},
		{"demo extra", "sallyport demo --help"},
		{"demo --once --json", "once"},
		{"demo --listen 0.0.0.0:0", "loopback"},
		{"demo --log-level loud", "debug, info, warn, error"},
		{"demo --connector-config /nonexistent.yaml", "/nonexistent.yaml"},
		{"gateway", "-c FILE is required"},
		{"gateway -c /nonexistent.yaml", "/nonexistent.yaml"},
		{"connector", "-c FILE is required"},
		{"connector -c /nonexistent.yaml --log-format xml", "text, json"},
		{"tools", "tools URL"},
		{"tools nowhere", "https://"},
		{"tools --timeout 0s https://127.0.0.1:1/mcp", "--timeout"},
		{"tools --ca /nonexistent.crt https://127.0.0.1:1/mcp", "/nonexistent.crt"},
		{"tools --token-file /nonexistent https://127.0.0.1:1/mcp", "--token-file"},
		{"call https://127.0.0.1:1/mcp", "TOOL"},
		{"call https://127.0.0.1:1/mcp echo []", "JSON object"},
		{"tools --token x http://tunnel.example.com/t/acme/wiki/mcp", "write https://"},
		{"call --token x http://192.0.2.1/t/acme/wiki/mcp echo", "192.0.2.1 is called over http://"},
		{"version extra", "--help"},
		{"audit nope", `unknown command "nope"`},
		{"audit verify", "LOG or -c FILE is required"},
		{"audit verify /nonexistent.jsonl", "--key or -c FILE is required"},
		{"audit verify --key x /nonexistent.jsonl", "--key: audit: not a public key"},
		{"audit verify -c /nonexistent.yaml", "-c: open /nonexistent.yaml"},
		{"audit verify -c testdata/audit-off.yaml", "audit: it is not set"},
		{"audit verify -c testdata/audit-nowhere.yaml", "state_dir: required"},
		{"audit verify -c testdata/audit-mode.yaml", "line 2"},
		{"audit verify -c testdata/audit-new.yaml", "there is no key yet"},
		{"audit verify --key sallyport-audit-ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA /nonexistent/a.jsonl", "/nonexistent"},
		{"audit verify --key sallyport-audit-ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA --checkpoint /nonexistent a.jsonl", "--checkpoint"},
		{"audit tail", "LOG or -c FILE is required"},
		{"audit tail a b", "tail (-c FILE | LOG)"},
		{"audit tail -n -1 a", "-n: 0 to"},
		{"audit tail /nonexistent/a.jsonl", "/nonexistent"},
		{"audit grep --since yesterday a", "--since: write"},
		{"audit grep --until -5m a", "--until: write"},
		{"audit grep --decision maybe a", "allow or deny"},
		{"audit grep /nonexistent/a.jsonl", "/nonexistent"},
		{"audit key", "-c FILE is required"},
		{"audit key -c testdata/audit-new.yaml", "there is no key yet"},
		{"token nope", `unknown command "nope"`},
		{"token create --name ci --tunnel acme --server wiki", "-c FILE is required"},
		{"token list", "-c FILE is required"},
		{"token list -c /nonexistent.yaml", "/nonexistent.yaml"},
		{"token revoke", "name the tokens by id"},
		{"token rotate", "-c FILE is required"},
		{"token rotate -c testdata/audit-new.yaml", "the configuration cannot be used"},
		{"token retire", "retire -c FILE KID"},
		{"token check", "-c FILE is required"},
	} {
		t.Run(c.args, func(t *testing.T) {
			r := execute(t, "", strings.Fields(c.args)...)
			if r.code != 2 || !strings.HasPrefix(r.errOut, "sallyport: ") || !strings.Contains(r.errOut, c.want) || r.out != "" {
				t.Errorf("exit code %d, want 2 and %q\n%s%s", r.code, c.want, r.out, r.errOut)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	for _, c := range newRoot().Commands() {
		if c.Example == "" || c.Short == "" {
			t.Errorf("%s has no example", c.Name())
		}
		r := execute(t, "", c.Name(), "--help")
		if r.code != 0 || !strings.Contains(r.out, "Usage:") {
			t.Errorf("%s --help: exit code %d\n%s", c.Name(), r.code, r.errOut)
		}
	}
	if r := execute(t, ""); r.code != 0 || !strings.Contains(r.out, "sallyport demo") {
		t.Errorf("without arguments: exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	if r := execute(t, "", "completion", "bash"); r.code != 0 || !strings.Contains(r.out, "bash completion") {
		t.Errorf("completion: exit code %d\n%s", r.code, r.errOut)
	}
}

func TestVersion(t *testing.T) {
	if r := execute(t, "", "version"); r.code != 0 || !strings.HasPrefix(r.out, "sallyport v1.2.3-test (go1.") {
		t.Errorf("exit code %d, %q", r.code, r.out)
	}
	r := execute(t, "", "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(r.out), &v); err != nil || v["version"] != "v1.2.3-test" || v["go"] == "" || v["platform"] == "" {
		t.Errorf("%v in %q", err, r.out)
	}
}

// TestHangUpDrains as SIGTERM does, however often it comes.
func TestHangUpDrains(t *testing.T) {
	hangUps := make(chan os.Signal, 1) // so that the demo does not inherit that they are ignored, where this runs under nohup
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	p, c := startDemo(t)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Process.Signal(syscall.SIGHUP) // it may have ended
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it shows where it waits
		<-p.done
		t.Fatalf("it goes on:\n%s", p.errOut.String())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d\n%s", code, p.errOut.String())
	}
	if left, _ := filepath.Glob(filepath.Dir(filepath.Dir(c.CAFile))); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestSecondSignalExitsAtOnce while a call keeps the first one from being obeyed.
func TestSecondSignalExitsAtOnce(t *testing.T) {
	p, c := startDemo(t)
	call := exec.Command(binary(), "call", "--token", c.Token, "--ca", c.CAFile, c.Servers[1].URL, "slow", `{"seconds":30,"steps":1}`)
	if err := call.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = call.Wait() }() // it fails: its call is cut
	// The call is under way once server/discover has been logged; the call itself is logged at its end.
	p.until(t, &p.errOut, "method=server/discover")
	time.Sleep(200 * time.Millisecond)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
		t.Fatalf("it did not wait for the call in flight:\n%s", p.errOut.String())
	case <-time.After(500 * time.Millisecond):
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(2 * time.Second):
		t.Fatal("it ignored the second signal")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.errOut.String(), "second signal") {
		t.Errorf("exit code %d\n%s", code, p.errOut.String())
	}
	if left, _ := filepath.Glob(filepath.Dir(filepath.Dir(c.CAFile))); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the path of the built program; TestMain passes it on by the environment.
func binary() string { return os.Getenv("SALLYPORT_TEST_BINARY") }

func TestMain(m *testing.M) {
	os.Exit(buildAndTest(m))
}

// buildAndTest builds the program once, as make does but for the stamps.
func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sallyport-cmd-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "sallyport")
	build := exec.Command("go", "build", "-buildvcs=false", "-ldflags", "-X main.version=v1.2.3-test", "-o", path, ".")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	for key, value := range map[string]string{"SALLYPORT_TEST_BINARY": path, "TMPDIR": dir, tokenVariable: ""} {
		if err := os.Setenv(key, value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := m.Run()
	if left, _ := filepath.Glob(filepath.Join(dir, "sallyport-demo-*")); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "demos left their directories behind: %v\n", left)
		return 1
	}
	return code
}

// result is what a finished command leaves.
type result struct {
	code        int
	out, errOut string
}

// execute runs the binary to its end.
func execute(t *testing.T, input string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, binary(), args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errOut.String()}
}

// process is a command that stays up.
type process struct {
	cmd    *exec.Cmd
	out    output
	errOut output
	done   chan struct{}
}

// output is what a process has printed so far.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the binary until the test ends or it is stopped.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(binary(), args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.errOut
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the exit code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // ended already, if all went well
		<-p.done
	})
	return p
}

// until waits until the output contains the text.
func (p *process) until(t *testing.T, o *output, text string) {
	t.Helper()
	for range 600 {
		if strings.Contains(o.String(), text) {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("it ended with %d before it said %q:\n%s\n%s", p.cmd.ProcessState.ExitCode(), text, p.out.String(), p.errOut.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatalf("it never said %q:\n%s\n%s", text, p.out.String(), p.errOut.String())
}

// stop sends the signal and expects exit code 0 within 5 s.
func (p *process) stop(t *testing.T, signal os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("%v\n%s", err, p.errOut.String())
	}
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		t.Fatalf("it still runs 5 s after %s:\n%s", signal, p.errOut.String())
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("it ended with %d:\n%s", code, p.errOut.String())
	}
}

// card is what demo --json prints.
type card struct {
	Servers []struct{ Name, URL string }
	Token   string
	CAFile  string `json:"ca_file"`
}

func startDemo(t *testing.T, args ...string) (*process, card) {
	t.Helper()
	p := start(t, append([]string{"demo", "--json", "--listen", "127.0.0.1:0"}, args...)...)
	p.until(t, &p.out, "\n")
	var c card
	if err := json.Unmarshal([]byte(p.out.String()), &c); err != nil {
		t.Fatalf("%v: %q", err, p.out.String())
	}
	return p, c
}

func TestDemoOnce(t *testing.T) {
	r := execute(t, "", "demo", "--once", "--listen", "127.0.0.1:0")
	if r.code != 0 || r.errOut != "" {
		t.Fatalf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	for _, part := range []string{"Over QUIC:", "Over TCP:", "What each hop saw", "3 progress events", "HOME LANG PATH TMPDIR; 2 processes; 0 files of the demo", "All of this was checked"} {
		if !strings.Contains(r.out, part) {
			t.Errorf("%q is missing in\n%s", part, r.out)
		}
	}
}

// TestDemoOnceWithoutIsolation, in a user namespace that allows none below it: the demo does without its local server.
func TestDemoOnceWithoutIsolation(t *testing.T) {
	apart := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), "unshare", append([]string{"--user", "--map-root-user"}, args...)...)
	}
	if out, err := apart("true").CombinedOutput(); err != nil {
		t.Fatalf("the test needs a user namespace to try it in: %v %s", err, out)
	}
	out, err := apart("sh", "-c", `echo 0 > /proc/sys/user/max_user_namespaces && exec "$0" demo --once --listen 127.0.0.1:0`, binary()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	expect(t, string(out), []string{
		"an agent calls four private MCP servers", "The fifth, a local command, is left out: servers.local: isolation: cell: isolation is not available: make namespaces",
		"  notes   whoami", "All of this was checked",
	})
	if strings.Contains(string(out), "  local  ") {
		t.Errorf("the local server was called\n%s", out)
	}
}

func TestDemoServesToolsAndCall(t *testing.T) {
	p, c := startDemo(t)
	if len(c.Servers) != 5 || c.Servers[0].Name != "orders" || c.Servers[1].Name != "diag" || c.Servers[2].Name != "notes" || c.Servers[3].Name != "tickets" || c.Servers[4].Name != "local" {
		t.Fatalf("servers are %+v", c.Servers)
	}
	orders, diag, notes, local := c.Servers[0].URL, c.Servers[1].URL, c.Servers[2].URL, c.Servers[4].URL
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte(c.Token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name  string
		args  []string
		input string
		code  int
		out   []string
		err   []string
	}{
		{"tools", []string{"tools", "--token", c.Token, "--ca", c.CAFile, diag}, "", 0, []string{"echo    Returns what it was sent.", "slow ", "seconds\n"}, nil},
		{"tools as JSON", []string{"tools", "--token", c.Token, "--ca", c.CAFile, "--json", notes}, "", 0, []string{`"tools":[{`, `"name":"search"`}, nil},
		{"a query", []string{"call", "--token", c.Token, "--ca", c.CAFile, orders, "query", `{"sql":"SELECT item FROM orders WHERE cents > ? ORDER BY id","params":[20000]}`}, "", 0, []string{"[\"item\"]\n[\"Fountain pen\"]\n[\"Library shelf\"]\n"}, nil},
		{"call", []string{"call", "--token-file", tokenFile, "--ca", c.CAFile, notes, "search", `{"query":"vpn"}`}, "", 0, []string{"vpn: Getting onto the VPN\n"}, nil},
		{"call without arguments", []string{"call", "--token", c.Token, "--ca", c.CAFile, notes, "whoami"}, "", 0, []string{"credential: Authorization: present (sha256:"}, nil},
		{"call from standard input", []string{"call", "--token", c.Token, "--ca", c.CAFile, diag, "echo", "-"}, `{"text":"from stdin"}`, 0, []string{"from stdin\n"}, nil},
		{"call as JSON", []string{"call", "--token", c.Token, "--ca", c.CAFile, "--json", diag, "echo", `{"n":9007199254740993}`}, "", 0, []string{`"structuredContent":{"n":9007199254740993}`}, nil},
		{"a local command", []string{"call", "--token", c.Token, "--ca", c.CAFile, local, "look"}, "", 0, []string{"environment: HOME, LANG, PATH, TMPDIR\nprocesses: 2\ninterfaces: lo\nhome: nothing\nvisible: nothing\n"}, nil},
		{"a tool that fails", []string{"call", "--token", c.Token, "--ca", c.CAFile, notes, "read", `{"id":"nope"}`}, "", 1, []string{"there is no note"}, []string{"the tool says that it failed"}},
		{"no such tool", []string{"call", "--token", c.Token, "--ca", c.CAFile, notes, "nope"}, "", 1, nil, []string{"-32602"}},
		{"no token", []string{"tools", "--ca", c.CAFile, diag}, "", 1, nil, []string{"unauthenticated", "--token-file"}},
		{"no CA", []string{"tools", "--token", c.Token, diag}, "", 1, nil, []string{"--ca FILE"}},
		{"a wrong URL", []string{"tools", "--token", c.Token, "--ca", c.CAFile, diag + "x"}, "", 1, nil, []string{"404", "check the URL"}},
		{"too slow", []string{"call", "--token", c.Token, "--ca", c.CAFile, "--timeout", "500ms", diag, "slow", `{"seconds":20}`}, "", 1, nil, []string{"--timeout"}},
		{"arguments that are no JSON", []string{"call", "--token", c.Token, "--ca", c.CAFile, diag, "echo", "{"}, "", 2, nil, []string{"not a JSON object"}},
		{"two tokens", []string{"call", "--token", c.Token, "--token-file", tokenFile, diag, "echo"}, "", 2, nil, []string{"token-file"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := execute(t, c.input, c.args...)
			if r.code != c.code {
				t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
			}
			expect(t, r.out, c.out)
			expect(t, r.errOut, c.err)
		})
	}
	t.Run("token in the environment", func(t *testing.T) {
		t.Setenv(tokenVariable, c.Token)
		if r := execute(t, "", "tools", "--ca", c.CAFile, notes); r.code != 0 || !strings.Contains(r.out, "search") {
			t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
		}
	})
	p.stop(t, syscall.SIGTERM)
	if log := p.errOut.String(); !strings.Contains(log, "msg=attached") || !strings.Contains(log, "gateway has stopped") || strings.Contains(log, c.Token) {
		t.Errorf("the log is\n%s", log)
	}
	if strings.Count(p.out.String(), "\n") != 1 {
		t.Errorf("standard output has more than one line: %q", p.out.String())
	}
	if _, err := os.Stat(c.CAFile); !os.IsNotExist(err) {
		t.Error("the demo's directory is still there")
	}
}

func expect(t *testing.T, got string, parts []string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(got, part) {
			t.Errorf("%q is missing in %q", part, got)
		}
	}
}

// TestPrintedLinesWorkAsPasted runs the curl and the call line that the demo prints, in a shell.
func TestPrintedLinesWorkAsPasted(t *testing.T) {
	p := start(t, "demo", "--listen", "127.0.0.1:0")
	p.until(t, &p.out, "Ctrl-C ends the demo")
	for _, c := range []struct{ begin, want string }{
		{"curl ", `Authorization: present (sha256:`},
		{tokenVariable + "=", "Barbara"},
	} {
		line := ""
		for l := range strings.Lines(p.out.String()) {
			if l = strings.TrimSpace(l); strings.HasPrefix(l, c.begin) {
				line = l
			}
		}
		out, err := exec.Command("sh", "-c", line).CombinedOutput()
		if line == "" || err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%q: %v\n%s", line, err, out)
		}
	}
	expect(t, p.out.String(), []string{"claude mcp add --transport http sallyport-orders https://127.0.0.1:", "NODE_EXTRA_CA_CERTS="})
	p.until(t, &p.out, "-> connector -> notes  tools/call whoami  200")
	p.stop(t, os.Interrupt)
	if p.errOut.String() != "" {
		t.Errorf("standard error has %q", p.errOut.String())
	}
}

func TestDemoWithServersOfTheUsers(t *testing.T) {
	other, theirs := startDemo(t) // its gateway is a server as good as any other
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	write(t, token, theirs.Token)
	partial := filepath.Join(dir, "mine.yaml")
	write(t, partial, fmt.Sprintf(`servers:
  mine:
    url: %s
    ca_file: %s
    credentials:
      - { header: { name: Authorization, value: "Bearer {secret}" }, secret: "file:%s" }
`, theirs.Servers[2].URL, theirs.CAFile, token))
	p, c := startDemo(t, "--connector-config", partial)
	if len(c.Servers) != 6 || c.Servers[5].Name != "mine" {
		t.Fatalf("servers are %+v", c.Servers)
	}
	r := execute(t, "", "call", "--token", c.Token, "--ca", c.CAFile, c.Servers[5].URL, "search", `{"query":"vpn"}`)
	if r.code != 0 || !strings.Contains(r.out, "Getting onto the VPN") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	p.stop(t, syscall.SIGTERM)
	other.stop(t, syscall.SIGTERM)

	write(t, partial, "servers:\n  mine: { url: https://mine.internal/mcp }\ngateway: example.com:443\n")
	r = execute(t, "", "demo", "--connector-config", partial)
	if r.code != 2 || !strings.Contains(r.errOut, partial+`:3: unknown key "gateway"`) {
		t.Errorf("exit code %d\n%s", r.code, r.errOut)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

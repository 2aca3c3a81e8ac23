package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/cell"
	"sallyport.dev/cmd/sallyport/agent"
	"sallyport.dev/config"
	"sallyport.dev/mcp/diag"
	"sallyport.dev/telemetry"
)

func TestMain(m *testing.M) {
	cell.Main()
	goleak.VerifyTestMain(m)
}

const anyPort = "127.0.0.1:0"

// program builds sallyport, which the demo runs as its local server. The test's own binary will not do: under the race
// detector it maps more memory than a cell allows.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sallyport")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "..").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// needsLocal fails a test where there is no local server.
func needsLocal(t *testing.T, d *Demo) {
	t.Helper()
	if d.Without() != nil {
		t.Fatalf("the tests need a system that can keep a command apart: %v", d.Without())
	}
}

func TestOnceShowsAndChecksWhatEachHopSaw(t *testing.T) {
	program, dir := program(t), t.TempDir()
	t.Setenv("TMPDIR", dir)
	var out strings.Builder
	if err := Once(t.Context(), Config{Listen: anyPort, Program: program}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, part := range []string{
		"Over QUIC:", "Over TCP:", "-> quic ->", "-> tcp ->", "echo", "slow", "3 progress events", "search", "whoami",
		"agent      sent its own token", "gateway    principal https://127.0.0.1:", "connector  rule 1 allows", "erase is not in the list", "denied by no-erasing", "deny tools/call erase", "All of this was checked",
	} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is missing in\n%s", part, out.String())
		}
	}
	local := strings.Contains(out.String(), "five private MCP servers")
	for _, part := range []string{"  local   look ", "HOME LANG PATH TMPDIR; 2 processes; 0 files of the demo", "  local      of the environment 4 names"} {
		if local != strings.Contains(out.String(), part) {
			t.Errorf("with a local server: %t; %q in\n%s", local, part, out.String())
		}
	}
	if local == strings.Contains(out.String(), "The fourth, a local command, is left out: ") {
		t.Errorf("nothing says why there is no local server, or it is there:\n%s", out.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestProof makes sure that the demo does not call right what is wrong: each case is one hop that saw something else.
func TestProof(t *testing.T) {
	d, err := New(Config{Listen: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	key, token, access := d.key.Reveal(), d.token.Reveal(), d.tokens.give()
	good := func() (*round, hops) {
		r := &round{demo: d, transport: "quic", logs: new(transcript), wire: new(transcript), denied: "by " + noErasing, keys: map[string]string{notesName: "present (sha256:" + diag.Fingerprint(key) + ")"}}
		r.wire.tokens = []string{"Bearer " + token}
		if d.Without() == nil {
			r.view = &diag.View{Environment: []string{"HOME", "LANG", "PATH", "TMPDIR"}, Interfaces: []string{"lo"}, Processes: 2}
		}
		facts := hops{calls: []CallSeen{{Principal: d.public + "|" + principalName, Transport: "quic", Status: 200, Outcome: "upstream", Rule: "rule 1", Connector: 1}}}
		facts.add(diagName, reached{header: "Accept: x"})
		facts.add(notesName, reached{authorization: "Bearer " + key, header: "Authorization: Bearer " + key})
		facts.add(ticketsName, reached{authorization: "Bearer " + access, header: "Authorization: Bearer " + access})
		return r, facts
	}
	cases := []struct {
		name  string
		spoil func(r *round, facts *hops)
	}{
		{"nothing", nil},
		{"the agent sent another token", func(r *round, _ *hops) { r.wire.tokens = append(r.wire.tokens, "Bearer other") }},
		{"the agent sent none", func(r *round, _ *hops) { r.wire.tokens = nil }},
		{"the agent got the key", func(r *round, _ *hops) { _, _ = r.wire.Write([]byte("x " + key + " y")) }},
		{"the key is in a log", func(r *round, _ *hops) { _, _ = r.logs.Write([]byte("k=" + key)) }},
		{"the token is in a log", func(r *round, _ *hops) { _, _ = r.logs.Write([]byte("t=" + token)) }},
		{"the denied call is not in the audit log", func(r *round, _ *hops) { r.denied = "" }},
		{"no call", func(_ *round, facts *hops) { facts.calls = nil }},
		{"another principal", func(_ *round, facts *hops) { facts.calls[0].Principal = "x|y" }},
		{"another transport", func(_ *round, facts *hops) { facts.calls[0].Transport = "tcp" }},
		{"refused", func(_ *round, facts *hops) { facts.calls[0].Outcome = "denied" }},
		{"no rule", func(_ *round, facts *hops) { facts.calls[0].Rule = "" }},
		{"the key went to the other server", func(_ *round, facts *hops) { facts.reached[diagName][0].authorization = "Bearer " + key }},
		{"no key arrived", func(_ *round, facts *hops) { facts.reached[notesName][0].authorization = "" }},
		{"the token arrived", func(_ *round, facts *hops) { facts.reached[diagName][0].header = "Cookie: " + token }},
		{"a server was not reached", func(_ *round, facts *hops) { delete(facts.reached, notesName) }},
		{"another key was reported", func(r *round, _ *hops) { r.keys[notesName] = "present (sha256:00000000)" }},
		{"the agent got an access token", func(r *round, _ *hops) { _, _ = r.wire.Write([]byte(access)) }},
		{"an access token is in a log", func(r *round, _ *hops) { _, _ = r.logs.Write([]byte(access)) }},
		{"the client secret is in a log", func(r *round, _ *hops) { _, _ = r.logs.Write([]byte(d.client.Reveal())) }},
		{"the client secret went to the server", func(_ *round, facts *hops) {
			facts.reached[ticketsName][0].authorization = "Bearer " + d.client.Reveal()
		}},
		{"the server behind OAuth was not reached", func(_ *round, facts *hops) { delete(facts.reached, ticketsName) }},
	}
	if d.Without() == nil {
		cases = append(cases, []struct {
			name  string
			spoil func(r *round, facts *hops)
		}{
			{"the local server was not asked", func(r *round, _ *hops) { r.view = nil }},
			{"a variable more", func(r *round, _ *hops) { r.view.Environment = append(r.view.Environment, "TOKEN") }},
			{"a variable less", func(r *round, _ *hops) { r.view.Environment = r.view.Environment[1:] }},
			{"another process", func(r *round, _ *hops) { r.view.Processes = 3 }},
			{"no process", func(r *round, _ *hops) { r.view.Processes = 0 }},
			{"a network", func(r *round, _ *hops) { r.view.Interfaces = []string{"eth0", "lo"} }},
			{"a file in HOME", func(r *round, _ *hops) { r.view.Home = []string{".ssh"} }},
			{"a file of the demo", func(r *round, _ *hops) { r.view.Visible = []string{d.dir} }},
		}...)
	}
	for _, c := range cases {
		r, facts := good()
		if c.spoil != nil {
			c.spoil(r, &facts)
		}
		if err := r.prove(facts); errors.Is(err, ErrProof) != (c.spoil != nil) {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
	if _, err := d.secretFile(roleGateway, "stray", d.key); err != nil {
		t.Fatal(err)
	}
	r, facts := good()
	if err := r.prove(facts); !errors.Is(err, ErrProof) {
		t.Error("the key in the gateway's directory was not noticed")
	}
}

// TestLookSeesWhatIsThere: a command that is kept apart from nothing fails each check of what a cell shows.
func TestLookSeesWhatIsThere(t *testing.T) {
	d, err := New(Config{Listen: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "here"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	in, say := io.Pipe()
	hear, out := io.Pipe()
	var crew sync.WaitGroup
	crew.Go(func() {
		if err := diag.ServeStdio(t.Context(), diag.Config{}, in, out, diag.Look{Environment: os.Environ(), Home: home, Paths: []string{d.dir, "/nonexistent"}}); err != nil {
			t.Error(err)
		}
		_ = out.Close()
	})
	crew.Go(func() {
		_, _ = io.WriteString(say, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`+"\n"+
			`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"look","arguments":{}}}`+"\n")
	})
	var view *diag.View
	for lines := bufio.NewScanner(hear); view == nil && lines.Scan(); {
		var answer struct {
			ID     int `json:"id"`
			Result struct {
				View *diag.View `json:"structuredContent"`
			} `json:"result"`
		}
		if err := json.Unmarshal(lines.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.ID == 2 {
			view = answer.Result.View
		}
	}
	_ = say.Close()
	crew.Go(func() { _, _ = io.Copy(io.Discard, hear) }) // the first answer may come last
	crew.Wait()
	if view == nil {
		t.Fatal("look has not answered")
	}
	for _, path := range []string{d.dir, filepath.Join(d.dir, "connector", "notes.key"), filepath.Join(d.dir, "gateway", "agent.token")} {
		if !slices.Contains(view.Visible, path) {
			t.Errorf("%s is not seen: %q", path, view.Visible)
		}
	}
	if slices.Contains(view.Visible, "/nonexistent") || !slices.Equal(view.Home, []string{"here"}) || !slices.Contains(view.Environment, "HOME") {
		t.Errorf("got %+v", view)
	}
	problems := 0
	proveView(view, func(ok bool, _ string) {
		if !ok {
			problems++
		}
	})
	if want := 5; problems < want-1 { // a machine may have no interface but lo
		t.Errorf("%d of %d checks failed for %+v", problems, want, view)
	}
}

// TestWithoutIsolation leaves the local server out, and says why.
func TestWithoutIsolation(t *testing.T) {
	d, err := New(Config{Listen: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	d.local, d.without = nil, fmt.Errorf("make namespaces: %w", cell.ErrUnsupported)
	var card, line strings.Builder
	if err := errors.Join(d.PrintCard(&card, "sallyport"), d.PrintJSON(&line)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(card.String(), "four private MCP servers") || !strings.Contains(card.String(), "left out: make namespaces: cell: isolation is not available") || strings.Contains(card.String()+line.String(), d.URL(localName)) {
		t.Errorf("got %s%s", card.String(), line.String())
	}
	cfg, err := d.connectorConfig("auto")
	if _, there := cfg.Servers[localName]; err != nil || there {
		t.Errorf("the connector has %v, %v", cfg.Servers, err)
	}
}

func TestStayServesTheUsersServersToo(t *testing.T) {
	upstream := httptest.NewServer(diag.New(diag.Config{Name: "mine"}))
	defer upstream.Close()
	refused := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a denied server was called") }))
	defer refused.Close()
	for _, c := range []struct {
		name, policy string
		mine, closed bool
	}{
		{"without a policy", "", true, true},
		{"with rules", "policy: [{ servers: [mine], allow: true }]\n", true, false},
		{"open", "policy: open\n", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			extra := new(Extra)
			text := "servers:\n  mine: { url: " + upstream.URL + " }\n"
			if !c.closed {
				text += "  closed: { url: " + refused.URL + " }\n"
			}
			if err := config.Decode("my.yaml", []byte(text+c.policy+"upstream: { allowed_ips: [127.0.0.0/8] }\n"), extra); err != nil {
				t.Fatal(err)
			}
			seen := make(chan CallSeen, 64)
			d, err := New(Config{Listen: anyPort, Extra: extra, Calls: func(c CallSeen) { seen <- c }})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
			defer stop()
			err = d.Stay(ctx, func() error {
				defer stop()
				for _, name := range []string{diagName, notesName, "mine"} {
					if _, err := d.callWhoami(ctx, name); err != nil {
						return err
					}
				}
				if !c.closed {
					var f *agent.Failure
					if _, err := d.callWhoami(ctx, "closed"); !errors.As(err, &f) || f.Reason != "denied" {
						t.Errorf("the closed server: %v", err)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if first := <-seen; first.Server != diagName || first.Principal != d.public+"|demo" || first.Gateway < first.Connector || first.Connector <= 0 {
				t.Errorf("the first call was seen as %+v", first)
			}
		})
	}
}

// callWhoami calls a server as an agent.
func (d *Demo) callWhoami(ctx context.Context, server string) (string, error) {
	a, err := agent.Dial(ctx, agent.Config{URL: d.URL(server), Token: d.token, CAFile: d.gateway.CAFile(), Timeout: callTimeout})
	if err != nil {
		return "", err
	}
	defer a.Close()
	result, err := a.Call(ctx, agent.Call{Tool: "whoami"})
	if err != nil {
		return "", err
	}
	return textOf(result), nil
}

func TestExtra(t *testing.T) {
	const server = "servers:\n  mine: { url: https://mine.internal/mcp }\n"
	for _, c := range []struct{ name, text, want string }{
		{"fine", server, ""},
		{"upstream and policy", server + "upstream: { allowed_ips: [10.0.0.0/8] }\npolicy: open\n", ""},
		{"nothing", "{}\n", "my.yaml: servers: at least one"},
		{"a key of the demo's own", server + "gateway: example.com:443\n", `my.yaml:3: unknown key "gateway"`},
		{"a token", server + "tunnel_token: env:X\n", `my.yaml:3: unknown key "tunnel_token"`},
		{"a name that is taken", "servers:\n  diag: { url: https://x.internal/mcp }\n", "servers.diag: the demo has a server of this name"},
		{"the local server's name", "servers:\n  local: { url: https://x.internal/mcp }\n", "servers.local: the demo has a server of this name"},
		{"a rule for an unknown server", server + "policy: [{ servers: [other], allow: true }]\n", `there is no server "other"`},
		{"a rule for the demo's servers", server + "policy: [{ servers: [notes], allow: false }]\n", `there is no server "notes"`},
	} {
		err := config.Decode("my.yaml", []byte(c.text), new(Extra))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestOpenPort(t *testing.T) {
	for _, bad := range []string{"7443", "0.0.0.0:0", "192.0.2.1:0", ":7443", "example.com:7443"} {
		if tcp, udp, err := openPort(bad); !errors.Is(err, ErrListen) {
			t.Errorf("%s: got %v %v %v", bad, tcp, udp, err)
		}
	}
	tcp, udp, err := openPort(anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tcp.Close(); _ = udp.Close() }()
	if tcp.Addr().String() != udp.LocalAddr().String() {
		t.Errorf("TCP has %s, UDP %s", tcp.Addr(), udp.LocalAddr())
	}
	if _, _, err := openPort(tcp.Addr().String()); !errors.Is(err, ErrListen) {
		t.Errorf("a port that is taken: %v", err)
	}
	first, err := net.Listen("tcp", defaultListen) // it may be taken by something else, which is as good
	if err == nil {
		defer func() { _ = first.Close() }()
	}
	tcp2, udp2, err := openPort("")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = tcp2.Close(), udp2.Close()
	if tcp2.Addr().String() == defaultListen {
		t.Error("the default port was taken twice")
	}
}

func TestPrintJSON(t *testing.T) {
	d, err := New(Config{Listen: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var out strings.Builder
	if err := d.PrintJSON(&out); err != nil || strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("%v, not one line: %q", err, out.String())
	}
	var card struct {
		Servers []struct{ Name, URL string }
		Token   string
		CAFile  string `json:"ca_file"`
	}
	if err := json.Unmarshal([]byte(out.String()), &card); err != nil {
		t.Fatal(err)
	}
	needsLocal(t, d)
	if len(card.Servers) != 5 || card.Servers[4].Name != "local" || card.Servers[3].Name != "tickets" || card.Servers[1].Name != "diag" || card.Servers[0].Name != "orders" || card.Servers[2].URL != d.URL("notes") || card.Token != d.token.Reveal() {
		t.Errorf("got %+v", card)
	}
	if _, err := os.Stat(card.CAFile); err != nil {
		t.Error(err)
	}
	if strings.Contains(out.String(), d.key.Reveal()) {
		t.Error("the connector's key is printed")
	}
}

// TestWatchJoinsTheTwoLinesOfACall in whichever order they come.
func TestWatchJoinsTheTwoLinesOfACall(t *testing.T) {
	type line struct {
		role string
		args []any
	}
	gateway := line{roleGateway, []any{telemetry.KeyRequestID, "R", telemetry.KeyDurationMS, 2.5, telemetry.KeyServer, "notes",
		telemetry.KeyTransport, "quic", telemetry.KeyStatus, 200, telemetry.KeyOutcome, "upstream", telemetry.KeyPrincipal, "i|s"}}
	connector := line{roleConnector, []any{telemetry.KeyRequestID, "R", telemetry.KeyDurationMS, 1.5, telemetry.KeyRule, "rule 1", telemetry.KeyServer, "notes"}}
	refused := line{roleGateway, []any{telemetry.KeyRequestID, "R", telemetry.KeyStatus, 401, telemetry.KeyOutcome, "unauthenticated"}}
	denied := line{roleConnector, []any{telemetry.KeyRequestID, "R", telemetry.KeyOutcome, "denied", telemetry.KeyRule, "default"}}
	want := CallSeen{Principal: "i|s", Server: "notes", Transport: "quic", Status: 200, Outcome: "upstream", Rule: "rule 1", Gateway: 2.5, Connector: 1.5}
	for _, c := range []struct {
		name  string
		lines []line
		want  []CallSeen
	}{
		{"the connector first", []line{connector, gateway}, []CallSeen{want}},
		{"the gateway first", []line{gateway, connector}, []CallSeen{want}},
		{"the gateway refused", []line{refused}, []CallSeen{{Status: 401, Outcome: "unauthenticated"}}},
		{"the connector denied", []line{denied, {roleGateway, []any{telemetry.KeyRequestID, "R", telemetry.KeyTransport, "quic", telemetry.KeyOutcome, "connector_refused"}}},
			[]CallSeen{{Transport: "quic", Outcome: "denied", Rule: "default"}}},
		{"half a call", []line{gateway}, nil},
	} {
		var got []CallSeen
		w := newWatch(nil, func(c CallSeen) { got = append(got, c) })
		for _, l := range c.lines {
			slog.New(w.role(l.role)).Info("call", l.args...)
		}
		if len(got) != len(c.want) || len(got) == 1 && got[0] != c.want[0] {
			t.Errorf("%s: got %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestPrintCall(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		call CallSeen
		want string
	}{
		{CallSeen{Principal: "https://g|demo", Server: "notes", Method: "tools/call", Tool: "search", Transport: "quic", Status: 200, Outcome: "upstream", Gateway: 3.44, Connector: 2.6},
			"03:04:05  demo -> gateway -> quic -> connector -> notes  tools/call search  200  3.4 ms, 2.6 ms of it behind the tunnel\n"},
		{CallSeen{Principal: "https://g|demo", Server: "notes", Method: "tools/call", Tool: "\x1b[2J" + strings.Repeat("x", 100), Transport: "tcp", Status: 403, Outcome: "denied", Gateway: 1, Connector: 0.5},
			"03:04:05  demo -> gateway -> tcp -> connector (denied)  tools/call ?[2J" + strings.Repeat("x", 45) + "  403  1.0 ms, 0.5 ms of it behind the tunnel\n"},
		{CallSeen{Status: 401, Outcome: "unauthenticated", Method: "GET", Gateway: 0.1},
			"03:04:05  someone -> gateway (unauthenticated)  GET  401  0.1 ms\n"},
	} {
		var out strings.Builder
		PrintCall(&out, at, c.call)
		if out.String() != c.want {
			t.Errorf("got  %swant %s", out.String(), c.want)
		}
	}
}

func TestNotesDemandTheirKey(t *testing.T) {
	d, err := New(Config{Listen: anyPort})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	server := httptest.NewServer(notesServer("", d.key))
	defer server.Close()
	for _, token := range []string{"", "wrong-key"} {
		cfg := agent.Config{URL: server.URL, Timeout: callTimeout}
		if token != "" {
			cfg.Token = d.token
		}
		var f *agent.Failure
		if _, err := agent.Dial(t.Context(), cfg); !errors.As(err, &f) || f.Status != http.StatusUnauthorized {
			t.Errorf("token %q: %v", token, err)
		}
	}
	a, err := agent.Dial(t.Context(), agent.Config{URL: server.URL, Timeout: callTimeout, Token: d.key})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for _, c := range []struct {
		tool, arguments, want string
		failed                bool
	}{
		{"search", `{"query":"DUTY manager"}`, "oncall: On-call handbook\n", false},
		{"search", `{"query":"no such words"}`, "no note has all these words", false},
		{"search", `{}`, "query is required", true},
		{"read", `{"id":"vpn"}`, "# Getting onto the VPN\n", false},
		{"read", `{"id":"nope"}`, "search first", true},
	} {
		result, err := a.Call(t.Context(), agent.Call{Tool: c.tool, Arguments: agent.RawObject(c.arguments)})
		if err != nil || result.IsError != c.failed || !strings.Contains(textOf(result), c.want) {
			t.Errorf("%s %s: %q, %v", c.tool, c.arguments, textOf(result), err)
		}
	}
}

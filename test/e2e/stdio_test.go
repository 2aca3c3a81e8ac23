package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/gateway"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// modern makes a call of the revision 2026-07-28.
func modern(t *testing.T, agent *http.Client, url, tool string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(callTool(tool, modernMeta)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{
		"Accept": {"application/json, text/event-stream"}, "Content-Type": {"application/json"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {tool},
	}
	return call(t, agent, r)
}

// use calls a tool in an MCP session.
func use(t *testing.T, agent *http.Client, url, session, tool string) answer {
	t.Helper()
	return inSession(t, agent, http.MethodPost, url, session, callTool(tool, ""))
}

// second adds an agent of another name to the gateway.
func second(t *testing.T) func(*gateway.Config) {
	return func(c *gateway.Config) {
		if len(c.Agents.Tokens) == 1 {
			c.Agents.Tokens = append(c.Agents.Tokens, gateway.Token{
				Name: "second", Token: stack.SecretFile(t, c.StateDir, "second.token", secondToken), Tunnels: []string{"*"}, Servers: []string{"*"},
			})
		}
	}
}

// tagged marks the processes of a server, so that they can be found.
func tagged(tag string) func(*connector.Server) {
	return func(s *connector.Server) { s.Command = append(s.Command, tag) }
}

// processes are the ids of all processes with the tag in their command line.
func processes(t *testing.T, tag string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range all {
		if line, err := os.ReadFile(path); err == nil && strings.Contains(string(line), tag) {
			found = append(found, filepath.Base(filepath.Dir(path)))
		}
	}
	return found
}

// noProcess fails unless no process with the tag is left soon.
func noProcess(t *testing.T, tag string) {
	t.Helper()
	until(t, patience, "no process is left", func() bool { return len(processes(t, tag)) == 0 })
}

// A local command serves MCP sessions, each with a process of its own that
// nobody else reaches and that ends with its session.
func TestLocalServerHasAProcessForEachSession(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		tag := rand.Text()
		s := stack.New(t, stack.Options{Transport: transport, Servers: locals(t, childOld, tagged(tag)), Gateway: second(t)})
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent, stranger, url := s.Agent(t, h2), s.AgentWith(t, h2, secondToken), s.URL("local")
			one, two := begin(t, agent, url), begin(t, agent, url)
			name := toolText(t, use(t, agent, url, one, "who"))
			if again := toolText(t, use(t, agent, url, one, "who")); again != name {
				t.Errorf("one session has the processes %s and %s", name, again)
			}
			if other := toolText(t, use(t, agent, url, two, "who")); other == name {
				t.Error("two sessions have one process")
			}
			mustNotHave(t, stranger, url, one)
			mustRefuse(t, use(t, agent, url, "", "who"), http.StatusBadRequest, -32600, "no")
			mustRefuse(t, inSession(t, agent, http.MethodPost, url, one, `{"jsonrpc":"2.0","id":"nobody-asked","result":{}}`), http.StatusBadRequest, -32600, "no")
			for _, session := range []string{one, two} {
				if got := inSession(t, agent, http.MethodDelete, url, session, ""); got.status != http.StatusNoContent {
					t.Errorf("DELETE: status %d, %s", got.status, got.body)
				}
				mustNotHave(t, agent, url, session)
			}
			noProcess(t, tag)
		})
	})
}

// Without sessions, a caller's calls share a process, and never with another's.
func TestLocalServerHasAProcessForEachCaller(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: locals(t, childBoth), Gateway: second(t)})
		agent, stranger, url := s.Agent(t, true), s.AgentWith(t, true, secondToken), s.URL("local")
		names := make([]string, 8)
		var crew sync.WaitGroup
		for i := range names {
			crew.Go(func() { names[i] = toolText(t, modern(t, agent, url, "who")) })
		}
		crew.Wait()
		for _, name := range names {
			if name != names[0] {
				t.Errorf("the calls of one agent got to %q", names)
				break
			}
		}
		if other := toolText(t, modern(t, stranger, url, "who")); other == names[0] {
			t.Error("two agents have one process")
		}
	})
}

// A client of 2026-07-28 learns from an old local server what makes it begin
// with initialize: a 4xx whose code no revision has (MCP 2026-07-28, Streamable
// HTTP, "Backward Compatibility").
func TestOldLocalServer(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Transport: tunnel.Memory, Servers: locals(t, childOld)})
	mustRefuse(t, modern(t, s.Agent(t, true), s.URL("local"), "who"), http.StatusBadRequest, -32004, "no")
}

// What a local command does wrong ends its own call, honestly, and nothing else.
func TestLocalServerMisbehaves(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		t.Parallel() // most of it is waiting
		tag := rand.Text()
		s := stack.New(t, stack.Options{Transport: transport, Servers: locals(t, childOld, tagged(tag), func(s *connector.Server) {
			s.CallTimeout = 6 * time.Second
			s.Limits.MemoryMiB = 256
		})})
		agent, url := s.Agent(t, true), s.URL("local")
		bystander := begin(t, agent, url)
		name := toolText(t, use(t, agent, url, bystander, "who"))
		for _, c := range []struct {
			tool, text      string // of a call that is answered
			status, code    int    // of one that is not
			delivered       string
			event, survives bool
		}{
			{tool: "flood", text: "flooded", survives: true},
			{tool: "twice", text: "once", survives: true},
			{tool: "other", text: "for you", survives: true},
			{tool: "files", survives: true},
			{tool: "never", event: true, code: -32014, delivered: "unknown", survives: true},
			{tool: "half", status: http.StatusBadGateway, code: -32014, delivered: "unknown"},
			{tool: "long", status: http.StatusBadGateway, code: -32014, delivered: "unknown"},
			{tool: "exit", status: http.StatusBadGateway, code: -32014, delivered: "unknown"},
			{tool: "fork", text: "forked"},
			{tool: "eat", status: http.StatusBadGateway, code: -32014, delivered: "unknown"},
			{tool: "stubborn", text: "stubborn", survives: true},
		} {
			t.Run(c.tool, func(t *testing.T) {
				session := beginPatiently(t, agent, url)
				got := use(t, agent, url, session, c.tool)
				switch {
				case c.tool == "files":
					opened := 0
					if _, err := fmt.Sscan(toolText(t, got), &opened); err != nil || opened < 500 || opened > 1024 {
						t.Errorf("it has opened %d files (%v)", opened, err)
					}
				case c.text != "":
					if text := toolText(t, got); text != c.text {
						t.Errorf("got %q", text)
					}
				case c.event:
					if e := eventError(t, got.body, 1); e.Error.Code != c.code || e.Error.Data.Delivered != c.delivered {
						t.Errorf("got %+v", e)
					}
				default:
					mustRefuse(t, got, c.status, c.code, c.delivered)
				}
				if c.survives {
					if got := inSession(t, agent, http.MethodDelete, url, session, ""); got.status != http.StatusNoContent {
						t.Errorf("DELETE: status %d, %s", got.status, got.body)
					}
				}
				until(t, patience, "only the bystander's process is left, and its session is gone", func() bool {
					return len(processes(t, tag)) == 1 && use(t, agent, url, session, "who").status == http.StatusNotFound
				})
				mustNotHave(t, agent, url, session)
			})
		}
		if again := toolText(t, use(t, agent, url, bystander, "who")); again != name {
			t.Errorf("the bystander's process is now %s, not %s", again, name)
		}
	})
}

// beginPatiently begins an MCP session, after the pause that follows a process
// which has ended by itself.
func beginPatiently(t *testing.T, agent *http.Client, url string) (session string) {
	t.Helper()
	until(t, 2*patience, "a session begins", func() bool {
		got := inSession(t, agent, http.MethodPost, url, "", initialize)
		session = got.header.Get("Mcp-Session-Id")
		return got.status == http.StatusOK && session != ""
	})
	return session
}

// A command that ends at once is started again after growing pauses, which its
// callers are told of.
func TestLocalServerThatEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := stack.New(t, stack.Options{Transport: tunnel.Memory, Servers: locals(t, childGone)})
	agent, url := s.Agent(t, true), s.URL("local")
	rested := false
	for range 50 {
		got := inSession(t, agent, http.MethodPost, url, "", initialize)
		if got.status < http.StatusInternalServerError {
			t.Fatalf("initialize: status %d, %s", got.status, got.body)
		}
		rested = rested || got.status == http.StatusBadGateway && got.header.Get("Retry-After") != ""
	}
	if !rested {
		t.Error("50 calls started 50 processes")
	}
	if started := len(records(s, "a local server has ended by itself")); started > 20 {
		t.Errorf("%d processes were started for 50 calls at once", started)
	}
	until(t, patience, "the log says why", func() bool {
		return strings.Contains(s.Log.String(), "a local server is not ready") && strings.Contains(s.Log.String(), "code 3")
	})
}

// A session that the command refuses to begin is none, and leaves no process.
func TestLocalServerThatRefuses(t *testing.T) {
	t.Parallel()
	tag := rand.Text()
	s := stack.New(t, stack.Options{Transport: tunnel.Memory, Servers: locals(t, childPicky, tagged(tag))})
	got := inSession(t, s.Agent(t, true), http.MethodPost, s.URL("local"), "", initialize)
	if got.status != http.StatusOK || !strings.Contains(string(got.body), "another revision, please") || got.header.Get("Mcp-Session-Id") != "" {
		t.Errorf("status %d, session %q, %s", got.status, got.header.Get("Mcp-Session-Id"), got.body)
	}
	noProcess(t, tag)
}

// No more processes than allowed run at once; whoever finds no room is told, and
// what is idle for long, or needs no session, makes room.
func TestMaxProcesses(t *testing.T) {
	t.Parallel()
	tag := rand.Text()
	servers := locals(t, childOld, tagged(tag), func(s *connector.Server) { s.IdleTimeout = 2 * time.Second })
	servers["both"] = locals(t, childBoth, tagged(tag))["local"]
	s := stack.New(t, stack.Options{Transport: tunnel.Memory, Servers: servers, Connector: func(c *connector.Config) { c.MaxProcesses = 2 }})
	agent, url := s.Agent(t, true), s.URL("local")
	until(t, patience, "both are ready", func() bool { return len(records(s, "a local server is ready")) == 2 })
	if text := toolText(t, modern(t, agent, s.URL("both"), "who")); text == "" {
		t.Error("nobody answers")
	}
	one, two := begin(t, agent, url), begin(t, agent, url) // the second takes the idle process's place
	got := inSession(t, agent, http.MethodPost, url, "", initialize)
	mustRefuse(t, got, http.StatusServiceUnavailable, -32018, "no")
	if got.header.Get("Retry-After") == "" {
		t.Error("the refusal says nothing of when to come again")
	}
	if n := len(processes(t, tag)); n > 2 {
		t.Errorf("%d processes run", n)
	}
	until(t, patience, "idle sessions end", func() bool { return len(processes(t, tag)) == 0 })
	mustNotHave(t, agent, url, one)
	mustNotHave(t, agent, url, two)
	begin(t, agent, url)
}

// 300 MCP sessions that are begun and dropped, in whichever way, leave no process.
func TestManySessionsLeaveNothing(t *testing.T) {
	t.Parallel()
	tag := rand.Text()
	s := stack.New(t, stack.Options{Transport: tunnel.QUIC, Servers: locals(t, childOld, tagged(tag), func(s *connector.Server) { s.IdleTimeout = time.Second })})
	agent, url := s.Agent(t, true), s.URL("local")
	var crew sync.WaitGroup
	for worker := range 4 {
		crew.Go(func() {
			for i := range 75 {
				session := beginPatiently(t, agent, url)
				switch (i + worker) % 4 {
				case 0: // forgotten
				case 1: // hung up on in the middle of a call
					ctx, leave := context.WithTimeout(t.Context(), 5*time.Millisecond)
					r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(callTool("never", "")))
					if err == nil {
						r.Header = http.Header{"Content-Type": {"application/json"}, "Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Session-Id": {session}}
						_, _ = whole(agent, r)
					}
					leave()
					fallthrough
				default:
					inSession(t, agent, http.MethodDelete, url, session, "")
				}
			}
		})
	}
	crew.Wait()
	noProcess(t, tag)
}

// An MCP session of a local command is gone with its connector: the client is
// told to begin anew, also if another connector serves the same.
func TestLocalSessionEndsWithItsConnector(t *testing.T) {
	t.Parallel()
	tag := rand.Text()
	s := stack.New(t, stack.Options{Transport: tunnel.QUIC, Servers: locals(t, childOld, tagged(tag))})
	attached(t, s, 2)
	agent, url := s.Agent(t, true), s.URL("local")
	session := begin(t, agent, url)
	stop := s.StopConnector
	s.StartConnector(t)
	attached(t, s, 4)
	for range 6 { // each goes to the connector that holds the session
		if got := use(t, agent, url, session, "who"); got.status != http.StatusOK {
			t.Fatalf("status %d, %s", got.status, got.body)
		}
	}
	stop()
	mustNotHave(t, agent, url, session)
	begin(t, agent, url)
}

// The environment of a command is exactly what is promised, its secrets are
// fetched for each process, and its log is bounded and without them.
func TestLocalServersEnvironment(t *testing.T) {
	t.Setenv("SALLYPORT_TEST_CANARY", "canary-of-the-connector")
	dir := t.TempDir()
	key := stack.SecretFile(t, dir, "key", "first-key-0123456789")
	s := stack.New(t, stack.Options{Transport: tunnel.Memory, Servers: locals(t, childOld, func(s *connector.Server) {
		s.Env["KEY"] = connector.Variable{Secret: key}
		s.Env["LEVEL"] = connector.Variable{Text: "debug"}
	})})
	agent, url := s.Agent(t, true), s.URL("local")
	session := begin(t, agent, url)
	names := map[string]string{}
	for variable := range strings.SplitSeq(toolText(t, use(t, agent, url, session, "environment")), "\n") {
		name, value, _ := strings.Cut(variable, "=")
		names[name] = value
	}
	var got []string
	for name := range names {
		got = append(got, name)
	}
	if want := []string{"PATH", "HOME", "LANG", "TMPDIR", "KEY", "LEVEL", childVariable}; !sameSet(got, want) {
		t.Errorf("the environment is %q", names)
	}
	if key := toolText(t, use(t, agent, url, session, "key")); key != fingerprint("first-key-0123456789") || names["KEY"] != strings.Repeat("*", 20) || names["LEVEL"] != "debug" {
		t.Errorf("the environment is %q, the key is %s", names, key)
	}
	if text := toolText(t, use(t, agent, url, session, "home")); text != "0 <nil> <nil>" {
		t.Errorf("its HOME: %s", text)
	}
	if text := toolText(t, use(t, agent, url, session, "complain")); text != "complained" {
		t.Errorf("got %q", text)
	}
	stack.SecretFile(t, dir, "key", "second-key-987654321")
	next := begin(t, agent, url)
	if key := toolText(t, use(t, agent, url, next, "key")); key != fingerprint("second-key-987654321") {
		t.Errorf("a new process has another key: %s", key)
	}
	if text := toolText(t, use(t, agent, url, next, "home")); text != "0 <nil> <nil>" {
		t.Errorf("its HOME: %s", text)
	}
	if err := os.Remove(filepath.Join(dir, "key")); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, inSession(t, agent, http.MethodPost, url, "", initialize), http.StatusServiceUnavailable, -32015, "no")
	until(t, patience, "what it says is logged", func() bool { return len(records(s, "a local server says")) >= 50 })
	if n := len(records(s, "a local server says")); n > 200 {
		t.Errorf("%d lines of its 2000 were logged", n)
	}
	if log := s.Log.String(); strings.Contains(log, "-key-") || !strings.Contains(log, "[redacted]") {
		t.Error("its log shows the key")
	}
}

// A command that is shown a directory sees nothing of ours that happens to lie
// in it, and nothing of us or of another command elsewhere.
func TestLocalServerSeesNothingOfTheConnector(t *testing.T) {
	const canary = "canary-of-the-connector"
	t.Setenv("SALLYPORT_TEST_CANARY", canary)
	dir := t.TempDir()
	for path := dir; strings.Contains(path, t.Name()); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o755); err != nil { // as root the command is another user
			t.Fatal(err)
		}
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	shown, config := file("app/data", "shown"), file("connector.yaml", canary)
	state := filepath.Dir(file("state/pins", canary))
	ref := func(name string) connector.Variable {
		secret, err := secret.ParseRef("file:" + file(name, canary+name))
		if err != nil {
			t.Fatal(err)
		}
		return connector.Variable{Secret: secret}
	}
	others, token := ref("secrets/other"), ref("secrets/token")
	path := func(v connector.Variable) string {
		path, _ := v.Secret.File()
		return path
	}
	servers := locals(t, childOld, func(s *connector.Server) {
		s.Read = []string{dir}
		s.Env["SPY"] = connector.Variable{Text: strings.Join([]string{shown, config, state, filepath.Join(state, "pins"), path(others), path(token)}, ":")}
		s.Env["CONNECTOR"] = connector.Variable{Text: fmt.Sprint(os.Getpid())}
	})
	servers["other"] = locals(t, childOld, func(s *connector.Server) { s.Env["OTHER"] = others })["local"]
	s := stack.New(t, stack.Options{Transport: tunnel.Memory, Servers: servers, Connector: func(c *connector.Config) {
		c.StateDir, c.File = state, config
		c.Servers["third"] = connector.Server{URL: "http://127.0.0.1:9", AllowPlaintext: true, Credentials: []connector.Credential{
			{Header: &inject.Header{Name: "Authorization", Template: "{secret}"}, Secret: token.Secret},
		}}
	}})
	agent := s.Agent(t, true)
	use(t, agent, s.URL("other"), begin(t, agent, s.URL("other")), "who")
	seen := toolText(t, use(t, agent, s.URL("local"), begin(t, agent, s.URL("local")), "spy"))
	for _, want := range []string{"data shown0 true", "kill no such process", "SPY="} {
		if !strings.Contains(seen, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if seen = strings.ReplaceAll(seen, "SALLYPORT_TEST_CHILD=old", ""); strings.Contains(seen, canary) {
		t.Errorf("a secret was found:\n%s", seen)
	}
	if entries := "state 1"; strings.Contains(seen, entries) {
		t.Errorf("the state directory was listed:\n%s", seen)
	}
}

package e2e_test

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/connector"
)

// childVariable makes the test binary a local MCP server. Its value says which
// revisions it knows.
const childVariable = "SALLYPORT_TEST_CHILD"

const (
	childOld   = "old"   // those with sessions
	childBoth  = "both"  // 2026-07-28 too
	childPicky = "picky" // none that a client asks for
	childMute  = "mute"  // none: it says nothing at all
	childGone  = "gone"  // none: it exits at once
	childBobs  = "bobs"  // all with Bob's secret, none with another
)

// local is a server that is this test binary as a local command.
func local(t *testing.T, knows string) connector.Server {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return connector.Server{Command: []string{self}, Env: map[string]connector.Variable{childVariable: {Text: knows}}}
}

// locals is one such server, named local.
func locals(t *testing.T, knows string, change ...func(*connector.Server)) map[string]connector.Server {
	t.Helper()
	s := local(t, knows)
	for _, c := range change {
		c(&s)
	}
	return map[string]connector.Server{"local": s}
}

// callTool is the body of a call of one of the child's tools.
func callTool(name, meta string) string {
	return `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"` + name + `","arguments":{},"_meta":{` + meta + `}}}`
}

const modernMeta = `"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}`

// childMain is the local server. Each tool is a way to behave.
func childMain(knows string) {
	c := &childServer{name: rand.Text(), knows: knows}
	switch knows {
	case childGone:
		os.Exit(3)
	case childMute:
		time.Sleep(time.Hour)
	case childBobs:
		if !strings.Contains(os.Getenv("KEY"), "bob") {
			time.Sleep(time.Hour)
		}
		c.knows = childBoth
	}
	fmt.Println("Test server listening on stdio!") // as some do, which they must not
	for in := bufio.NewReader(os.Stdin); ; {
		line, err := in.ReadBytes('\n')
		if err != nil {
			if c.stubborn {
				time.Sleep(time.Hour)
			}
			return
		}
		var m childMessage
		if json.Unmarshal(line, &m) == nil && m.ID != nil {
			c.serve(m)
		}
	}
}

type childMessage struct {
	ID     json.RawMessage
	Method string
	Params struct{ Name string }
	Error  json.RawMessage
}

type childServer struct {
	name     string // of this process
	knows    string
	stubborn bool
	kept     [][]byte
	asked    json.RawMessage // the call that waits for what the client says
}

func (c *childServer) result(id json.RawMessage, result any) {
	text, _ := json.Marshal(result)
	fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", id, text)
}

func (c *childServer) text(id json.RawMessage, text string) {
	c.result(id, map[string]any{"resultType": "complete", "content": []any{map[string]any{"type": "text", "text": text}}})
}

func (c *childServer) serve(m childMessage) {
	switch m.Method {
	case "": // a response
		c.text(c.asked, map[bool]string{true: "answered", false: "refused " + string(m.Error)}[m.Error == nil])
	case "initialize":
		if c.knows == childPicky {
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32602,"message":"another revision, please"}}`+"\n", m.ID)
			return
		}
		c.result(m.ID, map[string]any{"protocolVersion": "2025-11-25", "capabilities": map[string]any{"tools": map[string]any{}}, "serverInfo": map[string]any{"name": "child", "version": "1"}})
	case "server/discover":
		if c.knows != childBoth {
			fmt.Printf(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`+"\n", m.ID)
			return
		}
		c.result(m.ID, map[string]any{"resultType": "complete", "supportedVersions": []string{"2026-07-28"}, "capabilities": map[string]any{"tools": map[string]any{}}})
	case "tools/list":
		c.result(m.ID, map[string]any{"resultType": "complete", "tools": []any{map[string]any{"name": "who", "inputSchema": map[string]any{"type": "object"}}}})
	case "tools/call":
		c.tool(m.ID, m.Params.Name)
	default:
		c.result(m.ID, struct{}{})
	}
}

func (c *childServer) tool(id json.RawMessage, name string) {
	const log = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"%s"}}` + "\n"
	switch name {
	case "who":
		c.text(id, c.name)
	case "environment":
		c.text(id, strings.Join(os.Environ(), "\n"))
	case "key": // which would be masked in an answer
		c.text(id, fingerprint(os.Getenv("KEY")))
	case "flood":
		for range 5_000 {
			fmt.Printf(log, strings.Repeat("x", 1000))
		}
		c.text(id, "flooded")
	case "ask":
		c.asked = id
		fmt.Println(`{"jsonrpc":"2.0","id":"ask-1","method":"roots/list"}`)
	case "never":
	case "twice":
		c.text(id, "once")
		c.text(id, "twice")
	case "other":
		c.text(json.RawMessage("4711"), "for another")
		c.text(id, "for you")
	case "half":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":{"con`, id)
		os.Exit(0)
	case "long":
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":"%s"}`+"\n", id, strings.Repeat("x", 17<<20))
	case "exit":
		os.Exit(3)
	case "fork":
		self, _ := os.Executable()
		cmd := exec.Command(self)
		cmd.Env = []string{childVariable + "=" + childMute}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			c.text(id, err.Error())
			return
		}
		c.text(id, "forked")
		os.Exit(0)
	case "breed": // a child and a grandchild in sessions of their own
		cmd := exec.Command("/bin/sh", "-c", `setsid sh -c "sleep 3600; :" $0 & sleep 3600; :`, os.Args[1])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		c.text(id, fmt.Sprint(cmd.Start()))
		time.Sleep(100 * time.Millisecond)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
		c.stubborn = true
		c.text(id, "stubborn")
	case "eat":
		for {
			block := make([]byte, 16<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			c.kept = append(c.kept, block)
		}
	case "files":
		opened := 0
		for range 10_000 {
			if _, err := os.Open("/dev/null"); err != nil {
				break
			}
			opened++
		}
		c.text(id, fmt.Sprint(opened))
	case "complain":
		for range 2000 {
			fmt.Fprintf(os.Stderr, "complaint with the key %s\n", os.Getenv("KEY"))
		}
		c.text(id, "complained")
	case "spy": // on the paths in SPY, on all processes that there are, and on the connector
		var seen []string
		for path := range strings.SplitSeq(os.Getenv("SPY"), ":") {
			text, err := os.ReadFile(path)
			entries, _ := os.ReadDir(path)
			seen = append(seen, fmt.Sprint(filepath.Base(path), " ", string(text), len(entries), " ", err == nil))
		}
		all, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, path := range all {
			text, _ := os.ReadFile(path)
			seen = append(seen, string(text))
		}
		connector, _ := strconv.Atoi(os.Getenv("CONNECTOR"))
		seen = append(seen, fmt.Sprint("kill ", syscall.Kill(connector, 0)))
		c.text(id, strings.Join(seen, "\n"))
	case "home":
		entries, err := os.ReadDir(os.Getenv("HOME"))
		c.text(id, fmt.Sprint(len(entries), err, os.WriteFile(filepath.Join(os.Getenv("HOME"), "mine"), nil, 0o600)))
	default:
		c.result(id, map[string]any{"isError": true, "content": []any{}})
	}
}

// toolText is the text of a tool's result, in JSON or in the last event of a stream.
func toolText(t *testing.T, got answer) string {
	t.Helper()
	body := got.body
	if i := strings.LastIndex(string(body), "data: "); i >= 0 {
		body = body[i+len("data: "):]
	}
	var message struct {
		Result struct{ Content []struct{ Text string } }
	}
	if err := json.Unmarshal(body, &message); err != nil || got.status != 200 || len(message.Result.Content) != 1 {
		t.Fatalf("status %d, %v: %.400s", got.status, err, got.body)
	}
	return message.Result.Content[0].Text
}

// sameSet reports whether both have the same elements.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

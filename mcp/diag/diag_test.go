package diag

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eras are the two ways to speak to the server.
func eras() map[string][]client.ClientOption {
	return map[string][]client.ClientOption{
		"2025-11-25": {client.WithProtocolVersion("2025-11-25")},
		"2026-07-28": nil,
	}
}

// peer is a client of a fresh server.
type peer struct {
	*client.Client
	mu   sync.Mutex // guards seen
	seen []mcp.JSONRPCNotification
	left chan struct{} // closed when the server has let a request go
}

func connect(t *testing.T, version string, options []client.ClientOption, header map[string]string) *peer {
	t.Helper()
	p := &peer{left: make(chan struct{}, 100)}
	handler := New(Config{Version: "1.2.3"})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(w, r)
		p.left <- struct{}{}
	}))
	t.Cleanup(server.Close)
	pool := &http.Transport{}
	t.Cleanup(pool.CloseIdleConnections)
	over, err := transport.NewStreamableHTTP(server.URL+"/mcp",
		transport.WithHTTPBasicClient(&http.Client{Transport: pool}), transport.WithHTTPHeaders(header))
	if err != nil {
		t.Fatal(err)
	}
	p.Client = client.NewClient(over, options...)
	t.Cleanup(func() { _ = p.Close() })
	p.OnNotification(func(n mcp.JSONRPCNotification) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seen = append(p.seen, n)
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	hello, err := p.Initialize(t.Context(), mcp.InitializeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if hello.ProtocolVersion != version || hello.ServerInfo.Name != "diag" || hello.ServerInfo.Version != "1.2.3" {
		t.Fatalf("introduced itself as %+v in %s", hello.ServerInfo, hello.ProtocolVersion)
	}
	return p
}

func (p *peer) call(ctx context.Context, tool, arguments string, progress bool) (*mcp.CallToolResult, error) {
	var r mcp.CallToolRequest
	r.Params.Name, r.Params.Arguments = tool, json.RawMessage(arguments)
	r.Params.Meta = &mcp.Meta{}
	if progress {
		r.Params.Meta.ProgressToken = "p"
	}
	return p.CallTool(ctx, r)
}

func (p *peer) count(method string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, one := range p.seen {
		if one.Method == method {
			n++
		}
	}
	return n
}

func text(t *testing.T, result *mcp.CallToolResult) string {
	t.Helper()
	if len(result.Content) != 1 {
		t.Fatalf("%d contents", len(result.Content))
	}
	content, ok := result.Content[0].(mcp.TextContent)
	if !ok {
		t.Fatalf("content is %T", result.Content[0])
	}
	return content.Text
}

func TestTools(t *testing.T) {
	for version, options := range eras() {
		t.Run(version, func(t *testing.T) {
			p := connect(t, version, options, nil)
			list, err := p.ListTools(t.Context(), mcp.ListToolsRequest{})
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, tool := range list.Tools {
				names = append(names, tool.Name)
			}
			if got := strings.Join(names, " "); got != "echo slow stream whoami" {
				t.Errorf("tools are %s", got)
			}
		})
	}
}

func TestEchoReturnsItsArgumentsAsSent(t *testing.T) {
	for version, options := range eras() {
		t.Run(version, func(t *testing.T) {
			p := connect(t, version, options, nil)
			for _, c := range []struct{ arguments, text string }{
				{`{"text":"hello\nworld"}`, "hello\nworld"},
				{`{"text":"","n":1}`, ""},
				{`{"n":123456789012345678901234567890,"z":null}`, `{"n":123456789012345678901234567890,"z":null}`},
				{`{}`, `{}`},
			} {
				result, err := p.call(t.Context(), "echo", c.arguments, false)
				if err != nil {
					t.Fatal(err)
				}
				if got := text(t, result); got != c.text {
					t.Errorf("%s: text %q", c.arguments, got)
				}
				if got := string(result.RawStructuredContent); got != c.arguments {
					t.Errorf("%s: structured content %s", c.arguments, got)
				}
			}
		})
	}
}

func TestSlowReportsEachStep(t *testing.T) {
	for version, options := range eras() {
		t.Run(version, func(t *testing.T) {
			p := connect(t, version, options, nil)
			result, err := p.call(t.Context(), "slow", `{"seconds":0.05,"steps":5}`, true)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, result); got != "done: 5 steps in 0.05 s" {
				t.Errorf("answered %q", got)
			}
			if n := p.count("notifications/progress"); n != 5 {
				t.Errorf("%d progress notifications", n)
			}
			if _, err := p.call(t.Context(), "slow", `{"seconds":0,"steps":2}`, false); err != nil {
				t.Fatal(err)
			}
			if n := p.count("notifications/progress"); n != 5 {
				t.Error("progress was reported to a caller that did not ask")
			}
		})
	}
}

func TestSlowEndsWhenTheCallerLeaves(t *testing.T) {
	for version, options := range eras() {
		t.Run(version, func(t *testing.T) {
			p := connect(t, version, options, nil)
			for len(p.left) > 0 {
				<-p.left
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := p.call(ctx, "slow", `{"seconds":60,"steps":1}`, false); err == nil {
				t.Fatal("it answered")
			}
			select {
			case <-p.left:
			case <-time.After(5 * time.Second):
				t.Error("the server went on without its caller")
			}
		})
	}
}

func TestStreamSendsEveryMessage(t *testing.T) {
	const count = 300 // more than the library queues
	for version, options := range eras() {
		t.Run(version, func(t *testing.T) {
			p := connect(t, version, options, nil)
			result, err := p.call(t.Context(), "stream", fmt.Sprintf(`{"count":%d,"interval_ms":0}`, count), true)
			if err != nil {
				t.Fatal(err)
			}
			if got := text(t, result); got != fmt.Sprintf("sent %d messages", count) {
				t.Errorf("answered %q", got)
			}
			if n := p.count("notifications/progress"); n != count {
				t.Errorf("%d of %d progress notifications", n, count)
			}
			want := count
			if version >= "2026-07-28" {
				want = 0 // this request did not ask for a log
			}
			if n := p.count("notifications/message"); n != want {
				t.Errorf("%d log messages, want %d", n, want)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	p := connect(t, "2026-07-28", nil, nil)
	for _, c := range [][2]string{
		{"slow", `{}`}, {"slow", `{"seconds":61}`}, {"slow", `{"seconds":-1}`}, {"slow", `{"seconds":1,"steps":0}`},
		{"slow", `{"seconds":1,"steps":1001}`}, {"stream", `{}`}, {"stream", `{"count":10001}`},
		{"stream", `{"count":1,"interval_ms":-1}`}, {"stream", `{"count":1,"interval_ms":10001}`},
	} {
		result, err := p.call(t.Context(), c[0], c[1], false)
		if err != nil || !result.IsError {
			t.Errorf("%s %s: not refused (%v)", c[0], c[1], err)
		}
	}
}

func TestWhoamiShowsNamesAndDigestsButNoValue(t *testing.T) {
	const key = "a-secret-that-must-not-show"
	for version, options := range eras() {
		t.Run(version, func(t *testing.T) {
			p := connect(t, version, options, map[string]string{
				"Authorization": "Bearer " + key, "X-Api-Key": key, "Cookie": "sid=" + key, "X-Plain": "plain-value",
			})
			result, err := p.call(t.Context(), "whoami", `{}`, false)
			if err != nil {
				t.Fatal(err)
			}
			all := text(t, result) + string(result.RawStructuredContent)
			if strings.Contains(all, key) || strings.Contains(all, "plain-value") {
				t.Errorf("a value shows: %s", all)
			}
			var report Report
			if err := json.Unmarshal(result.RawStructuredContent, &report); err != nil {
				t.Fatal(err)
			}
			digest := "present (sha256:" + Fingerprint(key) + ")"
			for _, name := range []string{"Authorization", "X-Api-Key"} {
				if report.Credentials[name] != digest {
					t.Errorf("%s is shown as %q, want %q", name, report.Credentials[name], digest)
				}
			}
			if report.Credentials["Cookie"] == "" || report.Credentials["X-Plain"] != "" || len(report.Credentials) != 3 {
				t.Errorf("credentials are %v", report.Credentials)
			}
			if report.ProtocolVersion != version || report.Transport != "HTTP/1.1" || !strings.HasPrefix(report.Listener, "127.0.0.1:") {
				t.Errorf("report is %+v", report)
			}
			if !strings.Contains(strings.Join(report.Headers, " "), "X-Plain") {
				t.Error("a header's name is missing")
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	const hello = "2cf24dba" // of sha256("hello")
	for _, value := range []string{"hello", "Bearer hello", "bearer  hello", "Token hello"} {
		if got := Fingerprint(value); got != hello {
			t.Errorf("%q: %s", value, got)
		}
	}
	if Fingerprint("sid hello") == hello {
		t.Error("a word that is no scheme was dropped")
	}
}

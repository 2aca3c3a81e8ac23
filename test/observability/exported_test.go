package observability_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/cell"
	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// patience is for what takes a moment.
const patience = 20 * time.Second

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}`

// exported is what the metrics of one role are called: each family's name and kind, and the labels of its samples, by role.
type exported struct {
	kinds  map[string]string          // of families, as # TYPE says
	labels map[string]map[string]bool // of samples' names
	text   string
}

var (
	typeLine = regexp.MustCompile(`^# TYPE (\S+) (\S+)$`)
	sample   = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*?)\})? `)
	label    = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="`)
)

// read takes Prometheus' text apart.
func read(text string) *exported {
	e := &exported{kinds: make(map[string]string), labels: make(map[string]map[string]bool), text: text}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := typeLine.FindStringSubmatch(lines.Text()); m != nil {
			e.kinds[m[1]] = m[2]
		} else if m := sample.FindStringSubmatch(lines.Text()); m != nil {
			if e.labels[m[1]] == nil {
				e.labels[m[1]] = make(map[string]bool)
			}
			for _, l := range label.FindAllStringSubmatch(m[2], -1) {
				e.labels[m[1]][l[1]] = true
			}
		}
	}
	return e
}

// scrape is what a role's metrics say.
func scrape(t *testing.T, h http.Handler) *exported {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("the metrics answer %d: %s", w.Code, w.Body)
	}
	return read(w.Body.String())
}

// tells sets telemetry up that nobody collects, so that something of it is lost.
func tells(t *testing.T, role string) *telemetry.Telemetry {
	t.Helper()
	told, err := telemetry.Setup(t.Context(), telemetry.Config{
		OTLP:    telemetry.OTLP{Endpoint: "http://127.0.0.1:9", Flush: 100 * time.Millisecond},
		Metrics: telemetry.Metrics{Names: true},
	}, telemetry.Options{Scraped: true, Role: role, Version: "v0", Instance: role})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(told.Shutdown)
	return told
}

// upstream answers calls, begins a session, and tells whoever asks for it which credential it has got.
func upstream(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method != http.MethodPost:
		case strings.Contains(string(body), `"initialize"`):
			w.Header().Set("Mcp-Session-Id", "0123456789abcdef")
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}}`)
		case strings.Contains(string(body), `"leak"`):
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":%q}]}}`, r.Header.Get("Authorization"))
		case strings.Contains(string(body), `"stream"`):
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\n\n")
		case strings.Contains(string(body), `"fail"`):
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no such thing"}}`)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// everything runs a gateway and a connector, has them do all that there are metrics of, and returns what both export.
func everything(t *testing.T) (roles map[string]*exported) {
	t.Helper()
	told := map[string]*telemetry.Telemetry{"gateway": tells(t, "gateway"), "connector": tells(t, "connector")}
	ref, err := secret.ParseRef("exec:/bin/echo key-0123456789abcdefghijklmnopqrstuvwxyz")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := policy.New([]policy.Rule{{Name: "all-but-secret", Servers: []string{"*"}, When: `mcp.tool != "secret"`, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := stack.New(t, stack.Options{
		Transport: tunnel.QUIC, Policy: &rules,
		Servers: map[string]connector.Server{
			"wiki": {URL: upstream(t), AllowPlaintext: true, Credentials: []connector.Credential{{
				Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: ref,
			}}},
			"local": {Command: []string{"/bin/sh", "-c", "exit 3"}, Isolation: cell.None},
		},
		Gateway: func(c *gateway.Config) {
			c.Telemetry.Metrics.Names = true
			c.Audit = audit.Config{Mode: audit.BestEffort}
			c.Tracer, c.Meter, c.Metrics = told["gateway"].Tracer, told["gateway"].Meter, told["gateway"].Metrics()
		},
		Connector: func(c *connector.Config) {
			c.StateDir = filepath.Join(dir, "state")
			if err := os.MkdirAll(c.StateDir, 0o700); err != nil {
				t.Fatal(err)
			}
			c.Audit = audit.Config{Mode: audit.BestEffort}
			c.Tracer, c.Meter, c.Metrics = told["connector"].Tracer, told["connector"].Meter, told["connector"].Metrics()
		},
	})
	agent := s.Agent(t, true)
	call := func(method, server, session, body string) *http.Response {
		t.Helper()
		r, err := s.Post(t.Context(), server, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Method = method
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		resp, err := agent.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp
	}
	tool := func(server, name string) int {
		return call(http.MethodPost, server, "", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"`+name+`","arguments":{}}}`).StatusCode
	}
	until(t, "a connector is attached", func() bool { return tool("wiki", "search") == http.StatusOK })
	begun := call(http.MethodPost, "wiki", "", initialize)
	if session := begun.Header.Get("Mcp-Session-Id"); session == "" {
		t.Fatalf("no session began: %s", begun.Status)
	} else {
		call(http.MethodDelete, "wiki", session, "")
	}
	for _, name := range []string{"search", "leak", "stream", "fail", "secret"} {
		tool("wiki", name)
	}
	call(http.MethodPost, "local", "", initialize)
	r, err := s.Post(context.Background(), "nowhere", `{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := agent.Do(r); err == nil {
		_ = resp.Body.Close()
	}
	live := scrape(t, told["gateway"].Metrics()).text + "\n" // with a session
	liveConnector := scrape(t, told["connector"].Metrics()).text + "\n"
	s.StopGateway()
	until(t, "an attempt to attach fails", func() bool {
		return strings.Contains(scrape(t, told["connector"].Metrics()).text, "sallyport_attach_failures_total{")
	})
	return map[string]*exported{
		"gateway":   read(live + scrape(t, told["gateway"].Metrics()).text),
		"connector": read(liveConnector + scrape(t, told["connector"].Metrics()).text),
	}
}

// until waits for something.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %s", what, patience)
		}
		<-time.After(50 * time.Millisecond)
	}
}

package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/gateway"
	"sallyport.dev/telemetry"
	"sallyport.dev/test/backends"
	"sallyport.dev/test/stack"
)

// The demo shows its calls in a backend that takes nothing but traces, within 5 s, and says at most once for each signal that it does not.
func TestDemoTraces(t *testing.T) {
	t.Parallel()
	jaeger := backends.StartJaeger(t)
	demo := startDemo(t, build(t), "--otlp-endpoint", jaeger.HTTP)
	s := &stack.Stack{Roots: roots(t, demo.CAFile)}
	agent := elsewhere(t, "agent", jaeger.HTTP)
	client := s.AgentWith(t, true, demo.Token)
	marked := &tracing{next: client.Transport}
	client.Transport = marked
	call := tracedClients["go-sdk"](t.Context(), t, demo.url(t, "orders"), client)
	ctx, span := agent.Start(t.Context(), "tools/call query", trace.WithSpanKind(trace.SpanKindClient))
	marked.ctx = ctx
	if err := call(t.Context(), "query", map[string]any{"sql": "SELECT 1"}); err != nil {
		t.Fatal(err)
	}
	marked.ctx = nil
	span.End()
	began := time.Now()
	const want = `agent CLIENT: tools/call query
  sallyport-gateway SERVER: tools/call query
    sallyport-connector SERVER: tools/call query
      sallyport-connector CLIENT: sqlite
`
	tr := jaeger.Await(t, span.SpanContext().TraceID().String(), patience, func(tr *backends.Trace) bool {
		return len(tr.Roots) == 1 && tr.Find("sallyport-connector", "client") != nil && tr.Find("sallyport-gateway", "server") != nil
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the trace was there after %s", took)
	}
	if text := tr.Text(backends.Text{}); text != want {
		t.Errorf("%s", tr.Text(backends.Text{AllTags: true}))
	}
	pause(t, 11*time.Second) // metrics are sent each 5 s: what is not taken is told of no second time
	demo.terminate(t)
	demo.mu.Lock()
	defer demo.mu.Unlock()
	said := strings.Join(demo.log, "\n")
	for _, signal := range []string{"metrics", "logs"} {
		if n := strings.Count(said, `signal=`+signal) + strings.Count(said, `"signal":"`+signal+`"`); n > 1 {
			t.Errorf("the demo says %d times that %s are not taken:\n%s", n, signal, said)
		}
	}
	t.Logf("the demo said:\n%s", said)
}

// TestTracePicture draws docs/pictures/trace.svg with UPDATE=1, of a call to a server that traces itself. Otherwise it sees that the
// picture is there, and of such a call.
func TestTracePicture(t *testing.T) {
	t.Parallel()
	const file = "../../docs/pictures/trace.svg"
	if os.Getenv("UPDATE") == "" {
		picture, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"agent", "sallyport-gateway", "sallyport-connector", "wiki", "tools/call search", "fetch credential"} {
			if !strings.Contains(string(picture), want) {
				t.Errorf("%s has no %q: run UPDATE=1 go test -run TestTracePicture ./test/e2e", file, want)
			}
		}
		return
	}
	jaeger := backends.StartJaeger(t)
	wiki := newWiki(t, jaeger.HTTP)
	agent := elsewhere(t, "agent", jaeger.HTTP)
	dir := t.TempDir()
	program := filepath.Join(dir, "fetch")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nsleep 0.004\necho key-of-the-wiki\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := mustRef(t, "exec:"+program)
	s := observe(t, stack.Options{
		Servers: map[string]connector.Server{"wiki": {URL: wiki.url, AllowPlaintext: true, Credentials: []connector.Credential{{
			Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: key,
		}}}},
		Gateway: func(c *gateway.Config) { c.Agents.Tokens[0].TrustTrace = true },
	}, collector(jaeger.HTTP, telemetry.SignalTraces))
	client := s.Agent(t, true)
	post(t, s.Stack, client, "none", pingBody) // for a connection that is there
	ctx, span := agent.Start(t.Context(), "tools/call search", trace.WithSpanKind(trace.SpanKindClient))
	client.Transport = &tracing{client.Transport, ctx}
	r, err := s.Post(t.Context(), "wiki", toolCall("search", `{"text":"gates"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := call(t, client, r); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	span.End()
	tr := jaeger.Await(t, span.SpanContext().TraceID().String(), patience, func(tr *backends.Trace) bool {
		return len(tr.Roots) == 1 && len(tr.Services()) == 4 && tr.Find("sallyport-gateway", "server") != nil
	})
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, tr.Picture("One tool call as a trace: agent, gateway, connector and the server's own spans"))
	t.Logf("\n%s", tr.Text(backends.Text{Phases: true, Times: true}))
}

// card is what demo --json prints, and its process.
type card struct {
	*process
	Servers []struct{ Name, URL string }
	Token   string
	CAFile  string `json:"ca_file"`
}

func (c card) url(t *testing.T, server string) string {
	t.Helper()
	for _, s := range c.Servers {
		if s.Name == server {
			return s.URL
		}
	}
	t.Fatalf("the demo has no server %s", server)
	return ""
}

// startDemo starts the demo as a process, and waits until it is ready.
func startDemo(t *testing.T, binary string, args ...string) card {
	t.Helper()
	c := card{process: startWith(t, nil, binary, append([]string{"demo", "--json", "--listen", "127.0.0.1:0"}, args...)...)}
	until(t, 2*patience, "the demo is ready", func() bool { return strings.Contains(c.out.String(), "\n") })
	if err := json.Unmarshal([]byte(c.out.String()), &c); err != nil {
		t.Fatalf("%v: %s", err, c.out.String())
	}
	return c
}

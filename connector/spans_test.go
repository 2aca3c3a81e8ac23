package connector

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/cell"
	"sallyport.dev/credential/inject"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

const (
	parentSampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	parentUnsampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	callSearch      = `{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"search","arguments":{"q":"private words"}}}`
)

// within is the header of a call that is part of a trace.
func within(parent string) http.Header {
	return http.Header{"Traceparent": {parent}, "Tracestate": {"v=1"}}
}

// replying is an upstream that answers each POST with a body, and hands on the header that it got.
func replying(kind, body string, got chan<- http.Header) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got != nil {
			got <- r.Header
		}
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, body)
	})
}

// TestSpansOfACall: what an upstream over HTTP was asked, and what it hears of the trace itself.
func TestSpansOfACall(t *testing.T) {
	for name, answer := range map[string][2]string{
		"JSON":            {"application/json", `{"jsonrpc":"2.0","id":"a-1","result":{"content":[]}}`},
		"an event stream": {"text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"a-1\",\"result\":{\"content\":[]}}\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			o, got := newTold(t, 0), make(chan http.Header, 1)
			r, call := serving(t, replying(answer[0], answer[1], got), o.into(withKey(t)))
			if a := call(http.MethodPost, callSearch, within(parentSampled)); a.StatusCode != http.StatusOK {
				t.Fatal(a.StatusCode, a.body)
			}
			tr := o.recorded(t, r)
			server, client := tr.of(trace.SpanKindServer), tr.of(trace.SpanKindClient)
			if telemetry.Traceparent(server.Parent) != parentSampled || !server.Parent.IsRemote() {
				t.Errorf("its parent is %v", server.Parent)
			}
			tr.below(client, server)
			if sent := <-got; sent.Get("Traceparent") != telemetry.Traceparent(client.SpanContext) || sent.Get("Tracestate") != "v=1" {
				t.Errorf("the upstream got %v, and the span is %v", sent, client.SpanContext)
			}
			both := map[attribute.Key]string{
				telemetry.AttrMCPMethod: "tools/call", telemetry.AttrTool: "search", telemetry.AttrOperation: "execute_tool", telemetry.AttrJSONRPCID: "a-1", telemetry.AttrServer: "wiki",
				telemetry.AttrMCPVersion: "2025-11-25", telemetry.AttrErrorType: "", telemetry.AttrRPCStatus: "", telemetry.AttrHTTPStatus: "200", telemetry.AttrCredentials: `["wiki/1"]`,
				telemetry.AttrFirstByte: "*", telemetry.AttrStream: "*", telemetry.AttrMasked: "",
			}
			tr.has(server, both)
			tr.has(client, both)
			tr.has(server, map[attribute.Key]string{
				telemetry.AttrTunnel: testTunnel, telemetry.AttrTransport: "pipe", telemetry.AttrNetTransport: "pipe", telemetry.AttrInstance: r.Instance(), telemetry.AttrSession: "*",
				telemetry.AttrRequestID: "request-1", telemetry.AttrPrincipal: "*", telemetry.AttrOutcome: "upstream", telemetry.AttrDelivered: "yes", telemetry.AttrPolicy: "*", telemetry.AttrFetch: "*",
				telemetry.AttrDecision: "allow", telemetry.AttrRule: "*", telemetry.AttrApproval: "",
			})
			tr.has(client, map[attribute.Key]string{
				telemetry.AttrNetTransport: "tcp", telemetry.AttrServerAddress: "127.0.0.1", telemetry.AttrServerPort: "*", telemetry.AttrProtocol: "http", telemetry.AttrProtocolVersion: "1.1",
			})
			if server.Name != "tools/call search" || client.Name != server.Name || server.Status.Code != codes.Unset {
				t.Errorf("%s and %s, %v", server.Name, client.Name, server.Status)
			}
		})
	}
}

// TestFailedCallsAreRecorded although none is sampled, with what failed them; and nothing of the others.
func TestFailedCallsAreRecorded(t *testing.T) {
	denying, err := policy.New([]policy.Rule{{Name: "no-search", Servers: []string{"wiki"}, Allow: false}})
	if err != nil {
		t.Fatal(err)
	}
	json := func(body string) http.Handler { return replying("application/json", body, nil) }
	for name, c := range map[string]struct {
		upstream http.Handler
		change   func(*Config)
		failure  string
		reason   string
		client   string // its error.type; none if there is no such span
	}{
		"a success":             {upstream: json(`{"jsonrpc":"2.0","id":"a-1","result":{}}`)},
		"policy":                {json("{}"), func(c *Config) { c.Policy = denying }, "-32003", "denied", ""},
		"no address":            {json("{}"), func(c *Config) { c.Upstream.AllowedIPs = []string{"10.0.0.0/8"} }, "-32013", "upstream_unreachable", "-32013"},
		"an error":              {json(`{"jsonrpc":"2.0","id":"a-1","error":{"code":-32602,"message":"private"}}`), nil, "-32602", "the server has answered with an error", "-32602"},
		"a failed tool":         {json(`{"jsonrpc":"2.0","id":"a-1","result":{"isError":true,"content":[{"type":"text","text":"private"}]}}`), nil, "tool_error", "the server has answered with an error", "tool_error"},
		"an error on a stream":  {replying("text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"a-1\",\"error\":{\"code\":7,\"message\":\"private\"}}\n\n", nil), nil, "7", "the server has answered with an error", "7"},
		"a long one":            {replying("text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"a-1\",\"error\":{\"code\":7,\"message\":\""+strings.Repeat("private", 20000)+"\"}}\n\n", nil), nil, telemetry.Other, "the server has answered with an error", telemetry.Other},
		"no answer on a stream": {replying("text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":\"other\",\"result\":{}}\n\n", nil), nil, "-32019", "upstream_invalid", "-32019"},
		"a status":              {http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }), nil, "500", "the server has answered with an error", "500"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newTold(t, 0)
			r, call := serving(t, c.upstream, o.into(c.change))
			_ = call(http.MethodPost, callSearch, within(parentUnsampled))
			tr := o.recorded(t, r)
			if c.failure == "" {
				if len(tr.all) != 0 {
					t.Errorf("recorded: %v", tr.names())
				}
				return
			}
			server := tr.of(trace.SpanKindServer)
			tr.has(server, map[attribute.Key]string{telemetry.AttrErrorType: c.failure})
			if server.Status.Code != codes.Error || server.Status.Description != c.reason || server.Parent.SpanID().String() != "b7ad6b7169203331" {
				t.Errorf("%+v, below %v", server.Status, server.Parent)
			}
			if c.client == "" {
				if len(tr.all) != 1 {
					t.Errorf("recorded: %v", tr.names())
				}
				return
			}
			client := tr.of(trace.SpanKindClient)
			tr.has(client, map[attribute.Key]string{telemetry.AttrErrorType: c.client})
			tr.below(client, server)
		})
	}
}

// TestWhatIsNoFailure: a server without a stream for GET, a caller that leaves one, and a connector that does.
func TestWhatIsNoFailure(t *testing.T) {
	for _, who := range []string{"the caller", "the connector"} {
		t.Run(who, func(t *testing.T) {
			o, over := newTold(t, 0), make(chan bool)
			var streams atomic.Bool
			upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !streams.Swap(true) {
					w.WriteHeader(http.StatusMethodNotAllowed)
					return
				}
				w.Header().Set("Content-Type", "text/event-stream")
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				close(over)
			})
			g := newFakeGateway(t)
			r := run(t, g, serve(t, upstream), o.into())
			s := g.next(t)
			if a := g.call(t, s, r.Instance(), http.MethodGet, "", within(parentUnsampled)); a.StatusCode != http.StatusMethodNotAllowed {
				t.Fatal(a.StatusCode)
			}
			conn := g.start(t, s, r.Instance(), http.MethodGet, "", within(parentUnsampled))
			if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
				t.Fatal(err)
			}
			if who == "the caller" {
				_ = conn.Close()
				<-over
			}
			tr := o.recorded(t, r)
			_ = conn.Close()
			if len(tr.all) != 0 {
				t.Errorf("recorded: %v of %v", tr.names(), tr.all)
			}
		})
	}
}

// TestACallerThatLeaves has failed if what it was answered is not whole, and has not if it is, though the stream goes on.
func TestACallerThatLeaves(t *testing.T) {
	const notice, answer = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n", "data: {\"jsonrpc\":\"2.0\",\"id\":\"a-1\",\"result\":{}}\n\n"
	for _, sent := range []string{notice, answer} {
		o, over := newTold(t, 0), make(chan bool)
		g := newFakeGateway(t)
		r := run(t, g, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, sent)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			close(over)
		})), o.into())
		conn := g.start(t, g.next(t), r.Instance(), http.MethodPost, callSearch, within(parentUnsampled))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(resp.Body, make([]byte, len(sent))); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		<-over
		tr := o.recorded(t, r)
		if sent == answer {
			if len(tr.all) != 0 {
				t.Errorf("recorded: %v", tr.all)
			}
			continue
		}
		tr.has(tr.of(trace.SpanKindServer), map[attribute.Key]string{telemetry.AttrErrorType: "cancelled", telemetry.AttrOutcome: outcomeBroken, telemetry.AttrDelivered: "unknown"})
	}
}

// TestASlowSecretIsASpan of its own, and so is a secret that cannot be had; the upstream's span begins behind it.
func TestASlowSecretIsASpan(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		fails  bool
	}{"slow": {"sleep 0.05; echo " + testKey, false}, "missing": {"exit 1", true}} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+c.script), 0o700); err != nil {
				t.Fatal(err)
			}
			ref, err := secret.ParseRef("exec:" + program)
			if err != nil {
				t.Fatal(err)
			}
			o := newTold(t, 1)
			r, call := serving(t, replying("application/json", `{"jsonrpc":"2.0","id":"a-1","result":{}}`, nil), o.into(withKey(t), func(c *Config) { c.Servers["wiki"].Credentials[0].Secret = ref }))
			_ = call(http.MethodPost, callSearch, nil)
			_ = call(http.MethodPost, callSearch, nil)
			tr := o.recorded(t, r)
			fetches := series(o.last["sallyport.credential.fetches"])
			if c.fails {
				if len(tr.all) < 2 || fetches["sallyport.credential=wiki/1,sallyport.outcome=error"] != 2 {
					t.Errorf("%v, %v", tr.names(), fetches)
				}
				for _, s := range tr.all {
					if s.SpanKind == trace.SpanKindClient || s.Name == phaseFetch && s.Status.Code != codes.Error {
						t.Errorf("%s %s %+v", s.SpanKind, s.Name, s.Status)
					}
				}
				return
			}
			fetch := tr.named(phaseFetch)
			tr.has(fetch, map[attribute.Key]string{telemetry.AttrCredential: "wiki/1"})
			if took := fetch.EndTime.Sub(fetch.StartTime); took < 50*time.Millisecond || fetch.SpanKind != trace.SpanKindInternal {
				t.Errorf("%s of %s", fetch.SpanKind, took)
			}
			for _, s := range tr.all {
				if s.SpanKind == trace.SpanKindServer && s.SpanContext.SpanID() == fetch.Parent.SpanID() {
					tr.below(fetch, s)
				}
				if s.SpanKind == trace.SpanKindClient && s.SpanContext.TraceID() == fetch.SpanContext.TraceID() && s.StartTime.Before(fetch.EndTime) {
					t.Error("the upstream's span holds the wait for the secret")
				}
			}
			if fetches["sallyport.credential=wiki/1,sallyport.outcome=ok"] != 1 {
				t.Errorf("%v: one of two was from memory", fetches)
			}
		})
	}
}

// TestSignedRequestsSayTheirTrace, which is in them before they are signed; SigV4 signs other fields.
func TestSignedRequestsSayTheirTrace(t *testing.T) {
	o, got := newTold(t, 1), make(chan http.Header, 1)
	r, call := serving(t, replying("application/json", `{"jsonrpc":"2.0","id":"a-1","result":{}}`, got), o.into(func(c *Config) {
		s := c.Servers["wiki"]
		s.AllowPlaintext = true
		s.Credentials = []Credential{{SigV4: &SigV4{Region: "eu-central-1", Service: "execute-api", AccessKey: secretFile(t, "id", "AKIDEXAMPLE")}, Secret: secretFile(t, "key", testKey)}}
		c.Servers["wiki"] = s
	}))
	_ = call(http.MethodPost, callSearch, within(parentSampled))
	sent := <-got
	client := o.recorded(t, r).of(trace.SpanKindClient)
	if sent.Get("Traceparent") != telemetry.Traceparent(client.SpanContext) || !strings.HasPrefix(sent.Get("Authorization"), "AWS4-HMAC-SHA256 ") {
		t.Errorf("sent %v, of %v", sent, client.SpanContext)
	}
}

// TestNobodyHearsOfATraceThatNobodyRecords: an upstream that samples by its own lights goes on to.
func TestNobodyHearsOfATraceThatNobodyRecords(t *testing.T) {
	for parent, want := range map[string]string{parentUnsampled: "", parentSampled: parentSampled, "": ""} {
		got := make(chan http.Header, 1)
		_, call := serving(t, replying("application/json", `{"jsonrpc":"2.0","id":"a-1","result":{}}`, got), nil)
		header := within(parent)
		if parent == "" {
			header = nil
		}
		_ = call(http.MethodPost, callSearch, header)
		if sent := (<-got).Get("Traceparent"); sent != want {
			t.Errorf("of %q the upstream hears %q", parent, sent)
		}
	}
}

// TestReflectionsAreTold: in the span that they happened in, and by server.
func TestReflectionsAreTold(t *testing.T) {
	o := newTold(t, 1)
	r, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":"a-1","result":{"echo":%q}}`, r.Header.Get("Authorization"))
	}), o.into(withKey(t)))
	if a := call(http.MethodPost, callSearch, nil); strings.Contains(a.body, testKey) {
		t.Error("the secret came back")
	}
	tr := o.recorded(t, r)
	tr.has(tr.of(trace.SpanKindServer), map[attribute.Key]string{telemetry.AttrMasked: "1"})
	tr.has(tr.of(trace.SpanKindClient), map[attribute.Key]string{telemetry.AttrMasked: "1"})
	if hits := series(o.last["sallyport.scrub.hits"]); hits["sallyport.server=wiki"] != 1 {
		t.Errorf("%v", hits)
	}
}

// TestSpansOfADatabase are named after it, and say neither its user nor a statement.
func TestSpansOfADatabase(t *testing.T) {
	o := newTold(t, 1)
	r, call := serving(t, nil, o.into(func(c *Config) {
		c.Servers["wiki"] = Server{SQLite: &SQLite{Memory: "CREATE TABLE pages (title TEXT); INSERT INTO pages VALUES ('private')"}}
	}))
	a := call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"query","arguments":{"sql":"SELECT title AS private FROM pages"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"t","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}`,
		http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"query"}, "Accept": {"application/json, text/event-stream"}, "Traceparent": {parentSampled}})
	if a.StatusCode != http.StatusOK || !strings.Contains(a.body, "private") {
		t.Fatal(a.StatusCode, a.body)
	}
	tr := o.recorded(t, r)
	server, client := tr.of(trace.SpanKindServer), tr.of(trace.SpanKindClient)
	tr.below(client, server)
	tr.has(client, map[attribute.Key]string{telemetry.AttrDBSystem: "sqlite", telemetry.AttrTool: "query", telemetry.AttrHTTPStatus: "", telemetry.AttrServerAddress: "", telemetry.AttrNetTransport: ""})
	if client.Name != "sqlite" || server.Name != "tools/call query" {
		t.Errorf("%s, %s", client.Name, server.Name)
	}
}

// TestSites: what is said of where an upstream is has neither user nor parameters.
func TestSites(t *testing.T) {
	for dsn, want := range map[string]site{
		"postgres://private:private@db.internal/shop?sslmode=verify-ca": {"db.internal", 5432, "postgresql", "shop", "tcp"},
		"postgres://db.internal:6432/":                                  {"db.internal", 6432, "postgresql", "", "tcp"},
		"postgres://u@localhost/shop?socket=/run/private.sock":          {"localhost", 0, "postgresql", "shop", "unix"},
	} {
		if got := siteOfDSN(dsn, "postgresql", 5432); got != want {
			t.Errorf("%s: %+v", dsn, got)
		}
	}
	if got := siteOfDSN("postgres://%zz", "postgresql", 5432); got != (site{system: "postgresql"}) {
		t.Errorf("%+v", got)
	}
}

// reader is a command that writes down what it is told, and answers each request.
const reader = `while IFS= read -r line; do printf '%s\n' "$line" >> "$OUT"; id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
[ -n "$id" ] && printf '{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"},"tools":[],"content":[]}}\n' "$id"; done`

// TestSpansOfACommand: its requests say of which trace they are part only where that is configured; its processes are counted.
func TestSpansOfACommand(t *testing.T) {
	for _, meta := range []bool{false, true} {
		t.Run(fmt.Sprint(meta), func(t *testing.T) {
			o, out := newTold(t, 1), filepath.Join(t.TempDir(), "heard")
			r, call := serving(t, nil, o.into(func(c *Config) {
				c.Servers["wiki"] = Server{Command: []string{"sh", "-c", reader}, Env: map[string]Variable{"OUT": {Text: out}}, Isolation: cell.None, TraceMeta: meta}
			}))
			first := call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`, nil)
			session := first.Header.Get(headerMCPSession)
			if session == "" {
				t.Fatalf("%d %s\n%s", first.StatusCode, first.body, r.log)
			}
			header := within(parentSampled)
			header[headerMCPSession] = []string{session}
			const asked = `{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"search","arguments":{"n":1.0},"_meta":{"traceparent":"mine"}}}`
			if a := call(http.MethodPost, asked, header); a.StatusCode != http.StatusOK {
				t.Fatal(a.StatusCode, a.body)
			}
			header.Del("Traceparent")
			if a := call(http.MethodDelete, "", header); a.StatusCode != http.StatusNoContent {
				t.Error(a.StatusCode)
			}
			tr := o.recorded(t, r)
			heard, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			var line string
			for _, one := range strings.Split(string(heard), "\n") {
				if strings.Contains(one, `"tools/call"`) {
					line = one
				}
			}
			for _, s := range tr.all {
				if s.SpanKind != trace.SpanKindClient || s.Name != "tools/call search" {
					continue
				}
				tr.has(s, map[attribute.Key]string{telemetry.AttrNetTransport: "pipe", telemetry.AttrMCPSession: telemetry.SessionID(session), telemetry.AttrHTTPStatus: ""})
				want := strings.Replace(asked, `"id":77`, `"id":2`, 1)
				if meta {
					want = strings.Replace(want, `"traceparent":"mine"`, `"tracestate":"v=1","traceparent":"`+telemetry.Traceparent(s.SpanContext)+`"`, 1)
				}
				if line != want {
					t.Errorf("the command heard\n%s, want\n%s", line, want)
				}
			}
			all := o.last
			starts, ends := series(all["sallyport.process.starts"])["sallyport.server=wiki"], series(all["sallyport.process.ends"])
			if starts < 1 || ends["sallyport.reason=session,sallyport.server=wiki"] < 1 || series(all["sallyport.processes"])["sallyport.server=wiki"] != 0 {
				t.Errorf("%d starts, ends %v", starts, ends)
			}
			if sessions := series(all["mcp.client.session.duration"]); len(sessions) != 1 {
				t.Errorf("sessions: %v", sessions)
			}
			tr.has(tr.named(phaseStart), nil)
		})
	}
}

// TestTraceMetaIsForCommands.
func TestTraceMetaIsForCommands(t *testing.T) {
	for _, s := range []Server{{URL: nowhere, TraceMeta: true}, {SQLite: &SQLite{Memory: "SELECT 1"}, TraceMeta: true}} {
		cfg := testConfig(t, nowhere)
		cfg.Servers = map[string]Server{"wiki": s}
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "trace_meta") {
			t.Errorf("%v", err)
		}
	}
}

// TestApprovalsAreSpans: the human's time is no policy's.
func TestApprovalsAreSpans(t *testing.T) {
	rules, err := policy.New([]policy.Rule{{Name: "ask", Servers: []string{"wiki"}, Allow: true, Approve: &policy.Approve{Timeout: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	o := newTold(t, 1)
	r, call := serving(t, replying("application/json", `{"jsonrpc":"2.0","id":"a-1","result":{}}`, nil), o.into(func(c *Config) { c.Policy = rules }))
	go func() {
		for len(r.approvals.list()) == 0 {
			<-time.After(5 * time.Millisecond)
		}
		<-time.After(20 * time.Millisecond)
		_, _ = r.approvals.answer(r.approvals.list()[0].ID, true, "operator")
	}()
	if a := call(http.MethodPost, callSearch, nil); a.StatusCode != http.StatusOK {
		t.Fatal(a.StatusCode, a.body)
	}
	tr := o.recorded(t, r)
	server, approval := tr.of(trace.SpanKindServer), tr.named(phaseApproval)
	tr.below(approval, server)
	tr.has(server, map[attribute.Key]string{telemetry.AttrRule: "ask", telemetry.AttrDecision: "allow", telemetry.AttrApproval: "*", telemetry.AttrPolicy: "*"})
	if approval.EndTime.Sub(approval.StartTime) < 20*time.Millisecond {
		t.Error("it was shorter than the human took")
	}
}

// TestSpansOfStrangersCalls: before anything is known of them nothing they say is believed.
func TestSpansOfStrangersCalls(t *testing.T) {
	o := newTold(t, 0)
	r, call := serving(t, replying("application/json", "{}", nil), o.into())
	_ = call(http.MethodPost, callSearch, http.Header{mcp.HeaderAssertion: nil, "Traceparent": {"00-1-2-3"}})
	tr := o.recorded(t, r)
	server := tr.of(trace.SpanKindServer)
	tr.has(server, map[attribute.Key]string{telemetry.AttrErrorType: "*", telemetry.AttrMCPMethod: "", telemetry.AttrPrincipal: "", telemetry.AttrRule: ""})
	if server.Parent.IsValid() || server.Name != "POST /t/{tunnel}/{server}/mcp" {
		t.Errorf("%s below %v", server.Name, server.Parent)
	}
}

// TestCredentialsComeLast: the context of the trace stands beside them.
func TestCredentialsComeLast(t *testing.T) {
	o, got := newTold(t, 1), make(chan http.Header, 1)
	_, call := serving(t, replying("application/json", `{"jsonrpc":"2.0","id":"a-1","result":{}}`, got), o.into(withKey(t), func(c *Config) {
		c.Servers["wiki"].Credentials[0].Header = &inject.Header{Name: "X-Key", Template: "{secret}"}
	}))
	_ = call(http.MethodPost, callSearch, within(parentSampled))
	if sent := <-got; sent.Get("X-Key") != testKey || len(sent["Traceparent"]) != 1 {
		t.Errorf("sent %v", sent)
	}
}

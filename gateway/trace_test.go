package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/telemetry"
	"sallyport.dev/telemetry/telemetrytest"
	"sallyport.dev/tunnel"
)

// told is what a gateway of a test tells of itself.
type told struct {
	*telemetry.Telemetry
	spans  *telemetrytest.Spans
	reader *sdkmetric.ManualReader
}

func newTold(t *testing.T, sample float64) *told {
	t.Helper()
	o := &told{spans: new(telemetrytest.Spans)}
	var err error
	o.Telemetry, err = telemetry.Setup(t.Context(), telemetry.Config{Traces: telemetry.Traces{Sample: &sample}}, telemetry.Options{Scraped: true, Role: "gateway", SpanClient: o.spans, MetricReader: o.read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Shutdown)
	return o
}

// read makes the reader.
func (o *told) read(from sdkmetric.Producer) sdkmetric.Reader {
	o.reader = sdkmetric.NewManualReader(sdkmetric.WithProducer(from))
	return o.reader
}

func (o *told) into(cfg *Config) {
	cfg.Tracer, cfg.Meter, cfg.Metrics = o.Tracer, o.Meter, o.Telemetry.Metrics()
}

// recorded ends the telemetry and returns the spans.
func (o *told) recorded() tracetest.SpanStubs {
	o.Shutdown()
	return o.spans.All()
}

// one returns the only SERVER span.
func (o *told) one(t *testing.T) tracetest.SpanStub {
	t.Helper()
	all := o.recorded()
	all = slices.DeleteFunc(all, func(s tracetest.SpanStub) bool { return s.SpanKind != trace.SpanKindServer })
	if len(all) != 1 {
		t.Fatalf("%d spans of a server: %v", len(all), all)
	}
	return all[0]
}

func attr(s tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// answeringJSON is a connector that answers each call with a body, and hands on the header that it got.
func answeringJSON(body string, got chan<- http.Header) func(net.Conn) {
	return func(conn net.Conn) {
		r, _, err := readRequest(conn)
		if err != nil {
			return
		}
		if got != nil {
			got <- r.Header
		}
		writeJSON(conn, body)
	}
}

func writeJSON(conn net.Conn, body string) {
	_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
}

const (
	agentParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	otherParent = "00-11111111111111111111111111111111-2222222222222222-01"
)

// TestSpanOfACall: its name, kind, ids and attributes, and the context that goes down the tunnel.
func TestSpanOfACall(t *testing.T) {
	o := newTold(t, 1)
	g, _ := newGateway(t, o.into)
	got := make(chan http.Header, 1)
	attachFake(t, g, "one", answeringJSON(`{"jsonrpc":"2.0","id":"a-1","result":{"content":[]}}`, got), "wiki")
	w := call(t, g, "wiki", `{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"search","arguments":{"q":"private words"}}}`)
	if w.Code != http.StatusOK {
		t.Fatal(w.Code, w.Body)
	}
	s := o.one(t)
	if s.Name != "tools/call search" || s.Parent.IsValid() || s.Status.Code != codes.Unset || len(s.Links) != 0 {
		t.Errorf("%+v", s)
	}
	if sent := (<-got).Get("Traceparent"); sent != telemetry.Traceparent(s.SpanContext) {
		t.Errorf("%s went down the tunnel, of %v", sent, s.SpanContext)
	}
	for key, want := range map[attribute.Key]string{
		telemetry.AttrMCPMethod: "tools/call", telemetry.AttrTool: "search", telemetry.AttrOperation: "execute_tool", telemetry.AttrJSONRPCID: "a-1", telemetry.AttrTunnel: testTunnel,
		telemetry.AttrServer: "wiki", telemetry.AttrPrincipal: testPublicURL + "|all", telemetry.AttrInstance: "one", telemetry.AttrTransport: "pipe", telemetry.AttrOutcome: "upstream",
		telemetry.AttrDelivered: "yes", telemetry.AttrHTTPStatus: "200", telemetry.AttrErrorType: "", telemetry.AttrAttempts: "", telemetry.AttrClientAddress: "192.0.2.1", telemetry.AttrNetTransport: "tcp",
	} {
		if have := attr(s, key); have != want {
			t.Errorf("%s is %q, want %q", key, have, want)
		}
	}
	for _, key := range []attribute.Key{telemetry.AttrAuthenticate, telemetry.AttrQueue, telemetry.AttrOpen, telemetry.AttrFirstByte, telemetry.AttrStream, telemetry.AttrRequestID, telemetry.AttrSession} {
		if attr(s, key) == "" {
			t.Errorf("%s is not there", key)
		}
	}
	if text, _ := json.Marshal(s); strings.Contains(string(text), "private words") || strings.Contains(string(text), testAgentToken) {
		t.Error("an argument or a token is in the span")
	}
}

// TestAgentsTraceContext counts for those who are trusted with it, and is a link otherwise. What is in the message counts first.
func TestAgentsTraceContext(t *testing.T) {
	meta := func(parent string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"traceparent":"` + parent + `","tracestate":"a=1","baggage":"secret=1"}}}`
	}
	parse := func(text string) trace.SpanContext {
		sc, _ := telemetry.Parse(text, "")
		return sc
	}
	for _, c := range []struct {
		name         string
		trusted      bool
		header, body string
		parent       string
		links        []string
		state        string
	}{
		{name: "nothing", body: listTools},
		{name: "a stranger's header", header: agentParent, body: listTools, links: []string{agentParent}},
		{name: "a stranger's message", body: meta(agentParent), links: []string{agentParent}},
		{name: "a stranger's both", header: otherParent, body: meta(agentParent), links: []string{agentParent, otherParent}},
		{name: "a trusted header", trusted: true, header: agentParent, body: listTools, parent: agentParent},
		{name: "a trusted message", trusted: true, body: meta(agentParent), parent: agentParent, state: "a=1"},
		{name: "a trusted both", trusted: true, header: otherParent, body: meta(agentParent), parent: agentParent, links: []string{otherParent}, state: "a=1"},
		{name: "a trusted both, the same", trusted: true, header: agentParent, body: meta(agentParent), parent: agentParent, state: "a=1"},
		{name: "a trusted nonsense", trusted: true, header: "00-1-2-3", body: meta("x")},
		{name: "a trusted nonsense beside a header", trusted: true, header: agentParent, body: meta("x"), parent: agentParent},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newTold(t, 0) // so that only a trusted parent's decision has it sampled
			if !c.trusted {
				o = newTold(t, 1)
			}
			g, _ := newGateway(t, func(cfg *Config) {
				o.into(cfg)
				cfg.Agents.Tokens[0].TrustTrace = c.trusted
			})
			got := make(chan http.Header, 1)
			attachFake(t, g, "one", answeringJSON(`{"jsonrpc":"2.0","id":1,"result":{}}`, got), "wiki")
			r := post(testAgentToken, "wiki", c.body)
			if c.header != "" {
				r.Header["Traceparent"] = []string{c.header}
			}
			r.Header["Baggage"] = []string{"secret=1"}
			if w := serve(g, r); w.Code != http.StatusOK {
				t.Fatal(w.Code, w.Body)
			}
			sent := <-got
			if len(sent["Baggage"]) > 0 || len(sent["Traceparent"]) != 1 || sent.Get("Tracestate") != c.state {
				t.Errorf("sent: %v", sent)
			}
			if c.trusted && c.parent == "" {
				if all := o.recorded(); len(all) != 0 || !strings.HasSuffix(sent.Get("Traceparent"), "-00") {
					t.Errorf("recorded: %v, sent %v", all, sent)
				}
				return
			}
			s := o.one(t)
			if sent.Get("Traceparent") != telemetry.Traceparent(s.SpanContext) {
				t.Errorf("sent %s, recorded %v", sent.Get("Traceparent"), s.SpanContext)
			}
			if c.parent == "" && s.Parent.IsValid() || c.parent != "" && (s.Parent.SpanID() != parse(c.parent).SpanID() || s.SpanContext.TraceID() != parse(c.parent).TraceID()) {
				t.Errorf("its parent is %v, want %q", s.Parent, c.parent)
			}
			var links []string
			for _, l := range s.Links {
				links = append(links, telemetry.Traceparent(l.SpanContext))
			}
			if !slices.Equal(links, c.links) {
				t.Errorf("links %v, want %v", links, c.links)
			}
		})
	}
}

// TestFailedCallsAreRecorded although none is sampled, with what failed them.
func TestFailedCallsAreRecorded(t *testing.T) {
	for _, c := range []struct {
		name, token, body, answer string
		failure, reason           string
	}{
		{"a success", testAgentToken, listTools, `{"jsonrpc":"2.0","id":1,"result":{}}`, "", ""},
		{"no token", "", listTools, "", "-32000", "unauthenticated"},
		{"no JSON", testAgentToken, `{`, "", "-32700", "parse_error"},
		{"no connector", testAgentToken, listTools, "", "-32010", "connector_offline"},
		{"an error of the server", testAgentToken, listTools, `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"private words"}}`, "-32602", "the server has answered with an error"},
		{"a failed tool", testAgentToken, listTools, `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"private words"}],"isError":true}}`, "tool_error", "the server has answered with an error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := newTold(t, 0)
			g, _ := newGateway(t, o.into)
			if c.answer != "" {
				attachFake(t, g, "one", answeringJSON(c.answer, nil), "wiki")
			}
			r := post(c.token, "wiki", c.body)
			if c.token == "" {
				r.Header.Del("Authorization")
			}
			_ = serve(g, r)
			if c.failure == "" {
				if all := o.recorded(); len(all) != 0 {
					t.Errorf("%v", all)
				}
				return
			}
			s := o.one(t)
			if attr(s, telemetry.AttrErrorType) != c.failure || s.Status.Code != codes.Error || s.Status.Description != c.reason {
				t.Errorf("error.type %q, status %+v", attr(s, telemetry.AttrErrorType), s.Status)
			}
			if text, _ := json.Marshal(s); strings.Contains(string(text), "private words") {
				t.Error("an answer is in the span")
			}
		})
	}
}

// TestStrangersLeaveRoom: whoever has no token is recorded so often, and not as often as he likes; callers are.
func TestStrangersLeaveRoom(t *testing.T) {
	o := newTold(t, 1)
	g, _ := newGateway(t, o.into)
	for range 3 * strangersBurst {
		r := post("", "wiki", listTools)
		r.Header.Del("Authorization")
		_ = serve(g, r)
		_ = serve(g, post(testAgentToken, "wiki", `{`))
	}
	strangers, callers := 0, 0
	for _, s := range o.recorded() {
		if attr(s, telemetry.AttrPrincipal) == "" {
			strangers++
		} else {
			callers++
		}
	}
	if strangers < strangersBurst || strangers > 2*strangersBurst || callers != 3*strangersBurst {
		t.Errorf("%d spans of strangers and %d of callers", strangers, callers)
	}
}

// TestSpanOfARepeatedCall: the times are those of the attempt that counts.
func TestSpanOfARepeatedCall(t *testing.T) {
	o := newTold(t, 1)
	g, _ := newGateway(t, o.into)
	refuses := func(conn net.Conn) {
		_, _, _ = readRequest(conn)
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nSallyport-Outcome: refused\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	attachFake(t, g, "refuses", refuses, "wiki")
	attachFake(t, g, "answers", answeringJSON(`{"jsonrpc":"2.0","id":1,"result":{}}`, nil), "wiki")
	for range 4 { // the two take turns
		if w := call(t, g, "wiki", listTools); w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body)
		}
	}
	repeated := 0
	for _, s := range o.recorded() {
		if attr(s, telemetry.AttrAttempts) == "2" {
			repeated++
			if attr(s, telemetry.AttrRetryOf) != "refuses" || attr(s, telemetry.AttrInstance) != "answers" {
				t.Errorf("%v", s.Attributes)
			}
		}
		for _, a := range s.Attributes {
			if a.Value.Type() == attribute.FLOAT64 && a.Value.AsFloat64() < 0 {
				t.Errorf("%s is %v", a.Key, a.Value.AsFloat64())
			}
		}
	}
	if repeated == 0 {
		t.Error("no call was repeated")
	}
}

// TestRefusedInTheCallersTrace: a trusted caller finds a call that was refused where it belongs.
func TestRefusedInTheCallersTrace(t *testing.T) {
	o := newTold(t, 0)
	g, _ := newGateway(t, func(cfg *Config) {
		o.into(cfg)
		cfg.Agents.Tokens[0].TrustTrace = true
	})
	r := post(testAgentToken, "wiki", `{"jsonrpc":"2.0","id":1,"method":5}`)
	r.Header["Traceparent"] = []string{agentParent}
	_ = serve(g, r)
	if s := o.one(t); telemetry.Traceparent(s.Parent) != agentParent || s.Status.Code != codes.Error {
		t.Errorf("%+v", s)
	}
}

// TestNoTracerDecidesNothing: a gateway that does not trace sends no context, but for one that a trusted caller has sent.
func TestNoTracerDecidesNothing(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		g, _ := newGateway(t, func(cfg *Config) { cfg.Agents.Tokens[0].TrustTrace = trusted })
		got := make(chan http.Header, 1)
		attachFake(t, g, "one", answeringJSON(`{"jsonrpc":"2.0","id":1,"result":{}}`, got), "wiki")
		r := post(testAgentToken, "wiki", listTools)
		r.Header["Traceparent"] = []string{agentParent}
		_ = serve(g, r)
		if sent := (<-got).Get("Traceparent"); sent != map[bool]string{true: agentParent}[trusted] {
			t.Errorf("trusted %v: sent %q", trusted, sent)
		}
	}
}

// TestUnknownReasons: a connector that ends its sessions for reasons of its own makes one series.
func TestUnknownReasons(t *testing.T) {
	o := newTold(t, 0)
	g, _ := newGateway(t, o.into)
	for i := range 5 {
		c := attachFake(t, g, "one", answeringJSON(`{}`, nil), "wiki")
		c.CloseWith(tunnel.Reason{Code: tunnel.Code(30000 + i)})
		<-c.ended
	}
	ended, _ := o.collect(t)["sallyport.tunnel.sessions.ended"].(metricdata.Sum[int64])
	if len(ended.DataPoints) != 1 || ended.DataPoints[0].Value != 5 {
		t.Errorf("%+v", ended.DataPoints)
	}
}

// TestSessionIDWithoutAMessage: an upstream may name a session where nobody has begun one.
func TestSessionIDWithoutAMessage(t *testing.T) {
	o := newTold(t, 1)
	g, log := newGateway(t, o.into)
	attachFake(t, g, "one", func(conn net.Conn) {
		_, _, _ = readRequest(conn)
		_, _ = io.WriteString(conn, "HTTP/1.1 405 Method Not Allowed\r\nMcp-Session-Id: abc\r\nContent-Length: 0\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}, "wiki")
	r := post(testAgentToken, "wiki", "")
	r.Method, r.Body, r.ContentLength = http.MethodGet, http.NoBody, 0
	r.Header.Del("Content-Type")
	r.Header.Set("Accept", "text/event-stream")
	if w := play(g, r); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("%d", w.Code)
	}
	if s := o.one(t); s.Name != "GET /t/{tunnel}/{server}/mcp" || strings.Contains(log.String(), "could not be told of") {
		t.Errorf("%s, %s", s.Name, log)
	}
}

// TestOutcomesThatAreNone: what a connector says of a call is one of a few words, however long it is.
func TestOutcomesThatAreNone(t *testing.T) {
	o := newTold(t, 1)
	g, log := newGateway(t, o.into)
	attachFake(t, g, "one", func(conn net.Conn) {
		_, _, _ = readRequest(conn)
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 502 Bad Gateway\r\nSallyport-Outcome: %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", strings.Repeat("x", 60_000))
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}, "wiki")
	if w := call(t, g, "wiki", listTools); w.Code != http.StatusBadGateway {
		t.Errorf("%d", w.Code)
	}
	if s := o.one(t); attr(s, telemetry.AttrOutcome) != "connector_unknown" || attr(s, telemetry.AttrDelivered) != "unknown" || strings.Contains(log.String(), "xxx") {
		t.Errorf("%v, %.1000s", s.Attributes, log)
	}
}

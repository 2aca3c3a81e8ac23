package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

// serve starts an upstream.
func serve(t testing.TB, upstream http.Handler) (url string) {
	t.Helper()
	server := httptest.NewServer(upstream)
	t.Cleanup(server.Close)
	return server.URL
}

// TestMetrics of one call that succeeds and one that is refused, of the session that carried them, and of nothing that is under way once
// the connector has ended.
func TestMetrics(t *testing.T) {
	o := newTold(t, 1)
	r, call := serving(t, replying("application/json", `{"jsonrpc":"2.0","id":"a-1","result":{}}`, nil), o.into(withKey(t)))
	_ = call(http.MethodPost, callSearch, within(parentSampled))
	_ = call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}`, nil)
	live := o.measured(t)
	if sessions := series(live["sallyport.tunnel.sessions"]); sessions["sallyport.transport=pipe"] != 1 || len(sessions) != 3 {
		t.Errorf("sessions: %v", sessions)
	}
	if _, ok := series(live["sallyport.credential.age"])["sallyport.credential=wiki/1"]; !ok {
		t.Errorf("ages: %v", live["sallyport.credential.age"])
	}
	r.over(t)
	all := o.measured(t)
	const about = "gen_ai.operation.name=execute_tool,gen_ai.tool.name=search,mcp.method.name=tools/call,mcp.protocol.version=2025-11-25,"
	for name, want := range map[string]map[string]int64{
		"mcp.server.operation.duration":       {about + "sallyport.server=wiki,sallyport.transport=pipe": 1},
		"mcp.client.operation.duration":       {about + "network.transport=tcp,sallyport.server=wiki": 1},
		"sallyport.refusals":                  {"sallyport.reason=parse_error,sallyport.server=wiki": 1},
		"sallyport.calls.in_flight":           {"": 0},
		"sallyport.tunnel.sessions.ended":     {"sallyport.reason=ok,sallyport.transport=pipe": 1},
		"sallyport.credential.fetches":        {"sallyport.credential=wiki/1,sallyport.outcome=ok": 1},
		"sallyport.credential.fetch.duration": {"sallyport.credential=wiki/1": 1},
		"sallyport.approvals.waiting":         {"": 0},
	} {
		if got := series(all[name]); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	io := series(all["sallyport.tunnel.io"])
	for _, way := range []string{"receive", "transmit"} {
		if io["network.io.direction="+way+",sallyport.transport=pipe"] < 100 {
			t.Errorf("io: %v", io)
		}
	}
	if exemplars := all["mcp.server.operation.duration"].(metricdata.Histogram[float64]).DataPoints[0].Exemplars; len(exemplars) != 1 || fmt.Sprintf("%x", exemplars[0].TraceID) != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("exemplars: %v", exemplars)
	}
}

// TestHostileNamesMakeNoSeries: ten thousand tools, and as many methods, revisions, errors and servers.
func TestHostileNamesMakeNoSeries(t *testing.T) {
	const many = 10000
	o := newTold(t, 0)
	var turn atomic.Int64
	g := newFakeGateway(t)
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(string(body), "good") {
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"result":{}}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"no"}}`, turn.Add(1))
	}))
	r := run(t, g, url, o.into())
	s := g.next(t)
	ask := func(body string, header http.Header) { _ = g.call(t, s, r.Instance(), http.MethodPost, body, header) }
	for i := range 300 {
		ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bad%d"}}`, i), nil)
		ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"good%d"}}`, i), nil)
		ask(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"x/y%d"}`, i), http.Header{"Mcp-Protocol-Version": {fmt.Sprintf("20%02d-11-25", i%100)}})
	}
	// The rest without a tunnel: what is measured is the same.
	m := r.metrics
	u := r.current().servers["wiki"]
	for i := range many {
		n := &note{server: "wiki", upstream: u, verb: http.MethodPost, call: callOf(t, "mcp", "2025-11-25", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool%d"}}`, i)), outcome: outcomeUpstream}
		if i%2 == 0 {
			n.answeredBy(&http.Response{StatusCode: http.StatusOK, Header: http.Header{}})
		}
		for _, n.failure = range []string{"", fmt.Sprint(i)} {
			m.began()
			m.over()
			m.record(n)
		}
	}
	r.over(t)
	all := o.measured(t)
	for _, name := range []string{"mcp.server.operation.duration", "mcp.client.operation.duration", "sallyport.refusals", "sallyport.policy.decisions"} {
		if got := len(series(all[name])); got > 1000 {
			t.Errorf("%s: %d series", name, got)
		}
	}
	tools := make(map[string]bool)
	for _, p := range all["mcp.server.operation.duration"].(metricdata.Histogram[float64]).DataPoints {
		if v, ok := p.Attributes.Value(telemetry.AttrTool); ok {
			tools[v.AsString()] = true
		}
		if v, _ := p.Attributes.Value(attribute.Key("otel.metric.overflow")); v.AsBool() {
			t.Error("the SDK's own bound was needed")
		}
	}
	if len(tools) != 65 || !tools[telemetry.Other] || tools["bad1"] {
		t.Errorf("%d tools are labels", len(tools))
	}
}

// TestWhyNotAttached: words that an operator can act on, none of them a gateway's.
func TestWhyNotAttached(t *testing.T) {
	o := newTold(t, 0)
	c, _ := newConnector(t, newFakeGateway(t), nowhere, o.into())
	defer c.Close()
	for _, err := range []error{
		fmt.Errorf("attach: %w: %q", errRefused, "words"), errCrowded, errDraining, tunnel.ErrVersion, errors.New("dial"), context.DeadlineExceeded,
		&tunnel.CloseError{Code: tunnel.CodeOverload, Remote: true}, &tunnel.CloseError{Code: 4711, Remote: true},
	} {
		c.metrics.notAttached(err)
	}
	got := series(o.measured(t)["sallyport.attach.failures"])
	want := map[string]int64{"refused": 1, "crowded": 1, "draining": 1, "version": 1, "unreachable": 2, "overload": 1, telemetry.Other: 1}
	for reason, n := range want {
		if got["sallyport.reason="+reason] != n {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
}

// TestControlShowsMetrics in Prometheus' format, and says why there are none.
func TestControlShowsMetrics(t *testing.T) {
	o := newTold(t, 0)
	c, _ := newConnector(t, newFakeGateway(t), nowhere, o.into())
	defer c.Close()
	w := httptest.NewRecorder()
	c.serveMetrics(w, httptest.NewRequest(http.MethodGet, "/v1/metrics", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "sallyport_build_info{") || !strings.Contains(w.Body.String(), "sallyport_tunnel_sessions{") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	silent, _ := newConnector(t, newFakeGateway(t), nowhere, nil)
	defer silent.Close()
	w = httptest.NewRecorder()
	silent.serveMetrics(w, httptest.NewRequest(http.MethodGet, "/v1/metrics", nil))
	if w.Code != http.StatusNotFound || !strings.HasPrefix(w.Body.String(), "connector: ") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestReloadOfTelemetry waits for a restart, but for the level of the log.
func TestReloadOfTelemetry(t *testing.T) {
	sample := 0.5
	for _, test := range []struct {
		change func(*Config)
		waits  bool
	}{
		{func(c *Config) { c.Telemetry.Logs.Level = "debug" }, false},
		{func(c *Config) { c.Telemetry.Logs.Format = "json" }, true},
		{func(c *Config) { c.Telemetry.Traces.Sample = &sample }, true},
		{func(c *Config) { c.Telemetry.OTLP.Endpoint = "http://127.0.0.1:4318" }, true},
	} {
		old, cfg := testConfig(t, nowhere), testConfig(t, nowhere)
		cfg.TunnelToken = old.TunnelToken
		test.change(&cfg)
		if keys := changedForGood(&old, &cfg); (fmt.Sprint(keys) == "[telemetry]") != test.waits || len(keys) > 1 {
			t.Errorf("%v wait, want %v", keys, test.waits)
		}
	}
}

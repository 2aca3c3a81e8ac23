package e2e_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"

	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
	"sallyport.dev/test/backends"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// judge is an MCP server whose tools answer as they are named: ok, fails (a tool error), unknown (a JSON-RPC error).
func judge(t *testing.T) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		w.Header().Set("Content-Type", "application/json")
		answer := `"error":{"code":-32602,"message":"unknown tool"}`
		switch {
		case strings.Contains(string(body), `"name":"ok"`):
			answer = `"result":{"content":[]}`
		case strings.Contains(string(body), `"name":"fails"`):
			answer = `"result":{"content":[],"isError":true}`
		}
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,%s}`, bigID, answer)
	}).URL
}

// healthPort has a gateway answer /metrics on a port of its own.
func healthPort(t *testing.T) (addr string, with func(*gateway.Config)) {
	t.Helper()
	tcp, udp := stack.Port(t)
	addr = tcp.Addr().String()
	_, _ = tcp.Close(), udp.Close()
	return addr, func(c *gateway.Config) { c.Health.Listen = addr }
}

// shown is a role's metrics as Prometheus gets them.
func shown(t *testing.T, role *telemetry.Telemetry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	role.Metrics().ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("/metrics: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// total sums what a Prometheus has of an expression.
func total(samples []backends.Sample) (sum float64) {
	for _, s := range samples {
		sum += s.Value
	}
	return sum
}

// What Prometheus and a collector have is what was called: counts, buckets, refusals, decisions, with the traces of some as exemplars.
func TestMetrics(t *testing.T) {
	t.Parallel()
	receiver := backends.StartReceiver(t)
	rules, err := policy.New([]policy.Rule{{Name: "no-secrets", Servers: []string{"desk"}, When: `mcp.tool == "secret"`}, {Name: "rest", Servers: []string{"*"}, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	quiet, withQuiet := healthPort(t)
	named, withNamed := healthPort(t)
	cfg := collector(receiver.URL)
	options := stack.Options{Servers: one("desk", judge(t)), Policy: &rules, Gateway: withQuiet}
	s := observe(t, options, cfg)
	cfg.Metrics.Names = true
	options.Gateway = withNamed
	withNames := observe(t, options, collectorNamed(cfg, "named"))
	prometheus := backends.StartPrometheus(t, map[string]string{"quiet": quiet, "named": named})

	made := map[string]int{"ok": 7, "fails": 3, "unknown": 2, "secret": 4} // calls
	for _, to := range []*observed{s, withNames} {
		agent := to.Agent(t, true)
		for _, tool := range slices.Sorted(maps.Keys(made)) {
			for range made[tool] {
				want := map[string]int{"secret": http.StatusForbidden}[tool]
				if got := post(t, to.Stack, agent, "desk", toolCall(tool, `{}`)); got.status != max(want, http.StatusOK) {
					t.Fatalf("%s: %d %s", tool, got.status, got.body)
				}
			}
		}
		r, err := to.Post(t.Context(), "desk", toolCall("ok", `{}`)) // and one whose caller is not known
		if err != nil {
			t.Fatal(err)
		}
		if got := call(t, to.Client(t, true), r); got.status != http.StatusUnauthorized {
			t.Fatalf("%d", got.status)
		}
	}
	all := 0
	for _, n := range made {
		all += n
	}

	const count, bucket = "mcp_server_operation_duration_seconds_count", "mcp_server_operation_duration_seconds_bucket"
	within := 3 * patience
	prometheus.Await(t, within, fmt.Sprintf(`sum(%s{job="quiet",mcp_method_name="tools/call"})`, count), func(got []backends.Sample) bool { return total(got) == float64(all) })
	for _, job := range []string{"quiet", "named"} {
		for failure, n := range map[string]int{"": made["ok"], "tool_error": made["fails"], "-32602": made["unknown"], "-32003": made["secret"]} {
			expr := fmt.Sprintf(`%s{job=%q,mcp_method_name="tools/call",error_type=%q}`, count, job, failure)
			prometheus.Await(t, within, "sum("+expr+")", func(got []backends.Sample) bool { return total(got) == float64(n) })
		}
		got := prometheus.Await(t, within, fmt.Sprintf(`sum by (le) (%s{job=%q,mcp_method_name="tools/call"})`, bucket, job), func(got []backends.Sample) bool { return len(got) == len(telemetry.Buckets)+1 })
		last := 0.0
		slices.SortFunc(got, func(a, b backends.Sample) int { return int(math.Copysign(1, bound(t, a)-bound(t, b))) })
		for _, b := range got {
			if b.Value < last {
				t.Errorf("the bucket %s has %v after %v", b.Labels["le"], b.Value, last)
			}
			last = b.Value
		}
		if last != float64(all) {
			t.Errorf("the last bucket has %v of %d", last, all)
		}
		prometheus.Await(t, within, fmt.Sprintf(`sum(sallyport_tunnel_sessions{job=%q,sallyport_transport="quic"})`, job), func(got []backends.Sample) bool { return total(got) == 2 })
		prometheus.Await(t, within, fmt.Sprintf(`sum(sallyport_refusals_total{job=%q,sallyport_reason="unauthenticated"})`, job), func(got []backends.Sample) bool { return total(got) == 1 })
		prometheus.Await(t, within, fmt.Sprintf(`sum(sallyport_build_info{job=%q,sallyport_role="gateway"})`, job), func(got []backends.Sample) bool { return total(got) == 1 })
		prometheus.Await(t, within, fmt.Sprintf(`sum(sallyport_tunnel_io_bytes_total{job=%q})`, job), func(got []backends.Sample) bool { return total(got) > 1000 })
	}
	if got := prometheus.Await(t, within, fmt.Sprintf(`%s{job="named",error_type=""}`, count), func(got []backends.Sample) bool { return len(got) == 1 }); got[0].Labels["sallyport_tunnel"] != stack.Tunnel ||
		got[0].Labels["sallyport_server"] != "desk" || got[0].Labels["gen_ai_tool_name"] != "ok" {
		t.Errorf("with names: %v", got[0].Labels)
	}
	exemplars, err := prometheus.Exemplars(t.Context(), bucket+`{job="quiet"}`)
	if err != nil || len(exemplars) == 0 {
		t.Errorf("there are no exemplars: %v", err)
	}
	traces := make(map[string]bool)
	until(t, patience, "the spans are there", func() bool {
		for _, span := range receiver.Spans() {
			traces[fmt.Sprintf("%x", span.GetTraceId())] = true
		}
		return len(traces) >= 2*all
	})
	for _, e := range exemplars {
		if !traces[e.Labels["trace_id"]] {
			t.Errorf("an exemplar is of the trace %q, which nobody has recorded", e.Labels["trace_id"])
		}
	}

	// The connector's, and the gateway's once more, by OTLP.
	for service, name := range map[string]string{"sallyport-gateway": "mcp.server.operation.duration", "sallyport-connector": "mcp.server.operation.duration"} {
		until(t, patience, service+" has told the collector of all calls", func() bool {
			return measuredCalls(t, receiver.Metric(service, name), "tools/call") == uint64(all)
		})
	}
	asked := uint64(all - made["secret"])
	until(t, patience, "the connector has told of what it asked upstream", func() bool {
		return measuredCalls(t, receiver.Metric("sallyport-connector", "mcp.client.operation.duration"), "tools/call") == asked
	})
	decisions := map[string]int64{}
	for _, p := range receiver.Metric("sallyport-connector", "sallyport.policy.decisions").GetSum().GetDataPoints() {
		decisions[backends.Attribute(p.GetAttributes(), "sallyport.rule")+" "+backends.Attribute(p.GetAttributes(), "sallyport.decision")] += p.GetAsInt()
	}
	if decisions["no-secrets deny"] != int64(made["secret"]) || decisions["rest allow"] != int64(asked) {
		t.Errorf("the decisions are %v", decisions)
	}

	// Nobody's names are in what a gateway shows by default.
	text := shown(t, s.gateway)
	for _, name := range []string{stack.Tunnel, "desk", "tester", "secret", `"ok"`, stack.AgentToken, "127.0.0.1"} {
		if strings.Contains(text, name) {
			t.Errorf("the gateway's metrics name %q:\n%s", name, text)
		}
	}
	for _, name := range []string{"tester", stack.AgentToken} {
		if strings.Contains(shown(t, withNames.gateway)+shown(t, withNames.connector), name) {
			t.Errorf("the metrics name %q", name)
		}
	}
}

// collectorNamed is a configuration by another service name, so that a receiver does not take two gateways for one.
func collectorNamed(cfg telemetry.Config, service string) telemetry.Config {
	cfg.Service = service
	return cfg
}

// bound is the upper bound of a bucket.
func bound(t *testing.T, s backends.Sample) float64 {
	t.Helper()
	if s.Labels["le"] == "+Inf" {
		return math.Inf(1)
	}
	var f float64
	if _, err := fmt.Sscan(s.Labels["le"], &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// measuredCalls counts a histogram's calls of a method, and checks that its buckets have them all.
func measuredCalls(t *testing.T, m *metrics.Metric, method string) (calls uint64) {
	t.Helper()
	for _, p := range m.GetHistogram().GetDataPoints() {
		if backends.Attribute(p.GetAttributes(), "mcp.method.name") != method {
			continue
		}
		sum := uint64(0)
		for _, n := range p.GetBucketCounts() {
			sum += n
		}
		if sum != p.GetCount() || !slices.Equal(p.GetExplicitBounds(), telemetry.Buckets) {
			t.Errorf("%s: %d in buckets, %d in all, bounds %v", m.GetName(), sum, p.GetCount(), p.GetExplicitBounds())
		}
		calls += p.GetCount()
	}
	return calls
}

// series counts the lines of a role's metrics that are no comments, without those of Go's runtime.
func series(t *testing.T, role *telemetry.Telemetry) int {
	t.Helper()
	return len(regexp.MustCompile(`(?m)^(mcp|sallyport)_`).FindAllString(shown(t, role), -1))
}

// 10,000 names of tools that an agent makes up make no series: none where the server does not know them, and a bounded number where it
// takes all of them.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	const calls, lenient, crew = 10_000, 600, 8
	s := observe(t, stack.Options{Transport: tunnel.Memory, Servers: map[string]connector.Server{
		"strict": {URL: judge(t), AllowPlaintext: true}, "lenient": {URL: echoes(t), AllowPlaintext: true},
	}}, telemetry.Config{Metrics: telemetry.Metrics{Names: true}})
	agent := s.Agent(t, true)
	for _, tool := range []string{"ok", "fails", "unknown"} { // all kinds of outcomes, once
		post(t, s.Stack, agent, "strict", toolCall(tool, `{}`))
	}
	post(t, s.Stack, agent, "strict", `{"jsonrpc":"2.0","id":`+bigID+`,"method":"made/up"}`)
	before := map[string]int{"gateway": series(t, s.gateway), "connector": series(t, s.connector)}
	flood := func(ctx context.Context, server string, n int) {
		var wait sync.WaitGroup
		for c := range crew {
			wait.Go(func() {
				for i := range n / crew {
					body := toolCall(fmt.Sprintf("tool-%d-%d", c, i), `{}`)
					if i%10 == 0 {
						body = fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"method":"made/up/%d-%d"}`, bigID, c, i)
					}
					r, err := s.Post(ctx, server, body)
					if err == nil {
						_, err = whole(agent, r)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wait.Wait()
	}
	began := time.Now()
	flood(t.Context(), "strict", calls)
	for name, role := range map[string]*telemetry.Telemetry{"gateway": s.gateway, "connector": s.connector} {
		if n := series(t, role); n > before[name] {
			t.Errorf("the %s has %d series, after %d:\n%s", name, n, before[name], shown(t, role))
		}
		if text := shown(t, role); strings.Contains(text, "tool-") || strings.Contains(text, "made/up") {
			t.Errorf("a name that an agent has made up is in the %s's metrics", name)
		}
	}
	flood(t.Context(), "lenient", lenient)
	const most = 64 // names of tools of one server
	for name, role := range map[string]*telemetry.Telemetry{"gateway": s.gateway, "connector": s.connector} {
		names := regexp.MustCompile(`gen_ai_tool_name="(tool-[^"]*)"`).FindAllStringSubmatch(shown(t, role), -1)
		distinct := make(map[string]bool)
		for _, n := range names {
			distinct[n[1]] = true
		}
		if len(distinct) == 0 || len(distinct) > most {
			t.Errorf("the %s has the names of %d tools", name, len(distinct))
		}
	}
	t.Logf("%d calls in %s; series: %v", calls+lenient, time.Since(began), before)
}

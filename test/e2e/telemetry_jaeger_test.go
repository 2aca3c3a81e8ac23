package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/gateway"
	"sallyport.dev/mcp/database"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
	"sallyport.dev/test/backends"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// What Jaeger has of a call: the same for each client, over each transport.
const (
	orderTree = `agent CLIENT: tools/call query
  sallyport-gateway SERVER: tools/call query
    sallyport-connector SERVER: tools/call query
      sallyport-connector CLIENT: postgresql orders
`
	wikiTree = `agent CLIENT: tools/call search
  sallyport-gateway SERVER: tools/call search
    sallyport-connector SERVER: tools/call search
      sallyport-connector CLIENT: tools/call search
        wiki SERVER: POST /mcp
`
)

// A call by a real client, through the tunnel, to a real database and to a server that traces itself, is one trace in Jaeger.
func TestOneTrace(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	jaeger := backends.StartJaeger(t)
	wiki := newWiki(t, jaeger.HTTP)
	agent := elsewhere(t, "agent", jaeger.HTTP)
	rules, err := policy.New([]policy.Rule{{Name: "everybody", Servers: []string{"*"}, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	for _, over := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP} {
		s := observe(t, stack.Options{
			Transport: over, Policy: &rules,
			Servers: map[string]connector.Server{
				"orders": shop.server("reader", database.Config{}),
				"wiki": {URL: wiki.url, AllowPlaintext: true, Credentials: []connector.Credential{{
					Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: stack.SecretFile(t, shop.dir, "wiki-"+string(over), "canary-of-the-wiki"),
				}}},
			},
			Gateway: func(c *gateway.Config) { c.Agents.Tokens[0].TrustTrace = true },
		}, collector(jaeger.HTTP, telemetry.SignalTraces))
		for name, connect := range tracedClients {
			t.Run(string(over)+"/"+name, func(t *testing.T) {
				calls := func(server, tool string, arguments map[string]any) *backends.Trace {
					t.Helper()
					client := s.Agent(t, true)
					marked := &tracing{next: client.Transport}
					client.Transport = marked
					call := connect(t.Context(), t, s.URL(server), client)
					wiki.took()
					ctx, span := agent.Start(t.Context(), "tools/call "+tool, trace.WithSpanKind(trace.SpanKindClient))
					marked.ctx = ctx
					if err := call(t.Context(), tool, arguments); err != nil {
						t.Fatal(err)
					}
					marked.ctx = nil
					span.End()
					return jaeger.Await(t, span.SpanContext().TraceID().String(), patience, func(tr *backends.Trace) bool {
						return len(tr.Roots) == 1 && tr.Roots[0].Service == "agent" && tr.Find("sallyport-gateway", "server") != nil && tr.Find("sallyport-connector", "client") != nil &&
							(tool != "search" || tr.Find("wiki", "server") != nil)
					})
				}
				orders := calls("orders", "query", map[string]any{"sql": "SELECT id FROM orders"})
				if text := orders.Text(backends.Text{}); text != orderTree {
					t.Errorf("%s", orders.Text(backends.Text{AllTags: true}))
				}
				common := map[string]string{
					"mcp.method.name": "tools/call", "gen_ai.tool.name": "query", "gen_ai.operation.name": "execute_tool", "sallyport.server": "orders", "mcp.protocol.version": "?",
					"jsonrpc.request.id": "?", "error": "", "error.type": "",
				}
				spanHas(t, orders.Find("sallyport-gateway", "server"), common, map[string]string{
					"sallyport.tunnel": stack.Tunnel, "sallyport.transport": string(over), "sallyport.outcome": "upstream", "sallyport.delivered": "yes", "sallyport.principal": s.PublicURL + "|tester",
					"sallyport.request_id": "?", "sallyport.instance": "?", "sallyport.session": "?", "network.transport": "tcp", "network.protocol.name": "http", "network.protocol.version": "2",
					"client.address": "127.0.0.1", "client.port": "?", "http.response.status_code": "200", "sallyport.authenticate.duration": "?", "sallyport.queue.duration": "?",
					"sallyport.open.duration": "?", "sallyport.first_byte.duration": "?", "sallyport.stream.duration": "?",
				})
				spanHas(t, orders.Find("sallyport-connector", "server"), common, map[string]string{
					"sallyport.tunnel": stack.Tunnel, "sallyport.transport": string(over), "network.transport": string(over), "sallyport.rule": "everybody", "sallyport.decision": "allow",
					"sallyport.delivered": "yes", "sallyport.outcome": "upstream", "sallyport.principal": s.PublicURL + "|tester", "sallyport.request_id": "?", "sallyport.policy.duration": "?",
					"sallyport.first_byte.duration": "?", "sallyport.session": "?",
				})
				spanHas(t, orders.Find("sallyport-connector", "client"), common, map[string]string{
					"db.system.name": "postgresql", "db.namespace": "orders", "server.address": "127.0.0.1", "server.port": fmt.Sprint(shop.Port), "network.transport": "tcp",
				})
				sameID(t, orders, "sallyport.request_id", "sallyport.instance", "sallyport.tunnel")

				found := calls("wiki", "search", map[string]any{"text": "gates"})
				if text := found.Text(backends.Text{}); text != wikiTree {
					t.Errorf("%s", found.Text(backends.Text{AllTags: true}))
				}
				if at := found.Find("wiki", "server"); len(at.Children) != 1 || at.Children[0].Operation != "search the index" {
					t.Error("what the server did is not below its span")
				}
				spanHas(t, found.Find("sallyport-connector", "client"), map[string]string{
					"gen_ai.tool.name": "search", "server.address": "127.0.0.1", "server.port": "?", "network.transport": "tcp", "http.response.status_code": "200",
					"network.protocol.name": "http", "sallyport.credentials": `["wiki/1"]`,
				})
				heads := wiki.took()
				for _, h := range heads {
					if h.Get("Baggage") != "" || len(h.Values("Traceparent")) > 1 {
						t.Errorf("the server got %v", h)
					}
				}
				if last := heads[len(heads)-1]; !strings.Contains(last.Get("Traceparent"), found.ID+"-"+found.Find("sallyport-connector", "client").ID) {
					t.Errorf("the server was told of %q", last.Get("Traceparent"))
				}
				for _, trace := range []*backends.Trace{orders, found} {
					if text := trace.Text(backends.Text{AllTags: true, Phases: true}); strings.Contains(text, "canary") || strings.Contains(text, "SELECT") || strings.Contains(text, stack.AgentToken) {
						t.Errorf("what is nobody's business is in a trace:\n%s", text)
					}
				}
				t.Logf("\n%s\n%s", orders.Text(backends.Text{Phases: true, Times: true}), found.Text(backends.Text{Phases: true, Times: true}))
			})
		}
		s.StopConnector()
		s.StopGateway()
	}
}

// spanHas checks a span's tags: "?" is any value, "" that there is none.
func spanHas(t *testing.T, s *backends.Span, lists ...map[string]string) {
	t.Helper()
	if s == nil {
		t.Fatal("there is no such span")
	}
	for _, list := range lists {
		for key, want := range list {
			if got, ok := s.Tags[key]; ok != (want != "") || want != "?" && got != want {
				t.Errorf("%s %s: %s is %q, want %q", s.Service, s.Kind, key, got, want)
			}
		}
	}
}

// sameID checks that the servers' spans of both roles agree.
func sameID(t *testing.T, tr *backends.Trace, keys ...string) {
	t.Helper()
	a, b := tr.Find("sallyport-gateway", "server"), tr.Find("sallyport-connector", "server")
	for _, key := range keys {
		if a.Tags[key] != b.Tags[key] {
			t.Errorf("%s is %q at the gateway and %q at the connector", key, a.Tags[key], b.Tags[key])
		}
	}
}

// ids of traces and spans of agents.
func ids(i int) (traceID, spanID string) {
	return fmt.Sprintf("5a11%028x", i), fmt.Sprintf("a6e7%012x", i)
}

// Whose trace context counts: that of a principal with trust_trace is the parent, and says whether the call is sampled; any other is a
// link. Baggage goes nowhere.
func TestTraceContextOfAgents(t *testing.T) {
	t.Parallel()
	jaeger := backends.StartJaeger(t)
	wiki := newWiki(t, jaeger.HTTP)
	secrets := t.TempDir()
	s := observe(t, stack.Options{
		Servers: one("wiki", wiki.url),
		Gateway: func(c *gateway.Config) {
			c.Agents.Tokens = append(c.Agents.Tokens, gateway.Token{Name: "trusted", Token: stack.SecretFile(t, secrets, "trusted", tokenOf("trusted")), Tunnels: []string{"*"}, Servers: []string{"*"}, TrustTrace: true})
		},
	}, collector(jaeger.HTTP, telemetry.SignalTraces))
	strangers, trusted := s.Agent(t, true), s.AgentWith(t, true, tokenOf("trusted"))

	type row struct {
		name         string
		trusted      bool
		header, meta int // which context is in either place; 0 for none
		sampled      string
		fails        bool
	}
	n := 0
	made := func() int { n++; return n }
	rows := []row{
		{"a stranger's header", false, made(), 0, "01", false}, {"a stranger's header, not sampled", false, made(), 0, "00", false},
		{"a stranger's meta", false, 0, made(), "01", false}, {"a stranger's meta, not sampled", false, 0, made(), "00", false},
		{"a trusted header", true, made(), 0, "01", false}, {"a trusted header, not sampled", true, made(), 0, "00", false},
		{"a trusted meta", true, 0, made(), "01", false}, {"a trusted meta, not sampled", true, 0, made(), "00", false},
		{"both, trusted", true, made(), made(), "01", false}, {"both, a stranger's", false, made(), made(), "01", false},
		{"a trusted header, not sampled, that fails", true, made(), 0, "00", true},
	}
	told := make([]string, len(rows)) // what the server heard
	for i, row := range rows {
		meta := ""
		if row.meta > 0 {
			traceID, spanID := ids(row.meta)
			meta = fmt.Sprintf(`"_meta":{"traceparent":"00-%s-%s-%s","tracestate":"acme=1","baggage":"canary=b"},`, traceID, spanID, row.sampled)
		}
		tool := "search"
		if row.fails {
			tool = "nothing"
		}
		body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{%s"name":%q,"arguments":{"text":"x"}}}`, i+1, meta, tool)
		r, err := s.Post(t.Context(), "wiki", body)
		if err != nil {
			t.Fatal(err)
		}
		if row.header > 0 {
			traceID, spanID := ids(row.header)
			r.Header.Set("Traceparent", fmt.Sprintf("00-%s-%s-%s", traceID, spanID, row.sampled))
			r.Header.Set("Tracestate", "acme=1")
			r.Header.Set("Baggage", "canary=b")
			r.Header.Set("B3", "0")
		}
		agent := strangers
		if row.trusted {
			agent = trusted
		}
		wiki.took()
		if got := call(t, agent, r); got.status != http.StatusOK {
			t.Fatalf("%s: %d %s", row.name, got.status, got.body)
		}
		heads := wiki.took()
		if len(heads) != 1 || heads[0].Get("Baggage") != "" || heads[0].Get("B3") != "" || len(heads[0].Values("Traceparent")) != 1 {
			t.Errorf("%s: the server got %v", row.name, heads)
		}
		if told[i] = heads[0].Get("Traceparent"); row.trusted != (heads[0].Get("Tracestate") == "acme=1") {
			t.Errorf("%s: the server got the tracestate %q", row.name, heads[0].Get("Tracestate"))
		}
	}
	for i, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			said := row.header
			if row.meta > 0 {
				said = row.meta // SEP-414: it is the message's own
			}
			traceID, spanID := ids(said)
			parts := strings.Split(told[i], "-")
			if len(parts) != 4 {
				t.Fatalf("the server was told %q", told[i])
			}
			if (parts[1] == traceID) != row.trusted {
				t.Errorf("the server was told of the trace %s, the agent's is %s", parts[1], traceID)
			}
			if unsampled := row.trusted && row.sampled == "00"; unsampled {
				if parts[3] != "00" {
					t.Errorf("the server was told %q", told[i])
				}
				if !row.fails {
					return // that nothing is recorded is seen below
				}
				failed := jaeger.Await(t, traceID, patience, func(tr *backends.Trace) bool { return len(tr.Spans) >= 3 })
				const want = `sallyport-gateway SERVER: tools/call nothing
  . error=true
  . error.type=-32602
  sallyport-connector SERVER: tools/call nothing
    . error=true
    . error.type=-32602
    sallyport-connector CLIENT: tools/call nothing
      . error=true
      . error.type=-32602
`
				if text := failed.Text(backends.Text{Tags: []string{"error", "error.type"}}); text != want {
					t.Errorf("%s", text)
				}
				return
			}
			tr := jaeger.Await(t, parts[1], patience, func(tr *backends.Trace) bool { return tr.Find("wiki", "server") != nil && len(tr.Services()) == 3 })
			top := tr.Find("sallyport-gateway", "server")
			switch {
			case row.trusted:
				if top.Parent != spanID && !strings.Contains(strings.Join(top.Warnings, " "), "invalid parent") { // Jaeger keeps the reference to one that it has not
					t.Errorf("the parent is %q, want %q", top.Parent, spanID)
				}
			case top.Parent != "" || len(tr.Roots) != 1:
				t.Errorf("a stranger's context is the parent:\n%s", tr.Text(backends.Text{}))
			}
			var links []string
			for _, l := range top.Links {
				links = append(links, l.Trace+"-"+l.Span)
			}
			var want []string
			if !row.trusted {
				want = append(want, traceID+"-"+spanID)
			}
			if row.header > 0 && row.meta > 0 {
				headTrace, headSpan := ids(row.header)
				want = append(want, headTrace+"-"+headSpan)
			}
			if strings.Join(links, " ") != strings.Join(want, " ") {
				t.Errorf("the links are %v, want %v", links, want)
			}
		})
	}
	for _, row := range rows { // those before have arrived by now
		if row.trusted && row.sampled == "00" && !row.fails {
			traceID, _ := ids(max(row.header, row.meta))
			if tr, err := jaeger.Trace(t.Context(), traceID); err != nil || len(tr.Spans) > 0 {
				t.Errorf("%s: %v, %s", row.name, err, tr.Text(backends.Text{}))
			}
		}
	}
}

// With nothing sampled, what fails is recorded all the same, by each process that sees it fail, with what is known of why.
func TestFailuresInJaeger(t *testing.T) {
	t.Parallel()
	jaeger := backends.StartJaeger(t)
	rules, err := policy.New([]policy.Rule{{Name: "no-secrets", Servers: []string{"desk"}, When: `mcp.tool == "secret"`}, {Name: "rest", Servers: []string{"*"}, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	closed := serve(t, func(http.ResponseWriter, *http.Request) {})
	closed.Close()
	cfg := collector(jaeger.HTTP, telemetry.SignalTraces)
	cfg.Traces.Sample = new(float64)
	s := observe(t, stack.Options{Policy: &rules, Servers: map[string]connector.Server{
		"desk": {URL: judge(t), AllowPlaintext: true}, "gone": {URL: closed.URL, AllowPlaintext: true},
	}}, cfg)
	agent := s.Agent(t, true)
	rows := []struct{ server, tool, want string }{
		{"desk", "fails", `sallyport-gateway SERVER: tools/call fails
  . error.type=tool_error
  . otel.status_description=the server has answered with an error
  . sallyport.delivered=yes
  sallyport-connector SERVER: tools/call fails
    . error.type=tool_error
    . otel.status_description=the server has answered with an error
    . sallyport.delivered=yes
    . sallyport.decision=allow
    . sallyport.rule=rest
    sallyport-connector CLIENT: tools/call fails
      . error.type=tool_error
      . otel.status_description=the server has answered with an error
`},
		{"desk", "secret", `sallyport-gateway SERVER: tools/call secret
  . error.type=-32003
  . otel.status_description=connector_refused
  . sallyport.delivered=no
  sallyport-connector SERVER: tools/call secret
    . error.type=-32003
    . otel.status_description=denied
    . sallyport.delivered=no
    . sallyport.decision=deny
    . sallyport.rule=no-secrets
`},
		{"gone", "ok", `sallyport-gateway SERVER: tools/call ok
  . error.type=-32013
  . otel.status_description=connector_refused
  . sallyport.delivered=no
  sallyport-connector SERVER: tools/call ok
    . error.type=-32013
    . otel.status_description=upstream_unreachable
    . sallyport.delivered=no
    . sallyport.decision=allow
    . sallyport.rule=rest
    sallyport-connector CLIENT: tools/call ok
      . error.type=-32013
      . otel.status_description=upstream_unreachable
`},
		{"none", "ok", `sallyport-gateway SERVER: tools/call ok
  . error.type=404
  . otel.status_description=not_found
  . sallyport.delivered=no
`},
		{"desk", "late", `sallyport-gateway SERVER: tools/call late
  . error.type=-32010
  . otel.status_description=connector_offline
  . sallyport.delivered=no
`},
	}
	want := make([]string, len(rows))
	for i, row := range rows {
		if row.tool == "late" {
			s.StopConnector()
		} else if got := post(t, s.Stack, agent, "desk", toolCall("ok", `{}`)); got.status != http.StatusOK { // which nobody records
			t.Fatalf("%d", got.status)
		}
		post(t, s.Stack, agent, row.server, toolCall(row.tool, `{}`))
		want[i] = row.want
	}
	jaeger.AwaitTraces(t, "sallyport-gateway", patience, func(traces []*backends.Trace) bool {
		var texts []string
		for _, tr := range slices.SortedFunc(slices.Values(traces), func(a, b *backends.Trace) int { return a.Spans[0].Start.Compare(b.Spans[0].Start) }) {
			texts = append(texts, tr.Text(backends.Text{Tags: []string{"error.type", "otel.status_description", "sallyport.delivered", "sallyport.decision", "sallyport.rule"}}))
		}
		return slices.Equal(texts, want)
	})
}

// Over gRPC it is the same.
func TestTraceOverGRPC(t *testing.T) {
	t.Parallel()
	jaeger := backends.StartJaeger(t)
	cfg := collector(jaeger.GRPC, telemetry.SignalTraces)
	cfg.OTLP.Protocol = "grpc"
	cfg.OTLP.Headers = map[string]telemetry.Header{"x-tenant": {Text: "one"}}
	s := observe(t, stack.Options{Servers: one("echo", echoes(t))}, cfg)
	if got := post(t, s.Stack, s.Agent(t, true), "echo", pingBody); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	const want = "sallyport-gateway SERVER: tools/call x\n  sallyport-connector SERVER: tools/call x\n    sallyport-connector CLIENT: tools/call x\n"
	jaeger.AwaitTraces(t, "sallyport-gateway", patience, func(all []*backends.Trace) bool { return len(all) == 1 && all[0].Text(backends.Text{}) == want })
	if log := s.log.String(); log != "" {
		t.Errorf("%s", log)
	}
}

// The standard variables are enough, and what the file says counts before them.
func TestTelemetryByVariables(t *testing.T) {
	t.Parallel()
	jaeger := backends.StartJaeger(t)
	other := backends.StartReceiver(t)
	binary := build(t)
	d := deploy(t, echoes(t), "quic")
	env := func(endpoint, service string) []string {
		return []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_SERVICE_NAME=" + service, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_METRICS_EXPORTER=none",
			"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=trial,team=a%20b", "OTEL_EXPORTER_OTLP_HEADERS=x-key=canary%20of%20variables",
		}
	}
	gateway := startWith(t, env(jaeger.HTTP, "public-by-variable"), binary, "gateway", "-c", d.gateway, "--log-format", "json")
	gateway.says(t, `"gateway is up"`, 1)

	text, err := os.ReadFile(d.connector)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "connector.yaml")
	writeFile(t, file, string(text)+fmt.Sprintf("telemetry: { service: private-by-file, otlp: { endpoint: %q, signals: [traces], flush: 100ms, headers: { x-key: by-file } } }\n", jaeger.HTTP))
	connector := startWith(t, append(env(other.URL, "private-by-variable"), "OTEL_EXPORTER_OTLP_TRACES_HEADERS=Bearer canary"), binary, "connector", "-c", file, "--log-format", "json")
	connector.says(t, `"attached"`, 2)
	d.call(t)

	const want = "public-by-variable SERVER: tools/call x\n  private-by-file SERVER: tools/call x\n    private-by-file CLIENT: tools/call x\n"
	all := jaeger.AwaitTraces(t, "public-by-variable", patience, func(all []*backends.Trace) bool { return len(all) == 1 && all[0].Text(backends.Text{}) == want })
	top := all[0].Find("public-by-variable", "server")
	if top.Resource["deployment.environment.name"] != "trial" || top.Resource["team"] != "a b" || top.Resource["sallyport.role"] != "gateway" {
		t.Errorf("%v", top.Resource)
	}
	connector.terminate(t)
	gateway.terminate(t)
	if got := other.Requests(); len(got) > 0 {
		t.Errorf("the endpoint of the variable got %d requests, such as %s", len(got), got[0].Path)
	}
	for _, p := range []*process{gateway, connector} {
		if strings.Contains(strings.Join(p.log, "\n"), "canary") {
			t.Error("a header of the collector is in the log")
		}
	}
}

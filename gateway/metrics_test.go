package gateway

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"sallyport.dev/telemetry"
)

// collect reads the metrics.
func (o *told) collect(t *testing.T) map[string]metricdata.Aggregation {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := o.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]metricdata.Aggregation)
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			found[m.Name] = m.Data
		}
	}
	return found
}

// TestHostileNamesMakeNoSeries: tools, methods, errors and servers that do not exist, hundreds of each.
func TestHostileNamesMakeNoSeries(t *testing.T) {
	for _, names := range []bool{false, true} {
		o := newTold(t, 0)
		g, _ := newGateway(t, func(cfg *Config) {
			o.into(cfg)
			cfg.Telemetry.Metrics.Names = names
		})
		var turn atomic.Int64
		attachFake(t, g, "one", func(conn net.Conn) {
			_, body, _ := readRequest(conn)
			answer := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"no"}}`, turn.Add(1))
			if strings.Contains(string(body), "good") {
				answer = `{"jsonrpc":"2.0","id":1,"result":{}}`
			}
			writeJSON(conn, answer)
		}, "wiki")
		for i := range 300 {
			_ = call(t, g, "wiki", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bad%d"}}`, i))
			_ = call(t, g, "wiki", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"x/y%d"}`, i))
			_ = call(t, g, fmt.Sprintf("server%d", i), listTools)
		}
		_ = call(t, g, "wiki", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"good"}}`)
		operations, ok := o.collect(t)["mcp.server.operation.duration"].(metricdata.Histogram[float64])
		if !ok || len(operations.DataPoints) > 2*maxErrorKind+20 {
			t.Errorf("names %v: %d series", names, len(operations.DataPoints))
		}
		tools := make(map[string]bool)
		for _, p := range operations.DataPoints {
			for _, key := range []attribute.Key{telemetry.AttrTool, telemetry.AttrServer, telemetry.AttrTunnel} {
				if v, ok := p.Attributes.Value(key); ok {
					tools[v.AsString()] = true
				}
			}
		}
		want := map[string]bool{}
		if names {
			want = map[string]bool{"good": true, telemetry.Other: true, "wiki": true, testTunnel: true}
		}
		if len(tools) != len(want) {
			t.Errorf("names %v: labels %v", names, tools)
		}
		for name := range want {
			if !tools[name] {
				t.Errorf("names %v: labels %v, want %v", names, tools, want)
			}
		}
	}
}

// TestOnlySuccessNamesATool: a call that nobody answers, or whose answer is longer than what is read of it, lets no name in.
func TestOnlySuccessNamesATool(t *testing.T) {
	o := newTold(t, 0)
	g, _ := newGateway(t, func(cfg *Config) {
		o.into(cfg)
		cfg.Telemetry.Metrics.Names = true
	})
	var code atomic.Int64
	attachFake(t, g, "one", func(conn net.Conn) {
		_, body, _ := readRequest(conn)
		text := string(body)
		switch {
		case !strings.Contains(text, `"id"`):
			_, _ = io.WriteString(conn, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		case strings.Contains(text, "long"):
			writeJSON(conn, `{"jsonrpc":"2.0","id":1,"error":{"message":"`+strings.Repeat("x", 2*maxJudged)+`","code":-1}}`)
		case strings.Contains(text, "outcome"):
			answer := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"no"}}`, code.Add(1))
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nSallyport-Outcome: delivered\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		default:
			writeJSON(conn, `{"jsonrpc":"2.0","id":1,"result":{}}`)
		}
	}, "wiki")
	for i := range 100 {
		_ = call(t, g, "wiki", fmt.Sprintf(`{"jsonrpc":"2.0","method":"tools/call","params":{"name":"silent%d"}}`, i))
		_ = call(t, g, "wiki", fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"outcome%d"}}`, i))
	}
	_ = call(t, g, "wiki", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"long"}}`)
	_ = call(t, g, "wiki", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"good"}}`)
	operations, _ := o.collect(t)["mcp.server.operation.duration"].(metricdata.Histogram[float64])
	tools := make(map[string]bool)
	for _, p := range operations.DataPoints {
		if v, ok := p.Attributes.Value(telemetry.AttrTool); ok {
			tools[v.AsString()] = true
		}
	}
	if len(tools) != 2 || !tools["good"] || !tools[telemetry.Other] || len(operations.DataPoints) > maxErrorKind+4 {
		t.Errorf("tools %v in %d series", tools, len(operations.DataPoints))
	}
}

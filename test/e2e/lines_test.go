package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/test/backends"
	"sallyport.dev/test/stack"
)

// Both roles, as processes, send their lines and the events of their audit logs to a collector that their files name. The lines about a call
// have its ids on both sides, and the level of the file counts.
func TestRolesSendTheirLines(t *testing.T) {
	t.Parallel()
	collector := backends.StartReceiver(t)
	binary, d := build(t), deploy(t, echoes(t), "quic")
	for path, more := range map[string]string{d.gateway: "", d.connector: "state_dir: " + t.TempDir() + "\n"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, string(text)+fmt.Sprintf("\n%saudit: strict\ntelemetry:\n  otlp: { endpoint: %q, signals: [traces, logs, audit], flush: 100ms }\n  logs: { level: debug }\n", more, collector.URL))
	}
	gateway := start(t, binary, "gateway", d.gateway)
	gateway.says(t, `"gateway is up"`, 1)
	connector := start(t, binary, "connector", d.connector)
	connector.says(t, `"attached"`, 2)
	connector.says(t, `"level":"DEBUG"`, 1)
	d.call(t)
	s := &stack.Stack{PublicURL: "https://" + d.addr, Roots: roots(t, d.ca)}
	if got := post(t, s, s.AgentWith(t, false, "a-token-that-nobody-has"), "echo", pingBody); got.status != http.StatusUnauthorized {
		t.Fatalf("a wrong token gives %d", got.status)
	}
	connector.terminate(t)
	gateway.terminate(t)

	var audited []string
	calls := make(map[string][]string) // by request id, the trace's id and the role of each line
	for _, line := range collector.Logs() {
		about := func(key string) string { return backends.Attribute(line.GetAttributes(), key) }
		if line.GetEventName() == "sallyport.audit" {
			audited = append(audited, about("type")+" "+about("decision"))
		} else if line.GetBody().GetStringValue() == "call" && about("method") == "tools/call" {
			calls[about("request_id")] = append(calls[about("request_id")], fmt.Sprintf("%x %s", line.GetTraceId(), about("role")))
		}
	}
	for _, want := range []string{"begin allow", "event allow", "event deny"} {
		if !slices.Contains(audited, want) {
			t.Errorf("the events of the audit logs lack %q: %q", want, audited)
		}
	}
	if len(calls) != 1 {
		t.Errorf("lines of calls: %v", calls)
	}
	for id, lines := range calls {
		slices.Sort(lines)
		if len(lines) != 2 || !strings.HasSuffix(lines[0], " connector") || !strings.HasSuffix(lines[1], " gateway") || lines[0][:32] != lines[1][:32] {
			t.Fatalf("lines about %s: %v", id, lines)
		}
		for _, p := range []*process{gateway, connector} {
			p.says(t, `"request_id":"`+id+`"`, 1)
			p.says(t, `"trace_id":"`+lines[0][:32]+`"`, 1)
		}
	}
}

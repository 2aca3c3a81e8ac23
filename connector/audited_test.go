package connector

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/audit"
	"sallyport.dev/policy"
)

// auditing is a connector with an audit log. read stops it, and returns the log and its lines for calls.
func auditing(t *testing.T, list ...policy.Rule) (call func(method, body string, header http.Header) answered, read func() (string, []audit.Record)) {
	t.Helper()
	state := t.TempDir()
	rule := rules(t, list...)
	r, call := serving(t, http.HandlerFunc(ok), func(c *Config) {
		rule(c)
		c.StateDir = state
		c.Audit.Mode = audit.Strict
	})
	return call, func() (string, []audit.Record) {
		r.stop()
		err := <-r.done
		r.done <- err // for the test's end
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(state, "audit", "audit.jsonl")
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		key, err := audit.ReadPublicKey(state)
		if err != nil {
			t.Fatal(err)
		}
		if report, err := audit.Verify(t.Context(), []string{path}, audit.VerifyOptions{PublicKey: key}); err != nil || !report.Intact() {
			t.Errorf("the log is not intact: %+v, %v", report, err)
		}
		var events []audit.Record
		for line := range strings.Lines(string(text)) {
			record, err := audit.ParseRecord([]byte(strings.TrimSpace(line)))
			if err != nil {
				t.Fatal(err)
			}
			if record.Type == "event" || record.Type == "begin" {
				events = append(events, record)
			}
		}
		return string(text), events
	}
}

// A batch of messages that do nothing has a line for each kind of them, so that nobody rotates the log away with a few of them; what does
// something keeps its own line.
func TestAuditOfBatches(t *testing.T) {
	call, read := auditing(t, policy.Rule{When: `mcp.tool == "read"`, Allow: true})
	const cancelled = `{"jsonrpc":"2.0","method":"notifications/cancelled"}`
	batch := "[" + strings.Repeat(cancelled+",", 500) + tool(1, "read") + "," + `{"jsonrpc":"2.0","id":2,"method":"ping"},` + tool(3, "read") + strings.Repeat(","+cancelled, 490) + "]"
	if got := call(http.MethodPost, batch, http.Header{"Mcp-Protocol-Version": {"2025-03-26"}}); got.StatusCode != 200 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	text, events := read()
	if len(events) != 8 || len(text) > 10_000 {
		t.Fatalf("%d lines, %d bytes", len(events), len(text))
	}
	for i, want := range []struct {
		method, tool string
		alike        int64
	}{{"notifications/cancelled", "", 989}, {"tools/call", "read", 0}, {"ping", "", 0}, {"tools/call", "read", 0}} {
		for _, got := range []audit.Event{events[i].Event, events[i+4].Event} {
			if got.Method != want.method || got.Tool != want.tool || got.Alike != want.alike || got.Decision != "allow" {
				t.Errorf("line %d: %+v", i, got)
			}
		}
	}
}

// What is decided otherwise is not alike.
func TestAuditOfBatchesByRule(t *testing.T) {
	call, read := auditing(t, policy.Rule{Name: "all", Allow: true}, policy.Rule{Name: "watch", When: `mcp.method == "ping" && mcp.params.x == 1`, Report: true},
		policy.Rule{Name: "none", When: `mcp.method == "ping" && mcp.params.x == 2`})
	ping := func(params string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":` + params + `}}`
	}
	batch := "[" + strings.Join([]string{ping("0"), ping("1"), ping("0"), ping("1"), ping("2"), ping("0")}, ",") + "]"
	batch = strings.ReplaceAll(batch, `"id":1,`, "") // notifications, or their ids would have to differ
	if got := call(http.MethodPost, batch, http.Header{"Mcp-Protocol-Version": {"2025-03-26"}}); got.StatusCode != 403 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	_, events := read()
	var lines []string
	for _, e := range events {
		lines = append(lines, strings.Join(append([]string{e.Event.Rule, e.Event.Decision}, e.Event.WouldDeny...), " "))
		if want := int64(1); e.Event.Rule == "all" && e.Event.Alike != want || e.Event.Rule == "none" && e.Event.Alike != 0 {
			t.Errorf("%+v", e.Event)
		}
	}
	if got := strings.Join(lines, ", "); got != "all deny, all deny watch, none deny" {
		t.Errorf("the log has %s", got)
	}
}

// The log names what was asked for, and no value that was sent for it.
func TestAuditNamesNoValue(t *testing.T) {
	call, read := auditing(t, policy.Rule{Allow: true})
	for _, uri := range []string{"crm://customer/7?token=hunter2", "crm://customer/7#hunter2", "crm://ann:hunter2@customer/7", "crm:" + strings.Repeat("x", 4000) + "hunter2"} {
		for _, method := range []string{"resources/read", "resources/subscribe"} {
			if got := call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{"uri":"`+uri+`"}}`, nil); got.StatusCode != 200 {
				t.Errorf("%s: %d", uri, got.StatusCode)
			}
		}
	}
	text, events := read()
	if strings.Contains(text, "hunter2") || len(events) != 16 {
		t.Errorf("%d lines\n%s", len(events), text)
	}
	for i, e := range events[:12] {
		if e.Event.Tool != "crm://customer/7" || len(e.Event.Arguments) != 64 {
			t.Errorf("line %d: %+v", i, e.Event)
		}
	}
}

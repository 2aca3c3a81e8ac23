package connector

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// rules makes a policy for the server wiki.
func rules(t testing.TB, list ...policy.Rule) func(*Config) {
	t.Helper()
	for i := range list {
		list[i].Servers = []string{"wiki"}
	}
	p, err := policy.New(list)
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Policy = p }
}

// tool is a call of a tool.
func tool(id int, name string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":{"n":1}}}`, id, name)
}

// Each message is decided on its own, and a batch passes whole or not at all.
func TestEachMessageIsDecided(t *testing.T) {
	r, call := serving(t, http.HandlerFunc(ok), rules(t,
		policy.Rule{Name: "reading", When: `mcp.tool == "read" && source.ip == "192.0.2.7"`, Allow: true},
		policy.Rule{Name: "no-admin", When: `mcp.tool.startsWith("admin")`, Report: true},
		policy.Rule{Name: "admin-too", When: `mcp.tool == "admin-x" && now > timestamp("2026-01-01T00:00:00Z")`, Allow: true},
	))
	source := http.Header{mcp.HeaderSource: {"192.0.2.7"}}
	batch := http.Header{mcp.HeaderSource: {"192.0.2.7"}, "Mcp-Protocol-Version": {"2025-03-26"}}
	for name, test := range map[string]struct {
		body   string
		header http.Header
		status int
		rule   string
	}{
		"allowed":                     {tool(1, "read"), source, 200, "reading"},
		"another tool":                {tool(1, "write"), source, 403, "default"},
		"another case":                {tool(1, "Read"), source, 403, "default"},
		"another address":             {tool(1, "read"), http.Header{mcp.HeaderSource: {"192.0.2.8"}}, 403, "default"},
		"no address":                  {tool(1, "read"), nil, 403, "default"},
		"an address that is none":     {tool(1, "read"), http.Header{mcp.HeaderSource: {"192.0.2.7, 192.0.2.8"}}, 403, "default"},
		"reported":                    {tool(1, "admin-x"), source, 200, "admin-too"},
		"what opens":                  {initialize, source, 200, "reading"},
		"a method of resources":       {`{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"docs://x"}}`, source, 403, "default"},
		"a batch":                     {"[" + tool(1, "read") + "," + tool(2, "read") + "]", batch, 200, "reading"},
		"a batch with one denied":     {"[" + tool(1, "read") + "," + tool(2, "write") + "]", batch, 403, "default"},
		"a batch that begins with it": {"[" + tool(1, "write") + "," + tool(2, "read") + "]", batch, 403, "default"},
	} {
		before := len(r.log.String())
		a := call(http.MethodPost, test.body, test.header)
		if a.StatusCode != test.status || test.status == 403 && (reasonOf(a.body) != "denied" || a.outcome() != mcp.OutcomeRefused) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
		log := r.log.String()[before:]
		if !strings.Contains(log, fmt.Sprintf(`"rule":%q`, test.rule)) {
			t.Errorf("%s: the log does not name the rule %s: %s", name, test.rule, log)
		}
		if strings.Contains(log, "report mode") != (name == "reported") {
			t.Errorf("%s: %s", name, log)
		}
	}
	if a := call(http.MethodPost, "["+tool(1, "read")+","+tool(2, "write")+"]", batch); strings.Count(a.body, `"denied"`) != 2 {
		t.Errorf("not each request of the batch has an answer: %s", a.body)
	}
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`

func TestRateAndConcurrency(t *testing.T) {
	hold, started := make(chan struct{}), make(chan struct{}, 10)
	_, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), `"slow"`) {
			started <- struct{}{}
			<-hold
		}
		ok(w, r)
	}), rules(t,
		policy.Rule{When: `mcp.tool == "rare"`, Allow: true, Limits: policy.Limits{Rate: 2, Per: time.Hour}},
		policy.Rule{When: `mcp.tool == "slow"`, Allow: true, Limits: policy.Limits{Concurrent: 1}},
	))
	for i, want := range []int{200, 200, 429} {
		a := call(http.MethodPost, tool(1, "rare"), nil)
		if a.StatusCode != want {
			t.Errorf("call %d: %d %s", i+1, a.StatusCode, a.body)
		}
		if want == 429 && (reasonOf(a.body) != "rate_limited" || a.Header.Get("Retry-After") != "1800" || a.outcome() != mcp.OutcomeRefused) {
			t.Errorf("%q %s", a.Header.Get("Retry-After"), a.body)
		}
	}
	first := make(chan int, 1)
	go func() { first <- call(http.MethodPost, tool(1, "slow"), nil).StatusCode }()
	<-started
	if a := call(http.MethodPost, tool(2, "slow"), nil); a.StatusCode != 429 || reasonOf(a.body) != "rate_limited" {
		t.Errorf("a second call at once: %d %s", a.StatusCode, a.body)
	}
	close(hold)
	if status := <-first; status != 200 {
		t.Errorf("the first call: %d", status)
	}
	for deadline := time.Now().Add(10 * time.Second); ; { // what it held is given back just behind its answer
		if a := call(http.MethodPost, tool(3, "slow"), nil); a.StatusCode == 200 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("after the first call none is let through")
		}
	}
}

func TestArgumentsAreBounded(t *testing.T) {
	_, call := serving(t, http.HandlerFunc(ok), rules(t, policy.Rule{Allow: true, Limits: policy.Limits{Arguments: 60}}))
	for n, want := range map[int]int{60: 200, 61: 413} {
		params := `{"name":"x","arguments":{"text":""}}`
		params = strings.Replace(params, `""`, `"`+strings.Repeat("x", n-len(params))+`"`, 1)
		a := call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`+params+`}`, nil)
		if a.StatusCode != want || want == 413 && (reasonOf(a.body) != "too_large" || a.outcome() != mcp.OutcomeRefused) {
			t.Errorf("%d bytes: %d %s", n, a.StatusCode, a.body)
		}
	}
}

func TestResultsAreBounded(t *testing.T) {
	limited := rules(t, policy.Rule{When: `mcp.tool == "big"`, Allow: true, Limits: policy.Limits{Result: 100}}, policy.Rule{When: `mcp.tool == "free"`, Allow: true})
	var answer func(http.ResponseWriter)
	_, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w)
	}), limited)
	padded := func(n int) string {
		text := `{"jsonrpc":"2.0","id":1,"result":{"x":""}}`
		return strings.Replace(text, `""`, `"`+strings.Repeat("x", n-len(text))+`"`, 1)
	}
	known := func(n int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", fmt.Sprint(n))
			_, _ = io.WriteString(w, padded(n))
		}
	}
	chunked := func(n int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, padded(n))
		}
	}
	streamed := func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, "data: "+padded(100)+"\n\n")
	}
	for name, test := range map[string]struct {
		tool   string
		answer func(http.ResponseWriter)
		status int
		reason string
		whole  bool
	}{
		"as much as allowed":          {"big", known(100), 200, "", true},
		"one byte more":               {"big", known(101), 502, "result_too_large", true},
		"chunked":                     {"big", chunked(100), 200, "", true},
		"chunked and one byte more":   {"big", chunked(101), 502, "result_too_large", true},
		"a stream":                    {"big", streamed, 200, "result_too_large", true},
		"chunked and far more":        {"big", chunked(200 << 10), 502, "result_too_large", true},
		"another rule without limits": {"free", known(1000), 200, "", true},
	} {
		answer = test.answer
		a := call(http.MethodPost, tool(1, test.tool), nil)
		if a.StatusCode != test.status || reasonOf(a.body) != test.reason || (a.err == nil) != test.whole {
			t.Errorf("%s: %d %v %s", name, a.StatusCode, a.err, a.body)
		}
		if len(a.body) > 800 && test.tool == "big" {
			t.Errorf("%s: %d bytes come back", name, len(a.body))
		}
	}
}

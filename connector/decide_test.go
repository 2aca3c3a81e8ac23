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

// Where an answer cannot be told to belong to a call, the smallest limit of the server's rules bounds it, and an error takes its place.
func TestResultsAreBoundedOnSharedStreams(t *testing.T) {
	u := new(answering)
	_, call := serving(t, u, rules(t, policy.Rule{When: `mcp.tool == "big"`, Allow: true, Limits: policy.Limits{Result: 9000}}, policy.Rule{When: `mcp.tool == "small"`, Allow: true, Limits: policy.Limits{Result: 300}},
		policy.Rule{FromServer: true, Allow: true}))
	event := func(message string) string { return "id: e2\ndata: " + message + "\n\n" }
	padded := func(n int, member string) string {
		return `{"jsonrpc":"2.0","id":1,"` + member + `":{"x":"` + strings.Repeat("x", n) + `"}}`
	}
	const behind = `data: {"jsonrpc":"2.0","id":2,"result":{"behind":1}}` + "\n\n"
	for name, test := range map[string]struct {
		event  string
		passes bool
		ends   bool // the stream is cut, because the event has begun to pass
	}{
		"as much as allowed":      {event(padded(200, "result")), true, false},
		"more":                    {event(padded(400, "result")), false, false},
		"an error":                {event(padded(400, "error")), false, false},
		"a request of the server": {event(`{"jsonrpc":"2.0","id":5,"method":"sampling/createMessage","params":{"x":"` + strings.Repeat("x", 400) + `"}}`), true, false},
		"far more than is held":   {event(padded(100<<10, "result")), false, true},
		"in lines":                {strings.Replace(event(padded(400, "result")), `,"result"`, ",\ndata: \"result\"", 1), false, true},
	} {
		u.says(200, "text/event-stream", test.event+behind)
		a := call(http.MethodGet, "", http.Header{"Mcp-Session-Id": {"s"}, "Accept": {"text/event-stream"}, "Last-Event-Id": {"e1"}})
		if strings.Contains(a.body, test.event) != test.passes || strings.Contains(a.body, behind) == test.ends || (a.err != nil) != test.ends {
			t.Errorf("%s: %d %v %.400s", name, a.StatusCode, a.err, a.body)
		}
		if !test.passes && !test.ends && (reasonOf(a.body) != "result_too_large" || !strings.Contains(a.body, "id: e2\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\"")) {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

// A header that mirrors an argument has the value of one; headers of another revision do not reach the server.
func TestMirroredArguments(t *testing.T) {
	seen := make(chan http.Header, 1)
	upstream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		ok(w, r)
	})
	_, call := serving(t, upstream, rules(t, policy.Rule{When: `mcp.args.path == "/srv/ok"`, Allow: true}))
	body := strings.Replace(modernTool, `"name":"x"`, `"name":"x","arguments":{"path":"/srv/ok","n":42,"f":1.5,"yes":true,"none":null,"deep":[{"city":"Nürnberg"}]}`, 1)
	for value, want := range map[string]int{
		"/srv/ok": 200, "42": 200, "1.50": 200, "true": 200, "=?base64?TsO8cm5iZXJn?=": 200, "=?base64?L3Nydi9vaw==?=": 200,
		"/etc/passwd": 400, "": 400, "null": 400, "43": 400, "path": 400, "=?base64?L2V0Yy9wYXNzd2Q=?=": 400, "=?base64?!?=": 400, "042": 400, "0x2a": 400,
	} {
		header := modernHead()
		header["Mcp-Param-Path"] = []string{value}
		a := call(http.MethodPost, body, header)
		if a.StatusCode != want || want == 400 && (reasonOf(a.body) != "header_mismatch" || a.outcome() != mcp.OutcomeRefused) {
			t.Errorf("%q: %d %s", value, a.StatusCode, a.body)
		}
		if want == 200 {
			if got := (<-seen).Get("Mcp-Param-Path"); got != value {
				t.Errorf("%q reached the server as %q", value, got)
			}
		}
	}
	a := call(http.MethodPost, strings.Replace(tool(1, "x"), `{"n":1}`, `{"path":"/srv/ok"}`, 1), http.Header{"Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"drop"}, "Mcp-Param-Path": {"/etc/passwd"}})
	if a.StatusCode != 200 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	for name := range <-seen {
		if strings.HasPrefix(name, "Mcp-") && name != "Mcp-Protocol-Version" {
			t.Errorf("%s reached a server of 2025-11-25", name)
		}
	}
	_, call = serving(t, upstream, func(c *Config) { c.Policy = policy.Open() })
	header := modernHead()
	header["Mcp-Param-Path"] = []string{"/elsewhere"}
	if a := call(http.MethodPost, body, header); a.StatusCode != 200 || (<-seen).Get("Mcp-Param-Path") != "/elsewhere" {
		t.Errorf("with an open policy: %d %s", a.StatusCode, a.body)
	}
}

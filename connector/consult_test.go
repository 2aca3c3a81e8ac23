package connector

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/auth/authtest"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// checked is a rule with a decision service.
func checked(url string) policy.Rule {
	return policy.Rule{Name: "asked", Allow: true, Check: &policy.Check{URL: url, Timeout: 500 * time.Millisecond, Arguments: true}}
}

// Only a service that says yes lets a call pass; whatever goes wrong with it denies.
func TestDecisionService(t *testing.T) {
	var answer atomic.Value
	asked := make(chan string, 1)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case asked <- string(body):
		default:
		}
		answer.Load().(http.HandlerFunc)(w, r)
	}))
	defer service.Close()
	var hits atomic.Int64
	r, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		ok(w, r)
	}), rules(t, checked(service.URL+"/v1/data/mcp/allow?pretty=false")))
	says := func(text string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	for name, test := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		allow  bool
		cause  string
	}{
		"true":              {says(`{"result":true}`), true, ""},
		"an object":         {says(`{"result":{"allow":true,"reason":"canary"},"decision_id":"x"}`), true, ""},
		"false":             {says(`{"result":false}`), false, "does not allow it"},
		"an object that no": {says(`{"result":{"allow":false,"reason":"canary"}}`), false, "does not allow it"},
		"nothing defined":   {says(`{}`), false, "its answer has no result"},
		"null":              {says(`{"result":null}`), false, "neither true, false nor an object"},
		"a text":            {says(`{"result":"true"}`), false, "neither true, false nor an object"},
		"no allow":          {says(`{"result":{"Allow":true}}`), false, "its result has no allow"},
		"allow as a text":   {says(`{"result":{"allow":"true"}}`), false, "its result has no allow"},
		"allow twice":       {says(`{"result":{"allow":false,"allow":true}}`), false, "its answer has no result"},
		"no JSON":           {says(`canary`), false, "its answer has no result"},
		"too much":          {says(`{"result":true,"x":"` + strings.Repeat("x", 70<<10) + `"}`), false, "more than 65536 bytes"},
		"an error":          {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, `{"result":true}`, 500) }, false, "the status 500"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/yes", http.StatusTemporaryRedirect)
		}, false, "the status 307"},
		"never":     {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, "gave no decision"},
		"a hang-up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false, "gave no decision"},
		"a body that breaks": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "50")
			_, _ = io.WriteString(w, `{"result":true}`)
		}, false, "gave no decision"},
	} {
		answer.Store(http.HandlerFunc(test.answer))
		before, logged := hits.Load(), len(r.log.String())
		a := call(http.MethodPost, tool(1, "x"), http.Header{mcp.HeaderSource: {"192.0.2.7"}})
		if allowed := a.StatusCode == 200; allowed != test.allow || hits.Load()-before > 0 != test.allow {
			t.Errorf("%s: %d %s, and the server got %d calls", name, a.StatusCode, a.body, hits.Load()-before)
		}
		if !test.allow && (reasonOf(a.body) != "denied" || a.outcome() != mcp.OutcomeRefused || !strings.Contains(a.body, `"asked"`)) {
			t.Errorf("%s: %s", name, a.body)
		}
		log := r.log.String()[logged:]
		if !strings.Contains(log, test.cause) || strings.Contains(log+a.body, "canary") {
			t.Errorf("%s: the log says %s", name, log)
		}
		var q struct{ Input map[string]any }
		if err := json.Unmarshal([]byte(<-asked), &q); err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("map[about:arguments method:tools/call name:x params:map[arguments:map[n:1] name:x] principal:map[claims:map[] issuer:%s subject:%s] request_id:request-1 rule:asked server:wiki source:192.0.2.7]", authtest.Issuer, authtest.Subject)
		if got := fmt.Sprint(q.Input); got != want {
			t.Errorf("%s: asked %s\nwant %s", name, got, want)
		}
	}
	answer.Store(http.HandlerFunc(says(`{"result":false}`)))
	if a := call(http.MethodPost, initialize, nil); a.StatusCode != 200 || len(asked) > 0 {
		t.Errorf("what opens a conversation: %d, asked %d times", a.StatusCode, len(asked))
	}
}

// A service is dialled by the same rules as a server.
func TestDecisionServiceElsewhere(t *testing.T) {
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, `{"result":true}`)
	}))
	defer service.Close()
	_, call := serving(t, http.HandlerFunc(ok), func(c *Config) {
		rules(t, checked(service.URL))(c)
		c.Upstream.AllowedIPs = []string{"10.0.0.0/8"}
	})
	if a := call(http.MethodPost, tool(1, "x"), nil); a.StatusCode != 403 || asked.Load() != 0 {
		t.Errorf("%d, asked %d times", a.StatusCode, asked.Load())
	}
}

// A service that is asked about results sees each answer before the caller does.
func TestDecisionAboutResults(t *testing.T) {
	var asked atomic.Value
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked.Store(string(body))
		_, _ = fmt.Fprintf(w, `{"result":%t}`, !strings.Contains(string(body), "salary"))
	}))
	defer service.Close()
	var answer atomic.Value
	rule := checked(service.URL)
	rule.Check.Arguments, rule.Check.Result = false, true
	_, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer.Load().(http.HandlerFunc)(w, r)
	}), rules(t, rule))
	whole := func(kind, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, text)
		}
	}
	const progress = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n"
	response := func(id, text string) string {
		return `{"jsonrpc":"2.0","id":` + id + `,"result":{"text":"` + text + `"}}`
	}
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		status int
		has    string
		lacks  string
	}{
		"JSON":                   {whole("application/json", response("1", "fine")), 200, "fine", "error"},
		"JSON that is denied":    {whole("application/json", response("1", "salary")), 403, "result_denied", "salary"},
		"events":                 {whole("text/event-stream", progress+"data: "+response("1", "fine")+"\n\n"), 200, "fine", "error"},
		"events that are not":    {whole("text/event-stream", progress+"data: "+response("1", "salary")+"\n\n"), 200, "result_denied", "salary"},
		"over several lines":     {whole("text/event-stream", "data: {\"jsonrpc\":\"2.0\",\"id\":1,\ndata: \"result\":\"salary\"}\n\n"), 200, "result_denied", "salary"},
		"another id":             {whole("application/json", response("2", "fine")), 502, "upstream_invalid", "fine"},
		"an error":               {whole("application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"salary"}}`), 403, "result_denied", "salary"},
		"an error without an id": {whole("application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"salary"}}`), 403, "result_denied", "salary"},
		"no JSON":                {whole("text/plain", "fine"), 502, "upstream_invalid", "fine"},
		"names twice":            {whole("application/json", `{"jsonrpc":"2.0","id":1,"result":{"a":"fine","a":2}}`), 502, "upstream_invalid", "fine"},
		"more than can be held":  {whole("application/json", response("1", strings.Repeat("fine", 2<<20))), 502, "upstream_invalid", "fine"},
	} {
		answer.Store(test.answer)
		a := call(http.MethodPost, tool(1, "x"), http.Header{"Accept": {"application/json, text/event-stream"}})
		if a.StatusCode != test.status || a.err != nil || !strings.Contains(a.body, test.has) || strings.Contains(a.body, test.lacks) {
			t.Errorf("%s: %d %v %.300s", name, a.StatusCode, a.err, a.body)
		}
		if name == "JSON" && !strings.Contains(asked.Load().(string), `"about":"result"`) {
			t.Errorf("asked %s", asked.Load())
		}
	}
	answer.Store(whole("text/event-stream", progress+"data: "+response("1", "fine")+"\n\n"))
	if a := call(http.MethodGet, "", http.Header{"Accept": {"text/event-stream"}, "Mcp-Session-Id": {"s"}, "Last-Event-Id": {"5"}}); strings.Contains(a.body, "fine") || !strings.Contains(a.body, "progress") {
		t.Errorf("an answer on a resumed stream: %d %s", a.StatusCode, a.body)
	}
}

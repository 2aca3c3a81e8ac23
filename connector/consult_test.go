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

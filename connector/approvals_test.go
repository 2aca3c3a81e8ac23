package connector

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"sallyport.dev/auth/authtest"
	"sallyport.dev/connector/pins"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// human is a rule whose calls wait.
func human(timeout time.Duration) policy.Rule {
	return policy.Rule{Name: "waits", When: `mcp.tool == "drop"`, Allow: true, Approve: &policy.Approve{Timeout: timeout}}
}

// waiting returns what waits, once that many do.
func waiting(t *testing.T, c *Connector, n int) []Approval {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if list := c.approvals.list(); len(list) == n {
			return list
		}
	}
	t.Fatalf("%d wait, not %d", len(c.approvals.list()), n)
	return nil
}

// A call waits until somebody answers for it, and the answer is good for that call alone.
func TestApprovals(t *testing.T) {
	var hits atomic.Int64
	r, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		ok(w, r)
	}), rules(t, human(time.Minute), policy.Rule{When: `mcp.tool == "read"`, Allow: true}))
	calls := func(body string) chan answered {
		done := make(chan answered, 1)
		go func() { done <- call(http.MethodPost, body, http.Header{mcp.HeaderSource: {"192.0.2.7"}}) }()
		return done
	}
	first := calls(tool(1, "drop"))
	a := waiting(t, r.Connector, 1)[0]
	if a.Rule != "waits" || a.Name != "drop" || a.Server != "wiki" || a.Subject != authtest.Subject || a.Source != "192.0.2.7" || string(a.Params) != `{"name":"drop","arguments":{"n":1}}` || len(a.SHA256) != 64 {
		t.Errorf("what waits is %+v", a)
	}
	if got := call(http.MethodPost, tool(2, "read"), nil); got.StatusCode != 200 {
		t.Errorf("another tool: %d", got.StatusCode)
	}
	second := calls(tool(3, "drop"))
	waiting(t, r.Connector, 2)
	if hits.Load() != 1 {
		t.Error("a call that waits has reached the server")
	}
	if _, err := r.approvals.answer(a.ID, true, "test"); err != nil {
		t.Fatal(err)
	}
	if got := <-first; got.StatusCode != 200 || hits.Load() != 2 {
		t.Errorf("an approved call: %d, %d calls", got.StatusCode, hits.Load())
	}
	if _, err := r.approvals.answer(a.ID, true, "test"); err == nil {
		t.Error("an approval is good twice")
	}
	other := waiting(t, r.Connector, 1)[0]
	if other.ID == a.ID || other.SHA256 != a.SHA256 {
		t.Errorf("the same call again is %+v", other)
	}
	if _, err := r.approvals.answer(other.ID, false, "test"); err != nil {
		t.Fatal(err)
	}
	if got := <-second; got.StatusCode != 403 || reasonOf(got.body) != "denied" || got.outcome() != mcp.OutcomeRefused || hits.Load() != 2 {
		t.Errorf("a call that was not approved: %d %s", got.StatusCode, got.body)
	}
	if !strings.Contains(r.log.String(), "does not approve it") {
		t.Error("the log does not say why")
	}
}

// Whoever answers for a call sees all of its arguments: what is for programs alone does not push them out of sight, and what is longer than
// somebody reads is not asked about.
func TestApprovalsShowArguments(t *testing.T) {
	every := policy.Rule{Name: "waits", Allow: true, Approve: &policy.Approve{Timeout: time.Minute}}
	r, call := serving(t, http.HandlerFunc(ok), rules(t, every))
	pad := strings.Repeat("x", 66_000)
	for name, c := range map[string]struct{ params, want string }{
		"_meta, long":       {`,"params":{"_meta":{"pad":"` + pad + `"},"name":"drop" , "arguments": {"all": true}}`, `{"name":"drop","arguments":{"all": true}}`},
		"_meta at the end":  {`,"params":{"name":"drop","arguments":{"_meta":1},"_meta":{}}`, `{"name":"drop","arguments":{"_meta":1}}`},
		"_meta alone":       {`,"params":{"_meta":{}}`, `{}`},
		"nothing in params": {`,"params":{}`, `{}`},
		"no params":         {``, ``},
		"60 KiB":            {`,"params":{"name":"drop","arguments":{"a":"` + pad[:60<<10] + `"}}`, `{"name":"drop","arguments":{"a":"` + pad[:60<<10] + `"}}`},
	} {
		done := make(chan answered, 1)
		go func() {
			done <- call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"vendor/drop"`+c.params+`}`, nil)
		}()
		a := waiting(t, r.Connector, 1)[0]
		if string(a.Params) != c.want || (a.Params == nil) != (c.want == "") || len(a.SHA256) != 64 {
			t.Errorf("%s: %.100s", name, a.Params)
		}
		if _, err := r.approvals.answer(a.ID, true, "test"); err != nil {
			t.Error(err)
		}
		if got := <-done; got.StatusCode != 200 {
			t.Errorf("%s: %d", name, got.StatusCode)
		}
	}
	got := call(http.MethodPost, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"drop","arguments":{"a":"`+pad+`"}}}`, nil)
	if got.StatusCode != 403 || reasonOf(got.body) != "denied" || !strings.Contains(got.body, "at most 65536 bytes of arguments") || len(r.approvals.list()) != 0 {
		t.Errorf("66,000 bytes of arguments: %d %s", got.StatusCode, got.body)
	}
	if !strings.Contains(r.log.String(), "more than 65536 bytes without _meta") {
		t.Error("the log does not say why")
	}
}

func TestApprovalsEnd(t *testing.T) {
	r, call := serving(t, http.HandlerFunc(ok), rules(t, human(time.Second)))
	began := time.Now()
	if got := call(http.MethodPost, tool(1, "drop"), nil); got.StatusCode != 403 || time.Since(began) < time.Second || time.Since(began) > 10*time.Second {
		t.Errorf("nobody answers: %d after %s", got.StatusCode, time.Since(began))
	}
	if n := len(r.approvals.list()); n != 0 {
		t.Errorf("%d wait for ever", n)
	}
	_, crowd := serving(t, http.HandlerFunc(ok), rules(t, human(3*time.Second)))
	results := make(chan int, maxPendingOfCaller+5)
	for i := range maxPendingOfCaller + 5 {
		go func() { results <- crowd(http.MethodPost, tool(i, "drop"), nil).StatusCode }()
	}
	early := 0
	for wait := time.After(1500 * time.Millisecond); ; {
		select {
		case <-results:
			early++
			continue
		case <-wait:
		}
		break
	}
	if early != 5 {
		t.Errorf("%d of %d were refused at once, want 5", early, maxPendingOfCaller+5)
	}
	for range maxPendingOfCaller {
		<-results
	}
}

// A webhook may answer if its answer is signed, and about the call that waits.
func TestWebhook(t *testing.T) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		edit   func(a map[string]any)
		prefix string
		key    ed25519.PrivateKey
		status int
		after  string
	}
	var now atomic.Pointer[answer]
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var asked Approval
		if err := json.Unmarshal(body, &asked); err != nil || asked.Name != "drop" {
			t.Errorf("asked %s", body)
		}
		how := now.Load()
		said := map[string]any{"id": asked.ID, "sha256": asked.SHA256, "allow": true, "by": "ann"}
		how.edit(said)
		text, _ := json.Marshal(said)
		w.Header().Set("Sallyport-Signature", base64.RawURLEncoding.EncodeToString(ed25519.Sign(how.key, append([]byte(how.prefix), text...))))
		if how.status != 0 {
			w.WriteHeader(how.status)
		}
		_, _ = w.Write(append(text, how.after...))
	}))
	defer hook.Close()
	rule := human(time.Second)
	rule.Approve.Webhook, rule.Approve.Key = hook.URL+"/approve", base64.RawURLEncoding.EncodeToString(public)
	r, call := serving(t, http.HandlerFunc(ok), rules(t, rule))
	keep := func(map[string]any) {}
	set := func(key string, value any) func(map[string]any) {
		return func(a map[string]any) { a[key] = value }
	}
	for name, test := range map[string]struct {
		answer
		status int
		says   string
	}{
		"yes":                     {answer{keep, signedPrefix, private, 0, ""}, 200, `"by":"webhook: ann"`},
		"no":                      {answer{set("allow", false), signedPrefix, private, 0, ""}, 403, "does not approve"},
		"another key":             {answer{keep, signedPrefix, foreign, 0, ""}, 403, "its signature is missing"},
		"no prefix":               {answer{keep, "", private, 0, ""}, 403, "its signature is missing"},
		"another call":            {answer{set("id", "ABCDEFGHIJ"), signedPrefix, private, 0, ""}, 403, "about another call"},
		"other arguments":         {answer{set("sha256", strings.Repeat("0", 64)), signedPrefix, private, 0, ""}, 403, "about another call"},
		"neither yes nor no":      {answer{set("allow", nil), signedPrefix, private, 0, ""}, 403, "neither yes nor no"},
		"an error":                {answer{keep, signedPrefix, private, 500, ""}, 403, "the status is 500"},
		"a redirect":              {answer{keep, signedPrefix, private, 307, ""}, 403, "the status is 307"},
		"bytes behind the signed": {answer{keep, signedPrefix, private, 0, " "}, 403, "its signature is missing"},
	} {
		now.Store(&test.answer)
		before := len(r.log.String())
		got := call(http.MethodPost, tool(1, "drop"), nil)
		if log := r.log.String()[before:]; got.StatusCode != test.status || !strings.Contains(log, test.says) {
			t.Errorf("%s: %d, %s", name, got.StatusCode, log)
		}
	}
}

// An answer that is one JSON text becomes one event.
func TestAnswersAsEvents(t *testing.T) {
	for text, want := range map[string]string{
		`{"a":1}`:              "event: message\ndata: {\"a\":1}\n\n",
		"{\r\n \"a\":\n1}\r\n": "event: message\ndata: {\ndata:  \"a\":\ndata: 1}\ndata: \n\n",
		"":                     "",
	} {
		resp := &http.Response{Header: http.Header{}, Body: io.NopCloser(iotest.OneByteReader(strings.NewReader(text)))}
		asEvents(resp)
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != want {
			t.Errorf("%q gives %q, %v", text, got, err)
		}
	}
	long := fmt.Sprintf(`{"x":%q}`, strings.Repeat("x", 100_000))
	resp := &http.Response{Header: http.Header{}, Body: io.NopCloser(strings.NewReader(long))}
	asEvents(resp)
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, []byte("event: message\ndata: "+long+"\n\n")) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A yes is no leave to do what has been forbidden while the call waited.
func TestApprovalsAreNoOlderThanTheRules(t *testing.T) {
	list := func(text string) string {
		return `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"drop","description":"` + text + `","inputSchema":{"type":"object"}}]}}`
	}
	reader := policy.Rule{When: `mcp.tool == "read"`, Allow: true}
	for name, test := range map[string]struct {
		body   string
		header http.Header
		change func(t *testing.T, reload func(...policy.Rule), u *answering, call func(method, body string, header http.Header) answered)
		reason string
		rule   string
	}{
		"nothing has changed": {change: func(*testing.T, func(...policy.Rule), *answering, func(string, string, http.Header) answered) {}},
		"the same rules again": {change: func(_ *testing.T, reload func(...policy.Rule), _ *answering, _ func(string, string, http.Header) answered) {
			reload(human(time.Minute), reader)
		}},
		"the caller is denied": {reason: "denied", rule: "has-left", change: func(_ *testing.T, reload func(...policy.Rule), _ *answering, _ func(string, string, http.Header) answered) {
			reload(policy.Rule{Name: "has-left"}, policy.Rule{Allow: true})
		}},
		"no rule allows it": {reason: "denied", rule: "default", change: func(_ *testing.T, reload func(...policy.Rule), _ *answering, _ func(string, string, http.Header) answered) {
			reload(reader)
		}},
		"its time is over": {reason: "denied", rule: "early", change: func(_ *testing.T, reload func(...policy.Rule), _ *answering, _ func(string, string, http.Header) answered) {
			reload(human(time.Minute), policy.Rule{Name: "early", When: `now > timestamp("` + time.Now().Add(50*time.Millisecond).UTC().Format(time.RFC3339Nano) + `")`})
			time.Sleep(60 * time.Millisecond)
		}},
		"the tool has changed": {reason: "tool_quarantined", change: func(t *testing.T, _ func(...policy.Rule), u *answering, call func(string, string, http.Header) answered) {
			u.says(200, "application/json", list("evil"))
			if a := call(http.MethodPost, listTools, nil); a.StatusCode != 200 {
				t.Errorf("%d %s", a.StatusCode, a.body)
			}
		}},
		"what stands beside it in a batch is denied": {body: "[" + tool(1, "drop") + "," + tool(2, "read") + "]", header: http.Header{"Mcp-Protocol-Version": {"2025-03-26"}}, reason: "denied", rule: "default",
			change: func(_ *testing.T, reload func(...policy.Rule), _ *answering, _ func(string, string, http.Header) answered) {
				reload(human(time.Minute))
			}},
	} {
		t.Run(name, func(t *testing.T) {
			u := new(answering)
			var calls atomic.Int64
			rule := rules(t, human(time.Minute), reader)
			var cfg Config
			r, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if strings.Contains(string(body), "tools/call") {
					calls.Add(1)
					ok(w, r)
					return
				}
				u.ServeHTTP(w, r)
			}), func(c *Config) {
				rule(c)
				c.StateDir = t.TempDir()
				s := c.Servers["wiki"]
				s.Pins = pins.Quarantine
				c.Servers["wiki"] = s
				cfg = *c
			})
			u.says(200, "application/json", strings.Replace(list("good"), `[{`, `[{"name":"read","inputSchema":{"type":"object"}},{`, 1))
			call(http.MethodPost, listTools, nil)
			body := test.body
			if body == "" {
				body = tool(1, "drop")
			}
			done := make(chan answered, 1)
			go func() { done <- call(http.MethodPost, body, test.header) }()
			waits := waiting(t, r.Connector, 1)[0]
			test.change(t, func(list ...policy.Rule) {
				next := cfg
				rules(t, list...)(&next)
				if _, err := r.Reload(next); err != nil {
					t.Fatal(err)
				}
			}, u, call)
			if _, err := r.approvals.answer(waits.ID, true, "ann"); err != nil {
				t.Fatal(err)
			}
			a := <-done
			if reasonOf(a.body) != test.reason || !strings.Contains(a.body, test.rule) || (calls.Load() > 0) != (test.reason == "") {
				t.Errorf("%d %s, and the server got %d calls", a.StatusCode, a.body, calls.Load())
			}
		})
	}
}

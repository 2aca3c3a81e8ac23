package connector

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/policy"
)

// In 2026-07-28 a server asks the client by its result. Such a result passes if all that it asks is allowed.
func TestResultsThatAsk(t *testing.T) {
	var answer atomic.Value
	_, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer.Load().(http.HandlerFunc)(w, r)
	}), rules(t, policy.Rule{Allow: true}, policy.Rule{FromServer: true, When: `mcp.method == "elicitation/create" && mcp.params.mode == "form"`, Allow: true}))
	const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
	head := http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"x"}, "Accept": {"application/json, text/event-stream"}}
	asks := func(requests string) string {
		return `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":` + requests + `,"requestState":"marker"}}`
	}
	form := `{"method":"elicitation/create","params":{"mode":"form"}}`
	for name, test := range map[string]struct {
		text string
		ok   bool
	}{
		"nothing asked":              {`{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"inputRequests":{"a":{"method":"sampling/createMessage"}}}],"marker":1}}`, true},
		"what is allowed":            {asks(`{"a":` + form + `,"b":` + form + `}`), true},
		"sampling":                   {asks(`{"a":{"method":"sampling/createMessage","params":{}}}`), false},
		"one of two":                 {asks(`{"a":` + form + `,"b":{"method":"roots/list"}}`), false},
		"other params":               {asks(`{"a":{"method":"elicitation/create","params":{"mode":"url"}}}`), false},
		"no params":                  {asks(`{"a":{"method":"elicitation/create"}}`), false},
		"the method twice":           {asks(`{"a":{"method":"elicitation/create","method":"roots/list","params":{"mode":"form"}}}`), false},
		"the method in another case": {asks(`{"a":{"method":"elicitation/create","Method":"roots/list","params":{"mode":"form"}}}`), false},
		"inputRequests twice":        {strings.Replace(asks(`{"a":`+form+`}`), `"requestState"`, `"inputRequests":{"a":{"method":"roots/list"}},"requestState"`, 1), false},
		"in another case":            {strings.Replace(asks(`{"a":{"method":"roots/list"}}`), "inputRequests", "InputRequests", 1), false},
		"with an escape":             {strings.Replace(asks(`{"a":{"method":"roots/list"}}`), "inputRequests", `input\u0052equests`, 1), false},
		"an escaped result":          {strings.Replace(asks(`{"a":{"method":"roots/list"}}`), `"result"`, `"resul\u0074"`, 1), false},
		"a list":                     {asks(`[` + form + `]`), false},
		"no object":                  {asks(`{"a":"elicitation/create"}`), false},
		"more than 64 KiB of it":     {asks(`{"a":` + form + `,"b":"` + strings.Repeat("x", 70<<10) + `"}`), false},
		"behind 64 KiB":              {strings.Replace(asks(`{"a":{"method":"roots/list"}}`), `"inputRequests"`, `"x":"`+strings.Repeat("x", 70<<10)+`","inputRequests"`, 1), false},
		"a long result":              {`{"jsonrpc":"2.0","id":1,"result":{"x":"` + strings.Repeat("x", 200<<10) + `","marker":1}}`, true},
		"an error":                   {`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"marker"}}`, true},
	} {
		for kind, text := range map[string]string{"application/json": test.text, "text/event-stream": "data: " + test.text + "\n\n"} {
			answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				_, _ = io.WriteString(w, text)
			}))
			a := call(http.MethodPost, body, head)
			whole := a.err == nil && strings.Contains(a.body, "marker") && strings.HasSuffix(strings.TrimSpace(a.body), "}")
			if whole != test.ok {
				t.Errorf("%s as %s: %d, %v, %.200s", name, kind, a.StatusCode, a.err, a.body)
			}
			if !test.ok && a.err == nil && reasonOf(a.body) != "result_denied" && reasonOf(a.body) != "upstream_invalid" {
				t.Errorf("%s as %s: %d %.200s", name, kind, a.StatusCode, a.body)
			}
		}
	}
	for _, status := range []int{200, 201, 203, 206} { // which clients read alike
		answer.Store(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, strings.Replace(asks(`{"a":{"method":"sampling/createMessage"}}`), `"id":1`, `"id":1,"id":1`, 1))
		}))
		if a := call(http.MethodPost, body, head); strings.Contains(a.body, "marker") {
			t.Errorf("status %d: %d %s", status, a.StatusCode, a.body)
		}
	}
}

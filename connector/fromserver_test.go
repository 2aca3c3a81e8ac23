package connector

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport.dev/policy"
)

// What a server asks in an event stream is judged with its params; where they cannot be read, a condition about them counts
// against it.
func TestServersParamsAreJudged(t *testing.T) {
	var asks atomic.Value
	_, call := serving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, asks.Load().(string)+"data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n")
	}), rules(t,
		policy.Rule{Allow: true},
		policy.Rule{FromServer: true, Allow: true},
		policy.Rule{FromServer: true, When: `has(mcp.params.mode) && mcp.params.mode == "url"`},
	))
	for name, test := range map[string]struct {
		event string
		seen  bool
	}{
		"another mode":        {"data: {\"jsonrpc\":\"2.0\",\"id\":\"marker\",\"method\":\"elicitation/create\",\"params\":{\"mode\":\"form\"}}\n\n", true},
		"no params":           {"data: {\"jsonrpc\":\"2.0\",\"id\":\"marker\",\"method\":\"elicitation/create\"}\n\n", true},
		"what is denied":      {"data: {\"jsonrpc\":\"2.0\",\"id\":\"marker\",\"method\":\"elicitation/create\",\"params\":{\"mode\":\"url\"}}\n\n", false},
		"over several lines":  {"data: {\"jsonrpc\":\"2.0\",\"id\":\"marker\",\ndata: \"method\":\"elicitation/create\",\"params\":{\"mode\":\"url\"}}\n\n", false},
		"a name twice within": {"data: {\"jsonrpc\":\"2.0\",\"id\":\"marker\",\"method\":\"elicitation/create\",\"params\":{\"mode\":\"form\",\"mode\":\"url\"}}\n\n", false},
		"in another case":     {"data: {\"jsonrpc\":\"2.0\",\"id\":\"marker\",\"method\":\"elicitation/create\",\"params\":{\"mode\":\"form\",\"Mode\":\"url\"}}\n\n", false},
	} {
		asks.Store(test.event)
		a := call(http.MethodPost, tool(1, "x"), http.Header{"Mcp-Session-Id": {"s"}, "Accept": {"application/json, text/event-stream"}})
		if strings.Contains(a.body, "marker") != test.seen || !strings.Contains(a.body, `"result"`) {
			t.Errorf("%s: %d %s", name, a.StatusCode, a.body)
		}
	}
}

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/connector"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// A caller whose message waits for a human hears of progress, and gets its answer in the same stream: the upstream's, or
// that it was denied.
func TestApprovalWithProgress(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		t.Parallel()
		upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			if r.Header.Get("Mcp-Method") == "" {
				_, _ = io.WriteString(w, "{\"jsonrpc\":\"2.0\",\n \"id\":7,\"result\":{\"ok\":true}}\n")
				return
			}
			_, _ = io.WriteString(w, "{\"jsonrpc\":\"2.0\",\n \"id\":7,\"result\":{\"resultType\":\"input_required\",\n\"inputRequests\":{\"a\":{\"method\":\"elicitation/create\",\"params\":{}}}}}\n")
		})
		state := t.TempDir()
		rules, err := policy.New([]policy.Rule{{Name: "waits", Servers: []string{"wiki"}, When: `mcp.tool == "drop"`, Allow: true, Approve: &policy.Approve{}}, {Name: "forms", Servers: []string{"wiki"}, FromServer: true, When: `mcp.method == "elicitation/create"`, Allow: true}})
		if err != nil {
			t.Fatal(err)
		}
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"wiki": {URL: upstream.URL}}, Connector: func(c *connector.Config) {
			c.Policy, c.StateDir, c.Audit = rules, state, audit.Config{Mode: audit.Strict}
		}})
		operator := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(state, "connector.sock"))
		}}}
		for _, row := range []struct {
			answer, want string
			modern       bool
		}{
			{"allow", "\"id\":7,\"result\":{\"ok\":true}}", false},
			{"deny", `"id":7,"error":{"code":-32003`, false},
			{"allow", `"inputRequests":{"a":{"method":"elicitation/create"`, true},
		} {
			meta := ""
			if row.modern {
				meta = modernMeta + ","
			}
			r, err := s.Post(t.Context(), "wiki", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"drop","_meta":{`+meta+`"progressToken":"p-9"}}}`)
			if err != nil {
				t.Fatal(err)
			}
			if row.modern {
				r.Header.Set("Mcp-Protocol-Version", "2026-07-28")
				r.Header.Set("Mcp-Method", "tools/call")
				r.Header.Set("Mcp-Name", "drop")
			}
			resp, err := s.Agent(t, true).Do(r) // which returns with the head of the stream
			if err != nil {
				t.Fatal(err)
			}
			var list []connector.Approval
			ask(t, operator, http.MethodGet, "/v1/approvals", &list)
			if len(list) != 1 || list[0].Name != "drop" {
				t.Fatalf("%+v", list)
			}
			var answered connector.Approval
			ask(t, operator, http.MethodPost, fmt.Sprintf("/v1/approvals/%s/%s", list[0].ID, row.answer), &answered)
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			text := string(body)
			progress, rest, _ := strings.Cut(text, "\n\n")
			if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(progress, `"method":"notifications/progress","params":{"progressToken":"p-9","progress":1,`) || !strings.Contains(rest, row.want) {
				t.Errorf("%+v: %d, %v\n%s", row, resp.StatusCode, err, text)
			}
		}
		s.StopConnector()
		asked := 0
		for _, e := range auditedEvents(t, state) {
			if e.Method == "elicitation/create" {
				asked++
			}
		}
		if asked != 1 {
			t.Errorf("what the result asks was judged %d times", asked)
		}
	})
}

// ask asks the connector's operator socket.
func ask(t *testing.T, client *http.Client, method, path string, into any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://connector"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
	}
}

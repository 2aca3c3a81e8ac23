package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// asking is an upstream whose tool asks the client something, and answers with what it was told.
func asking(t *testing.T, method string) (url string) {
	t.Helper()
	told := make(chan string, 10)
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), `"initialize"`) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Mcp-Session-Id", "session-1")
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":9007199254740993,"result":{}}`)
			return
		}
		if r.Header.Get("Mcp-Session-Id") != "session-1" {
			http.Error(w, "no session", http.StatusBadRequest)
			return
		}
		if strings.Contains(string(body), `"error"`) || strings.Contains(string(body), `"result"`) {
			told <- string(body)
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: 1\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"ask-1\",\"method\":%q,\"params\":{\"canary\":1}}\n\n", method)
		_ = http.NewResponseController(w).Flush()
		select {
		case answer := <-told:
			kind := "result"
			if strings.Contains(answer, `"error"`) {
				kind = "refused"
				if !strings.Contains(answer, `"id":"ask-1"`) || !strings.Contains(answer, "-32003") {
					t.Errorf("the server is told %s", answer)
				}
			}
			fmt.Fprintf(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"told\":%q}}\n\n", kind)
		case <-time.After(20 * time.Second):
			t.Error("nobody answers the server")
		}
	}).URL
}

// What a server asks of its client passes if a rule allows it; else the server is told so in the client's place, and the
// call goes on.
func TestServersAskOnlyWhatPolicyAllows(t *testing.T) {
	t.Parallel()
	rules, err := policy.New([]policy.Rule{
		{Servers: []string{"elicits", "samples"}, Allow: true},
		{Servers: []string{"elicits", "samples"}, FromServer: true, When: `mcp.method == "elicitation/create"`, Allow: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{
			"elicits": {URL: asking(t, "elicitation/create")}, "samples": {URL: asking(t, "sampling/createMessage")},
		}, Connector: func(c *connector.Config) { c.Policy = rules }})
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent := s.Agent(t, h2)
			for server, want := range map[string]string{"elicits": "result", "samples": "refused"} {
				text := converse(t, s, agent, server)
				if !strings.Contains(text, fmt.Sprintf(`"id":7,"result":{"told":%q}`, want)) {
					t.Errorf("%s: %s", server, text)
				}
				if strings.Contains(text, "canary") != (want == "result") || strings.Contains(text, "ask-1") != (want == "result") {
					t.Errorf("%s: what the agent sees is %s", server, text)
				}
			}
		})
	})
}

// converse calls a tool, and answers what the server asks meanwhile.
func converse(t *testing.T, s *stack.Stack, agent *http.Client, server string) string {
	t.Helper()
	session := ""
	post := func(body string) *http.Response {
		t.Helper()
		r, err := s.Post(t.Context(), server, body)
		if err != nil {
			t.Fatal(err)
		}
		if session != "" {
			r.Header.Set("Mcp-Session-Id", session)
		}
		resp, err := agent.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	begun := post(initialize)
	_ = begun.Body.Close()
	session = begun.Header.Get("Mcp-Session-Id")
	resp := post(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}`)
	defer func() { _ = resp.Body.Close() }()
	var seen strings.Builder
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		seen.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "ask-1") {
			answer := post(`{"jsonrpc":"2.0","id":"ask-1","result":{"action":"accept"}}`)
			_ = answer.Body.Close()
		}
	}
	return seen.String()
}

// A local command is told, too.
func TestLocalServersAskOnlyWhatPolicyAllows(t *testing.T) {
	t.Parallel()
	rules, err := policy.New([]policy.Rule{{Servers: []string{"local"}, Allow: true}})
	if err != nil {
		t.Fatal(err)
	}
	s := stack.New(t, stack.Options{Transport: tunnel.QUIC, Servers: locals(t, childOld), Connector: func(c *connector.Config) { c.Policy = rules }})
	agent, url := s.Agent(t, true), s.URL("local")
	session := beginPatiently(t, agent, url)
	got := inSession(t, agent, http.MethodPost, url, session, callTool("ask", ""))
	if text := string(got.body); got.status != http.StatusOK || !strings.Contains(text, "refused") || !strings.Contains(text, "-32003") || strings.Contains(text, "roots/list") {
		t.Errorf("%d %s", got.status, text)
	}
}

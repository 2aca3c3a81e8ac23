package e2e_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// sessionful is an upstream with MCP sessions: it answers what belongs to one
// that it has begun, and 404 otherwise.
type sessionful struct {
	mu    sync.Mutex // guards known
	known map[string]bool
}

func (u *sessionful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	u.mu.Lock()
	defer u.mu.Unlock()
	session := r.Header.Get("Mcp-Session-Id")
	switch {
	case strings.Contains(string(body), `"initialize"`):
		session = rand.Text()
		u.known[session] = true
		w.Header().Set("Mcp-Session-Id", session)
	case !u.known[session]:
		http.Error(w, "no such session", http.StatusNotFound)
		return
	case r.Method == http.MethodDelete:
		delete(u.known, session)
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: 1\n%s", notice)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"jsonrpc":"2.0","id":9007199254740993,"result":{"session":%q}}`, session)
}

func serveSessions(t *testing.T) (*sessionful, string) {
	t.Helper()
	u := &sessionful{known: make(map[string]bool)}
	return u, serve(t, u.ServeHTTP).URL
}

const initialize = `{"jsonrpc":"2.0","id":9007199254740993,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`

// inSession sends a request of an MCP session; no body means no POST.
func inSession(t *testing.T, agent *http.Client, method, url, session, body string) answer {
	t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Accept": {"application/json, text/event-stream"}, "Mcp-Protocol-Version": {"2025-11-25"}}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	return call(t, agent, r)
}

// begin begins an MCP session and returns the id that the agent got.
func begin(t *testing.T, agent *http.Client, url string) string {
	t.Helper()
	got := inSession(t, agent, http.MethodPost, url, "", initialize)
	id := got.header.Get("Mcp-Session-Id")
	if got.status != http.StatusOK || id == "" {
		t.Fatalf("initialize: status %d, session %q, %s", got.status, id, got.body)
	}
	return id
}

// mustHave fails unless a session works in all its verbs but the last.
func mustHave(t *testing.T, agent *http.Client, url, session string) {
	t.Helper()
	if got := inSession(t, agent, http.MethodPost, url, session, pingBody); got.status != http.StatusOK || !strings.Contains(string(got.body), session[strings.LastIndex(session, ".")+1:]) {
		t.Errorf("POST: status %d, %s", got.status, got.body)
	}
	if got := inSession(t, agent, http.MethodPost, url, session, `{"jsonrpc":"2.0","id":1,"result":{}}`); got.status != http.StatusOK {
		t.Errorf("POST of a response: status %d, %s", got.status, got.body)
	}
	if got := inSession(t, agent, http.MethodGet, url, session, ""); got.status != http.StatusOK || !strings.HasSuffix(string(got.body), notice) {
		t.Errorf("GET: status %d, %s", got.status, got.body)
	}
}

// mustNotHave fails unless a session gets the 404 of one that is not there,
// without the upstream's help.
func mustNotHave(t *testing.T, agent *http.Client, url, session string) {
	t.Helper()
	for method, body := range map[string]string{http.MethodPost: pingBody, http.MethodGet: "", http.MethodDelete: ""} {
		mustRefuse(t, inSession(t, agent, method, url, session, body), 404, -32001, "no")
	}
}

// An MCP session lives through a restart of the gateway, is its agent's alone,
// and ends with DELETE.
func TestMCPSessionSurvivesTheGateway(t *testing.T) {
	t.Parallel()
	_, upstream := serveSessions(t)
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		servers := map[string]connector.Server{"wiki": {URL: upstream}, "other": {URL: upstream}}
		s := stack.New(t, stack.Options{Transport: transport, Servers: servers, Gateway: func(c *gateway.Config) {
			if len(c.Agents.Tokens) == 1 {
				c.Agents.Tokens = append(c.Agents.Tokens, gateway.Token{
					Name: "second", Token: stack.SecretFile(t, c.StateDir, "second.token", secondToken), Tunnels: []string{"*"}, Servers: []string{"*"},
				})
			}
		}})
		attached(t, s, 2)
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent, stranger := s.Agent(t, h2), s.AgentWith(t, h2, secondToken)
			session := begin(t, agent, s.URL("wiki"))
			mustHave(t, agent, s.URL("wiki"), session)
			mustNotHave(t, stranger, s.URL("wiki"), session)
			mustNotHave(t, agent, s.URL("other"), session)
			for _, altered := range []string{session + "0", session[strings.LastIndex(session, ".")+1:], "x", session[:len(session)-1]} {
				mustNotHave(t, agent, s.URL("wiki"), altered)
			}
			before := len(records(s, "connector attached"))
			s.RestartGateway(t)
			attached(t, s, before+2)
			agent, stranger = s.Agent(t, h2), s.AgentWith(t, h2, secondToken)
			mustHave(t, agent, s.URL("wiki"), session)
			mustNotHave(t, stranger, s.URL("wiki"), session)
			if got := inSession(t, agent, http.MethodDelete, s.URL("wiki"), session, ""); got.status != http.StatusNoContent {
				t.Errorf("DELETE: status %d, %s", got.status, got.body)
			}
			if got := inSession(t, agent, http.MethodPost, s.URL("wiki"), session, pingBody); got.status != http.StatusNotFound {
				t.Errorf("a session that was deleted: status %d, %s", got.status, got.body)
			}
		})
	})
}

const secondToken = "second-agent-token-0123456789abcdefghijklmnopqrs"

// Two gateways of one name, with one session_key, serve one MCP session.
func TestMCPSessionMovesBetweenGateways(t *testing.T) {
	t.Parallel()
	const name = "gate.test"
	_, upstream := serveSessions(t)
	keys := t.TempDir()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		two := func(key string) (agent *http.Client, url string) {
			s := stack.New(t, stack.Options{Transport: transport, Servers: one("wiki", upstream), Gateway: func(c *gateway.Config) {
				c.Domain, _, _ = net.SplitHostPort(strings.TrimPrefix(c.PublicURL, "https://")) // what the connector dials
				c.PublicURL = "https://" + name
				c.SessionKey = stack.SecretFile(t, keys, key, strings.Repeat(key, 32))
			}})
			attached(t, s, 2)
			agent = s.Agent(t, true)
			agent.Transport = stack.Bearer(&http.Transport{
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, s.Addr)
				},
				TLSClientConfig: &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS13},
			}, stack.AgentToken)
			t.Cleanup(agent.CloseIdleConnections)
			return agent, "https://" + name + "/t/" + stack.Tunnel + "/wiki/mcp"
		}
		first, url := two("a")
		second, _ := two("a")
		stranger, _ := two("b")
		session := begin(t, first, url)
		mustHave(t, first, url, session)
		mustHave(t, second, url, session)
		mustNotHave(t, stranger, url, session)
	})
}

// Of two connectors, the one through which a session was begun gets its calls
// as long as it is there, and the other one after that; calls without a
// session are shared.
func TestSeveralConnectorsOfOneTunnel(t *testing.T) {
	t.Parallel()
	_, upstream := serveSessions(t)
	hold := make(chan struct{})
	slow := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(hold) })
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"wiki": {URL: upstream}, "slow": {URL: slow.URL}}})
		first, stopFirst := s.Connector, s.StopConnector
		second := s.StartConnector(t)
		attached(t, s, 4)
		agent := s.Agent(t, true)
		url := s.URL("wiki")

		var session string
		for range 10 { // idle sessions take turns
			if session = begin(t, agent, url); strings.HasPrefix(session, first.Instance()+".") {
				break
			}
		}
		calls := func() (byInstance map[any]int) {
			byInstance = make(map[any]int)
			for _, line := range records(s, "call") {
				if line["role"] == "gateway" && line["server"] == "wiki" && line["method"] == "tools/call" {
					byInstance[line["instance"]]++
				}
			}
			return byInstance
		}
		for range 20 {
			mustHave(t, agent, url, session)
		}
		until(t, patience, "20 calls are logged", func() bool { return calls()[first.Instance()] == 20 })
		if n := calls()[second.Instance()]; n > 0 {
			t.Errorf("%d calls of the session went to the other connector", n)
		}

		// Twelve calls that all wait: six each.
		ctx, cancel := context.WithCancel(t.Context())
		var crew sync.WaitGroup
		for range 12 {
			crew.Go(func() {
				r, err := s.Post(ctx, "slow", pingBody)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = whole(agent, r)
			})
			pause(t, 20*time.Millisecond) // so that each is in flight when the next comes
		}
		cancel()
		crew.Wait()
		shared := func() map[any]int {
			n := make(map[any]int)
			for _, line := range records(s, "call") {
				if line["role"] == "gateway" && line["server"] == "slow" {
					n[line["instance"]]++
				}
			}
			return n
		}
		until(t, patience, "12 calls are logged", func() bool { return shared()[first.Instance()]+shared()[second.Instance()] == 12 })
		if n := shared(); n[first.Instance()] != 6 {
			t.Errorf("the calls were shared as %v", n)
		}

		stopFirst()
		mustHave(t, agent, url, session)
		until(t, patience, "the other connector serves the session", func() bool { return calls()[second.Instance()] == 1 })
	})
}

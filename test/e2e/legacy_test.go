package e2e_test

import (
	"context"
	"fmt"
	"io"
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

// legacy is an upstream of HTTP+SSE: what is posted to a session is answered on
// its stream.
type legacy struct {
	endpoint string // what the endpoint event says, with the session to come

	mu       sync.Mutex // guards what follows
	sessions map[string]chan string
	posted   []*http.Request
	ended    chan string // sessions whose stream the client has left
}

func (u *legacy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		u.stream(w, r)
		return
	}
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.posted = append(u.posted, r)
	answers, ok := u.sessions[r.URL.Query().Get("sessionId")]
	if !ok {
		http.Error(w, "no such session", http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, "Accepted")
	answers <- fmt.Sprintf("event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\r\n\r\n", bigID, body)
}

func (u *legacy) stream(w http.ResponseWriter, r *http.Request) {
	answers := make(chan string, 10)
	u.mu.Lock()
	session := fmt.Sprintf("s/%d", len(u.sessions))
	u.sessions[session] = answers
	u.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, ": welcome\r\n\r\nevent: endpoint\r\ndata: %s\r\n\r\n", strings.Replace(u.endpoint, "SESSION", strings.Replace(session, "/", "%2F", 1), 1))
	for {
		_ = http.NewResponseController(w).Flush()
		select {
		case answer := <-answers:
			_, _ = io.WriteString(w, answer)
		case <-r.Context().Done():
			u.mu.Lock()
			delete(u.sessions, session)
			u.mu.Unlock()
			u.ended <- session
			return
		}
	}
}

func (u *legacy) posts() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.posted[:len(u.posted):len(u.posted)]
}

func serveLegacy(t *testing.T, endpoint string) (*legacy, string) {
	t.Helper()
	u := &legacy{endpoint: endpoint, sessions: make(map[string]chan string), ended: make(chan string, 100)}
	url := serve(t, u.ServeHTTP).URL
	u.endpoint = strings.Replace(endpoint, "ORIGIN", url, 1)
	return u, url + "/base/sse"
}

// listen opens the event stream and returns it with the URL that its endpoint
// event names.
func listen(ctx context.Context, t *testing.T, agent *http.Client, url string) (stream io.ReadCloser, messages string) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	resp, err := agent.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	for {
		event, err := readLegacy(resp.Body)
		if err != nil {
			t.Fatalf("no endpoint event: %v", err)
		}
		if data, ok := strings.CutPrefix(event, "event: endpoint\r\ndata: "); ok {
			ref, err := r.URL.Parse(strings.TrimSuffix(data, "\r\n\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			return resp.Body, ref.String()
		}
	}
}

// readLegacy reads one event, whose lines end in CRLF.
func readLegacy(r io.Reader) (string, error) {
	var event []byte
	b := make([]byte, 1)
	for !strings.HasSuffix(string(event), "\r\n\r\n") {
		if _, err := io.ReadFull(r, b); err != nil {
			return string(event), err
		}
		event = append(event, b...)
	}
	return string(event), nil
}

// postTo posts a message to where an endpoint event said.
func postTo(t *testing.T, agent *http.Client, url, body string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return call(t, agent, r)
}

// HTTP+SSE, the transport of 2024-11-05: calls are posted to where the endpoint
// event says, which is the gateway's, and answered on the stream. Neither the
// upstream's path nor anybody else's session is in the agent's hands.
func TestLegacyTransport(t *testing.T) {
	t.Parallel()
	for name, endpoint := range map[string]string{
		"absolute path":    "/base/messages/?sessionId=SESSION",
		"relative path":    "messages/?sessionId=SESSION",
		"the whole URL":    "ORIGIN/base/messages/?sessionId=SESSION",
		"with a parameter": "/base/messages/?sessionId=SESSION&key=a%20b",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, url := serveLegacy(t, endpoint)
			eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
				s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"old": {SSEURL: url}, "other": {SSEURL: url}}, Gateway: func(c *gateway.Config) {
					c.Agents.Tokens = append(c.Agents.Tokens, gateway.Token{
						Name: "second", Token: stack.SecretFile(t, c.StateDir, "second.token", secondToken), Tunnels: []string{"*"}, Servers: []string{"*"},
					})
				}})
				bothVersions(t, func(t *testing.T, h2 bool) { useLegacy(t, u, s, h2) })
			})
		})
	}
}

func useLegacy(t *testing.T, u *legacy, s *stack.Stack, h2 bool) {
	agent, stranger := s.Agent(t, h2), s.AgentWith(t, h2, secondToken)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	stream, messages := listen(ctx, t, agent, s.SSEURL("old"))
	defer stream.Close()
	if !strings.HasPrefix(messages, s.PublicURL+"/t/acme/old/messages?sessionId="+s.Connector.Instance()+".") || strings.Contains(messages, "base") {
		t.Errorf("messages go to %s", messages)
	}
	before := len(u.posts())
	const body = `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping" }`
	if got := postTo(t, agent, messages, body); got.status != http.StatusAccepted || string(got.body) != "Accepted" {
		t.Fatalf("POST: status %d, %s", got.status, got.body)
	}
	if event, err := readLegacy(stream); err != nil || event != "event: message\r\ndata: {\"jsonrpc\":\"2.0\",\"id\":"+bigID+",\"result\":"+body+"}\r\n\r\n" {
		t.Errorf("the answer is %q, %v", event, err)
	}
	if got := postTo(t, agent, messages, `{"jsonrpc":"2.0","id":"s-1","result":{}}`); got.status != http.StatusAccepted { // to a request of the server
		t.Errorf("POST of a response: status %d, %s", got.status, got.body)
	}
	if _, err := readLegacy(stream); err != nil {
		t.Error(err)
	}
	posted := u.posts()[before:]
	if len(posted) != 2 || posted[0].URL.Path != "/base/messages/" || !strings.HasPrefix(posted[0].URL.RawQuery, "sessionId=s%2F") || posted[0].Header.Get("Authorization") != "" {
		t.Errorf("the upstream got %d posts, the first to %s", len(posted), posted[0].URL)
	}

	// Another caller, another server, a session of the other transport, an altered one.
	mustRefuse(t, postTo(t, stranger, messages, pingBody), 404, -32001, "no")
	mustRefuse(t, postTo(t, agent, strings.Replace(messages, "/old/", "/other/", 1), pingBody), 404, -32001, "no")
	mustRefuse(t, postTo(t, agent, messages[:len(messages)-1], pingBody), 404, -32001, "no")
	mustRefuse(t, postTo(t, agent, messages+"&x=y", pingBody), 400, -32600, "no")
	mustRefuse(t, postTo(t, agent, strings.Split(messages, "?")[0], pingBody), 400, -32600, "no")
	// A client of both eras asks at the URL it has first, and goes on with GET after a 405.
	if got := postTo(t, agent, s.SSEURL("old"), initialize); got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != http.MethodGet {
		t.Errorf("POST to the stream's URL: status %d, Allow %q", got.status, got.header.Get("Allow"))
	}
	if got := postTo(t, agent, s.URL("old"), initialize); got.status != http.StatusNotFound {
		t.Errorf("streamable HTTP of a server that has none: status %d, %s", got.status, got.body)
	}
	if n := len(u.posts()) - before; n != 2 {
		t.Errorf("%d posts reached the upstream, want 2", n)
	}

	leave()
	left := time.Now()
	select {
	case <-u.ended:
	case <-time.After(3 * time.Second):
		t.Error("the upstream's stream goes on without its agent")
	}
	t.Logf("the upstream saw the agent leave after %s", time.Since(left))
	until(t, patience, "the upstream has forgotten the session", func() bool { return postTo(t, agent, messages, pingBody).status == http.StatusNotFound })
}

// An endpoint event that leads elsewhere is never followed, and the stream
// does not end as if all were well.
func TestLegacyEndpointOfAnotherOrigin(t *testing.T) {
	t.Parallel()
	var hits hits
	evil := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		hits.add(body)
	})
	for _, endpoint := range []string{evil.URL + "/m?sessionId=SESSION", strings.Replace(evil.URL, "http:", "", 1) + "/m", "ftp://x/m", "ORIGIN.evil.example/m", `/\evil/m`} {
		u, url := serveLegacy(t, endpoint)
		eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
			s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"old": {SSEURL: url}}})
			bothVersions(t, func(t *testing.T, h2 bool) {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.SSEURL("old"), nil)
				if err != nil {
					t.Fatal(err)
				}
				got := call(t, s.Agent(t, h2), r)
				if got.err == nil || strings.Contains(string(got.body), "endpoint") {
					t.Errorf("%s: the stream ends with %v after %q", endpoint, got.err, got.body)
				}
				select {
				case <-u.ended:
				case <-time.After(3 * time.Second):
					t.Error("the upstream's stream goes on")
				}
			})
		})
	}
	if n := hits.of("null"); n > 0 {
		t.Errorf("%d requests went to another origin", n)
	}
}

// When the connector that holds a stream has gone, its session has too.
func TestLegacySessionEndsWithItsConnector(t *testing.T) {
	t.Parallel()
	_, url := serveLegacy(t, "/m?sessionId=SESSION")
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"old": {SSEURL: url}}})
		stopFirst := s.StopConnector
		agent := s.Agent(t, true)
		stream, messages := listen(t.Context(), t, agent, s.SSEURL("old"))
		defer stream.Close()
		s.StartConnector(t)
		attached(t, s, 4)
		stopFirst()
		if rest, err := io.ReadAll(stream); err == nil {
			t.Errorf("the stream ends cleanly after %q", rest)
		}
		mustRefuse(t, postTo(t, agent, messages, pingBody), 404, -32001, "no")
	})
}

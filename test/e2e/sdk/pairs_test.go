package sdk_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
)

// recorder is a server in front of a server, which notes what comes.
type recorder struct {
	next http.Handler

	mu   sync.Mutex      // guards seen
	seen map[string]bool // "METHOD session"
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.seen[req.Method+" "+req.Header.Get("Mcp-Session-Id")] = true
	r.mu.Unlock()
	r.next.ServeHTTP(w, req)
}

// saw reports whether a request of the session has come. The agent may know
// the session by the gateway's name, which ends in the server's own.
func (r *recorder) saw(method, session string) bool {
	session = session[strings.LastIndex(session, ".")+1:]
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seen[method+" "+session]
}

// Clients and servers of two implementations, in every pair and revision, do
// through the tunnel what they do without it.
func TestPairs(t *testing.T) {
	t.Parallel()
	dialers := map[string]dialer{"go-sdk": dialGoSDK, "mcp-go": dialMCPGo}
	servers := map[string]func(string) *server{"go-sdk": serveGoSDK, "mcp-go": serveMCPGo}
	for _, transport := range append(stack.Transports(), "") {
		name := string(transport)
		if transport == "" {
			name = "direct"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, from := range slices.Sorted(maps.Keys(dialers)) {
				for _, to := range slices.Sorted(maps.Keys(servers)) {
					for _, revision := range []string{sessionful, stateless} {
						for _, h2 := range []bool{false, true} {
							if transport == "" && h2 {
								continue // the upstream is plain HTTP/1.1
							}
							t.Run(fmt.Sprintf("%s to %s/%s/%s", from, to, revision, map[bool]string{false: "h1", true: "h2"}[h2]), func(t *testing.T) {
								peer := servers[to](revision)
								seen := &recorder{next: peer, seen: make(map[string]bool)}
								upstream := httptest.NewServer(seen)
								defer upstream.Close()
								defer upstream.CloseClientConnections()
								defer peer.close()
								url, agent := upstream.URL, upstream.Client()
								if transport != "" {
									s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"peer": {URL: url}}})
									url, agent = s.URL("peer"), s.Agent(t, h2)
								}
								// Up to 2025-11-25 a disconnect is no cancel, and mcp-go sends nothing else over HTTP.
								cancels := from != "mcp-go" || to != "go-sdk" || revision != sessionful
								converse(t, dialers[from], peer, seen, url, revision, agent, cancels)
							})
						}
					}
				}
			}
		})
	}
}

// converse does all that the two must be able to do together.
func converse(t *testing.T, dial dialer, peer *server, seen *recorder, url, revision string, agent *http.Client, cancels bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var progress, asked atomic.Int64
	changed := make(chan struct{}, 10)
	c, err := dial(ctx, url, revision, agent, events{
		progress: func() { progress.Add(1) },
		asked:    func() { asked.Add(1) },
		changed:  func() { changed <- struct{}{} },
	})
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	if got := c.version(); got != revision {
		t.Errorf("the revision is %s", got)
	}
	session := c.session()
	if (session != "") != (revision == sessionful) {
		t.Errorf("the MCP session is %q", session)
	}
	names, err := c.tools(ctx)
	if err != nil || !slices.Contains(names, "echo") || slices.Contains(names, "new") {
		t.Errorf("tools: %v, %v", names, err)
	}
	const text = "héllo \u2028 \"quoted\" \\ 😀 <b>&amp;</b> 9007199254740993"
	if got, err := c.call(ctx, "echo", map[string]any{"text": text}); err != nil || got != text {
		t.Errorf("echo: %q, %v", got, err)
	}
	if got, err := c.call(ctx, "count", nil); err != nil || got != "counted" {
		t.Errorf("count: %q, %v", got, err)
	}
	eventually(t, "progress is reported three times", func() bool { return progress.Load() == 3 })
	if got, err := c.call(ctx, "ask", nil); err != nil || got != "accept" || asked.Load() != 1 {
		t.Errorf("ask: %q, %v, asked %d times", got, err, asked.Load())
	}
	if revision == sessionful {
		eventually(t, "the GET stream is open", func() bool { return seen.saw(http.MethodGet, session) })
	}
	notified(t, peer, changed)
	if names, err = c.tools(ctx); err != nil || !slices.Contains(names, "new") {
		t.Errorf("tools after the change: %v, %v", names, err)
	}

	if cancels {
		waiting, abandon := context.WithCancel(ctx)
		time.AfterFunc(200*time.Millisecond, abandon)
		if _, err := c.call(waiting, "wait", nil); err == nil {
			t.Error("wait has answered")
		}
		select {
		case <-peer.cancelled:
		case <-time.After(patience / 3):
			t.Error("the cancelled call goes on at the server")
		}
	}
	if err := c.close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if revision == sessionful {
		eventually(t, "the session is deleted", func() bool { return seen.saw(http.MethodDelete, session) })
	}
}

// notified waits for a change of the list of tools to reach the client. The
// stream that carries it may just be opening, so the change is repeated.
func notified(t *testing.T, peer *server, changed <-chan struct{}) {
	t.Helper()
	for range 20 {
		peer.change()
		select {
		case <-changed:
			return
		case <-time.After(500 * time.Millisecond):
		}
	}
	t.Error("the client is not told of the new tool")
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case <-deadline:
			t.Errorf("not soon: %s", what)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

package attack

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"sallyport.dev/test/stack"
)

// received is one request as an upstream got it.
type received struct {
	method, uri, host string
	header, trailer   http.Header
	body              []byte
}

// upstream is a private MCP server that records what it gets and answers with
// the body that it was sent. It has MCP sessions, for those that begin one.
type upstream struct {
	url   string
	close func() // idle connections of
	bytes atomic.Int64

	mu    sync.Mutex // guards what follows
	list  []received
	ended map[string]bool // sessions that were deleted
	open  map[string]bool // sessions of HTTP+SSE
}

// newUpstream starts one that ends with the test. Requests are answered when
// wait returns, which may be nil.
func newUpstream(t *testing.T, wait func()) *upstream {
	t.Helper()
	return startUpstream(t, "127.0.0.1:0", nil, func(u *upstream, w http.ResponseWriter, r *http.Request, body []byte, n int) {
		if wait != nil {
			wait()
		}
		u.echo(w, r, body, n)
	})
}

// startUpstream starts one at an address, behind TLS if it is given, with the
// answer to request number n. Bytes are counted inside TLS.
func startUpstream(t *testing.T, address string, secure *tls.Config,
	answer func(u *upstream, w http.ResponseWriter, r *http.Request, body []byte, n int),
) *upstream {
	t.Helper()
	u := &upstream{ended: make(map[string]bool), open: make(map[string]bool)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the upstream got half a request: %v", err)
			return
		}
		answer(u, w, r, body, u.add(received{r.Method, r.RequestURI, r.Host, r.Header, r.Trailer, body}))
	}))
	_ = server.Listener.Close()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	scheme := "http://"
	if server.Listener = l; secure != nil {
		server.Listener, scheme = tls.NewListener(l, secure), "https://"
	}
	server.Listener = countingListener{server.Listener, &u.bytes}
	server.Start()
	u.url, u.close = scheme+l.Addr().String(), server.CloseClientConnections
	t.Cleanup(server.Close)
	return u
}

// echo answers request number n with its body, or with what its session has.
func (u *upstream) echo(w http.ResponseWriter, r *http.Request, body []byte, n int) {
	const header = "Mcp-Session-Id"
	session := r.Header.Get(header)
	u.mu.Lock()
	ended := u.ended[session]
	if session != "" && r.Method == http.MethodDelete {
		u.ended[session] = true
	}
	u.mu.Unlock()
	switch {
	case ended, r.Method != http.MethodPost && session == "":
		http.Error(w, "no such session", http.StatusNotFound)
		return
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
		return
	case r.Method == http.MethodGet:
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "id: %[1]s-1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"of\":%[1]q}}\n\n", session)
		return
	case bytes.Contains(body, []byte(`"initialize"`)):
		w.Header().Set(header, fmt.Sprintf("upstream-session-%d", n))
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(stack.Echo(body))
}

// legacy answers as a server of HTTP+SSE does, but for the messages: it knows
// the sessions whose streams are open.
func (u *upstream) legacy(w http.ResponseWriter, r *http.Request, _ []byte, n int) {
	session := fmt.Sprintf("upstream-session-%d", n)
	if r.Method == http.MethodPost {
		session = r.URL.Query().Get("sessionId")
		u.mu.Lock()
		open := u.open[session]
		u.mu.Unlock()
		if !open {
			http.Error(w, "no such session", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	u.mu.Lock()
	u.open[session] = true
	u.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprintf(w, "event: endpoint\ndata: /private?sessionId=%s\n\n", session)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
	u.mu.Lock()
	delete(u.open, session)
	u.mu.Unlock()
}

// add records a request and returns its number.
func (u *upstream) add(r received) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.list = append(u.list, r)
	return len(u.list)
}

// all returns the requests so far.
func (u *upstream) all() []received {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list[:len(u.list):len(u.list)]
}

// countingListener counts every byte that its connections read: the first one
// is contact, whether or not it becomes a request.
type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{conn, l.n}, nil
}

type countingConn struct {
	net.Conn
	n *atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n.Add(int64(n))
	return n, err
}

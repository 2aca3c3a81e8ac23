package attack

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
)

// received is one request as an upstream got it.
type received struct {
	method, uri, host string
	header, trailer   http.Header
	body              []byte
}

// upstream is a private MCP server that records what it gets and answers with
// the body that it was sent.
type upstream struct {
	url   string
	close func() // idle connections of
	bytes atomic.Int64

	mu   sync.Mutex // guards what follows
	list []received
}

// newUpstream starts one that ends with the test. Requests are answered when
// answer returns, which may be nil.
func newUpstream(t *testing.T, answer func()) *upstream {
	t.Helper()
	u := new(upstream)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the upstream got half a request: %v", err)
			return
		}
		u.mu.Lock()
		u.list = append(u.list, received{r.Method, r.RequestURI, r.Host, r.Header, r.Trailer, body})
		u.mu.Unlock()
		if answer != nil {
			answer()
		}
		if script, ok := scripts()[r.Header.Get(scriptField)]; ok {
			script(w)
			return
		}
		if bytes.Contains(body, []byte(`"initialize"`)) {
			w.Header().Set("Mcp-Session-Id", upstreamSession)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	}))
	server.Listener = countingListener{server.Listener, &u.bytes}
	server.Start()
	u.url, u.close = server.URL, server.CloseClientConnections
	t.Cleanup(server.Close)
	return u
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

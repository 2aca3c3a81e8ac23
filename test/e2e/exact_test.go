package e2e_test

import (
	"io"
	"net/http"
	"sync"
	"testing"

	"sallyport.dev/test/stack"
)

// seen is a request as an upstream got it.
type seen struct {
	method, host, uri string
	length            int64
	header            http.Header
	body              []byte
}

// exactUpstream keeps what it is sent and answers with bytes that no library
// has touched. The header X-Case chooses the answer.
type exactUpstream struct {
	url    string
	direct *http.Client // reaches it without a tunnel

	mu      sync.Mutex // guards what follows
	answers map[string]string
	last    *seen
}

func newExact(t *testing.T) *exactUpstream {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	u := &exactUpstream{answers: make(map[string]string), direct: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	u.url = serve(t, u.serve).URL + "/some/mcp"
	return u
}

func (u *exactUpstream) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	u.mu.Lock()
	u.last = &seen{r.Method, r.Host, r.RequestURI, r.ContentLength, r.Header.Clone(), body}
	raw, ok := u.answers[r.Header.Get("X-Case")]
	u.mu.Unlock()
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(stack.Echo(body))
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_, _ = io.WriteString(conn, raw)
	_ = conn.Close()
}

// answer makes the upstream answer a case with raw bytes.
func (u *exactUpstream) answer(name, raw string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answers[name] = raw
}

// take returns the last request and forgets it.
func (u *exactUpstream) take(t *testing.T) *seen {
	t.Helper()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.last == nil {
		t.Fatal("the upstream has seen no request")
	}
	last := u.last
	u.last = nil
	return last
}

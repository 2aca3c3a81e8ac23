// Package e2e_test drives the whole system over every transport and both
// versions of HTTP: bytes, streams, failures, restarts. It knows the parts only
// by what an agent, an upstream and an operator can see of them.
package e2e_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/cell"
	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

func TestMain(m *testing.M) {
	cell.Main()
	if knows := os.Getenv(childVariable); knows != "" {
		childMain(knows)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen soon, on a machine
// that has other things to do.
const patience = 15 * time.Second

// ids of calls are chosen so that a number type that rounds shows.
const (
	bigID    = "9007199254740993"
	pingBody = `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"x"}}`
)

// notice is an event that an upstream may send at any time.
const notice = `data: {"jsonrpc":"2.0","method":"notifications/message"}` + "\n\n"

// numbered is one of many such events.
func numbered(i int) string { return fmt.Sprintf(`data: {"method":"n","params":%d}`, i) + "\n\n" }

// eachWay runs a test over every transport and both versions of HTTP, with one
// stack a transport.
func eachWay(t *testing.T, servers func(t *testing.T) map[string]connector.Server, test func(t *testing.T, s *stack.Stack, agent *http.Client)) {
	t.Helper()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: servers(t)})
		bothVersions(t, func(t *testing.T, h2 bool) { test(t, s, s.Agent(t, h2)) })
	})
}

// eachTransport runs a test over every transport.
func eachTransport(t *testing.T, test func(t *testing.T, transport tunnel.Transport)) {
	t.Helper()
	for _, transport := range stack.Transports() {
		t.Run(string(transport), func(t *testing.T) { test(t, transport) })
	}
}

// bothVersions runs a test over HTTP/1.1 and HTTP/2.
func bothVersions(t *testing.T, test func(t *testing.T, h2 bool)) {
	t.Helper()
	t.Run("h1", func(t *testing.T) { test(t, false) })
	t.Run("h2", func(t *testing.T) { test(t, true) })
}

// serve starts an upstream that ends with the test.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	upstream := httptest.NewServer(h)
	t.Cleanup(func() {
		upstream.CloseClientConnections()
		upstream.Close()
	})
	return upstream
}

// one is the configuration of a single server.
func one(name, url string) map[string]connector.Server {
	return map[string]connector.Server{name: {URL: url, AllowPlaintext: true}}
}

// answer is a whole response.
type answer struct {
	status int
	header http.Header
	body   []byte
	err    error // of the body
}

// call makes a request and reads the whole response.
func call(t *testing.T, client *http.Client, r *http.Request) answer {
	t.Helper()
	got, err := whole(client, r)
	if err != nil {
		t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return got
}

// whole is call for goroutines other than the test's.
func whole(client *http.Client, r *http.Request) (answer, error) {
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 128<<20))
	return answer{resp.StatusCode, resp.Header, body, err}, nil
}

// post calls a server with a body and reads the whole response.
func post(t *testing.T, s *stack.Stack, agent *http.Client, server, body string) answer {
	t.Helper()
	r, err := s.Post(t.Context(), server, body)
	if err != nil {
		t.Fatal(err)
	}
	return call(t, agent, r)
}

// session begins an MCP session, whose id at the upstream is the given one, and
// returns what the agent has to send.
func (u *exactUpstream) session(t *testing.T, s *stack.Stack, agent *http.Client, server, original string) string {
	t.Helper()
	u.answer("session", sized(200, "Content-Type: application/json\r\nMcp-Session-Id: "+original+"\r\n", `{"jsonrpc":"2.0","id":1,"result":{}}`))
	r, err := s.Post(t.Context(), server, `{"jsonrpc":"2.0","id":1,"method":"initialize"}`)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Case", "session")
	got := call(t, agent, r)
	u.take(t)
	id := got.header.Get("Mcp-Session-Id")
	if id == "" {
		t.Fatalf("no MCP session: status %d, %s", got.status, got.body)
	}
	return id
}

// refusal is the JSON-RPC error of an answer or event.
type refusal struct {
	ID    json.RawMessage `json:"id"`
	Error struct {
		Code int `json:"code"`
		Data struct {
			Reason    string `json:"reason"`
			Delivered string `json:"delivered"`
			RequestID string `json:"request_id"`
			Rule      string `json:"rule"`
		} `json:"data"`
	} `json:"error"`
}

// mustRefuse fails unless the answer is the given row of the error table.
func mustRefuse(t *testing.T, got answer, status, code int, delivered string) refusal {
	t.Helper()
	var e refusal
	if err := json.Unmarshal(got.body, &e); err != nil || got.err != nil {
		t.Fatalf("status %d, body %q: %v, %v", got.status, got.body, err, got.err)
	}
	if got.status != status || e.Error.Code != code || e.Error.Data.Delivered != delivered {
		t.Fatalf("status %d, body %s\nwant status %d, code %d, delivered %s", got.status, got.body, status, code, delivered)
	}
	if string(e.ID) != bigID && string(e.ID) != "null" {
		t.Errorf("the error answers the id %s", e.ID)
	}
	if e.Error.Data.RequestID == "" {
		t.Error("the error has no request id")
	}
	return e
}

// eventError returns the error of the last event of a stream, which must be
// the given number of events long.
func eventError(t *testing.T, stream []byte, events int) refusal {
	t.Helper()
	parts := strings.Split(strings.TrimSuffix(string(stream), "\n\n"), "\n\n")
	if len(parts) != events {
		t.Fatalf("%d events, want %d: %q", len(parts), events, stream)
	}
	_, data, ok := strings.Cut(parts[len(parts)-1], "data: ")
	var e refusal
	if err := json.Unmarshal([]byte(data), &e); !ok || err != nil {
		t.Fatalf("the last event is no error: %q", stream)
	}
	return e
}

// within fails the test unless done is closed soon.
func within(t *testing.T, d time.Duration, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(d):
		t.Fatalf("not within %s: %s", d, what)
	}
}

// until polls for a condition that nothing signals.
func until(t *testing.T, d time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !holds() {
		if time.Since(start) > d {
			t.Fatalf("not within %s: %s", d, what)
		}
		pause(t, 10*time.Millisecond)
	}
	return time.Since(start)
}

// pause waits, or less if the test ends.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// records returns the lines of the stack's log with a message.
func records(s *stack.Stack, msg string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(s.Log.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == msg {
			found = append(found, record)
		}
	}
	return found
}

// attached waits until the gateway has n sessions more than before.
func attached(t *testing.T, s *stack.Stack, n int) {
	t.Helper()
	until(t, patience, fmt.Sprintf("%d sessions", n), func() bool { return len(records(s, "connector attached")) >= n })
}

// hits counts the requests that an upstream has seen, by the JSON-RPC id.
type hits struct {
	mu    sync.Mutex // guards count
	count map[string]int
}

func (h *hits) add(body []byte) {
	var message struct{ ID json.RawMessage }
	_ = json.Unmarshal(body, &message)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == nil {
		h.count = make(map[string]int)
	}
	h.count[string(message.ID)]++
}

func (h *hits) of(id string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[id]
}

// readEvent reads one event, up to and with the empty line that ends it.
func readEvent(r io.Reader) ([]byte, error) {
	var event []byte
	b := make([]byte, 1)
	for !bytes.HasSuffix(event, []byte("\n\n")) {
		n, err := r.Read(b)
		event = append(event, b[:n]...)
		if err != nil && n == 0 {
			return event, err
		}
	}
	return event, nil
}

// roots reads the gateway's CA file.
func roots(t *testing.T, path string) *x509.CertPool {
	t.Helper()
	pem, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

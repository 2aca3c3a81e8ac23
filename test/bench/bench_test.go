// Package bench_test measures one call through a whole Sallyport in one process. It does not know of other machines: the
// figures of separate processes come from test/bench/figures.
package bench_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/gateway"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	callBody   = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"revenue","limit":10}}}`
	answerBody = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"ten documents match"}],"isError":false}}`
)

// BenchmarkCall is a small call from the gateway's handler to the upstream and back. What it allocates is the sum of both
// sides of the tunnel; the upstream and the agent allocate next to nothing.
func BenchmarkCall(b *testing.B) {
	for _, transport := range stack.Transports() {
		b.Run(string(transport), func(b *testing.B) {
			handler := start(b, stack.Options{Transport: transport})
			b.Run("alone", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					call(b, handler)
				}
			})
			b.Run("parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.SetParallelism(32)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						call(b, handler)
					}
				})
			})
		})
	}
}

// BenchmarkCredentials is the same call to a server without credentials, and to one with eight in headers of their own.
func BenchmarkCredentials(b *testing.B) {
	for _, many := range []int{0, 8} {
		b.Run(strconv.Itoa(many), func(b *testing.B) {
			handler := start(b, stack.Options{}, keys(b, many)...)
			b.ReportAllocs()
			for b.Loop() {
				call(b, handler)
			}
		})
	}
}

// keys returns so many credentials, whose secrets are in files.
func keys(t testing.TB, many int) (keys []connector.Credential) {
	t.Helper()
	for i := range many {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, fmt.Appendf(nil, "bench-key-%d-Zq7Lw2nXv9Rb4Kt0PdFg", i), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil { // not new, so it is not read each time
			t.Fatal(err)
		}
		ref, err := secret.ParseRef("file:" + path)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, connector.Credential{Header: &inject.Header{Name: fmt.Sprintf("X-Key-%d", i), Template: "{secret}"}, Secret: ref})
	}
	return keys
}

// TestCall keeps the benchmark working.
func TestCall(t *testing.T) {
	for _, transport := range stack.Transports() {
		handler := start(t, stack.Options{Transport: transport}, keys(t, 2)...)
		for range 3 {
			call(t, handler)
		}
	}
}

// start runs a stack, without logs, whose only server is a canned upstream, and returns the gateway's chain.
func start(t testing.TB, o stack.Options, keys ...connector.Credential) http.Handler {
	t.Helper()
	o.Servers = map[string]connector.Server{"canned": {URL: "http://" + canned(t) + "/mcp", Credentials: keys, AllowPlaintext: len(keys) > 0}}
	o.Gateway = func(c *gateway.Config) { c.Logger = nil }
	o.Connector = func(c *connector.Config) { c.Logger = nil }
	s := stack.New(t, o)
	handler := s.Gateway.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = s.Addr
		handler.ServeHTTP(w, r)
	})
}

// call makes one call and insists on its answer.
func call(t testing.TB, handler http.Handler) {
	r := httptest.NewRequest(http.MethodPost, "/t/"+stack.Tunnel+"/canned/mcp", strings.NewReader(callBody))
	h := r.Header
	h["Content-Type"] = []string{"application/json"}
	h["Accept"] = []string{"application/json, text/event-stream"}
	h["Mcp-Protocol-Version"] = []string{"2025-11-25"}
	h["Authorization"] = []string{"Bearer " + stack.AgentToken}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Body.String() != answerBody {
		t.Fatalf("status %d, body %q", w.Code, w.Body)
	}
}

// canned is an upstream that reads heads and bodies of the one length and answers with fixed bytes.
func canned(t testing.TB) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(answerBody), answerBody)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(conn, answer)
		}
	}()
	return l.Addr().String()
}

// answerAll answers each request until the connector hangs up.
func answerAll(conn net.Conn, answer []byte) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return
		}
		if len(line) > 2 {
			continue
		}
		if _, err := reader.Discard(len(callBody)); err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

package mcp

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// memory is a listener whose connections are pipes in memory.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.once.Do(func() { close(m.done) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

// serve runs a real http.Server over memory and returns how to dial it. protocols may be nil for HTTP/1.1. It belongs
// into a synctest bubble: after a body that it left unread, net/http lingers for half a second.
func serve(t *testing.T, h http.Handler, protocols *http.Protocols) (dial func() net.Conn) {
	t.Helper()
	listener := &memory{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: h, Protocols: protocols}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		_ = server.Close()
		running.Wait()
		time.Sleep(time.Second)
	})
	return func() net.Conn {
		ours, theirs := net.Pipe()
		listener.conns <- theirs
		t.Cleanup(func() { _ = ours.Close() })
		return ours
	}
}

// send writes raw bytes in the background, so that a server that stops reading does not block the test, and returns
// the reader of the answers.
func send(t *testing.T, conn net.Conn, raw string) *bufio.Reader {
	t.Helper()
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = io.WriteString(conn, raw) })
	t.Cleanup(func() {
		_ = conn.Close()
		wait.Wait()
	})
	return bufio.NewReader(conn)
}

// answer reads one response.
func answer(t *testing.T, from *bufio.Reader) (*http.Response, string) {
	t.Helper()
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response, string(body)
}

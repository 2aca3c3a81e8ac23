package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sallyport.dev/test/stack"
)

// forwarder stands before every server, because the suite has no way to send a
// token: it adds the token to each request, and names the server where the
// request names the forwarder. Every other byte passes as it is, in both
// directions; net/http's proxy would write each head anew.
type forwarder struct {
	listener net.Listener
	target   string // host:port
	dialer   interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	}

	mu    sync.Mutex // guards conns and ended
	conns map[net.Conn]bool
	ended bool
}

// listen opens a port that is closed with the test.
func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func (f *forwarder) address() string { return f.listener.Addr().String() }

// run forwards until the test ends.
func (f *forwarder) run(t *testing.T) {
	f.conns = make(map[net.Conn]bool)
	ctx := t.Context()
	var crew sync.WaitGroup
	crew.Go(func() {
		for {
			here, err := f.listener.Accept()
			if err != nil {
				return
			}
			crew.Go(func() {
				if err := f.connect(ctx, here); err != nil && ctx.Err() == nil {
					t.Errorf("forwarder: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = f.listener.Close()
		f.end()
		crew.Wait()
	})
}

// connect joins a connection of the suite to one of the server. When one of
// them ends, it ends the other.
func (f *forwarder) connect(ctx context.Context, here net.Conn) error {
	defer f.drop(here)
	if !f.keep(here) {
		return nil
	}
	there, err := f.dialer.DialContext(ctx, "tcp", f.target)
	if err != nil {
		return fmt.Errorf("dial the server: %w", err)
	}
	defer f.drop(there)
	if !f.keep(there) {
		return nil
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		_, _ = io.Copy(here, there) // either may hang up at any time
		f.drop(here)
	})
	err = f.requests(there, bufio.NewReader(here))
	f.drop(there)
	answers.Wait()
	return err
}

// errFraming says that it cannot be told where a request ends. The suite
// announces the length of every body; one that does not needs more code here.
var errFraming = errors.New("a request has Transfer-Encoding")

// requests copies one request after the other. Either side may hang up at any
// time.
func (f *forwarder) requests(to io.Writer, from *bufio.Reader) error {
	for {
		head, body, err := f.head(from)
		if errors.Is(err, errFraming) {
			return err
		}
		if err == nil {
			_, err = to.Write(head)
		}
		if err == nil {
			_, err = io.CopyN(to, from, body)
		}
		if err != nil {
			return nil //nolint:nilerr // somebody has hung up
		}
	}
}

// head reads the head of a request, changes what must be changed, and returns
// it with the length of the body.
func (f *forwarder) head(from *bufio.Reader) (head []byte, body int64, err error) {
	for {
		line, err := from.ReadBytes('\n')
		if err != nil {
			return nil, 0, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch strings.ToLower(string(name)) {
		case "\r\n":
			return fmt.Appendf(head, "Authorization: Bearer %s\r\n\r\n", stack.AgentToken), body, nil
		case "host": // a foreign one stays: it is for the server to refuse
			if string(value) == f.address() {
				line = fmt.Appendf(nil, "%s: %s\r\n", name, f.target)
			}
		case "content-length":
			if body, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return nil, 0, err
			}
		case "transfer-encoding":
			return nil, 0, errFraming
		}
		head = append(head, line...)
	}
}

// keep remembers a connection for end. It reports false if that has come.
func (f *forwarder) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.conns[conn] = true
	return !f.ended
}

func (f *forwarder) drop(conn net.Conn) {
	f.mu.Lock()
	delete(f.conns, conn)
	f.mu.Unlock()
	_ = conn.Close()
}

// end closes all connections, and those to come.
func (f *forwarder) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for conn := range f.conns {
		_ = conn.Close()
	}
}

// TestForwarderChangesNothingElse sends what no writer of net/http writes.
func TestForwarderChangesNothingElse(t *testing.T) {
	server := listen(t)
	f := &forwarder{listener: listen(t), target: server.Addr().String(), dialer: new(net.Dialer)}
	f.run(t)
	suite, err := net.Dial("tcp", f.address())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = suite.Close() }()
	there, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = there.Close() }()
	pass := func(from, to net.Conn, sent, want string) {
		t.Helper()
		if _, err := io.WriteString(from, sent); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(to, got); err != nil || string(got) != want {
			t.Errorf("%v, got\n%q\nwant\n%q", err, got, want)
		}
	}
	const token = "Authorization: Bearer " + stack.AgentToken + "\r\n\r\n"
	const rest = "mcp-METHOD:  tools/list\r\ncontent-length: 17\r\nx:\r\n"
	const body = "{\"host: a\" \r\n\r\n\x00\xff"
	pass(suite, there, "POST /a%2fb?c HTTP/1.1\r\nhOst: "+f.address()+"\r\n"+rest+"\r\n"+body, "POST /a%2fb?c HTTP/1.1\r\nhOst: "+f.target+"\r\n"+rest+token+body)
	const answer = "HTTP/1.1 200 Fine\r\nset-Cookie: a\r\ntransfer-encoding: chunked\r\n\r\n5;x\r\ndata:"
	pass(there, suite, answer, answer) // and the stream stays open
	pass(there, suite, "\r\n0\r\n\r\n", "\r\n0\r\n\r\n")
	pass(suite, there, "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", "GET / HTTP/1.1\r\nHost: evil.example.com\r\n"+token)
	_ = there.Close()
	if n, err := suite.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("after the server has hung up: %d bytes, %v", n, err)
	}
}

package attack

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// caseHeader chooses the script by which the hostile upstream answers.
const caseHeader = "X-Case"

// script answers one request in bytes that no library has touched. The
// connection is closed when it returns.
type script struct {
	early bool // before the body is read
	play  func(conn net.Conn)
}

// raw writes bytes and hangs up.
func raw(text ...string) *script {
	return &script{play: func(conn net.Conn) { _, _ = io.WriteString(conn, strings.Join(text, "")) }}
}

// linger writes bytes and waits until the other side hangs up.
func linger(text string) *script {
	return &script{play: func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_, _ = io.Copy(io.Discard, conn)
	}}
}

// drip writes a beginning, and then a piece after each pause, without an end.
func drip(begin, piece string, pause time.Duration) *script {
	return &script{play: func(conn net.Conn) {
		_, err := io.WriteString(conn, begin)
		for err == nil {
			time.Sleep(pause)
			_, err = io.WriteString(conn, piece)
		}
	}}
}

const (
	asJSON   = "Content-Type: application/json\r\n"
	asEvents = "Content-Type: text/event-stream\r\n"
	answered = `{"jsonrpc":"2.0","id":1,"result":{}}`
)

// sized and chunked make whole answers of status 200.
func sized(head, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
}

func chunked(head string, pieces ...string) string {
	return openChunks(head, pieces...) + "0\r\n\r\n"
}

// openChunks makes one that has no end.
func openChunks(head string, pieces ...string) string {
	text := "HTTP/1.1 200 OK\r\nConnection: close\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n"
	for _, piece := range pieces {
		text += strconv.FormatInt(int64(len(piece)), 16) + "\r\n" + piece + "\r\n"
	}
	return text
}

// scriptsOf collects the scripts of all attacks.
func scriptsOf(groups []group) map[string]*script {
	all := make(map[string]*script)
	for _, g := range groups {
		for _, a := range g.attacks {
			if a.script != nil {
				all[a.key] = a.script
			}
		}
	}
	return all
}

// newHostile starts an upstream that answers by the scripts, and honestly what
// names none.
func newHostile(t *testing.T, scripts map[string]*script) *upstream {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{url: "http://" + l.Addr().String()}
	var crew sync.WaitGroup
	var mu sync.Mutex // guards open
	open := make(map[net.Conn]bool)
	u.close = func() {
		mu.Lock()
		defer mu.Unlock()
		for conn := range maps.Keys(open) {
			_ = conn.Close()
		}
	}
	crew.Go(func() {
		for {
			conn, err := countingListener{l, &u.bytes}.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			crew.Go(func() {
				u.perform(conn, scripts)
				mu.Lock()
				defer mu.Unlock()
				_ = conn.Close()
				delete(open, conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		u.close()
		crew.Wait()
	})
	return u
}

// perform takes one request and plays its script.
func (u *upstream) perform(conn net.Conn, scripts map[string]*script) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	s := scripts[r.Header.Get(caseHeader)]
	if s == nil {
		s = raw(sized(asJSON, answered))
	}
	var body []byte
	if !s.early {
		if body, err = io.ReadAll(r.Body); err != nil {
			return
		}
	}
	u.add(received{r.Method, r.RequestURI, r.Host, r.Header, r.Trailer, body})
	s.play(conn)
}

// played counts the requests that asked for a script.
func (u *upstream) played(key string) (n int) {
	for _, r := range u.all() {
		if r.header.Get(caseHeader) == key {
			n++
		}
	}
	return n
}

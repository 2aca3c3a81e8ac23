package gateway

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"
)

func itoa(n int) string { return strconv.Itoa(n) }

// askOn writes a request and reads the whole answer.
func askOn(t testing.TB, conn net.Conn, request string) (status int, answer string) {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// readRequest reads one whole request as a connector does.
func readRequest(conn net.Conn) (*http.Request, []byte, error) {
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err
}

// answering reads the request and writes this answer.
func answering(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		defer conn.Close()
		if _, _, err := readRequest(conn); err != nil {
			return
		}
		_, _ = io.WriteString(conn, answer)
		_, _ = io.Copy(io.Discard, conn) // the opener closes
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

// reason returns data.reason and data.delivered of an error answer.
func reason(body []byte) (reason, delivered string) {
	return member(body, `"reason":"`), member(body, `"delivered":"`)
}

func member(body []byte, key string) string {
	_, rest, ok := bytes.Cut(body, []byte(key))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}

func newPipeConns() (here, there net.Conn) { return net.Pipe() }

func newWeighted(n int64) *semaphore.Weighted {
	w := semaphore.NewWeighted(n)
	w.TryAcquire(1)
	return w
}

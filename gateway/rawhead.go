package gateway

import (
	"bytes"
	"errors"
	"net"
)

// net/http forgives what a strict reader of RFC 9112 must not: both
// Content-Length and Transfer-Encoding, bare line feeds, folded headers. Two
// readers that disagree on where a request ends are what request smuggling is
// made of, and once net/http has parsed a head the evidence is gone. So the
// bytes of HTTP/1.1 connections pass a rawConn first, which hands net/http one
// whole strict head at a time and follows the framing of the bodies. Of a head
// that is still coming it hands on four bytes, on which net/http begins to count
// the time that a head may take.

const (
	maxHead      = 32 << 10 // bytes of a request line and its fields, as in http.Server.MaxHeaderBytes
	maxChunkLine = 18       // 16 hex digits and CRLF: no chunk extensions
	maxTrailer   = 4 << 10
	rawReadSize  = 2 << 10
	headSlop     = 4 << 10 // what net/http reads beyond its limit of a head
	minRawRead   = 512     // room for one read; with less the buffer doubles
	earlyBytes   = 4       // how many net/http waits for before it times a head
)

var (
	errFraming = errors.New("gateway: request framing that RFC 9112 forbids")
	errHead    = errors.New("gateway: request head that is too large")
)

// poisonedHead is what net/http is given in place of a forbidden head: it
// answers it with 400 in its own time, behind the answers still under way, and
// closes the connection.
// Behind any four bytes of one line it is as malformed as alone.
const poisonedHead = "\x00 / HTTP/1.1\r\n\r\n"

// endlessHead stands for a head that is too large, which net/http answers with
// 431: it reads 4 KiB above MaxHeaderBytes before it gives up.
func endlessHead() []byte { return bytes.Repeat([]byte("a"), maxHead+headSlop+1) }

// rawConn is an HTTP/1.1 connection whose Read lets only strict framing by.
// Only one goroutine reads at a time, as net/http does.
type rawConn struct {
	net.Conn
	buf     []byte // where in begins when it is empty
	in      []byte // read, not yet judged
	out     []byte // judged, to be handed on
	early   int    // bytes at the beginning of in that have been handed on
	framing framing
	err     error // after out
}

// CloseWrite lets net/http say its last word before it hangs up.
func (c *rawConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

func (c *rawConn) Read(p []byte) (int, error) {
	for len(c.out) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.out)
	c.out = c.out[n:]
	return n, nil
}

// fill judges what is there, and reads more if that is not enough.
func (c *rawConn) fill() error {
	if len(c.in) > 0 {
		n, err := c.framing.judge(c.in)
		switch {
		case errors.Is(err, errHead):
			c.err, c.out = err, endlessHead()
			return nil
		case err != nil:
			c.err = err
			if c.framing.inHead() {
				c.out = []byte(poisonedHead)
			}
			return nil
		case n > 0:
			c.out, c.in, c.early = c.in[c.early:n], c.in[n:], 0
			return nil
		case c.framing.inHead() && c.early == 0 && len(c.in) >= earlyBytes && bytes.IndexByte(c.in[:earlyBytes], '\r') < 0:
			c.out, c.early = c.in[:earlyBytes], earlyBytes
			return nil
		}
	}
	c.makeRoom()
	n, err := c.Conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom leaves room to read behind in. Nothing of out is left when it runs.
func (c *rawConn) makeRoom() {
	switch {
	case len(c.in) == 0 && cap(c.buf) == rawReadSize:
		c.in = c.buf[:0]
	case len(c.in) == 0:
		c.buf = make([]byte, 0, rawReadSize) // also in place of one that a large head has left
		c.in = c.buf
	case cap(c.in)-len(c.in) < minRawRead:
		c.buf = append(make([]byte, 0, 2*len(c.in)+rawReadSize), c.in...)
		c.in = c.buf
	}
}

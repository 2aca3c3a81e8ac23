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
// whole strict head at a time and follows the framing of the bodies.

const (
	maxHead      = 32 << 10 // bytes of a request line and its fields, as in http.Server.MaxHeaderBytes
	maxChunkLine = 18       // 16 hex digits and CRLF: no chunk extensions
	maxTrailer   = 4 << 10
	rawReadSize  = 4 << 10
)

var errFraming = errors.New("gateway: request framing that RFC 9112 forbids")

// poisonedHead is what net/http is given in place of a forbidden head: it
// answers it with 400 in its own time, behind the answers still under way, and
// closes the connection.
const poisonedHead = "\x00 / HTTP/1.1\r\n\r\n"

// rawConn is an HTTP/1.1 connection whose Read lets only strict framing by.
// Only one goroutine reads at a time, as net/http does.
type rawConn struct {
	net.Conn
	in      []byte // read, not yet judged
	out     []byte // judged, to be handed on
	framing framing
	err     error // after out
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
		if err != nil {
			c.err = errFraming
			if c.framing.inHead() {
				c.out = []byte(poisonedHead)
			}
			return nil
		}
		if n > 0 {
			c.out, c.in = c.in[:n], c.in[n:]
			return nil
		}
	}
	c.in = append(make([]byte, 0, len(c.in)+rawReadSize), c.in...)
	n, err := c.Conn.Read(c.in[len(c.in):cap(c.in)])
	c.in = c.in[:len(c.in)+n]
	if n > 0 {
		return nil
	}
	return err
}

// framing says which bytes of a stream of requests may pass.
type framing struct {
	state   framingState
	left    uint64 // bytes of the body or chunk that are still to come
	trailer int    // bytes of trailer so far
}

type framingState uint8

const (
	atHead framingState = iota
	inBody
	atChunkSize
	inChunk
	afterChunk
	inTrailer
)

func (f *framing) inHead() bool { return f.state == atHead }

// judge returns how many bytes at the beginning of in may pass now, 0 if more
// must be read first, or an error if what comes is forbidden.
func (f *framing) judge(in []byte) (int, error) {
	switch f.state {
	case inBody:
		return f.pass(in, atHead), nil
	case inChunk:
		return f.pass(in, afterChunk), nil
	case atHead:
		return f.judgeHead(in)
	case atChunkSize:
		return f.judgeChunkSize(in)
	case afterChunk:
		if len(in) < 2 {
			return 0, nil
		}
		if in[0] != '\r' || in[1] != '\n' {
			return 0, errFraming
		}
		f.state = atChunkSize
		return 2, nil
	default:
		return f.judgeTrailerLine(in)
	}
}

// pass lets the bytes of a body or chunk by, and enters next behind them.
func (f *framing) pass(in []byte, next framingState) int {
	n := min(f.left, uint64(len(in)))
	if f.left -= n; f.left == 0 {
		f.state = next
	}
	return int(n)
}

// judgeHead passes a head when all of it is there and strict.
func (f *framing) judgeHead(in []byte) (int, error) {
	end := bytes.Index(in, []byte("\r\n\r\n"))
	head := in
	if end >= 0 {
		head = in[:end+4]
	}
	if len(head) > maxHead || bytes.HasPrefix(head, []byte("\r\n")) || !crlfOnly(head, end < 0) {
		return 0, errFraming
	}
	if end < 0 {
		if len(in) >= maxHead {
			return 0, errFraming
		}
		return 0, nil
	}
	if err := f.judgeFields(head[:end+2]); err != nil {
		return 0, err
	}
	return len(head), nil
}

// crlfOnly reports that every CR is followed by LF and every LF preceded by
// CR. The last CR of an unfinished piece is judged with the next.
func crlfOnly(b []byte, unfinished bool) bool {
	for i, c := range b {
		switch {
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			return false
		case c == '\r' && i+1 < len(b) && b[i+1] != '\n':
			return false
		case c == '\r' && i+1 == len(b) && !unfinished:
			return false
		}
	}
	return true
}

// judgeFields reads the framing of one request from its head, which ends in
// CRLF: the request line, then fields.
func (f *framing) judgeFields(head []byte) error {
	_, fields, _ := bytes.Cut(head, []byte("\r\n"))
	var lengths, codings int
	var length uint64
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || len(name) == 0 || bytes.ContainsAny(name, " \t") { // a folded line begins with space
			return errFraming
		}
		switch value = bytes.Trim(value, " \t"); {
		case equalFold(name, "content-length"):
			n, ok := parseLength(value)
			if lengths++; !ok || lengths > 1 {
				return errFraming
			}
			length = n
		case equalFold(name, "transfer-encoding"):
			if codings++; codings > 1 || !equalFold(value, "chunked") {
				return errFraming
			}
		}
	}
	switch {
	case lengths > 0 && codings > 0:
		return errFraming
	case codings > 0:
		f.state, f.trailer = atChunkSize, 0
	case length > 0:
		f.state, f.left = inBody, length
	}
	return nil
}

func equalFold(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

// parseLength accepts 1*DIGIT (RFC 9110 §8.6) up to 18 digits.
func parseLength(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// judgeChunkSize passes a chunk-size line: hex digits and CRLF, nothing else.
func (f *framing) judgeChunkSize(in []byte) (int, error) {
	end := bytes.IndexByte(in[:min(len(in), maxChunkLine)], '\n')
	if end < 0 {
		if len(in) >= maxChunkLine {
			return 0, errFraming
		}
		return 0, nil
	}
	if end < 2 || in[end-1] != '\r' {
		return 0, errFraming
	}
	var size uint64
	for _, c := range in[:end-1] {
		digit, ok := unhex(c)
		if !ok {
			return 0, errFraming
		}
		size = size<<4 | digit
	}
	f.state, f.left = inChunk, size
	if size == 0 {
		f.state = inTrailer
	}
	return end + 1, nil
}

func unhex(c byte) (uint64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return uint64(c-'A') + 10, true
	}
	return 0, false
}

// judgeTrailerLine passes one line of the trailer; an empty one ends it.
func (f *framing) judgeTrailerLine(in []byte) (int, error) {
	end := bytes.IndexByte(in, '\n')
	line := in
	if end >= 0 {
		line = in[:end+1]
	}
	if f.trailer+len(line) > maxTrailer {
		return 0, errFraming
	}
	if end < 0 {
		return 0, nil
	}
	if end == 0 || in[end-1] != '\r' || bytes.IndexByte(in[:end-1], '\r') >= 0 {
		return 0, errFraming
	}
	f.trailer += len(line)
	if end == 1 {
		f.state = atHead
	}
	return end + 1, nil
}

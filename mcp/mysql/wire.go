package mysql

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"
)

const (
	// headSize is the length of a packet's head: three bytes of length and one of sequence
	// (https://mariadb.com/kb/en/0-packet/).
	headSize = 4
	// maxGreeting bounds the server's first packet, in bytes; servers send about 100.
	maxGreeting = 4 << 10
	// goodbye is how long the last words to a server may take that does not listen any more.
	goodbye = 200 * time.Millisecond
)

// Bytes of the protocol (https://mariadb.com/kb/en/clientserver-protocol/).
const (
	commandQuery   = 0x03
	commandPrepare = 0x16
	commandExecute = 0x17

	answerOK    = 0x00
	answerFile  = 0xfb // the server asks for a file of ours
	longCount   = 0xfc // a count of two bytes follows
	answerError = 0xff

	canLocalFiles = 0x80
	canSSL        = 0x800
)

var (
	errTooLong  = errors.New("mysql: the server has sent more than a statement may return")
	errNoTLS    = errors.New("mysql: the server offers no TLS")
	errProtocol = errors.New("mysql: the server does not keep to the protocol")
)

// wire is the network connection that the library reads from and writes to. It sees the head of each packet, and so it can say
// how many columns a prepared statement has, which the library keeps for itself, bound what the server sends before room is made
// for it, and refuse to hand out files. It also does TLS itself, since it could not look into that of the library: so packets of
// the login have other sequence numbers on the two sides.
//
// One goroutine reads and writes; any may close.
type wire struct {
	raw  net.Conn
	conn net.Conn // raw, or TLS over it
	in   *bufio.Reader
	tls  *tls.Config // nil for none
	dead atomic.Bool // the socket is not to be written to any more

	// greeted and loggedIn say how far the login is; shift is what our packet of TLS has added to sequence numbers.
	greeted, loggedIn bool
	shift             byte
	// command is the last one, and asked says that its answer has not begun.
	command byte
	asked   bool

	head  []byte // of the packet that is read, as far as it is not handed on
	space [headSize]byte
	body  int   // how many bytes of the packet are not read
	left  int64 // how many bytes may still come

	// failure is why nothing more is read, if that was decided here.
	failure error
	// id and version are what the server says of this connection and of itself.
	id      uint32
	version string
	// columns is how many the last prepared statement returns.
	columns int
}

func newWire(raw net.Conn, config *tls.Config, budget int64) *wire {
	return &wire{raw: raw, conn: raw, in: bufio.NewReaderSize(raw, 32<<10), tls: config, left: budget}
}

// allow says how many bytes may come from now on.
func (w *wire) allow(budget int64) { w.left = budget }

// Read implements net.Conn.
func (w *wire) Read(b []byte) (int, error) {
	if len(w.head) == 0 && w.body == 0 {
		if err := w.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, w.head)
	w.head = w.head[n:]
	if n == len(b) || w.body == 0 || n > 0 && w.in.Buffered() == 0 {
		return n, nil
	}
	m, err := w.in.Read(b[n:min(len(b), n+w.body)])
	w.body -= m
	return n + m, err
}

// next takes the head of the next packet, and a look at the packet.
func (w *wire) next() error {
	if w.failure != nil {
		return w.failure
	}
	if _, err := io.ReadFull(w.in, w.space[:]); err != nil {
		return err
	}
	size := int(w.space[0]) | int(w.space[1])<<8 | int(w.space[2])<<16
	if w.left -= int64(size) + headSize; w.left < 0 {
		w.failure = errTooLong
		return w.failure
	}
	switch {
	case !w.greeted:
		w.greeted = true
		w.failure = w.greeting(size)
	case !w.loggedIn:
		w.space[3] -= w.shift
	case w.asked:
		w.asked = false
		w.failure = w.answer(size)
	}
	if w.failure != nil {
		return w.failure
	}
	w.head, w.body = w.space[:], size
	return nil
}

// greeting looks at the first packet of the server (https://mariadb.com/kb/en/connection/#initial-handshake-packet).
func (w *wire) greeting(size int) error {
	if size == 0 || size > maxGreeting {
		return errProtocol
	}
	b, err := w.in.Peek(size)
	if err != nil {
		return err
	}
	if b[0] == answerError {
		return nil
	}
	end := 1
	for end < len(b) && b[end] != 0 {
		end++
	}
	const toCapabilities = 1 + 4 + 8 + 1 // after the version: NUL, id, scramble, filler
	if len(b) < end+toCapabilities+31 {
		return errProtocol // too old a server, or none
	}
	w.version = string(b[1:end])
	w.id = binary.LittleEndian.Uint32(b[end+1:])
	if w.tls != nil && binary.LittleEndian.Uint16(b[end+toCapabilities:])&canSSL == 0 {
		return errNoTLS
	}
	return nil
}

// answer looks at the first packet that answers a command.
func (w *wire) answer(size int) error {
	b, err := w.in.Peek(min(size, 12))
	switch {
	case err != nil:
		return err
	case len(b) == 0:
		return errProtocol
	case b[0] == answerError:
		if len(b) < 3 {
			return errProtocol
		}
		return nil
	}
	switch w.command {
	case commandPrepare:
		if b[0] != answerOK || len(b) < 12 {
			return errProtocol
		}
		w.columns = int(binary.LittleEndian.Uint16(b[5:]))
	case commandQuery, commandExecute:
		if b[0] == answerFile || b[0] > longCount { // no result has more columns than two bytes can count
			return errProtocol
		}
	}
	return nil
}

// Write implements net.Conn. The library writes a whole packet at a time.
func (w *wire) Write(b []byte) (int, error) {
	switch {
	case w.dead.Load():
		return 0, net.ErrClosed
	case len(b) <= headSize:
		if len(b) < headSize || w.loggedIn {
			return 0, errProtocol // an empty packet ends a file, and there is none to send
		}
	case !w.loggedIn && b[3] == 0:
		w.loggedIn = true
	}
	switch {
	case !w.greeted:
		return 0, errProtocol
	case w.loggedIn:
		if b[3] == 0 {
			w.command, w.asked, w.columns = b[4], true, 0
		}
		return w.conn.Write(b)
	case w.shift == 0 && b[3] == 1:
		return w.hello(b)
	}
	shifted := append([]byte(nil), b...)
	shifted[3] += w.shift
	return w.conn.Write(shifted)
}

// hello sends the first packet of ours, after TLS has begun if that is wanted. It takes back that we would send files.
func (w *wire) hello(b []byte) (int, error) {
	const fixed = 32 // bytes that the request for TLS and the answer to the greeting have in common
	if len(b) < headSize+fixed {
		return 0, errProtocol
	}
	out := append([]byte(nil), b...)
	can := binary.LittleEndian.Uint32(out[headSize:]) &^ canLocalFiles
	if w.tls != nil {
		can |= canSSL
	}
	binary.LittleEndian.PutUint32(out[headSize:], can)
	if w.tls == nil {
		return w.conn.Write(out)
	}
	if w.in.Buffered() > 0 { // whoever sent it would be heard as if it came through TLS
		w.failure = errProtocol
		return 0, w.failure
	}
	request := append([]byte{fixed, 0, 0, out[3]}, out[headSize:headSize+fixed]...)
	if _, err := w.raw.Write(request); err != nil {
		return 0, err
	}
	secured := tls.Client(w.raw, w.tls)
	if err := secured.Handshake(); err != nil { //nolint:noctx // the library closes the connection when its context ends
		w.failure = err
		return 0, err
	}
	w.conn, w.shift = secured, 1
	w.in.Reset(secured)
	out[3] += w.shift
	return secured.Write(out)
}

// abandon ends the connection as it is, without a last word.
func (w *wire) abandon() {
	w.dead.Store(true)
	w.raw.Close()
}

// Close implements net.Conn.
func (w *wire) Close() error { return w.raw.Close() }

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return w.raw.LocalAddr() }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return w.raw.RemoteAddr() }

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error { return w.raw.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(t time.Time) error { return w.raw.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(t time.Time) error { return w.raw.SetWriteDeadline(t) }

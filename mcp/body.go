package mcp

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// bodyReader reads one request body within its bounds of length, time and memory.
type bodyReader struct {
	cfg     *InspectConfig
	control *http.ResponseController
	src     io.Reader
	length  int64 // announced, or -1

	begun   time.Time
	seconds int64 // of MinBodyRate that the deadline has granted
	timed   bool  // a deadline is set
	ended   bool  // the end of the body was seen
	held    int64 // bytes taken from the budget
}

// firstBuffer is what a body gets before any of it has come, so that announcing a large one costs a stranger more
// than it costs us.
const firstBuffer = 16 << 10

// start sets the first deadline. A connection that has none (an in-memory one, say) is read without.
func (b *bodyReader) start() {
	b.begun = time.Now()
	b.timed = b.control.SetReadDeadline(b.begun.Add(b.cfg.BodyTimeout)) == nil
}

// finish lifts the deadline once the body is whole: a call lasts longer, and the timer of an HTTP/2 stream would keep
// the stream's memory. Of a body that was cut the deadline stays, so that what is left of it cannot hold net/http up.
func (b *bodyReader) finish() {
	if b.timed {
		_ = b.control.SetReadDeadline(time.Time{}) // it has worked once; a dead connection shows on the next write
	}
}

// unfinished reports whether some of the body has not been read.
func (b *bodyReader) unfinished() bool { return b.length != 0 && !b.ended }

// release gives back what the body took from the budget.
func (b *bodyReader) release() {
	if b.held > 0 {
		b.cfg.Budget.Release(b.held)
		b.held = 0
	}
}

// read returns the whole body.
func (b *bodyReader) read() ([]byte, *Error) {
	if b.length == 0 {
		return nil, nil
	}
	if b.length > b.cfg.MaxBody {
		return nil, TooLarge()
	}
	// One byte more than needed, so that the last read sees the end instead of asking for more room.
	size := int64(firstBuffer)
	if b.length > 0 {
		size = min(size, b.length+1)
	}
	if !b.reserve(size) {
		return nil, Overloaded()
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			larger := min(2*int64(cap(buf)), b.cfg.MaxBody+1)
			if !b.reserve(larger - int64(cap(buf))) {
				return nil, Overloaded()
			}
			buf = append(make([]byte, 0, larger), buf...)
		}
		n, err := b.src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > b.cfg.MaxBody:
			return nil, TooLarge()
		case err == io.EOF:
			b.ended = true
			return buf, nil
		case err != nil:
			return nil, readError(err)
		}
		b.extend(int64(len(buf)))
	}
}

// reserve takes n bytes from the budget, if there is one.
func (b *bodyReader) reserve(n int64) bool {
	if b.cfg.Budget == nil {
		return true
	}
	if !b.cfg.Budget.TryAcquire(n) {
		return false
	}
	b.held += n
	return true
}

// extend moves the deadline by the seconds that the bytes read so far are worth.
func (b *bodyReader) extend(read int64) {
	if seconds := read / b.cfg.MinBodyRate; b.timed && seconds > b.seconds {
		b.seconds = seconds
		_ = b.control.SetReadDeadline(b.begun.Add(b.cfg.BodyTimeout + time.Duration(seconds)*time.Second))
	}
}

// readError classifies why a body could not be read. The cause may quote the request's framing, never its content.
func readError(err error) *Error {
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return RequestTimeout()
	}
	e := InvalidRequest("the body is cut short or badly framed")
	e.Err = err
	return e
}

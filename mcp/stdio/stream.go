package stdio

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"

	"sallyport.dev/mcp"
)

// maxQueued bounds what waits for one agent to read it, in bytes; one message more than that may always wait. Behind it
// the command has to wait too.
const maxQueued = 1 << 20

// maxHeld bounds what waits for all agents of one command together, in bytes; one message more may always wait. Without it
// each of many calls could have an answer of the longest kind waiting.
const maxHeld = 16 << 20

// room counts the bytes that wait for agents.
type room struct {
	mu      sync.Mutex // guards held; taken behind every other lock
	changed *sync.Cond
	held    int
}

func newRoom() *room {
	r := new(room)
	r.changed = sync.NewCond(&r.mu)
	return r
}

// take counts n bytes, and waits for room unless over says that there is no need.
func (r *room) take(n int, over *atomic.Bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.held > 0 && r.held+n > maxHeld && !over.Load() {
		r.changed.Wait()
	}
	r.held += n
}

// give takes n bytes out of the count, and has those who wait look again.
func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held -= n
	r.changed.Broadcast()
}

// scarce reports that there soon is none left.
func (r *room) scarce() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held > maxHeld/2
}

// message is what goes to an agent: one JSON-RPC message, or, if it is an event already, bytes of an event stream.
type message struct {
	data  []byte
	event bool
	final bool   // answers a request of the stream
	code  int    // of an error
	asks  string // the raw id, if it is a request of the command
}

// stream is what one HTTP request gets to read: the body of its response.
type stream struct {
	conn    *Conn
	endless bool        // has no last answer: a GET
	release func() bool // stops looking after the agent; set by watch

	mu      sync.Mutex // guards what follows; taken behind Conn.mu where both are
	changed *sync.Cond
	queue   []message
	size    int
	waiting int   // requests without an answer
	sent    bool  // the command has got the requests, so that the agent reads
	begun   bool  // the head is due, whatever has come
	err     error // what comes behind the queue
	left    bool  // nobody reads any more
	rest    []byte
	taken   int // bytes that the message in rest had

	over atomic.Bool // has failed or been left: there is nothing to wait for
}

func (c *Conn) newStream(endless bool) *stream {
	s := &stream{conn: c, endless: endless}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// watch leaves the stream when ctx ends. The connection knows the stream by then, or it could not forget it.
func (s *stream) watch(ctx context.Context) {
	s.release = context.AfterFunc(ctx, func() { s.conn.leave(s) })
}

// push queues a message, and waits while the agent is far behind, but for what ends the stream; and for room. It reports
// whether somebody may still read it.
func (s *stream) push(m message) bool {
	s.conn.room.take(len(m.data), &s.over)
	ok := s.pushed(m)
	if !ok {
		s.conn.room.give(len(m.data))
	}
	return ok
}

func (s *stream) pushed(m message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.full(len(m.data)) && !(m.final && s.waiting == 1 && !s.endless) && s.err == nil && !s.left {
		s.changed.Wait()
	}
	return s.add(m)
}

// full reports whether a message of n bytes has to wait. s.mu is held.
func (s *stream) full(n int) bool { return s.size > 0 && s.size+n > maxQueued }

// add queues a message without waiting. s.mu is held.
func (s *stream) add(m message) bool {
	if s.err != nil || s.left {
		return false
	}
	s.queue, s.size = append(s.queue, m), s.size+len(m.data)
	if m.final {
		s.answered()
	}
	s.changed.Broadcast()
	return true
}

// answered notes that a request of the stream needs no more. s.mu is held.
func (s *stream) answered() {
	if s.waiting--; s.waiting == 0 && !s.endless {
		s.err = io.EOF
	}
}

// last reports whether one more answer is the stream's end.
func (s *stream) last() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting == 1 && !s.endless
}

// settle is answered for a request that gets no answer.
func (s *stream) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.answered()
	}
	s.changed.Broadcast()
}

// fail ends the stream behind what is queued.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	s.over.Store(true)
	s.conn.room.give(0)
	s.changed.Broadcast()
}

// expire tells the agent that a request has had no answer in time: by an event, if the stream goes on, or as its end.
func (s *stream) expire(id []byte, goesOn bool) {
	e := mcp.UpstreamTimeout(errors.New("stdio: the command did not answer in time"))
	if goesOn {
		s.push(message{data: mcp.ErrorEvent(e, "", id), event: true})
		return
	}
	s.fail(e)
}

// abandon drops all, because nobody reads.
func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over.Store(true)
	s.conn.room.give(s.size + s.taken)
	s.left, s.queue, s.size, s.rest, s.taken = true, nil, 0, nil, 0
	s.changed.Broadcast()
}

// handedOver notes that the command has got all of it.
func (s *stream) handedOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = true
}

// clogged reports whether a message of n bytes would wait for an agent that waits itself until the command reads.
func (s *stream) clogged(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.sent && (s.full(n) || s.conn.room.scarce())
}

// begin makes the head due.
func (s *stream) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = true
	s.changed.Broadcast()
}

// head waits until it is known what the answer looks like. It returns the one message that is all of it, or nil for an
// event stream.
func (s *stream) head(single bool) (*message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) == 0 && s.err == nil && !s.begun && !s.left {
		s.changed.Wait()
	}
	switch {
	case s.left:
		return nil, errLeft
	case len(s.queue) > 0 && single && s.queue[0].final && !s.queue[0].event:
		return &s.queue[0], nil
	case len(s.queue) == 0 && s.err != nil && !errors.Is(s.err, io.EOF):
		return nil, s.err
	}
	return nil, nil
}

// Read gives the messages as events.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.rest) == 0 {
		if s.taken > 0 {
			s.conn.room.give(s.taken)
			s.taken = 0
		}
		switch {
		case s.left:
			return 0, errLeft
		case len(s.queue) > 0:
			m := s.queue[0]
			s.queue[0] = message{}
			s.queue, s.size, s.taken = s.queue[1:], s.size-len(m.data), len(m.data)
			if s.rest = m.data; !m.event {
				s.rest = event(m.data)
			}
			s.changed.Broadcast()
		case s.err != nil:
			return 0, s.err
		default:
			s.changed.Wait()
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// Close ends the stream from the agent's side.
func (s *stream) Close() error {
	if s.release() {
		s.conn.leave(s)
	}
	return nil
}

func event(msg []byte) []byte {
	const head, end = "event: message\ndata: ", "\n\n"
	e := make([]byte, 0, len(head)+len(msg)+len(end))
	e = append(e, head...)
	e = append(e, msg...)
	return append(e, end...)
}

// response is an event stream with this stream as its body.
func (s *stream) response() *http.Response {
	return &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: s, Header: http.Header{
		"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-store"}, "X-Accel-Buffering": {"no"},
	}}
}

// lone is a response that is one message, and takes it from the stream.
func (s *stream) lone(m *message, modern bool) *http.Response {
	status := http.StatusOK
	if modern {
		status = statusOf(m.code)
	}
	body := m.data
	return &http.Response{StatusCode: status, ContentLength: int64(len(body)), Body: &whole{left: body, stream: s}, Header: http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
	}}
}

// statusOf is the HTTP status that MCP 2026-07-28 wants for an error of a server (Streamable HTTP, "Server Validation").
// It wants 400 for invalid params where _meta lacks something; servers over HTTP in use answer 400 to all of them.
func statusOf(code int) int {
	switch code {
	case -32601:
		return http.StatusNotFound
	case -32602, -32020, -32021, -32022:
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// whole is a body that is there already.
type whole struct {
	left   []byte
	stream *stream
}

// Read implements io.Reader.
func (w *whole) Read(p []byte) (int, error) {
	if len(w.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, w.left)
	w.left = w.left[n:]
	return n, nil
}

// Close implements io.Closer.
func (w *whole) Close() error { return w.stream.Close() }

// accepted answers what wants no answer.
func accepted() *http.Response {
	return &http.Response{StatusCode: http.StatusAccepted, Body: http.NoBody, Header: http.Header{}}
}

// errLeft ends a stream that nobody reads any more.
var errLeft = errors.New("stdio: the agent has left")

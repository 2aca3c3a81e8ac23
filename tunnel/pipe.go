package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Pipe returns the two ends of a session in memory, for tests: the dialer's
// and the listener's. Its streams have no buffer: a Write returns when the
// peer has read it.
func Pipe(ctx context.Context, dialer, listener Config) (dialed, accepted *Session, err error) {
	if dialer, err = dialer.withDefaults(); err != nil {
		return nil, nil, err
	}
	if listener, err = listener.withDefaults(); err != nil {
		return nil, nil, err
	}
	a, b := newPipeMuxes()
	done := make(chan error, 1)
	go func() {
		var err error
		accepted, err = answer(ctx, b, listener)
		done <- err
	}()
	dialed, err = dial(ctx, a, dialer)
	if err := errors.Join(err, <-done); err != nil {
		return nil, nil, err
	}
	return dialed, accepted, nil
}

// pipeMux is one end of a connection in memory.
type pipeMux struct {
	incoming chan *pipeStream
	peer     *pipeMux
	gone     chan struct{} // shared by both ends
	hung     *sync.Once    // closes gone
	slots    *slots        // of streams opened here

	mu   sync.Mutex               // guards what follows
	live map[*pipeStream]struct{} // streams to end with the connection
}

func newPipeMuxes() (a, b *pipeMux) {
	gone, hung := make(chan struct{}), new(sync.Once)
	end := func() *pipeMux {
		return &pipeMux{
			incoming: make(chan *pipeStream),
			gone:     gone,
			hung:     hung,
			slots:    newSlots(),
			live:     make(map[*pipeStream]struct{}),
		}
	}
	a, b = end(), end()
	a.peer, b.peer = b, a
	return a, b
}

func (m *pipeMux) open(ctx context.Context) (raw, error) {
	for !m.slots.take() {
		select {
		case <-m.slots.changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-m.gone:
			return nil, io.ErrClosedPipe
		}
	}
	here, there := net.Pipe()
	ends := new(atomic.Int32)
	mine := &pipeStream{Conn: here, mux: m, opener: m, ends: ends}
	theirs := &pipeStream{Conn: there, mux: m.peer, opener: m, ends: ends}
	m.add(mine)
	select {
	case m.peer.incoming <- theirs:
		return mine, nil
	case <-ctx.Done():
		mine.end(true)
		theirs.end(true)
		return nil, context.Cause(ctx)
	case <-m.gone:
		mine.end(true)
		theirs.end(true)
		return nil, io.ErrClosedPipe
	}
}

func (m *pipeMux) accept(ctx context.Context) (raw, error) {
	select {
	case s := <-m.incoming:
		m.add(s)
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-m.gone:
		return nil, io.ErrClosedPipe
	}
}

// add remembers a stream; one that comes too late is ended at once.
func (m *pipeMux) add(s *pipeStream) {
	m.mu.Lock()
	m.live[s] = struct{}{}
	m.mu.Unlock()
	select {
	case <-m.gone:
		m.endAll()
	default:
	}
}

func (m *pipeMux) endAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s := range m.live {
		_ = s.Conn.Close()
	}
}

func (m *pipeMux) hangUp(Reason) {
	m.hung.Do(func() { close(m.gone) })
	m.endAll()
	m.peer.endAll()
}

func (m *pipeMux) limit(streams int)           { m.slots.limit(streams) }
func (m *pipeMux) tick(time.Time)              {}
func (m *pipeMux) tells() bool                 { return false }
func (m *pipeMux) packets() (sent, lost int64) { return 0, 0 }
func (m *pipeMux) cause() *CloseError          { return nil }
func (m *pipeMux) closed() <-chan struct{}     { return m.gone }
func (m *pipeMux) transport() Transport        { return Memory }
func (m *pipeMux) localAddr() net.Addr         { return pipeAddr{} }
func (m *pipeMux) remoteAddr() net.Addr        { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// pipeStream is one end of a stream in memory.
type pipeStream struct {
	net.Conn
	mux    *pipeMux
	opener *pipeMux      // whose slot the stream takes
	ends   *atomic.Int32 // how many of its two ends are over
}

func (s *pipeStream) end(bool) {
	_ = s.Conn.SetDeadline(time.Time{}) // stops its timers, which would hold the pipe
	_ = s.Conn.Close()
	s.mux.mu.Lock()
	delete(s.mux.live, s)
	s.mux.mu.Unlock()
	if s.ends.Add(1) == 2 {
		s.opener.slots.give()
	}
}

func (s *pipeStream) peerEnded() {}

// recycle ends the stream: a new one costs nothing here.
func (s *pipeStream) recycle() { s.end(false) }

func (s *pipeStream) chunk() int { return 0 }

func (s *pipeStream) translate(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return ErrCancelled
	}
	return err
}

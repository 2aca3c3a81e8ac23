package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	yamuxCloseTimeout = 5 * time.Second  // then yamux itself resets the stream
	yamuxDrainTimeout = 6 * time.Second  // reading on after Close, for the peer's FIN
	yamuxIdle         = 10 * time.Second // a recycled stream waits this long for its next use
	yamuxResetTimeout = 5 * time.Second  // for that reset to be written
	yamuxChunk        = 32 << 10         // one frame, so that streams take turns on the wire
)

var errYamuxBroken = errors.New("tunnel: the connection takes no more data")

// yamuxMux is one yamux session over a TLS connection.
//
// yamux has no stream limit, no reset that its user can send and no credit
// that returns when a stream ends. So both sides count: see doc.go.
type yamuxMux struct {
	session *yamux.Session
	conn    net.Conn
	failed  atomic.Pointer[CloseError] // why this side gave the connection up
	crew    crew                       // closes streams in the background

	slots    *slots       // of streams opened here, idle ones included
	resets   *yamuxResets // of those streams
	accepted atomic.Int64 // streams opened by the peer that live here
	maxIn    int64
	arrived  atomic.Int64 // streams that the peer has opened
	taken    atomic.Int64 // of those, how many were accepted

	mu   sync.Mutex  // guards idle
	idle []idleYamux // recycled streams, most recent last
}

type idleYamux struct {
	stream *yamux.Stream
	since  time.Time
}

// newYamuxMux runs yamux over conn, which it owns from now on.
func newYamuxMux(conn net.Conn, client bool, acceptStreams int) (*yamuxMux, error) {
	conf := yamux.DefaultConfig()
	conf.AcceptBacklog = maxStreamLimit + 2 // never reached: the limits below come first
	conf.EnableKeepAlive = false            // the control stream's heartbeat replaces it
	conf.ConnectionWriteTimeout = deadAfter
	conf.MaxStreamWindowSize = StreamWindow
	conf.StreamOpenTimeout = 0
	conf.StreamCloseTimeout = yamuxCloseTimeout
	conf.LogOutput = io.Discard
	start := yamux.Server
	if client {
		start = yamux.Client
	}
	resets := newYamuxResets()
	m := &yamuxMux{
		conn:   conn,
		slots:  newSlots(),
		resets: resets,
		maxIn:  int64(acceptStreams) + 1,
	}
	session, err := start(&yamuxGuard{Conn: &yamuxJoiner{Conn: conn, wrote: resets.wrote}, opens: m.mayOpen}, conf)
	m.session = session
	return m, err
}

// open takes an idle stream, or a free slot for a new one, and waits for
// either.
func (m *yamuxMux) open(ctx context.Context) (raw, error) {
	for {
		if s := m.takeIdle(); s != nil {
			m.slots.wake()
			return &yamuxStream{Stream: s, mux: m, opened: true}, nil
		}
		if m.slots.take() {
			s, err := m.session.OpenStream()
			if err != nil {
				m.slots.give()
				return nil, err
			}
			return &yamuxStream{Stream: s, mux: m, opened: true}, nil
		}
		select {
		case <-m.slots.changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-m.session.CloseChan():
			return nil, yamux.ErrSessionShutdown
		}
	}
}

// takeIdle returns the most recently used idle stream that still lives.
func (m *yamuxMux) takeIdle() *yamux.Stream {
	for {
		m.mu.Lock()
		n := len(m.idle)
		if n == 0 {
			m.mu.Unlock()
			return nil
		}
		s := m.idle[n-1].stream
		m.idle = m.idle[:n-1]
		m.mu.Unlock()
		if quiet(s) {
			return s
		}
		m.drop(s)
	}
}

// quiet reports that nothing waits to be read on an idle stream: no data, no
// FIN, no reset.
func quiet(s *yamux.Stream) bool {
	_ = s.SetReadDeadline(time.Unix(1, 0))
	n, err := s.Read(make([]byte, 1))
	_ = s.SetReadDeadline(time.Time{})
	return n == 0 && errors.Is(err, yamux.ErrTimeout)
}

// tick closes idle streams that nobody has used for a while.
func (m *yamuxMux) tick(now time.Time) {
	m.mu.Lock()
	var old []idleYamux
	for len(m.idle) > 0 && now.Sub(m.idle[0].since) > yamuxIdle {
		old = append(old, m.idle[0])
		m.idle = m.idle[1:]
	}
	m.mu.Unlock()
	for _, i := range old {
		m.drop(i.stream)
	}
}

// drop closes a stream that was opened here. Its slot comes back when the
// peer's end is known to be over: after its FIN or reset, or after the reset
// that yamux itself sends 5 s later is on its way.
func (m *yamuxMux) drop(s *yamux.Stream) {
	id := s.StreamID()
	reset := m.resets.expect(id)
	closed := time.Now() // before Close, which starts yamux's timer and may take a while
	_ = s.Close()
	started := m.crew.run(func() {
		_ = s.SetReadDeadline(closed.Add(yamuxDrainTimeout))
		_, _ = io.Copy(io.Discard, s)
		if time.Since(closed) >= yamuxCloseTimeout {
			m.await(reset)
		}
		m.resets.forget(id)
		m.slots.give()
	})
	if !started { // the session has ended, and its slots with it
		m.resets.forget(id)
		m.slots.give()
	}
}

// await waits for a reset to be written. If there is none, because the peer's
// FIN came just as yamux gave up on it, the wait is bounded.
func (m *yamuxMux) await(reset <-chan struct{}) {
	timer := time.NewTimer(yamuxResetTimeout)
	defer timer.Stop()
	select {
	case <-reset:
	case <-timer.C:
	case <-m.session.CloseChan():
	}
}

// mayOpen counts a stream that the peer opens, and reports whether no more than
// twice the limit wait to be accepted.
func (m *yamuxMux) mayOpen() bool { return m.arrived.Add(1)-m.taken.Load() <= 2*m.maxIn }

// accept takes the peer's next stream, and ends the session of a peer that
// opens more than it was told.
func (m *yamuxMux) accept(ctx context.Context) (raw, error) {
	s, err := m.session.AcceptStreamWithContext(ctx)
	if err != nil {
		return nil, err
	}
	m.taken.Add(1)
	accepted, live := m.accepted.Add(1), m.peerStreams()
	if accepted > m.maxIn && live > m.maxIn || live > 2*m.maxIn {
		reason := &CloseError{Code: CodeProtocol, Text: "more streams than this side accepts"}
		m.failed.CompareAndSwap(nil, reason)
		return nil, reason
	}
	return &yamuxStream{Stream: s, mux: m}, nil
}

// peerStreams asks yamux itself. Our own count still holds streams that the
// peer has reset and nobody here has touched since; yamux's holds those that
// this side has just closed, whose slots the peer may already use again, and
// for 5 s those that a peer never closes. So an honest peer may exceed either
// count, but not both, and never twice its limit.
func (m *yamuxMux) peerStreams() int64 {
	return int64(m.session.NumStreams() - m.slots.inUse())
}

func (m *yamuxMux) limit(streams int)           { m.slots.limit(streams) }
func (m *yamuxMux) packets() (sent, lost int64) { return 0, 0 }
func (m *yamuxMux) tells() bool                 { return false }
func (m *yamuxMux) transport() Transport        { return TCP }
func (m *yamuxMux) localAddr() net.Addr         { return m.conn.LocalAddr() }
func (m *yamuxMux) remoteAddr() net.Addr        { return m.conn.RemoteAddr() }
func (m *yamuxMux) closed() <-chan struct{}     { return m.session.CloseChan() }

// hangUp closes the connection. The deadline frees a TLS write that the peer
// blocks, and spares the goodbye that nobody would read.
func (m *yamuxMux) hangUp(Reason) {
	_ = m.conn.SetDeadline(time.Unix(1, 0))
	_ = m.session.Close()
	m.crew.wait()
}

func (m *yamuxMux) cause() *CloseError {
	if failed := m.failed.Load(); failed != nil {
		return failed
	}
	if !m.session.IsClosed() {
		return nil
	}
	// AcceptStream picks at random between what ended the session and a stream
	// that nobody took, which answers ErrSessionShutdown.
	var err error
	for range 64 {
		if _, err = m.session.AcceptStream(); err != nil && !errors.Is(err, yamux.ErrSessionShutdown) {
			break
		}
	}
	return yamuxCause(err)
}

// yamuxCause tells a peer that broke yamux's rules from a broken connection.
func yamuxCause(err error) *CloseError {
	for _, broken := range []error{yamux.ErrInvalidVersion, yamux.ErrInvalidMsgType, yamux.ErrRecvWindowExceeded, yamux.ErrDuplicateStream, errPing, errFlood} {
		if errors.Is(err, broken) {
			return &CloseError{Code: CodeProtocol, Text: "malformed yamux frame", Err: err}
		}
	}
	return &CloseError{Code: CodeLost, Err: err}
}

// giveUp ends a session whose connection took a write no more: yamux would
// leave the peer waiting for a frame that never comes.
func (m *yamuxMux) giveUp(err error) {
	m.failed.CompareAndSwap(nil, &CloseError{Code: CodeLost, Err: err})
	_ = m.conn.SetDeadline(time.Unix(1, 0))
	_ = m.session.Close()
}

// yamuxStream is one yamux stream, possibly the second or later to use it.
type yamuxStream struct {
	*yamux.Stream
	mux    *yamuxMux
	opened bool      // by this side
	left   sync.Once // an accepted stream is counted out once
	ended  atomic.Bool
}

func (s *yamuxStream) Read(p []byte) (int, error) {
	n, err := s.Stream.Read(p)
	if errors.Is(err, yamux.ErrConnectionReset) {
		s.leave()
	}
	return n, ofStream(err)
}

func (s *yamuxStream) Write(p []byte) (int, error) {
	n, err := s.Stream.Write(p)
	return n, ofStream(err)
}

// ofStream keeps a timeout of the whole connection, which its hang-up causes,
// apart from one of a stream. A Read can see it too: it sends window updates.
func ofStream(err error) error {
	if timeout(err) && !errors.Is(err, yamux.ErrTimeout) {
		return errYamuxBroken
	}
	return err
}

// leave counts an accepted stream out. It comes before our FIN: the peer may
// open another as soon as it has seen that.
func (s *yamuxStream) leave() {
	if !s.opened {
		s.left.Do(func() { s.mux.accepted.Add(-1) })
	}
}

// end frees both directions here; the FIN tells the peer, whose reader then
// frees its own blocked writer.
func (s *yamuxStream) end(bool) {
	s.leave()
	_ = s.SetWriteDeadline(time.Unix(1, 0))
	_ = s.SetReadDeadline(time.Unix(1, 0))
	if s.opened && !s.ended.Load() {
		s.mux.drop(s.Stream)
		return
	}
	_ = s.Close()
	if s.opened {
		s.mux.slots.give()
	}
}

// peerEnded frees a blocked writer: the peer has given the stream up.
func (s *yamuxStream) peerEnded() {
	s.ended.Store(true)
	_ = s.SetWriteDeadline(time.Unix(1, 0))
}

func (s *yamuxStream) recycle() {
	if !s.opened {
		s.end(false)
		return
	}
	s.Shrink()
	_ = s.SetWriteDeadline(time.Time{})
	s.mux.mu.Lock()
	s.mux.idle = append(s.mux.idle, idleYamux{s.Stream, time.Now()})
	s.mux.mu.Unlock()
	s.mux.slots.wake()
}

func (s *yamuxStream) chunk() int { return yamuxChunk }

func (s *yamuxStream) translate(err error) error {
	switch {
	case errors.Is(err, yamux.ErrConnectionReset), errors.Is(err, yamux.ErrStreamClosed):
		return ErrCancelled
	case errors.Is(err, yamux.ErrConnectionWriteTimeout):
		s.mux.giveUp(err)
		return s.mux.cause()
	}
	// Anything else is the connection's end, which shows in a moment.
	timer := time.NewTimer(hangUpTimeout)
	defer timer.Stop()
	select {
	case <-s.mux.closed():
	case <-timer.C:
	}
	return err
}

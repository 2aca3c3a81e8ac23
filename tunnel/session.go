package tunnel

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of sessions. A session that has ended answers with a [*CloseError].
var (
	// ErrVersion is returned by a handshake whose peer speaks another protocol.
	ErrVersion = errors.New("tunnel: protocol version mismatch")
	// ErrHello is returned by a handshake whose peer did not say hello in time.
	ErrHello = errors.New("tunnel: no hello from the peer within 10 s of the handshake")
	// ErrDraining is returned by Open after the peer has announced its end.
	ErrDraining = errors.New("tunnel: the peer is draining and takes no new streams")
)

// The numbers of this protocol.
const (
	// DefaultStreams is how many streams a side accepts at once by default.
	DefaultStreams = 1024
	// GatewayStreams is how many a gateway accepts from a connector: attach,
	// renewal and exports need no more.
	GatewayStreams = 16
	// StreamWindow is the receive window of a stream in bytes.
	StreamWindow = 256 << 10

	maxStreamLimit    = DefaultStreams
	helloTimeout      = 10 * time.Second // for hello after the handshake
	heartbeatInterval = 2 * time.Second  // between heartbeats, both ways
	suspectAfter      = 6 * time.Second  // without a reply: no new calls go to the session
	deadAfter         = 15 * time.Second // without a reply: the session is closed
	hangUpTimeout     = time.Second
	tellTimeout       = 2 * time.Second // for the close frame to get behind what is queued
)

// Config is what one side of a session says of itself.
type Config struct {
	// Instance names this process towards its peer: 1 to 64 letters, digits,
	// '_' and '-'. Required.
	Instance string
	// AcceptStreams is how many streams the peer may have open here at once,
	// at most 1,024. Optional; default 1,024.
	AcceptStreams int
}

func (c Config) withDefaults() (Config, error) {
	if err := checkInstance(c.Instance); err != nil {
		return c, err
	}
	if c.AcceptStreams == 0 {
		c.AcceptStreams = DefaultStreams
	}
	if c.AcceptStreams < 1 || c.AcceptStreams > maxStreamLimit {
		return c, fmt.Errorf("tunnel: AcceptStreams is %d: 1 to %d are allowed", c.AcceptStreams, maxStreamLimit)
	}
	return c, nil
}

// Transport names what a session runs over.
type Transport string

// The transports.
const (
	QUIC   Transport = "quic"
	TCP    Transport = "tcp" // yamux over TLS
	Memory Transport = "pipe"
)

// Reuses reports whether a stream may serve several exchanges, one after
// another, with [Recycle] between them. Elsewhere each takes a stream of its own.
func (t Transport) Reuses() bool { return t == TCP }

// Peer is the other side of a session.
type Peer struct {
	Instance  string // its name, as it says itself: not an identity
	Addr      net.Addr
	Transport Transport
	Streams   int // how many streams it accepts at once
}

// mux is what differs between QUIC, yamux and pipe.
type mux interface {
	// open and accept return the raw end of a new stream. The first stream is
	// the control stream.
	open(ctx context.Context) (raw, error)
	accept(ctx context.Context) (raw, error)
	// limit says, once hello has come, how many streams the peer accepts.
	limit(streams int)
	// tick is called with every heartbeat, to let go of what is idle.
	tick(now time.Time)
	// tells reports whether hangUp itself carries the reason to the peer.
	tells() bool
	// hangUp ends the connection and all streams, and returns when its
	// goroutines are gone.
	hangUp(Reason)
	// closed is closed as soon as the connection has ended.
	closed() <-chan struct{}
	// cause explains, after closed, why it ended by itself.
	cause() *CloseError
	// packets are those of QUIC that were sent, and those of them that were lost.
	packets() (sent, lost int64)
	transport() Transport
	localAddr() net.Addr
	remoteAddr() net.Addr
}

// Session is one live connection between a connector and a gateway. All its
// methods may be called concurrently.
type Session struct {
	id      string
	mux     mux
	control *stream
	peer    Peer

	open, bytesIn, bytesOut atomic.Int64 // of all streams but the control stream

	lastReply atomic.Int64  // nanoseconds after start
	rtt       atomic.Int64  // nanoseconds, of the last heartbeat
	start     time.Time     // fixed
	draining  chan struct{} // closed when the peer has said drain
	done      chan struct{} // closed when the session has ended and err is set

	ending  atomic.Bool   // why it ends is decided: streams write no more
	writing chan struct{} // holds an element while a control frame is written
	replies chan []byte   // what heartbeats to reply to carried

	mu       sync.Mutex // guards what follows
	err      *CloseError
	said     *Reason // what the peer's close frame said
	drained  bool    // draining is closed
	finished bool    // done is closed

	closing sync.Once
	work    sync.WaitGroup // the goroutines of this session
}

// dial makes a session of a fresh connection on the dialer's side.
func dial(ctx context.Context, m mux, cfg Config) (*Session, error) {
	return handshake(ctx, m, cfg, m.open, func(s *Session) (hello, error) {
		if err := s.sendHello(cfg); err != nil {
			return hello{}, err
		}
		return s.readHello()
	})
}

// answer makes a session of a fresh connection on the listener's side.
func answer(ctx context.Context, m mux, cfg Config) (*Session, error) {
	return handshake(ctx, m, cfg, m.accept, func(s *Session) (hello, error) {
		h, err := s.readHello()
		if errors.Is(err, ErrVersion) {
			s.explainVersion(cfg)
		}
		if err != nil {
			return hello{}, err
		}
		return h, s.sendHello(cfg)
	})
}

// explainVersion says hello to a peer that speaks another version, so that its
// operator learns of both numbers, and leaves it 1 s to hang up.
func (s *Session) explainVersion(cfg Config) {
	_ = s.control.SetDeadline(time.Now().Add(hangUpTimeout))
	if s.sendHello(cfg) == nil {
		_, _, _ = readFrame(s.control, make([]byte, maxFrame))
	}
}

// handshake gets the control stream, exchanges hellos within 10 s and starts
// the control loops. On failure the connection is closed.
func handshake(ctx context.Context, m mux, cfg Config, first func(context.Context) (raw, error), exchange func(*Session) (hello, error)) (*Session, error) {
	s := &Session{
		id:       rand.Text(),
		mux:      m,
		start:    time.Now(),
		draining: make(chan struct{}),
		done:     make(chan struct{}),
		writing:  make(chan struct{}, 1),
		replies:  make(chan []byte, 1),
	}
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	fail := func(err error) (*Session, error) {
		reason := Reason{Code: CodeProtocol, Text: "no valid hello"}
		if errors.Is(err, ErrVersion) {
			reason.Text = "protocol version mismatch"
		}
		s.end(reason)
		var closed *CloseError
		if errors.As(err, &closed) {
			return nil, err
		}
		if ended := s.mux.cause(); ended != nil && ended.Code != CodeLost && (ended.Remote || !s.mux.tells()) {
			return nil, ended // the peer's own reason says more than our read error
		}
		if outer.Err() != nil {
			return nil, context.Cause(outer)
		}
		if timeout(err) || errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w: %w", ErrHello, err)
		}
		return nil, fmt.Errorf("exchange hello: %w", err)
	}
	r, err := first(ctx)
	if err != nil {
		return fail(err)
	}
	s.control = newStream(s, r)
	deadline, _ := ctx.Deadline()
	_ = s.control.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = s.control.SetDeadline(time.Unix(1, 0)) })
	h, err := exchange(s)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fail(err)
	}
	_ = s.control.SetDeadline(time.Time{})
	m.limit(int(h.streams))
	s.peer = Peer{Instance: h.instance, Addr: m.remoteAddr(), Transport: m.transport(), Streams: int(h.streams)}
	s.lastReply.Store(int64(time.Since(s.start)))
	s.work.Go(s.readControl)
	s.work.Go(s.heartbeat)
	return s, nil
}

// ID identifies the session in logs; it is random and never sent.
func (s *Session) ID() string { return s.id }

// Peer returns what is known of the other side.
func (s *Session) Peer() Peer { return s.peer }

// RTT is the round trip of the last heartbeat, 0 before the first.
func (s *Session) RTT() time.Duration { return time.Duration(s.rtt.Load()) }

// Suspect reports that no heartbeat was answered for 6 s: new calls should not
// go to this session. The next reply clears it.
func (s *Session) Suspect() bool { return s.silence() > suspectAfter }

func (s *Session) silence() time.Duration {
	return time.Since(s.start) - time.Duration(s.lastReply.Load())
}

// Open opens a stream to the peer. It waits, bounded by ctx, while the peer's
// stream limit is reached. Errors: ctx's, [ErrDraining], or a [*CloseError].
func (s *Session) Open(ctx context.Context) (net.Conn, error) {
	select {
	case <-s.draining:
		return nil, ErrDraining
	default:
	}
	r, err := s.mux.open(ctx)
	if err != nil {
		return nil, s.sessionErr(ctx, err)
	}
	s.open.Add(1)
	return newStream(s, r), nil
}

// Accept waits for a stream that the peer opens.
func (s *Session) Accept(ctx context.Context) (net.Conn, error) {
	r, err := s.mux.accept(ctx)
	var broken *CloseError
	if errors.As(err, &broken) && !broken.Remote {
		s.CloseWith(Reason{Code: broken.Code, Text: broken.Text})
	}
	if err != nil {
		return nil, s.sessionErr(ctx, err)
	}
	s.open.Add(1)
	return newStream(s, r), nil
}

// sessionErr prefers why the session ended over what the mux says of it.
func (s *Session) sessionErr(ctx context.Context, err error) error {
	if ended := s.ended(); ended != nil {
		return ended
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Draining is closed when the peer has announced that it will end the session
// and takes no new streams.
func (s *Session) Draining() <-chan struct{} { return s.draining }

// Err returns nil while the session lives, then a [*CloseError].
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil || !s.finished {
		return nil
	}
	return s.err
}

// ended returns the session's error as soon as the connection has ended.
func (s *Session) ended() error {
	select {
	case <-s.mux.closed():
		return s.settle()
	default:
		return nil
	}
}

// settle decides, once, why the session ended: our own close, else the peer's
// close frame or connection close, else a lost connection.
func (s *Session) settle() *CloseError {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		switch cause := s.mux.cause(); {
		case s.said != nil:
			s.err = &CloseError{Code: s.said.Code, Text: s.said.Text, Remote: true}
		case cause != nil:
			s.err = cause
		default:
			s.err = &CloseError{Code: CodeLost}
		}
	}
	return s.err
}

// Drain tells the peer to open no more streams here; those that are open go
// on. Follow it with CloseWith once they have ended.
func (s *Session) Drain() error { return s.send(frameDrain, nil) }

// CloseWith ends the session and its streams for the reason given, which the
// peer learns, and returns when nothing of the session runs any more. Only the
// first call counts.
func (s *Session) CloseWith(r Reason) {
	s.decide(&CloseError{Code: r.Code, Text: r.Text})
	s.end(r)
	s.work.Wait()
}

// decide sets why the session ends; only the first call counts.
func (s *Session) decide(why *CloseError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = why
	}
	s.ending.Store(true)
}

// end closes the connection, after telling the peer why.
func (s *Session) end(r Reason) {
	s.closing.Do(func() {
		told := make(chan bool, 1)
		go func() { told <- s.tell(r) == nil }()
		heard := s.goodbye(told)
		s.mux.hangUp(r)
		if !heard {
			<-told // the hang-up has freed it
		}
		_ = s.settle()
		s.mu.Lock()
		s.finished = true
		s.mu.Unlock()
		close(s.done)
	})
}

// goodbye waits until the close frame is written (2 s) and the peer has hung
// up (1 s): a blocked connection must not hold the end up. It reports whether
// it has taken the result from told.
func (s *Session) goodbye(told <-chan bool) bool {
	timer := time.NewTimer(tellTimeout)
	defer timer.Stop()
	select {
	case ok := <-told:
		if !ok {
			return true
		}
	case <-timer.C:
		return false
	}
	timer.Reset(hangUpTimeout)
	select {
	case <-s.mux.closed():
	case <-timer.C:
	}
	return true
}

var errNotTold = errors.New("tunnel: the connection itself carries the reason")

// tell writes the close frame where the transport needs one.
func (s *Session) tell(r Reason) error {
	if s.mux.tells() || s.control == nil {
		return errNotTold
	}
	select {
	case <-s.mux.closed():
		return net.ErrClosed
	default:
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(tellTimeout))
	return s.send(frameClose, encodeClose(r))
}

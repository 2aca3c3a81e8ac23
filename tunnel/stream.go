package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Errors of streams, beside [net.ErrClosed] after a local Close, io.EOF, a
// timeout ([net.Error]) and the session's [CloseError].
var (
	// ErrStalled is returned by a Write whose peer took nothing for 30 s. The
	// stream is cut.
	ErrStalled = errors.New("tunnel: stream stalled: the peer read nothing for 30 s")
	// ErrCancelled is returned once the peer has given the stream up.
	ErrCancelled = errors.New("tunnel: stream cancelled by the peer")
)

// stallTimeout is how long a Write may make no progress.
const stallTimeout = 30 * time.Second

// raw is one stream of a mux, before the rules that all transports share.
type raw interface {
	io.ReadWriter
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// end ends both directions and frees a blocked Read and Write here and, as
	// far as the transport can, at the peer. torn says that a Write is under
	// way, so what was written is no whole message. It is called once.
	end(torn bool)
	// peerEnded is called once, when Read first sees EOF.
	peerEnded()
	// recycle is called instead of end after a complete exchange.
	recycle()
	// translate maps the transport's own errors to this package's.
	translate(error) error
	// chunk is the most that one Write may take, 0 for no bound.
	chunk() int
}

// stream is the net.Conn that Open and Accept return.
type stream struct {
	raw  raw
	sess *Session

	writing sync.Mutex // held while a Write is under way

	mu            sync.Mutex // guards what follows
	closed        bool
	sawEOF        bool
	failed        bool // a Write failed, or a Read by more than a deadline: not fit for another exchange
	readDeadline  time.Time
	writeDeadline time.Time // the caller's
	stallDeadline time.Time // ours, while a Write is under way
}

var _ net.Conn = (*stream)(nil)

func newStream(s *Session, r raw) *stream { return &stream{raw: r, sess: s} }

// Read reads what the peer wrote. EOF means that the peer closed the stream;
// if the whole session ended, the error is the session's.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	closed, deadline := s.closed, s.readDeadline
	s.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	n, err := s.raw.Read(p)
	if s != s.sess.control {
		s.sess.bytesIn.Add(int64(n))
	}
	if err == nil {
		return n, nil
	}
	return n, s.fail(err)
}

// fail turns a transport's error into the one that the caller sees.
func (s *stream) fail(err error) error {
	if timeout(err) {
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return net.ErrClosed
		}
		return os.ErrDeadlineExceeded
	}
	s.mu.Lock()
	closed, first := s.closed, false
	if errors.Is(err, io.EOF) {
		first = !s.sawEOF
		s.sawEOF = true
	}
	s.failed = true
	s.mu.Unlock()
	if closed {
		return net.ErrClosed
	}
	if ended := s.sess.ended(); ended != nil {
		return ended
	}
	if errors.Is(err, io.EOF) {
		if first {
			s.raw.peerEnded()
		}
		return io.EOF
	}
	return s.orEnded(s.raw.translate(err))
}

// orEnded prefers why the session ended over what that did to this stream.
func (s *stream) orEnded(err error) error {
	if ended := s.sess.ended(); ended != nil {
		return ended
	}
	return err
}

// Write hands p to the transport. It returns once all of p is on its way or
// buffered there, not when the peer has read it.
func (s *stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	n, err := s.writeAll(p)
	if s != s.sess.control {
		s.sess.bytesOut.Add(int64(n))
	}
	if err != nil {
		s.mu.Lock()
		s.failed = true
		s.mu.Unlock()
	}
	return n, err
}

func (s *stream) writeAll(p []byte) (int, error) {
	written := 0
	for {
		part := p[written:]
		if max := s.raw.chunk(); max > 0 && len(part) > max {
			part = part[:max]
		}
		if err := s.armStall(); err != nil {
			return written, err
		}
		n, err := s.raw.Write(part)
		written += n
		switch {
		case err == nil && written == len(p):
			return written, nil
		case err == nil:
		case timeout(err):
			if err := s.writeTimeout(n); err != nil {
				return written, err
			}
		default:
			return written, s.fail(err)
		}
	}
}

// armStall sets the transport's write deadline to the earlier of the caller's
// and of the stall limit.
func (s *stream) armStall() error {
	if s.sess.ending.Load() && s != s.sess.control {
		return s.sess.settle() // the close frame must not queue behind more data
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case s.sawEOF:
		return s.orEnded(ErrCancelled)
	case !s.writeDeadline.IsZero() && !now.Before(s.writeDeadline):
		return os.ErrDeadlineExceeded
	}
	s.stallDeadline = now.Add(stallTimeout)
	_ = s.raw.SetWriteDeadline(earlier(s.writeDeadline, s.stallDeadline)) // if the stream is over, Write will say so
	return nil
}

// writeTimeout decides what an expired write deadline means: a peer that went
// away, the caller's own deadline, a slow but living peer (nil), or a stall.
func (s *stream) writeTimeout(progress int) error {
	s.mu.Lock()
	closed, gone, stalled := s.closed, s.sawEOF, !time.Now().Before(s.stallDeadline)
	s.mu.Unlock()
	switch {
	case closed:
		return net.ErrClosed
	case gone:
		return s.orEnded(ErrCancelled)
	case !stalled:
		return os.ErrDeadlineExceeded
	case progress > 0:
		return nil
	}
	s.shut(true)
	return ErrStalled
}

// Close ends both directions. Bytes that Write has taken are still delivered,
// unless a Write is blocked: then the stream is torn off.
func (s *stream) Close() error {
	torn := !s.writing.TryLock()
	if !torn {
		defer s.writing.Unlock()
	}
	s.shut(torn)
	return nil
}

func (s *stream) shut(torn bool) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.mu.Unlock()
	if s != s.sess.control {
		s.sess.open.Add(-1)
	}
	s.raw.end(torn)
}

// Recycle gives a stream back after a complete exchange: the whole request was
// written without error, the whole answer was read, the peer did not announce
// that it closes, and nothing is buffered. On yamux the stream may
// serve another [Session.Open]; on QUIC the peer's FIN is awaited in the
// background (at most 1 s). The caller must not touch conn afterwards. A conn
// that is not a stream of this package, or no longer fit, is closed.
func Recycle(conn net.Conn) {
	s, ok := conn.(*stream)
	if !ok {
		_ = conn.Close()
		return
	}
	s.mu.Lock()
	fit := !s.closed && !s.failed
	if fit {
		s.closed = true
	}
	s.mu.Unlock()
	if !fit {
		_ = s.Close()
		return
	}
	s.sess.open.Add(-1)
	_ = s.raw.SetReadDeadline(time.Time{})
	s.raw.recycle()
}

// LocalAddr returns the session's local address.
func (s *stream) LocalAddr() net.Addr { return s.sess.mux.localAddr() }

// RemoteAddr returns the session's remote address.
func (s *stream) RemoteAddr() net.Addr { return s.sess.mux.remoteAddr() }

// SetDeadline sets both deadlines.
func (s *stream) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// SetReadDeadline bounds blocked and future Reads.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.readDeadline = t
	return s.raw.SetReadDeadline(t)
}

// SetWriteDeadline bounds blocked and future Writes.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.writeDeadline = t
	return s.raw.SetWriteDeadline(earlier(t, s.stallDeadline))
}

// earlier returns the earlier of two deadlines, of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// timeout reports that a deadline passed. QUIC's idle timeout is none: it ends
// the whole connection.
func timeout(err error) bool {
	var ne net.Error
	return err != nil && errors.As(err, &ne) && ne.Timeout() && !errors.Is(err, net.ErrClosed)
}

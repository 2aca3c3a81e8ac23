package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/quic-go/quic-go"
)

// ALPN is the application protocol of the tunnel, on UDP and on TCP.
const ALPN = "sallyport/1"

// codeCancelled resets a stream whose opener's agent went away, or whose
// acceptor gave up.
const codeCancelled quic.StreamErrorCode = 0x10

const (
	quicHandshakeIdle = 5 * time.Second // quic-go allows twice this in all
	quicIdle          = 13 * time.Second
	finTimeout        = time.Second
	quicCalm          = 20 * time.Millisecond // at least, before a close
	quicChunk         = 64 << 10              // one Write, so that an ending session can stop it
	// connectionWindow covers every stream that can exist at once, so that
	// stalled readers never use up what a sibling needs.
	connectionWindow = (DefaultStreams + GatewayStreams + 1) * StreamWindow
)

// quicConfig returns the transport parameters of a side that accepts so many
// streams beside the control stream.
func quicConfig(acceptStreams int) *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:           quicHandshakeIdle,
		MaxIdleTimeout:                 quicIdle,
		InitialStreamReceiveWindow:     StreamWindow,
		MaxStreamReceiveWindow:         StreamWindow,
		InitialConnectionReceiveWindow: connectionWindow,
		MaxConnectionReceiveWindow:     connectionWindow,
		MaxIncomingStreams:             int64(acceptStreams) + 1,
		MaxIncomingUniStreams:          -1,
	}
}

// tunnelTLS returns a copy of base that speaks this protocol alone.
func tunnelTLS(base *tls.Config) *tls.Config {
	conf := base.Clone()
	conf.NextProtos = []string{ALPN}
	conf.MinVersion = tls.VersionTLS13
	return conf
}

// quicMux is one QUIC connection.
type quicMux struct {
	conn    *quic.Conn
	release func() // closes the socket of a dialled connection; may be nil
	crew    crew   // awaits the FINs of recycled streams
}

func newQUICMux(conn *quic.Conn, release func()) *quicMux {
	return &quicMux{conn: conn, release: release}
}

func (m *quicMux) open(ctx context.Context) (raw, error) {
	s, err := m.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, m.settled(err)
	}
	return &quicStream{Stream: s, mux: m}, nil
}

func (m *quicMux) accept(ctx context.Context) (raw, error) {
	s, err := m.conn.AcceptStream(ctx)
	if err != nil {
		return nil, m.settled(err)
	}
	return &quicStream{Stream: s, mux: m}, nil
}

// settled waits, if err says that the connection has ended, until that shows:
// quic-go tells the streams first.
func (m *quicMux) settled(err error) error {
	if errors.Is(err, net.ErrClosed) {
		<-m.conn.Context().Done()
	}
	return err
}

func (m *quicMux) limit(int)      {} // MAX_STREAMS says it
func (m *quicMux) tick(time.Time) {}
func (m *quicMux) tells() bool    { return true }
func (m *quicMux) packets() (sent, lost int64) {
	stats := m.conn.ConnectionStats()
	return int64(stats.PacketsSent), int64(stats.PacketsLost)
}

func (m *quicMux) transport() Transport    { return QUIC }
func (m *quicMux) localAddr() net.Addr     { return m.conn.LocalAddr() }
func (m *quicMux) remoteAddr() net.Addr    { return m.conn.RemoteAddr() }
func (m *quicMux) closed() <-chan struct{} { return m.conn.Context().Done() }

// hangUp sends CONNECTION_CLOSE. A dialled connection's socket stays open for
// a few round trips, to repeat it should the packet get lost.
func (m *quicMux) hangUp(r Reason) {
	m.calm()
	_ = m.conn.CloseWithError(quic.ApplicationErrorCode(r.Code), cleanText(r.Text))
	m.crew.wait()
	if m.release == nil {
		return
	}
	var appErr *quic.ApplicationError
	if errors.As(context.Cause(m.conn.Context()), &appErr) && !appErr.Remote {
		linger := min(max(3*m.conn.ConnectionStats().SmoothedRTT, 25*time.Millisecond), 300*time.Millisecond)
		timer := time.NewTimer(linger)
		<-timer.C
	}
	m.release()
}

// calm waits until the peer has had time to work off what it was sent. Streams
// write nothing more by now; behind a full queue of packets the close, which
// is one packet, would be dropped, and the peer would learn no reason.
func (m *quicMux) calm() {
	wait := min(max(2*m.conn.ConnectionStats().SmoothedRTT, quicCalm), 10*quicCalm)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.closed():
	}
}

// cause reads the close reason from the connection itself.
func (m *quicMux) cause() *CloseError {
	err := context.Cause(m.conn.Context())
	var appErr *quic.ApplicationError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &appErr):
		return &CloseError{Code: Code(appErr.ErrorCode), Text: cleanText(appErr.ErrorMessage), Remote: appErr.Remote}
	default:
		return &CloseError{Code: CodeLost, Err: err}
	}
}

// quicStream is one QUIC stream: one exchange, then gone.
type quicStream struct {
	*quic.Stream
	mux *quicMux
}

// end stops the peer's sending and finishes ours: with FIN after what was
// written, or with a reset if a Write is torn off.
func (s *quicStream) end(torn bool) {
	s.CancelRead(codeCancelled)
	if torn {
		s.CancelWrite(codeCancelled)
		return
	}
	_ = s.Close() // it fails only if the peer has cancelled: then nothing is left to do
}

func (s *quicStream) peerEnded() {}

// recycle reads the peer's FIN before it closes: a CancelRead that races it
// would cost the stream's last acknowledgement.
func (s *quicStream) recycle() {
	started := s.mux.crew.run(func() {
		_ = s.SetReadDeadline(time.Now().Add(finTimeout))
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			s.CancelRead(codeCancelled)
		}
		_ = s.Close()
	})
	if !started {
		s.end(false)
	}
}

func (s *quicStream) chunk() int { return quicChunk }

func (s *quicStream) translate(err error) error {
	var streamErr *quic.StreamError
	if errors.As(err, &streamErr) || errors.Is(err, quic.ErrStreamClosed) {
		return ErrCancelled
	}
	return s.mux.settled(err)
}

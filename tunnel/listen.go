package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/quic-go/quic-go"
	"golang.org/x/time/rate"
)

const (
	// maxPendingHellos bounds QUIC connections that have not said hello.
	maxPendingHellos = 1024
	// Above this rate of new handshakes a gateway asks clients to prove their
	// address first (RFC 9000 §8.1.2), at the cost of a round trip.
	retryAboveRate  = 100 // handshakes a second
	retryAboveBurst = 200
)

// ListenConfig configures [ListenQUIC].
type ListenConfig struct {
	Config
	// TLS holds the certificate getter; the application protocol is set here.
	// Required.
	TLS *tls.Config
	// ResetKey lets a restarted gateway tell the peers of its former life that
	// their sessions are gone (RFC 9000 §10.3). Each gateway keeps its own.
	// Required.
	ResetKey [32]byte
}

// Listener accepts sessions over QUIC.
type Listener struct {
	transport *quic.Transport
	listener  *quic.Listener
	cfg       Config
	sessions  chan *Session
	pending   chan struct{} // one element for each connection without hello
	closed    <-chan struct{}
	stop      context.CancelFunc
	crew      crew
}

// ListenQUIC accepts connectors on conn, which it owns from now on.
func ListenQUIC(conn net.PacketConn, cfg ListenConfig) (*Listener, error) {
	own, err := cfg.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	key := quic.StatelessResetKey(cfg.ResetKey)
	if cfg.TLS == nil || key == (quic.StatelessResetKey{}) {
		return nil, errors.New("tunnel: listen: TLS and ResetKey are required")
	}
	newHandshakes := rate.NewLimiter(retryAboveRate, retryAboveBurst)
	transport := &quic.Transport{
		Conn:                conn,
		StatelessResetKey:   &key,
		VerifySourceAddress: func(net.Addr) bool { return !newHandshakes.Allow() },
	}
	listener, err := transport.Listen(tunnelTLS(cfg.TLS), quicConfig(own.AcceptStreams))
	if err != nil {
		return nil, fmt.Errorf("listen for QUIC on %s: %w", conn.LocalAddr(), err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l := &Listener{
		transport: transport,
		listener:  listener,
		cfg:       own,
		sessions:  make(chan *Session),
		pending:   make(chan struct{}, maxPendingHellos),
		closed:    ctx.Done(),
		stop:      stop,
	}
	l.crew.run(func() { l.acceptConns(ctx) })
	return l, nil
}

// acceptConns lets each new connection say hello in a goroutine of its own.
func (l *Listener) acceptConns(ctx context.Context) {
	for {
		conn, err := l.listener.Accept(ctx)
		if err != nil {
			return
		}
		m := newQUICMux(conn, nil)
		select {
		case l.pending <- struct{}{}:
		default:
			_ = conn.CloseWithError(quic.ApplicationErrorCode(CodeOverload), "too many connections have not said hello")
			continue
		}
		if !l.crew.run(func() { l.greet(ctx, m) }) {
			_ = conn.CloseWithError(quic.ApplicationErrorCode(CodeDraining), "")
		}
	}
}

func (l *Listener) greet(ctx context.Context, m *quicMux) {
	s, err := answer(ctx, m, l.cfg)
	<-l.pending
	if err != nil {
		return
	}
	select {
	case l.sessions <- s:
	case <-ctx.Done():
		s.CloseWith(Reason{Code: CodeDraining})
	}
}

// Accept returns the next session whose peer has said hello. It is not
// authenticated yet. After Close the error is [net.ErrClosed].
func (l *Listener) Accept(ctx context.Context) (*Session, error) {
	select {
	case s := <-l.sessions:
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Addr returns the UDP address.
func (l *Listener) Addr() net.Addr { return l.listener.Addr() }

// Close stops accepting and closes the socket, and so every session that came
// from here: close those with a reason first.
func (l *Listener) Close() error {
	l.stop()
	err := l.listener.Close()
	l.crew.wait()
	return errors.Join(err, l.transport.Close(), l.transport.Conn.Close())
}

// AcceptTCP makes a session of a TLS connection whose handshake is done and
// has agreed on [ALPN]. It owns conn, and waits at most 10 s for hello.
func AcceptTCP(ctx context.Context, conn net.Conn, cfg Config) (*Session, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	m, err := newYamuxMux(conn, false, cfg.AcceptStreams)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start yamux: %w", err)
	}
	return answer(ctx, m, cfg)
}

package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	handshakeTimeout    = 10 * time.Second      // for a TLS handshake on TCP
	maxHandshakes       = 512                   // TLS handshakes under way at once
	maxConnections      = 16384                 // TCP connections, agents' and connectors'
	readHeaderTimeout   = 10 * time.Second      // for the head of an agent's request
	idleTimeout         = 120 * time.Second     // for an agent's connection without a request
	h2Streams           = 250                   // requests at once on one HTTP/2 connection
	writeTimeout        = 30 * time.Second      // for one write to an agent
	acceptRetry         = 50 * time.Millisecond // after a temporary error, such as no free descriptors
	acceptLogEvery      = 200                   // such errors in a row
	tcpKeepAlivePeriod  = 30 * time.Second
	maxPeerCertificates = 8           // that a TLS client may show
	maxPeerBytes        = 32 << 10    // of all of them
	untrustedLogEvery   = time.Minute // for a peer outside agents.trusted
)

// bind opens the sockets: one port number on TCP and UDP, and the others that
// are configured.
func (g *Gateway) bind() (err error) {
	keepAlive := net.ListenConfig{KeepAlive: tcpKeepAlivePeriod}
	listen := func(key, address string) (net.Listener, error) {
		l, err := keepAlive.Listen(context.Background(), "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		return l, nil
	}
	if g.tcp == nil {
		if g.tcp, err = listen("listen", g.cfg.Listen); err != nil {
			return err
		}
	}
	if g.udp == nil {
		socket, err := keepAlive.ListenPacket(context.Background(), "udp", g.tcp.Addr().String())
		if err != nil {
			return fmt.Errorf("listen (UDP): %w", err)
		}
		g.udp = socket
	}
	if g.cfg.Agents.Listen != "" {
		if g.plain, err = listen("agents.listen", g.cfg.Agents.Listen); err != nil {
			return err
		}
	}
	if g.cfg.Health.Listen != "" {
		if g.health, err = listen("health.listen", g.cfg.Health.Listen); err != nil {
			return err
		}
	}
	return nil
}

// unbind closes what bind opened and nobody has closed since.
func (g *Gateway) unbind() {
	for _, l := range []net.Listener{g.tcp, g.plain, g.health} {
		if l != nil {
			_ = l.Close()
		}
	}
	if g.udp != nil {
		_ = g.udp.Close()
	}
}

// connInfo is what the handlers must know of a connection.
type connInfo struct {
	serverName   string              // of the TLS handshake; empty without one
	certificates []*x509.Certificate // of the TLS client; nil if it has shown none
}

type connInfoKey struct{}

func connInfoFrom(ctx context.Context) connInfo {
	info, _ := ctx.Value(connInfoKey{}).(connInfo)
	return info
}

var errCertificates = errors.New("gateway: a TLS client sends more certificates than a chain needs")

// boundCertificates ends a handshake, a resumed one too, in which a client shows more than a chain needs: it is kept for as
// long as the connection lives.
func boundCertificates(state tls.ConnectionState) error {
	size := 0
	for _, cert := range state.PeerCertificates {
		size += len(cert.Raw)
	}
	if len(state.PeerCertificates) > maxPeerCertificates || size > maxPeerBytes {
		return errCertificates
	}
	return nil
}

// connInfoOf looks at a connection as net/http got it.
func connInfoOf(conn net.Conn) connInfo {
	if raw, ok := conn.(*rawConn); ok {
		conn = raw.Conn
	}
	if secure, ok := conn.(*tls.Conn); ok {
		state := secure.ConnectionState()
		return connInfo{state.ServerName, state.PeerCertificates}
	}
	return connInfo{}
}

// httpServer makes the server for one kind of connection. It has no write
// timeout, which would cut event streams: the stall watch bounds writes.
func (g *Gateway) httpServer(ctx context.Context, h2 bool) *http.Server {
	s := &http.Server{
		Handler:           g.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHead,
		ErrorLog:          g.httpLog,
		BaseContext:       baseContext(ctx),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connInfoKey{}, connInfoOf(conn))
		},
		Protocols:                    new(http.Protocols),
		DisableGeneralOptionsHandler: true, // "OPTIONS *" gets the answer of every other path that does not exist
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: h2Streams, WriteByteTimeout: writeTimeout, SendPingTimeout: idleTimeout},
	}
	s.Protocols.SetHTTP1(!h2)
	s.Protocols.SetHTTP2(h2)
	return s
}

func baseContext(ctx context.Context) func(net.Listener) context.Context {
	return func(net.Listener) context.Context { return ctx }
}

// acceptTCP takes the connections of the public port until it is closed. Each
// handshakes in a goroutine of its own, and goes by the protocol that it
// agreed on: to a session, or to one of the two HTTP servers.
func (g *Gateway) acceptTCP(ctx context.Context, h1, h2 *handoff) {
	conf := g.agentTLS()
	handshakes := semaphore.NewWeighted(maxHandshakes)
	var crew sync.WaitGroup
	defer crew.Wait()
	g.accept(ctx, g.tcp, func(conn net.Conn) {
		if !handshakes.TryAcquire(1) {
			_ = conn.Close()
			return
		}
		crew.Go(func() {
			secure := tls.Server(conn, conf)
			err := shake(ctx, secure)
			handshakes.Release(1)
			if err != nil {
				_ = conn.Close()
				return
			}
			switch secure.ConnectionState().NegotiatedProtocol {
			case tunnel.ALPN:
				g.serveTCPSession(ctx, secure)
			case "h2":
				h2.put(secure)
			default:
				h1.put(&rawConn{Conn: secure})
			}
		})
	})
}

func shake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	return conn.HandshakeContext(ctx)
}

func (g *Gateway) serveTCPSession(ctx context.Context, conn net.Conn) {
	s, err := tunnel.AcceptTCP(ctx, conn, g.tunnelConfig())
	if err != nil {
		g.log.Debug("no session", telemetry.KeyRemote, conn.RemoteAddr().String(), telemetry.KeyError, err)
		return
	}
	g.ServeSession(ctx, s)
}

// acceptQUIC serves the sessions that come over UDP until the listener closes.
func (g *Gateway) acceptQUIC(ctx context.Context, l *tunnel.Listener) {
	var crew sync.WaitGroup
	defer crew.Wait()
	for {
		s, err := l.Accept(ctx)
		if err != nil {
			return
		}
		crew.Go(func() { g.ServeSession(ctx, s) })
	}
}

// acceptPlain takes the connections of the balancer, and closes those of
// anybody else before a byte of them is read.
func (g *Gateway) acceptPlain(ctx context.Context, h1 *handoff) {
	seldom := rate.NewLimiter(rate.Every(untrustedLogEvery), 1)
	g.accept(ctx, g.plain, func(conn net.Conn) {
		if !g.trusted(conn.RemoteAddr()) {
			if seldom.Allow() {
				g.log.Warn("closed a connection to agents.listen: its peer is not in agents.trusted", telemetry.KeyRemote, conn.RemoteAddr().String())
			}
			_ = conn.Close()
			return
		}
		h1.put(&rawConn{Conn: conn})
	})
}

func (g *Gateway) trusted(addr net.Addr) bool {
	peer, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return false
	}
	for _, prefix := range g.cfg.Agents.Trusted {
		if prefix.Contains(peer.Addr().Unmap()) {
			return true
		}
	}
	return false
}

// accept hands on the connections of a listener, within the process's bound,
// until it is closed. Running out of descriptors is waited out.
func (g *Gateway) accept(ctx context.Context, l net.Listener, take func(net.Conn)) {
	failures := 0
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, net.ErrClosed) || ctx.Err() != nil:
			return
		default:
			if failures%acceptLogEvery == 0 {
				g.log.Warn("accept failed, trying on", telemetry.KeyListen, l.Addr().String(), telemetry.KeyError, err)
			}
			failures++
			waitOr(ctx.Done(), acceptRetry)
			continue
		}
		if !g.connections.TryAcquire(1) {
			_ = conn.Close()
			continue
		}
		take(&countedConn{Conn: conn, release: g.connections})
	}
}

// countedConn gives its place back when it is closed, and bounds each write
// for which nobody above has set a deadline: http.Server's last flush has no
// other bound. It sits below TLS: a wrapped TLS connection would not be
// recognised by net/http.
type countedConn struct {
	net.Conn
	release *semaphore.Weighted
	once    sync.Once

	mu       sync.Mutex // guards deadline
	deadline bool       // set from above
}

// SetDeadline implements net.Conn.
func (c *countedConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = !t.IsZero()
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *countedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = !t.IsZero()
	return c.Conn.SetWriteDeadline(t)
}

// Write implements net.Conn.
func (c *countedConn) Write(p []byte) (int, error) {
	c.arm()
	return c.Conn.Write(p)
}

func (c *countedConn) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline {
		_ = c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)) // on a closed connection Write will say so
	}
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.release.Release(1) })
	return c.Conn.Close()
}

// handoff is a net.Listener whose connections somebody else has accepted.
type handoff struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (h *handoff) put(conn net.Conn) {
	select {
	case h.conns <- conn:
	case <-h.closed:
		_ = conn.Close()
	}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }

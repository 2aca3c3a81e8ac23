package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/quic-go/quic-go"
)

// tcpHeadStart is how long a race waits for QUIC alone before it starts TCP.
const tcpHeadStart = 1500 * time.Millisecond

// Dialer makes sessions to one gateway address.
type Dialer struct {
	Config
	// Addr is the gateway's host:port, on UDP and on TCP. Required.
	Addr string
	// TLS holds the roots to trust; ServerName defaults to Addr's host, and the
	// application protocol is set here. Required.
	TLS *tls.Config
	// Transport pins one transport. Optional; default: QUIC, and 1.5 s later
	// TCP beside it, whichever is usable first.
	Transport Transport
	// Proxy names the HTTP proxy for the TCP connection, as in
	// [net/http.Transport]: QUIC never goes through it. Optional.
	Proxy func(*url.URL) (*url.URL, error)
}

// Dial connects, shakes hands and exchanges hellos. ctx bounds all of it.
func (d *Dialer) Dial(ctx context.Context) (*Session, error) {
	cfg, err := d.Config.withDefaults()
	if err != nil {
		return nil, err
	}
	switch d.Transport {
	case QUIC:
		return d.dialQUIC(ctx, cfg)
	case TCP:
		return d.dialTCP(ctx, cfg)
	case "":
		return d.race(ctx, cfg)
	}
	return nil, fmt.Errorf("tunnel: transport %q cannot be dialled", d.Transport)
}

type dialed struct {
	session *Session
	err     error
}

// race dials QUIC, and TCP as well once QUIC has failed or had its head start.
// The loser is closed.
func (d *Dialer) race(ctx context.Context, cfg Config) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, 2)
	start := func(dial func(context.Context, Config) (*Session, error)) {
		go func() {
			s, err := dial(ctx, cfg)
			results <- dialed{s, err}
		}()
	}
	start(d.dialQUIC)
	running := 1
	headStart := time.NewTimer(tcpHeadStart)
	defer headStart.Stop()
	startTCP := func() {
		if headStart != nil {
			headStart.Stop()
			headStart = nil
			start(d.dialTCP)
			running++
		}
	}
	var errs []error
	for running > 0 {
		var expired <-chan time.Time
		if headStart != nil {
			expired = headStart.C
		}
		select {
		case <-expired:
			startTCP()
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				d.closeLosers(results, running)
				return r.session, nil
			}
			errs = append(errs, r.err)
			if ctx.Err() == nil {
				startTCP()
			}
		}
	}
	if len(errs) == 2 {
		return nil, fmt.Errorf("%w; %w", errs[0], errs[1])
	}
	return nil, errors.Join(errs...)
}

// closeLosers waits for the dials that a win has cancelled.
func (d *Dialer) closeLosers(results <-chan dialed, running int) {
	for range running {
		if r := <-results; r.err == nil {
			r.session.CloseWith(Reason{Code: CodeOK, Text: "the other transport was faster"})
		}
	}
}

func (d *Dialer) tlsConfig() (*tls.Config, error) {
	conf := tunnelTLS(d.TLS)
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(d.Addr)
		if err != nil {
			return nil, fmt.Errorf("tunnel: gateway address %q: %w: write host:port", d.Addr, err)
		}
		conf.ServerName = host
	}
	return conf, nil
}

func (d *Dialer) dialQUIC(ctx context.Context, cfg Config) (_ *Session, err error) {
	conf, err := d.tlsConfig()
	if err != nil {
		return nil, err
	}
	addr, err := resolveUDP(ctx, d.Addr)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", d.Addr, err)
	}
	socket, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	// No reset key and no Listen: this socket answers nobody but its gateway.
	transport := &quic.Transport{Conn: socket}
	release := func() {
		_ = transport.Close()
		_ = socket.Close()
	}
	conn, err := transport.Dial(ctx, addr, conf, quicConfig(cfg.AcceptStreams))
	if err != nil {
		release()
		return nil, fmt.Errorf("dial %s over QUIC: %w", d.Addr, err)
	}
	s, err := dial(ctx, newQUICMux(conn, release), cfg)
	if err != nil {
		return nil, fmt.Errorf("dial %s over QUIC: %w", d.Addr, err)
	}
	return s, nil
}

// resolveUDP looks the gateway up and takes the resolver's first choice.
func resolveUDP(ctx context.Context, addr string) (*net.UDPAddr, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "udp", port)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, host)
	if err != nil {
		return nil, err
	}
	return &net.UDPAddr{IP: ips[0].IP, Zone: ips[0].Zone, Port: number}, nil
}

func (d *Dialer) dialTCP(ctx context.Context, cfg Config) (*Session, error) {
	conf, err := d.tlsConfig()
	if err != nil {
		return nil, err
	}
	conn, err := d.connectTCP(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s over TCP: %w", d.Addr, err)
	}
	secure := tls.Client(conn, conf)
	shake, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	if err := secure.HandshakeContext(shake); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS handshake with %s over TCP: %w", d.Addr, err)
	}
	if got := secure.ConnectionState().NegotiatedProtocol; got != ALPN {
		_ = conn.Close()
		return nil, fmt.Errorf("tunnel: %s did not agree on protocol %s: is it a Sallyport gateway, and does nothing between end the TLS?", d.Addr, ALPN)
	}
	m, err := newYamuxMux(secure, true, cfg.AcceptStreams)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("start yamux: %w", err)
	}
	s, err := dial(ctx, m, cfg)
	if err != nil {
		return nil, fmt.Errorf("dial %s over TCP: %w", d.Addr, err)
	}
	return s, nil
}

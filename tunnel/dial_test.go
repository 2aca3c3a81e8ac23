package tunnel_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

// onePort finds a port that is free on UDP and TCP.
func onePort(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp
		}
		_ = tcp.Close()
	}
	t.Fatal("no port is free on both")
	return nil, nil
}

// serveTCP greets everybody on a listener until the test ends.
func serveTCP(t *testing.T, listener net.Listener, conf *tls.Config) {
	t.Helper()
	conf = conf.Clone()
	conf.NextProtos = []string{tunnel.ALPN}
	var work sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				secure := tls.Server(conn, conf)
				if secure.HandshakeContext(ctx) != nil {
					_ = conn.Close()
					return
				}
				s, err := tunnel.AcceptTCP(ctx, secure, tunnel.Config{Instance: "g"})
				if err != nil {
					return
				}
				select {
				case <-s.Done():
				case <-ctx.Done():
				}
				s.CloseWith(tunnel.Reason{})
			})
		}
	})
	t.Cleanup(func() {
		stop()
		_ = listener.Close()
		work.Wait()
	})
}

// serveQUIC greets everybody on a socket until the test ends.
func serveQUIC(t *testing.T, socket net.PacketConn, conf *tls.Config) {
	t.Helper()
	listener, err := tunnel.ListenQUIC(socket, tunnel.ListenConfig{Config: tunnel.Config{Instance: "g"}, TLS: conf, ResetKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			s, err := listener.Accept(context.Background())
			if err != nil {
				return
			}
			work.Go(func() { <-s.Done() })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		work.Wait()
	})
}

func dialer(addr string, conf *tls.Config) *tunnel.Dialer {
	return &tunnel.Dialer{Config: tunnel.Config{Instance: "c"}, Addr: addr, TLS: conf}
}

// dials wants a session over a transport within a time.
func dials(t *testing.T, d *tunnel.Dialer, want tunnel.Transport, limit time.Duration) {
	t.Helper()
	start := time.Now()
	s, err := d.Dial(t.Context())
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	defer s.CloseWith(tunnel.Reason{})
	if got := s.Peer().Transport; got != want {
		t.Errorf("the session runs over %s, want %s", got, want)
	}
	if took := time.Since(start); took > limit {
		t.Errorf("dialling took %v, want at most %v", took, limit)
	}
}

func TestTheRacePrefersQUIC(t *testing.T) {
	t.Parallel()
	server, client := tunneltest.TLS(t)
	tcp, udp := onePort(t)
	serveTCP(t, tcp, server)
	serveQUIC(t, udp, server)
	for range 5 {
		dials(t, dialer(tcp.Addr().String(), client), tunnel.QUIC, 5*time.Second)
	}
	pinned := dialer(tcp.Addr().String(), client)
	pinned.Transport = tunnel.TCP
	dials(t, pinned, tunnel.TCP, 5*time.Second)
}

func TestTCPIsUsableWhereUDPIsBlackholed(t *testing.T) {
	t.Parallel()
	server, client := tunneltest.TLS(t)
	tcp, udp := onePort(t)
	t.Cleanup(func() { _ = udp.Close() })
	serveTCP(t, tcp, server)
	dials(t, dialer(tcp.Addr().String(), client), tunnel.TCP, 3*time.Second)
}

func TestTCPStartsAtOnceWhereQUICRefuses(t *testing.T) {
	t.Parallel()
	server, client := tunneltest.TLS(t)
	stranger, _ := tunneltest.TLS(t) // its certificate is not trusted
	tcp, udp := onePort(t)
	serveTCP(t, tcp, server)
	serveQUIC(t, udp, stranger)
	// Waiting out QUIC's head start would take 1.5 s each time; a busy machine may be slow now and then.
	least := time.Hour
	for i := 0; i < 5 && least > 1400*time.Millisecond; i++ {
		start := time.Now()
		dials(t, dialer(tcp.Addr().String(), client), tunnel.TCP, 10*time.Second)
		least = min(least, time.Since(start))
	}
	if least > 1400*time.Millisecond {
		t.Errorf("dialling took %v at the least, want at most 1.4 s", least)
	}
}

func TestDialErrorsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	server, client := tunneltest.TLS(t)
	_, wrong := tunneltest.TLS(t)
	tcp, udp := onePort(t)
	serveTCP(t, tcp, server)
	serveQUIC(t, udp, server)
	web, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := web.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() })
		}
	})
	t.Cleanup(func() { _ = web.Close(); conns.Wait() })
	addr := tcp.Addr().String()
	for _, c := range []struct {
		name      string
		addr      string
		conf      *tls.Config
		transport tunnel.Transport
		want      string
	}{
		{"wrong CA, QUIC", addr, wrong, tunnel.QUIC, "certificate"},
		{"wrong CA, TCP", addr, wrong, tunnel.TCP, "certificate"},
		{"wrong CA, both", addr, wrong, "", "certificate"},
		{"no ALPN", web.Addr().String(), client, tunnel.TCP, "is it a Sallyport gateway"},
		{"no port", "127.0.0.1", client, "", "write host:port"},
		{"unknown transport", addr, client, "smoke", `transport "smoke"`},
		{"memory", addr, client, tunnel.Memory, "cannot be dialled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dialer(c.addr, c.conf)
			d.Transport = c.transport
			s, err := d.Dial(t.Context())
			if err == nil {
				s.CloseWith(tunnel.Reason{})
				t.Fatal("dialled")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
		})
	}
	if _, err := (&tunnel.Dialer{Addr: addr, TLS: client}).Dial(t.Context()); err == nil {
		t.Error("dialled without an instance")
	}
}

// connectProxy is a small HTTP proxy; a non-empty refusal is its only answer.
func connectProxy(t *testing.T, refusal string) (*url.URL, <-chan *http.Request) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan *http.Request, 16)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer func() { _ = conn.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(conn))
				if err != nil {
					return
				}
				asked <- req
				if refusal != "" {
					_, _ = io.WriteString(conn, refusal)
					return
				}
				back, err := net.Dial("tcp", req.Host)
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
				work.Go(func() { _, _ = io.Copy(back, conn); _ = back.Close() })
				_, _ = io.Copy(conn, back)
			})
		}
	})
	t.Cleanup(func() { _ = listener.Close(); work.Wait() })
	return &url.URL{Scheme: "http", Host: listener.Addr().String(), User: url.UserPassword("me", "pass")}, asked
}

func TestTCPGoesThroughAnHTTPProxy(t *testing.T) {
	t.Parallel()
	server, client := tunneltest.TLS(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serveTCP(t, listener, server)
	proxy, asked := connectProxy(t, "")
	d := dialer(listener.Addr().String(), client)
	d.Transport, d.Proxy = tunnel.TCP, through(proxy)
	dials(t, d, tunnel.TCP, 5*time.Second)
	req := <-asked
	if req.Method != http.MethodConnect || req.Host != d.Addr {
		t.Errorf("the proxy was asked for %s %s", req.Method, req.Host)
	}
	if got := req.Header.Get("Proxy-Authorization"); got != "Basic bWU6cGFzcw==" {
		t.Error("the proxy's credentials did not arrive")
	}
}

func TestAProxyThatRefusesIsNamed(t *testing.T) {
	t.Parallel()
	_, client := tunneltest.TLS(t)
	for _, c := range []struct{ name, answer, want string }{
		{"refused", "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "the proxy refused: 407"},
		{"not HTTP", "SSH-2.0-OpenSSH\r\n\r\n", "read the proxy's answer"},
		{"early bytes", "HTTP/1.1 200 OK\r\n\r\nabc", "more than its answer"},
		{"endless head", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 128<<10) + "\r\n\r\n", "read the proxy's answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			proxy, _ := connectProxy(t, c.answer)
			d := dialer("127.0.0.1:1", client)
			d.Transport, d.Proxy = tunnel.TCP, through(proxy)
			_, err := d.Dial(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "pass") {
				t.Errorf("the error holds the proxy's password: %v", err)
			}
		})
	}
	d := dialer("127.0.0.1:1", client)
	d.Transport, d.Proxy = tunnel.TCP, through(&url.URL{Scheme: "socks5", Host: "127.0.0.1:1"})
	if _, err := d.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "use http://") {
		t.Errorf("socks5: %v", err)
	}
	d.Proxy = func(*url.URL) (*url.URL, error) { return nil, errors.New("no idea") }
	if _, err := d.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "choose a proxy") {
		t.Errorf("a failing choice: %v", err)
	}
}

// What a cancelled dial started is gone when it returns; the leak check of the
// package sees to that.
func TestADialMayBeCancelledAtAnyMoment(t *testing.T) {
	t.Parallel()
	server, client := tunneltest.TLS(t)
	tcp, udp := onePort(t)
	serveTCP(t, tcp, server)
	serveQUIC(t, udp, server)
	for _, transport := range []tunnel.Transport{tunnel.QUIC, tunnel.TCP, ""} {
		for range 15 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(8_000))*time.Microsecond)
			d := dialer(tcp.Addr().String(), client)
			d.Transport = transport
			s, err := d.Dial(ctx)
			cancel()
			if err == nil {
				s.CloseWith(tunnel.Reason{})
			} else if s != nil {
				t.Fatal("a session and an error")
			}
		}
	}
}

func through(proxy *url.URL) func(*url.URL) (*url.URL, error) {
	return func(*url.URL) (*url.URL, error) { return proxy, nil }
}

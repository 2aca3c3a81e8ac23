package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"sallyport.dev/tunnel"
)

// running is a gateway whose Run is under way on loopback.
type running struct {
	*Gateway
	log  *logged
	stop context.CancelFunc
	done chan error
}

func runGateway(t *testing.T, change func(*Config)) *running {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g, log := newGateway(t, func(c *Config) {
		c.PublicURL = "https://" + tcp.Addr().String()
		if change != nil {
			change(c)
		}
	})
	g.Sockets(tcp, udp)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Gateway: g, log: log, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- g.Run(ctx) }()
	t.Cleanup(func() { r.stopped(t, 10*time.Second) })
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(log.String(), "gateway is up"); {
		if time.Now().After(deadline) {
			t.Fatalf("not up: %s", log)
		}
		time.Sleep(time.Millisecond)
	}
	return r
}

// stopped ends the gateway and waits for it.
func (r *running) stopped(t *testing.T, within time.Duration) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.done:
		r.done <- nil
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(within):
		t.Errorf("Run does not end:\n%s", r.log)
	}
}

func (r *running) client(t *testing.T, h2 bool) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(r.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func (r *running) post(t *testing.T, base, server, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/t/acme/"+server+"/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = post(testAgentToken, server, "").Header
	return req
}

// TestDrain: SIGTERM lets calls in flight finish, refuses new ones, ends the
// event streams that nobody asked for, turns readiness and exits.
func TestDrain(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "h1", true: "h2"}[h2], func(t *testing.T) {
			health := freeAddress(t)
			r := runGateway(t, func(c *Config) { c.Health.Listen = health })
			begun, finish := make(chan string, 2), make(chan struct{})
			connector := attachFake(t, r.Gateway, "one", func(conn net.Conn) {
				defer conn.Close()
				req, _, err := readRequest(conn)
				if err != nil {
					return
				}
				head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n"
				if _, err := io.WriteString(conn, head); err != nil {
					return
				}
				begun <- req.Method
				if req.Method == http.MethodGet {
					_, _ = io.Copy(io.Discard, conn)
					return
				}
				<-finish
				_, _ = io.WriteString(conn, "9\r\ndata: 2\n\n\r\n0\r\n\r\n")
				_, _ = io.Copy(io.Discard, conn)
			}, "wiki")
			client := r.client(t, h2)
			ready := func() int {
				resp, err := r.client(t, false).Get("http://" + health + "/readyz")
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				return resp.StatusCode
			}
			if got := ready(); got != http.StatusOK {
				t.Errorf("readyz before: %d", got)
			}

			inFlight, err := client.Do(r.post(t, r.cfg.PublicURL, "wiki", listTools))
			if err != nil {
				t.Fatal(err)
			}
			get := r.post(t, r.cfg.PublicURL, "wiki", "")
			get.Method, get.Body, get.ContentLength = http.MethodGet, nil, 0
			events, err := client.Do(get)
			if err != nil {
				t.Fatal(err)
			}
			<-begun
			<-begun

			r.stop()
			if _, err := io.ReadAll(events.Body); err == nil {
				t.Error("the event stream ended as if it were complete")
			}
			_ = events.Body.Close()
			if got := ready(); got != http.StatusServiceUnavailable {
				t.Errorf("readyz while draining: %d", got)
			}
			if conn, err := net.Dial("tcp", r.tcp.Addr().String()); err == nil {
				_ = conn.Close()
				t.Error("a new connection is accepted while draining")
			}
			select {
			case <-connector.Draining():
			case <-time.After(5 * time.Second):
				t.Error("the connector was not told")
			}
			close(finish)
			body, err := io.ReadAll(inFlight.Body)
			if err != nil || string(body) != "data: 1\n\ndata: 2\n\n" {
				t.Errorf("the call in flight: %q, %v", body, err)
			}
			_ = inFlight.Body.Close()
			r.stopped(t, 10*time.Second)
			select {
			case <-connector.Done():
				var ended *tunnel.CloseError
				if err := connector.Err(); !errors.As(err, &ended) || ended.Code != tunnel.CodeDraining || !ended.Remote {
					t.Errorf("the connector's session ended with %v", err)
				}
			case <-time.After(5 * time.Second):
				t.Error("the session was not closed")
			}
		})
	}
}

// TestGiveUp: what is still in flight when the time is up says what it knows.
func TestGiveUp(t *testing.T) {
	g, _ := newGateway(t, nil)
	begun := make(chan struct{})
	attachFake(t, g, "one", func(conn net.Conn) {
		defer conn.Close()
		if _, _, err := readRequest(conn); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
		close(begun)
		_, _ = io.Copy(io.Discard, conn)
	}, "wiki")
	calls, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	public, h1 := new(servers), newHandoff(l.Addr())
	public.start(g.httpServer(calls, false), h1)
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if conn, err := l.Accept(); err == nil {
			h1.put(&rawConn{Conn: conn})
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	<-accepted
	_ = l.Close()
	req := post(testAgentToken, "wiki", listTools)
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	<-begun
	g.drain()
	start := time.Now()
	public.shutdown(100*time.Millisecond, giveUp)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("gave up after %s", took)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(body), "data: 1\n\n") || !strings.Contains(string(body), `"delivered":"unknown"`) {
		t.Errorf("%q, %v", body, err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestPlainListener: only the balancer's peers, only HTTP/1.1, and no tunnel.
func TestPlainListener(t *testing.T) {
	address := freeAddress(t)
	r := runGateway(t, func(c *Config) {
		c.Agents.Listen = address
		c.Agents.Trusted = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	})
	attachFake(t, r.Gateway, "one", answering(okAnswer), "wiki")
	dial := func(from string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	say := func(conn net.Conn, text string) string {
		t.Helper()
		_, _ = io.WriteString(conn, text)
		answer, _ := io.ReadAll(conn)
		return string(answer)
	}
	stranger := dial("127.0.0.1")
	if n, err := stranger.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a peer that is not trusted is not hung up on: %v", err)
	}
	_ = say(dial("127.0.0.1"), "") // the second one within the minute is not logged
	if n := strings.Count(r.log.String(), "its peer is not in agents.trusted"); n != 1 {
		t.Errorf("strangers are logged %d times", n)
	}
	req := r.post(t, "http://"+address, "wiki", listTools)
	req.Host, req.Close = hostOf(r.cfg.PublicURL), true
	balancer := dial("127.0.0.2")
	if err := req.Write(balancer); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(balancer); !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Errorf("the balancer's call: %q", answer)
	}
	for name, text := range map[string]string{
		"HTTP/2 prior knowledge": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"the tunnel protocol":    "\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x00\x00",
		"TLS":                    "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n",
	} {
		if answer := say(dial("127.0.0.2"), text); answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 4") {
			t.Errorf("%s: %q", name, answer)
		}
	}
	if n := len(r.sessions.all()); n != 1 {
		t.Errorf("%d sessions", n)
	}
	h2c := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) { return dial("127.0.0.2"), nil }}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	defer h2c.CloseIdleConnections()
	if resp, err := h2c.RoundTrip(r.post(t, "http://"+address, "wiki", listTools)); err == nil {
		_ = resp.Body.Close()
		t.Errorf("unencrypted HTTP/2 is spoken: %d", resp.StatusCode)
	}
}

func hostOf(url string) string { return strings.TrimPrefix(url, "https://") }

// TestOnlyTokensOpenPublicListeners: besides the health listener, which must
// be on loopback, nothing that listens answers without a token.
func TestOnlyTokensOpenPublicListeners(t *testing.T) {
	address := freeAddress(t)
	r := runGateway(t, func(c *Config) {
		c.Agents.Listen, c.Agents.Trusted = address, []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	})
	client := r.client(t, false)
	for _, base := range []string{r.cfg.PublicURL, "http://" + address} {
		for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/debug/pprof/", "/attach", "/t/acme/wiki/mcp", "/admin", "*"} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
				req, err := http.NewRequestWithContext(t.Context(), method, base+strings.TrimSuffix(path, "*"), nil)
				if err != nil {
					t.Fatal(err)
				}
				if path == "*" {
					req.URL.Opaque = "*"
				}
				req.Host = hostOf(r.cfg.PublicURL)
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				switch resp.StatusCode {
				case http.StatusUnauthorized, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusMisdirectedRequest:
				default:
					t.Errorf("%s %s%s: %d without a token", method, base, path, resp.StatusCode)
				}
			}
		}
	}
}

func TestHealth(t *testing.T) {
	address := freeAddress(t)
	r := runGateway(t, func(c *Config) { c.Health.Listen = address })
	client := r.client(t, false)
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/": 404, "/t/acme/wiki/mcp": 404, "/debug/pprof/": 404} {
		resp, err := client.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode != want || strings.Contains(string(body), testTunnel) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// TestConnectionLimit: what is above the limit is closed, and places come back.
func TestConnectionLimit(t *testing.T) {
	g, _ := newGateway(t, nil)
	g.connections = semaphore.NewWeighted(2)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := make(chan net.Conn, 8)
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.accept(t.Context(), l, func(conn net.Conn) { taken <- conn })
	}()
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	dial()
	first, second := <-taken, <-taken
	third := dial()
	_ = third.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection above the limit stays: %v", err)
	}
	_ = first.Close()
	_ = first.Close() // twice gives one place back
	dial()
	fourth := <-taken
	dial()
	select {
	case <-taken:
		t.Error("three connections within a limit of two")
	case <-time.After(100 * time.Millisecond):
	}
	_ = second.Close()
	_ = fourth.Close()
	_ = l.Close()
	<-done
}

// TestNothingIsLogged: bodies, tokens and header values of agents and
// connectors are in no log line.
func TestNothingIsLogged(t *testing.T) {
	g, log := newGateway(t, nil)
	attachFake(t, g, "one", answering("HTTP/1.1 200 OK\r\nX-Canary: canary-header\r\nContent-Length: 13\r\n\r\n\"canary-body\""), "wiki")
	bodies := []string{
		`{"jsonrpc":"2.0","id":"canary-id","method":"tools/call","params":{"name":"t","arguments":{"a":"canary-argument"}}}`,
		`{"jsonrpc":"2.0","id":"canary-id","method":"canary-broken`,
		`canary`,
	}
	for _, token := range []string{testAgentToken, "canary-token-" + strings.Repeat("x1", 20), "canary token"} {
		for _, body := range bodies {
			r := post(token, "wiki", body)
			r.Header.Set("X-Canary", "canary-value")
			serve(g, r)
		}
	}
	for _, canary := range []string{"canary", testAgentToken, testTunnelToken} {
		if strings.Contains(log.String(), canary) {
			t.Errorf("%q is in the log:\n%s", canary, log)
		}
	}
	if n := strings.Count(log.String(), `"msg":"call"`); n != 9 {
		t.Errorf("%d access lines for 9 calls", n)
	}
}

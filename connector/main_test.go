package connector

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
	"sallyport.dev/cell"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/tunnel"
)

func TestMain(m *testing.M) {
	cell.Main()
	goleak.VerifyTestMain(m)
}

const (
	testTunnel      = "acme"
	testTunnelToken = "tunnel-token-0123456789abcdefghijklmnopqrstuvwxy"
	listTools       = `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`
)

// logged is a log that a test can read while it is written.
type logged struct {
	mu   sync.Mutex // guards text
	text strings.Builder

	flush func() // has what waits written; may be nil
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	if l.flush != nil {
		l.flush()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func secretFile(t testing.TB, name, value string) secret.Ref {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	ref, err := secret.ParseRef("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// fakeGateway makes sessions in memory and attaches what dials it.
type fakeGateway struct {
	// refuse answers an attach in place of the welcome: a status and a text. Optional.
	refuse func() (status int, text string)
	// patient leaves a drained session open; the test closes it.
	patient bool
	// attached gets the gateway's end of each attached session.
	attached chan *tunnel.Session
	signer   *auth.Signer
	crew     sync.WaitGroup

	mu    sync.Mutex // guards dials
	dials []time.Time
}

func newFakeGateway(t testing.TB) *fakeGateway {
	return &fakeGateway{attached: make(chan *tunnel.Session, 64), signer: authtest.Signer(t)}
}

// dial is a DialFunc.
func (g *fakeGateway) dial(ctx context.Context, self tunnel.Config) (*tunnel.Session, error) {
	g.mu.Lock()
	g.dials = append(g.dials, time.Now())
	g.mu.Unlock()
	dialed, accepted, err := tunnel.Pipe(ctx, self, tunnel.Config{Instance: "gateway", AcceptStreams: tunnel.GatewayStreams})
	if err != nil {
		return nil, err
	}
	g.crew.Go(func() { g.serve(accepted) })
	return dialed, nil
}

func (g *fakeGateway) times() []time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]time.Time(nil), g.dials...)
}

func (g *fakeGateway) serve(s *tunnel.Session) {
	conn, err := s.Accept(context.Background())
	if err != nil {
		return
	}
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	body, _ := io.ReadAll(r.Body)
	var asked auth.AttachRequest
	status, text := http.StatusOK, ""
	switch {
	case g.refuse != nil:
		status, text = g.refuse()
	case auth.UnmarshalAttach(body, &asked) != nil || r.Header.Get("Authorization") != "Bearer "+testTunnelToken || asked.Instance != s.Peer().Instance:
		status, text = http.StatusUnauthorized, "who are you?"
	}
	if status == http.StatusOK {
		answer, _ := auth.MarshalAttach(auth.AttachAnswer{Tunnel: testTunnel, Issuer: authtest.Issuer, AssertionKeys: []ed25519.PublicKey{authtest.PublicKey()}})
		text = string(answer)
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 "+strconv.Itoa(status)+" X\r\nConnection: close\r\nContent-Length: "+strconv.Itoa(len(text))+"\r\n\r\n"+text)
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
	if status == http.StatusOK {
		g.attached <- s
	}
	select {
	case <-s.Done():
	case <-s.Draining():
		if !g.patient { // as a gateway hangs up once no call is in flight
			waitOr(s.Done(), 50*time.Millisecond)
			s.CloseWith(tunnel.Reason{})
		}
	}
	<-s.Done()
	s.CloseWith(tunnel.Reason{})
}

// next waits for a session to attach.
func (g *fakeGateway) next(t testing.TB) *tunnel.Session {
	t.Helper()
	select {
	case s := <-g.attached:
		return s
	case <-time.After(time.Minute):
		t.Fatal("nothing attaches")
		return nil
	}
}

// testConfig is a complete configuration of a connector with one server.
func testConfig(t testing.TB, upstream string) Config {
	t.Helper()
	return Config{
		Gateway:     "gateway.example.test:443",
		TunnelToken: secretFile(t, "tunnel.token", testTunnelToken),
		Connections: 1,
		Servers:     map[string]Server{"wiki": {URL: upstream}},
		Policy:      policy.Open(),
	}
}

func newConnector(t testing.TB, g *fakeGateway, upstream string, change func(*Config)) (*Connector, *logged) {
	t.Helper()
	cfg := testConfig(t, upstream)
	cfg.Dial = g.dial
	log := new(logged)
	cfg.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	log.flush = c.ended.Flush
	return c, log
}

// running is a connector whose Run is under way.
type running struct {
	*Connector
	log  *logged
	stop context.CancelFunc
	done chan error
}

func run(t testing.TB, g *fakeGateway, upstream string, change func(*Config)) *running {
	t.Helper()
	c, log := newConnector(t, g, upstream, change)
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Connector: c, log: log, stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- c.Run(ctx) }()
	t.Cleanup(func() {
		r.stop()
		select {
		case err := <-r.done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(time.Minute):
			t.Errorf("Run does not end: %s", log)
		}
		g.crew.Wait()
	})
	return r
}

// ended waits for Run's error, and gives it.
func (r *running) ended(t testing.TB) error {
	t.Helper()
	select {
	case err := <-r.done:
		r.done <- nil
		return err
	case <-time.After(time.Minute):
		t.Fatalf("Run does not end: %s", r.log)
		return nil
	}
}

// answered is what came back over the tunnel.
type answered struct {
	*http.Response
	body string
	err  error // of reading the body
}

func (a answered) outcome() mcp.Outcome { return mcp.Outcome(a.Header.Get(mcp.HeaderOutcome)) }

// start sends a request over a stream of its own. The caller closes the stream.
func (g *fakeGateway) start(t testing.TB, s *tunnel.Session, instance, method, body string, header http.Header) net.Conn {
	t.Helper()
	conn, err := s.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, "http://acme/t/acme/wiki/mcp", strings.NewReader(body))
	r.Close = true
	r.Header.Set("MCP-Protocol-Version", "2025-11-25")
	r.Header.Set("User-Agent", "")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body, r.ContentLength = nil, 0
	}
	assertion, err := g.signer.Sign(auth.Assertion{Tunnel: testTunnel, Server: "wiki", Connector: instance,
		Principal: auth.Principal{Issuer: authtest.Issuer, Subject: authtest.Subject}})
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(mcp.HeaderAssertion, assertion)
	r.Header.Set(mcp.HeaderRequestID, "request-1")
	for name, values := range header {
		r.Header[name] = values
	}
	if err := r.Write(conn); err != nil {
		t.Error(err)
	}
	return conn
}

// call makes a whole call. One that breaks before its head has the status 0.
func (g *fakeGateway) call(t testing.TB, s *tunnel.Session, instance, method, body string, header http.Header) answered {
	t.Helper()
	conn := g.start(t, s, instance, method, body, header)
	defer conn.Close()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return answered{Response: new(http.Response), err: err}
	}
	got, err := io.ReadAll(resp.Body)
	return answered{resp, string(got), err}
}

func closeCode(t testing.TB, err error) tunnel.Code {
	t.Helper()
	var ended *tunnel.CloseError
	if !errors.As(err, &ended) {
		t.Errorf("%v is no CloseError", err)
		return tunnel.CodeLost
	}
	return ended.Code
}

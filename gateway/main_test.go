package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/auth"
	"sallyport.dev/secret"
	"sallyport.dev/tunnel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testTunnel      = "acme"
	testAgentToken  = "agent-token-0123456789abcdefghijklmnopqrstuvwxyz"
	testNarrowToken = "narrow-token-0123456789abcdefghijklmnopqrstuvwxy"
	testTunnelToken = "tunnel-token-0123456789abcdefghijklmnopqrstuvwxy"
	testPublicURL   = "https://tunnel.example.com"
)

// logged is a log that a test can read while it is written.
type logged struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func secretFile(t testing.TB, dir, name, value string) secret.Ref {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
		t.Fatal(err)
	}
	ref, err := secret.ParseRef("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// testConfig is a complete configuration with one tunnel and two agents: one
// may use everything, the other one server.
func testConfig(t testing.TB) Config {
	t.Helper()
	dir := t.TempDir()
	return Config{
		PublicURL: testPublicURL,
		StateDir:  dir,
		TLS:       TLS{SelfSigned: true},
		Tunnels:   []Tunnel{{Name: testTunnel, TunnelToken: secretFile(t, dir, "tunnel.token", testTunnelToken)}},
		Agents: Agents{Tokens: []Token{
			{Name: "all", Token: secretFile(t, dir, "all.token", testAgentToken), Tunnels: []string{"*"}, Servers: []string{"*"}},
			{Name: "narrow", Token: secretFile(t, dir, "narrow.token", testNarrowToken), Tunnels: []string{testTunnel}, Servers: []string{"granted"}},
		}},
	}
}

func newGateway(t testing.TB, change func(*Config)) (*Gateway, *logged) {
	t.Helper()
	cfg := testConfig(t)
	log := new(logged)
	cfg.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if change != nil {
		change(&cfg)
	}
	g, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g, log
}

// fakeConnector is the connector's end of an attached session.
type fakeConnector struct {
	*tunnel.Session
	ended chan struct{} // closed when ServeSession has returned
}

// dialGateway makes a session in memory that g serves.
func dialGateway(t testing.TB, g *Gateway, instance string) *fakeConnector {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	dialed, accepted, err := tunnel.Pipe(ctx, tunnel.Config{Instance: instance}, tunnel.Config{Instance: "gateway", AcceptStreams: tunnel.GatewayStreams})
	if err != nil {
		t.Fatal(err)
	}
	c := &fakeConnector{Session: dialed, ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		g.ServeSession(context.Background(), accepted)
	}()
	t.Cleanup(c.hangUp)
	return c
}

func (c *fakeConnector) hangUp() {
	c.CloseWith(tunnel.Reason{Code: tunnel.CodeOK})
	<-c.ended
}

// ask sends one request on a stream of its own, as a connector does.
func (c *fakeConnector) ask(t testing.TB, request string) (status int, answer string) {
	t.Helper()
	conn, err := c.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return askOn(t, conn, request)
}

func attachBody(t testing.TB, instance string, servers ...string) string {
	t.Helper()
	body, err := auth.MarshalAttach(auth.AttachRequest{Instance: instance, Servers: servers})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// attach attaches with the right token.
func (c *fakeConnector) attach(t testing.TB, instance string, servers ...string) (status int, answer string) {
	t.Helper()
	return c.ask(t, attachRequest(testTunnelToken, attachBody(t, instance, servers...)))
}

// attachFake dials and attaches, and answers each stream that the gateway
// opens with behave, in a goroutine that ends with the session.
func attachFake(t testing.TB, g *Gateway, instance string, behave func(net.Conn), servers ...string) *fakeConnector {
	t.Helper()
	c := dialGateway(t, g, instance)
	if status, answer := c.attach(t, instance, servers...); status != http.StatusOK {
		t.Fatalf("attach: %d %s", status, answer)
	}
	var crew sync.WaitGroup
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer crew.Wait()
		for {
			conn, err := c.Accept(context.Background())
			if err != nil {
				return
			}
			crew.Go(func() { behave(conn) })
		}
	}()
	t.Cleanup(func() {
		c.hangUp()
		<-done
	})
	return c
}

// call sends an agent's POST through the gateway's chain.
func call(t testing.TB, g *Gateway, server, body string) *httptest.ResponseRecorder {
	t.Helper()
	return callAs(t, g, testAgentToken, server, body)
}

func callAs(t testing.TB, g *Gateway, token, server, body string) (w *httptest.ResponseRecorder) {
	t.Helper()
	return play(g, post(token, server, body))
}

// play sends a request through the gateway's chain, notes if the answer is
// aborted, and has it told of.
func play(g *Gateway, r *http.Request) (w *httptest.ResponseRecorder) {
	w = httptest.NewRecorder()
	defer g.ended.Flush()
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p)
			}
			w.Header().Set("Test-Aborted", "yes")
		}
	}()
	g.handler.ServeHTTP(w, r)
	return w
}

func post(token, server, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/t/"+testTunnel+"/"+server+"/mcp", strings.NewReader(body))
	r.Host = "tunnel.example.com"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("MCP-Protocol-Version", "2025-11-25")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

const listTools = `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`

func attachRequest(token, body string) string {
	return "POST " + auth.AttachPath + " HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\nAuthorization: Bearer " + token +
		"\r\nContent-Type: application/json\r\nContent-Length: " + itoa(len(body)) + "\r\n\r\n" + body
}

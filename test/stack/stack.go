// Package stack runs a whole Sallyport in one process for tests: a gateway, a
// connector and the tunnel between them, over the transport of choice. It
// knows nothing of what a test calls through it.
package stack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/tunnel"
)

// Names and tokens of every stack.
const (
	Tunnel      = "acme"
	AgentToken  = "agent-token-0123456789abcdefghijklmnopqrstuvwxyz"
	TunnelToken = "tunnel-token-0123456789abcdefghijklmnopqrstuvwxy"
)

// Transports are the transports that a test should run over.
func Transports() []tunnel.Transport {
	return []tunnel.Transport{tunnel.Memory, tunnel.TCP, tunnel.QUIC}
}

// Options says what differs from the standard stack.
type Options struct {
	// Transport is what the tunnel runs over. Default QUIC.
	Transport tunnel.Transport
	// Servers are the connector's servers. Required, unless NoConnector.
	Servers map[string]connector.Server
	// Policy is the connector's. Default open.
	Policy *policy.Policy
	// NoConnector leaves the tunnel without one.
	NoConnector bool
	// Gateway and Connector change the configurations before they are used.
	Gateway   func(*gateway.Config)
	Connector func(*connector.Config)
}

// Stack is a running Sallyport.
type Stack struct {
	// PublicURL is the gateway's.
	PublicURL string
	// Addr is the gateway's public host:port.
	Addr string
	// CAFile is what agents and connectors must trust; Roots holds it.
	CAFile string
	Roots  *x509.CertPool
	// Gateway and Connector are the running objects.
	Gateway   *gateway.Gateway
	Connector *connector.Connector
	// Log collects what both have logged, in JSON lines.
	Log *Log
	// StopGateway and StopConnector end one of them and wait for it.
	StopGateway, StopConnector func()

	owner     testing.TB // the gateway ends with it
	dir       string
	options   Options
	transport tunnel.Transport
	current   atomic.Pointer[gateway.Gateway] // what the in-memory transport dials
}

// New starts a stack that ends with the test.
func New(t testing.TB, o Options) *Stack {
	t.Helper()
	if o.Transport == "" {
		o.Transport = tunnel.QUIC
	}
	s := &Stack{owner: t, dir: t.TempDir(), options: o, transport: o.Transport, Log: new(Log)}
	tcp, udp := Port(t)
	s.Addr = tcp.Addr().String()
	s.PublicURL = "https://" + s.Addr
	s.startGateway(tcp, udp)
	s.StopConnector = func() {}
	if !o.NoConnector {
		s.StartConnector(t)
	}
	return s
}

// Port opens one port number on TCP and UDP.
func Port(t testing.TB) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 50 {
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
	t.Fatal("no port is free on both TCP and UDP")
	return nil, nil
}

func (s *Stack) startGateway(tcp net.Listener, udp net.PacketConn) {
	t := s.owner
	t.Helper()
	cfg := gateway.Config{
		PublicURL: s.PublicURL,
		StateDir:  s.dir,
		TLS:       gateway.TLS{SelfSigned: true},
		Tunnels:   []gateway.Tunnel{{Name: Tunnel, TunnelToken: s.Secret(t, "tunnel.token", TunnelToken)}},
		Agents: gateway.Agents{Tokens: []gateway.Token{{
			Name: "tester", Token: s.Secret(t, "agent.token", AgentToken), Tunnels: []string{"*"}, Servers: []string{"*"},
		}}},
		Logger: s.logger("gateway"),
	}
	if s.options.Gateway != nil {
		s.options.Gateway(&cfg)
	}
	g, err := gateway.New(cfg)
	if err != nil {
		t.Fatalf("gateway: %v", err)
	}
	g.Sockets(tcp, udp)
	s.current.Store(g)
	s.Gateway, s.CAFile = g, g.CAFile()
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			t.Fatal(err)
		}
		s.Roots = x509.NewCertPool()
		s.Roots.AppendCertsFromPEM(pem)
	}
	s.StopGateway = run(t, "gateway", g.Run)
}

// RestartGateway stops the gateway and starts another one on its port and its
// state_dir.
func (s *Stack) RestartGateway(t testing.TB) {
	t.Helper()
	s.StopGateway()
	tcp, err := net.Listen("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s.startGateway(tcp, udp)
}

// StartConnector starts a connector, as New does without NoConnector.
func (s *Stack) StartConnector(t testing.TB) *connector.Connector {
	t.Helper()
	open := policy.Open()
	if s.options.Policy == nil {
		s.options.Policy = &open
	}
	cfg := connector.Config{
		Gateway:     s.Addr,
		GatewayCA:   s.CAFile,
		TunnelToken: s.Secret(t, "tunnel.token", TunnelToken),
		Transport:   string(s.transport),
		Servers:     s.options.Servers,
		Policy:      *s.options.Policy,
		Logger:      s.logger("connector"),
	}
	if s.transport == tunnel.Memory {
		cfg.Transport = "auto"
		cfg.Dial = s.dialMemory
	}
	if s.options.Connector != nil {
		s.options.Connector(&cfg)
	}
	c, err := connector.New(cfg)
	if err != nil {
		t.Fatalf("connector: %v", err)
	}
	s.Connector = c
	s.StopConnector = run(t, "connector", c.Run)
	return c
}

// dialMemory makes a session without a network, and hands the gateway its end.
func (s *Stack) dialMemory(ctx context.Context, self tunnel.Config) (*tunnel.Session, error) {
	dialed, accepted, err := tunnel.Pipe(ctx, self, tunnel.Config{Instance: "gateway", AcceptStreams: tunnel.GatewayStreams})
	if err != nil {
		return nil, err
	}
	go s.current.Load().ServeSession(context.Background(), accepted) // ends with the session
	return dialed, nil
}

// run runs a role until the test ends, or until the returned function is
// called, which waits for it.
func run(t testing.TB, name string, role func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- role(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Errorf("%s ended with: %v", name, err)
				}
			case <-time.After(45 * time.Second):
				t.Errorf("%s did not end", name)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// Secret writes a secret file into the stack's directory and refers to it.
func (s *Stack) Secret(t testing.TB, name, value string) secret.Ref {
	t.Helper()
	return SecretFile(t, s.dir, name, value)
}

// SecretFile writes a secret file and refers to it.
func SecretFile(t testing.TB, dir, name, value string) secret.Ref {
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

// URL is a server's canonical URL.
func (s *Stack) URL(server string) string {
	return s.PublicURL + "/t/" + Tunnel + "/" + server + "/mcp"
}

// SSEURL is where a server's event stream over HTTP+SSE begins.
func (s *Stack) SSEURL(server string) string {
	return s.PublicURL + "/t/" + Tunnel + "/" + server + "/sse"
}

// StateDir is the gateway's state_dir.
func (s *Stack) StateDir() string { return s.dir }

// Client returns an HTTP client that trusts the gateway and speaks HTTP/2, or
// HTTP/1.1 alone. It adds no token.
func (s *Stack) Client(t testing.TB, h2 bool) *http.Client {
	transport := &http.Transport{
		TLSClientConfig:    &tls.Config{RootCAs: s.Roots, MinVersion: tls.VersionTLS13},
		ForceAttemptHTTP2:  h2,
		DisableCompression: true,
		Protocols:          new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(!h2)
	transport.Protocols.SetHTTP2(h2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// Agent returns a client that adds the agent's token to every request.
func (s *Stack) Agent(t testing.TB, h2 bool) *http.Client { return s.AgentWith(t, h2, AgentToken) }

// AgentWith returns a client that adds a token of the test's own.
func (s *Stack) AgentWith(t testing.TB, h2 bool, token string) *http.Client {
	client := s.Client(t, h2)
	client.Transport = Bearer(client.Transport, token)
	return client
}

// Bearer adds a token to every request on its way to next.
func Bearer(next http.RoundTripper, token string) http.RoundTripper { return bearer{next, token} }

type bearer struct {
	next  http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client reach the pool below.
func (b bearer) CloseIdleConnections() {
	if c, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Post makes a legacy-free JSON-RPC POST to a server.
func (s *Stack) Post(ctx context.Context, server, body string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL(server), strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("MCP-Protocol-Version", "2025-11-25")
	return r, nil
}

func (s *Stack) logger(role string) *slog.Logger {
	return slog.New(slog.NewJSONHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("role", role)
}

// Log is a log that a test can read while it is written.
type Log struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns what has been logged so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

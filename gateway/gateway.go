package gateway

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"sallyport.dev/audit"
	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	offlineRetryAfter = 2 * time.Second  // Retry-After of connector_offline
	drainTime         = 30 * time.Second // for calls in flight after SIGTERM
	maxInFlight       = 16384            // calls in the process at once
	bodyBudget        = 256 << 20        // bytes of request bodies held at once
	stallBudget       = 256 << 20        // bytes that stalled agents may keep in stream windows
)

// Gateway is one gateway process. Make it with [New], run it with Run.
type Gateway struct {
	cfg      Config
	log      *slog.Logger
	lines    telemetry.Lines           // of calls
	ended    *telemetry.Backlog[*note] // requests that are to be told of
	httpLog  *log.Logger
	public   *url.URL
	instance string
	metrics  *metrics // nil if nothing is measured
	records  bool     // calls are traced or measured
	traced   trusting // whose trace contexts count

	strangers *rate.Limiter // of spans of callers who are not known
	cert      *certificate
	resetKey  [32]byte
	signer    *auth.Signer
	callers   *callers
	nonceKey  []byte // makes the nonces of proofs of possession
	decoyKey  []byte // chooses what is said of tunnels that do not exist
	tunnels   *tunnels
	sessions  *sessions
	handler   http.Handler
	denials   atomic.Pointer[denials]   // for the audit log; nil if there is none, or the gateway does not run
	audit     atomic.Pointer[audit.Log] // which they are in

	mcpSessions *mcpSessions

	inFlight    *semaphore.Weighted
	connections *semaphore.Weighted
	unattached  *semaphore.Weighted // sessions without a tunnel yet
	bodies      *semaphore.Weighted
	stalls      *stalls
	buffers     *buffers

	tcp, plain, health net.Listener
	udp                net.PacketConn

	drained <-chan struct{}                        // closed when the gateway begins to drain
	drain   context.CancelFunc                     // begins it
	onDrain func(func()) (stop func() (late bool)) // calls a function then, without a goroutine that waits
}

// tunnels are the tunnels that exist, and their tokens.
type tunnels struct {
	tokens *auth.Tunnels
	names  map[string]bool
	sorted []string // the names
}

func (t *tunnels) has(name string) bool { return t.names[name] }

func (t *tunnels) identify(token string) (auth.Tunnel, error) { return t.tokens.Identify(token) }

// New checks the configuration, resolves its secrets and loads or makes what
// state_dir holds. It opens no socket.
func New(cfg Config) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	public, err := url.Parse(cfg.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("public_url: %w", err)
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	g := &Gateway{
		cfg:         cfg,
		log:         logger,
		httpLog:     slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		public:      public,
		instance:    rand.Text(),
		sessions:    newSessions(),
		inFlight:    semaphore.NewWeighted(maxInFlight),
		connections: semaphore.NewWeighted(maxConnections),
		unattached:  semaphore.NewWeighted(maxUnattached),
		bodies:      semaphore.NewWeighted(bodyBudget),
		stalls:      newStalls(stallBudget),
		buffers:     newBuffers(),
	}
	g.ended = telemetry.NewBacklog(logger, g.tell)
	g.records, g.traced = cfg.Tracer != nil || cfg.Meter != nil, cfg.trusting()
	g.strangers = rate.NewLimiter(rate.Every(strangersEvery), strangersBurst)
	draining, drain := context.WithCancel(context.Background())
	g.drained, g.drain = draining.Done(), drain
	g.onDrain = func(f func()) func() bool { return context.AfterFunc(draining, f) }
	stateErr := g.loadState()
	tunnels, tunnelsErr := g.loadTunnels()
	var tokens []auth.StaticToken
	var tokensErr error
	if stateErr == nil { // which has the key of nonces
		tokens, tokensErr = g.loadTokens()
	}
	if err := errors.Join(stateErr, tunnelsErr, tokensErr, checkApart(tunnels, tokens)); err != nil {
		return nil, err
	}
	if g.metrics, err = g.newMetrics(); err != nil {
		return nil, err
	}
	g.handler = g.Handler()
	return g, nil
}

// loadState loads or makes the keys and certificates.
func (g *Gateway) loadState() error {
	dir := g.cfg.StateDir
	if err := checkStateDir(dir); err != nil {
		return err
	}
	key, err := auth.LoadOrCreateKey(filepath.Join(dir, assertionKeyFile))
	if err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if g.signer, err = auth.NewSigner(g.cfg.PublicURL, key); err != nil {
		return err
	}
	if g.resetKey, err = loadOrCreateKey(filepath.Join(dir, resetKeyFile)); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if err := g.loadSessionKey(); err != nil {
		return err
	}
	certPath, keyPath := g.cfg.TLS.CertFile, g.cfg.TLS.KeyFile
	if g.cfg.TLS.SelfSigned {
		if err := ensureSelfSigned(dir, g.Names()); err != nil {
			return err
		}
		certPath, keyPath = filepath.Join(dir, certFile), filepath.Join(dir, certKeyFile)
	}
	g.cert, err = loadCertificate(certPath, keyPath, g.log)
	return err
}

// loadSessionKey takes the key of MCP session ids from the configuration, or
// loads or makes this gateway's own, and derives others from it that the
// gateways of a domain must share as well.
func (g *Gateway) loadSessionKey() error {
	secret, err := g.sessionSecret()
	if err != nil {
		return err
	}
	var errs [3]error
	g.mcpSessions, errs[0] = newMCPSessions(secret)
	g.nonceKey, errs[1] = deriveKey(secret, "sallyport dpop nonce")
	g.decoyKey, errs[2] = deriveKey(secret, "sallyport unknown tunnel")
	return errors.Join(errs[:]...)
}

func (g *Gateway) sessionSecret() ([]byte, error) {
	if g.cfg.SessionKey.IsZero() {
		key, err := loadOrCreateKey(filepath.Join(g.cfg.StateDir, sessionKeyFile))
		if err != nil {
			return nil, fmt.Errorf("state_dir: %w", err)
		}
		return key[:], nil
	}
	key, err := g.cfg.SessionKey.Resolve()
	if err != nil {
		return nil, fmt.Errorf("session_key: %w", err)
	}
	if key.Len() < minSessionKey {
		return nil, fmt.Errorf("session_key: it has %d characters and needs %d: make one with: openssl rand -hex 32", key.Len(), minSessionKey)
	}
	return []byte(key.Reveal()), nil
}

// Names are the host names that the gateway's certificate must cover.
func (g *Gateway) Names() []string {
	names := []string{hostName(g.public.Host)}
	if domain := g.cfg.Domain; domain != names[0] {
		names = append(names, domain)
	}
	return names
}

// CAFile is the file that connectors and agents must trust if the certificate
// is self-signed, else "".
func (g *Gateway) CAFile() string {
	if !g.cfg.TLS.SelfSigned {
		return ""
	}
	return filepath.Join(g.cfg.StateDir, caFile)
}

func (g *Gateway) loadTunnels() ([]auth.Tunnel, error) {
	list := make([]auth.Tunnel, 0, len(g.cfg.Tunnels))
	names := make(map[string]bool)
	var errs []error
	for _, t := range g.cfg.Tunnels {
		token, err := t.TunnelToken.Resolve()
		if err != nil {
			errs = append(errs, fmt.Errorf("tunnels: %q: tunnel_token: %w", t.Name, err))
			continue
		}
		list = append(list, auth.Tunnel{Name: t.Name, Token: token, MaxConnectors: t.MaxConnectors})
		names[t.Name] = true
	}
	tokens, err := auth.NewTunnels(list)
	if err = errors.Join(append(errs, err)...); err != nil {
		return list, err
	}
	g.tunnels = &tunnels{tokens: tokens, names: names, sorted: slices.Sorted(maps.Keys(names))}
	return list, nil
}

func (g *Gateway) loadTokens() ([]auth.StaticToken, error) {
	list := make([]auth.StaticToken, 0, len(g.cfg.Agents.Tokens))
	var errs []error
	for _, t := range g.cfg.Agents.Tokens {
		token, err := t.Token.Resolve()
		if err != nil {
			errs = append(errs, fmt.Errorf("agents.tokens: %q: %w", t.Name, err))
			continue
		}
		if strings.HasPrefix(token.Reveal(), issued.Prefix) {
			errs = append(errs, fmt.Errorf("agents.tokens: %q begins with %s, as tokens of the gateway's own do: make another one with: openssl rand -hex 32", t.Name, issued.Prefix))
			continue
		}
		list = append(list, auth.StaticToken{Name: t.Name, Token: token, Grant: auth.Grant{Tunnels: t.Tunnels, Servers: t.Servers}})
	}
	static, err := auth.NewStatic(g.cfg.PublicURL, list)
	if err = errors.Join(append(errs, err)...); err != nil {
		return list, err
	}
	return list, g.loadCallers(static)
}

// checkApart refuses one value in both roles: an agent that holds a tunnel's
// token could attach a connector of its own and read everybody's calls.
func checkApart(tunnels []auth.Tunnel, tokens []auth.StaticToken) error {
	var errs []error
	for _, tunnel := range tunnels {
		for _, token := range tokens {
			if tunnel.Token.Equal(token.Token) {
				errs = append(errs, fmt.Errorf("agents.tokens: %q has the same value as the tunnel_token of %q: make a new one for one of them", token.Name, tunnel.Name))
			}
		}
	}
	return errors.Join(errs...)
}

// Sockets lets a caller that has opened the public port itself hand it over:
// both sockets must have the same port number. Call it before Run.
func (g *Gateway) Sockets(tcp net.Listener, udp net.PacketConn) { g.tcp, g.udp = tcp, udp }

func (g *Gateway) tunnelConfig() tunnel.Config {
	return tunnel.Config{Instance: g.instance, AcceptStreams: tunnel.GatewayStreams}
}

// agentTLS is the configuration of the TCP port. QUIC has one of its own; the
// two share the certificate getter alone.
func (g *Gateway) agentTLS() *tls.Config {
	conf := &tls.Config{
		GetCertificate: g.cert.get,
		MinVersion:     tls.VersionTLS13,
		NextProtos:     []string{"h2", "http/1.1", tunnel.ALPN},
	}
	if g.cfg.Agents.asksForCertificates() {
		conf.ClientAuth = tls.RequestClientCert // the handshake proves the key; whose it is, the verifier says
		conf.VerifyConnection = boundCertificates
	}
	return conf
}

// Run serves until ctx ends, then drains: readiness turns, connectors are told
// to go elsewhere, new calls are refused, and those in flight get 30 s. When
// it returns, nothing of it runs any more. Two gateways cannot run on one
// state_dir.
func (g *Gateway) Run(ctx context.Context) error {
	defer g.unbind()
	unlock, err := lockState(g.cfg.StateDir)
	if err != nil {
		return err
	}
	defer unlock()
	closeAudit, err := g.openAudit()
	if err != nil {
		return err
	}
	defer closeAudit()
	defer g.callers.close()
	if err := g.bind(); err != nil {
		return err
	}
	quicListener, err := tunnel.ListenQUIC(g.udp, tunnel.ListenConfig{
		Config:   g.tunnelConfig(),
		TLS:      &tls.Config{GetCertificate: g.cert.get, MinVersion: tls.VersionTLS13},
		ResetKey: g.resetKey,
	})
	if err != nil {
		return err
	}
	g.log.Info("gateway is up", telemetry.KeyListen, g.tcp.Addr().String(), "public_url", g.cfg.PublicURL,
		"tunnels", len(g.tunnels.names), telemetry.KeyVersion, g.cfg.Version)

	calls, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	public, probes := new(servers), new(servers)
	h1, h2 := newHandoff(g.tcp.Addr()), newHandoff(g.tcp.Addr())
	public.start(g.httpServer(calls, false), h1)
	public.start(g.httpServer(calls, true), h2)
	if g.health != nil {
		probes.start(&http.Server{Handler: g.healthHandler(), ReadHeaderTimeout: readHeaderTimeout, ErrorLog: g.httpLog}, g.health)
	}
	var crew sync.WaitGroup
	accepting, stopAccepting := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAccepting()
	if g.plain != nil {
		crew.Go(func() { g.acceptPlain(accepting, h1) })
	}
	crew.Go(func() { g.acceptTCP(accepting, h1, h2) })
	crew.Go(func() { g.acceptQUIC(accepting, quicListener) })
	crew.Go(func() { g.stalls.run(accepting) })
	crew.Go(func() { g.followKey(accepting) })
	crew.Go(func() { g.callers.issued.Run(accepting) })
	if g.cfg.TLS.SelfSigned {
		crew.Go(func() { g.renewSelfSigned(accepting) })
	}

	<-ctx.Done()
	g.log.Info("gateway is draining", "in_flight_at_most", drainTime.String())
	g.drain()
	_ = g.tcp.Close()
	if g.plain != nil {
		_ = g.plain.Close()
	}
	crew.Go(g.tellConnectors) // a connector that takes nothing must not hold the rest up
	public.shutdown(drainTime, giveUp)
	g.hangUp()
	stopAccepting()
	err = quicListener.Close()
	crew.Wait()
	probes.shutdown(0, func() {})
	g.ended.Close()
	g.log.Info("gateway has stopped")
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return err
}

// tellConnectors asks every connector to attach elsewhere; calls in flight go
// on.
func (g *Gateway) tellConnectors() {
	var crew sync.WaitGroup
	for _, s := range g.sessions.all() {
		crew.Go(func() { _ = s.Drain() }) // a session that is gone needs no telling
	}
	crew.Wait()
}

// goodbye is why a gateway that shuts down ends its sessions.
var goodbye = tunnel.Reason{Code: tunnel.CodeDraining, Text: "the gateway is shutting down"}

// hangUp ends every session.
func (g *Gateway) hangUp() {
	var crew sync.WaitGroup
	for _, s := range g.sessions.all() {
		crew.Go(func() {
			s.CloseWith(goodbye)
		})
	}
	crew.Wait()
}

// draining reports that the gateway is shutting down.
func (g *Gateway) draining() bool {
	select {
	case <-g.drained:
		return true
	default:
		return false
	}
}

// untilDraining returns a context that ends when the gateway begins to drain.
func (g *Gateway) untilDraining(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := g.onDrain(cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// hostName returns the host of host[:port].
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// withPort adds the scheme's port to a host without one.
func withPort(host, scheme string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "443"
	if scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

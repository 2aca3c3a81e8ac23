package connector

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"sallyport.dev/address"
	"sallyport.dev/audit"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/connector/pins"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/source"
	"sallyport.dev/mcp"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

const (
	drainTime  = 30 * time.Second // for calls in flight after SIGTERM, or when a session is left
	bodyBudget = 256 << 20        // bytes of request bodies held at once
)

// minTokenLength is the shortest tunnel token, in characters.
const minTokenLength = 32

// DialFunc makes a session to a gateway and says hello as self; ctx bounds it.
// It may be called concurrently, and the caller closes the session.
type DialFunc func(ctx context.Context, self tunnel.Config) (*tunnel.Session, error)

// Connector is one connector process. Make it with [New], run it with Run.
type Connector struct {
	cfg      Config
	log      *slog.Logger
	lines    telemetry.Lines           // of calls
	ended    *telemetry.Backlog[*note] // calls that are to be told of
	httpLog  *log.Logger
	instance string
	dial     DialFunc
	upgrade  DialFunc // QUIC alone, to leave a provisional TCP session; nil if the transport is pinned
	bodies   *semaphore.Weighted
	buffers  mcp.Buffers
	places   *places
	keeper   *source.Keeper                  // of secrets
	allowed  atomic.Pointer[address.Allowed] // what may be dialled now
	grants   oauth.Store                     // of refresh tokens; nil without a state_dir
	children *children                       // the processes of local servers
	metrics  *metrics                        // nil: nothing is measured
	started  time.Time

	limits    *limits        // of policy
	approvals *approvals     // that a policy waits for
	pins      *pins.Pins     // of tools; nil without a state_dir
	agents    *oidc.Verifier // of callers' own tokens; nil if the gateway's word is enough
	sessions  sessions
	audit     atomic.Pointer[audit.Log] // nil if there is none, or the connector does not run

	reloading sync.Mutex     // held during a Reload: one at a time
	retired   sync.WaitGroup // upstreams that have been replaced

	mu      sync.RWMutex // guards what follows
	routes  *routes
	renamed chan struct{} // closed when the servers have other names
	stopped bool
}

// New checks the configuration, resolves the tunnel token and reads the CA
// files. It dials nobody. Credentials are fetched when they are needed.
func New(cfg Config) (*Connector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	logger := cfg.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	c := &Connector{
		cfg:       cfg,
		log:       logger,
		httpLog:   slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		instance:  rand.Text(),
		bodies:    semaphore.NewWeighted(bodyBudget),
		limits:    newLimits(),
		approvals: newApprovals(),
		started:   time.Now(),
		renamed:   make(chan struct{}),
	}
	c.ended = telemetry.NewBacklog(logger, c.tell)
	var err error
	if c.places, err = newPlaces(); err != nil {
		return nil, err
	}
	if _, err = c.token(); err != nil {
		return nil, err
	}
	allowed, err := address.Parse(cfg.Upstream.AllowedIPs)
	if err != nil {
		return nil, fmt.Errorf("upstream.allowed_ips: %w", err)
	}
	c.allowed.Store(&allowed)
	if c.keeper, err = newKeeper(cfg, &c.allowed, logger); err != nil {
		return nil, err
	}
	if cfg.StateDir != "" {
		if c.grants, err = oauth.NewDir(filepath.Join(cfg.StateDir, "oauth")); err != nil {
			return nil, fmt.Errorf("state_dir: %w", err)
		}
		if c.pins, err = pins.Open(cfg.StateDir); err != nil {
			return nil, fmt.Errorf("state_dir: %w", err)
		}
	}
	if c.metrics, err = c.newMetrics(); err != nil {
		return nil, fmt.Errorf("telemetry: %w", err)
	}
	c.children = newChildren(logger, cfg.MaxProcesses, cfg.StateDir)
	c.children.started = c.metrics.started
	if c.routes, _, err = c.newRoutes(cfg, nil); err != nil {
		return nil, err
	}
	if err := c.newAgents(); err != nil {
		return nil, err
	}
	return c, c.chooseDialer()
}

// token reads the tunnel token, which may have been replaced since it was last read.
func (c *Connector) token() (secret.Value, error) {
	token, err := c.cfg.TunnelToken.Resolve()
	if err != nil {
		return token, fmt.Errorf("tunnel_token: %w", err)
	}
	if token.Len() < minTokenLength {
		return token, fmt.Errorf("tunnel_token: it has %d characters, and no gateway accepts fewer than %d: compare it with the tunnel's at the gateway", token.Len(), minTokenLength)
	}
	return token, nil
}

// chooseDialer makes the dialer for the configured gateway and transport.
func (c *Connector) chooseDialer() error {
	if c.cfg.Dial != nil {
		c.dial = c.cfg.Dial
		return nil
	}
	if _, err := loadRoots(c.cfg.GatewayCA); err != nil {
		return fmt.Errorf("gateway_ca: %w", err)
	}
	over := func(transport tunnel.Transport) DialFunc {
		return func(ctx context.Context, self tunnel.Config) (*tunnel.Session, error) {
			roots, err := loadRoots(c.cfg.GatewayCA) // which may have been replaced
			if err != nil {
				return nil, fmt.Errorf("gateway_ca: %w", err)
			}
			d := tunnel.Dialer{
				Config:    self,
				Addr:      c.cfg.Gateway,
				TLS:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
				Transport: transport,
				Proxy:     c.cfg.Proxy,
			}
			return d.Dial(ctx)
		}
	}
	pinned := transports[c.cfg.Transport]
	c.dial = over(pinned)
	if pinned == "" {
		c.upgrade = over(tunnel.QUIC)
	}
	return nil
}

// Instance names this process towards its gateway, and in both logs.
func (c *Connector) Instance() string { return c.instance }

// loadRoots reads CA certificates; without a file it returns nil, which means
// the system's.
func loadRoots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", path)
	}
	return roots, nil
}

// Run keeps the configured number of sessions until ctx ends, then drains: the
// gateway is told to send no more, and calls in flight get 30 s. When it
// returns, nothing of it runs any more. It fails only if the gateway says that
// this connector must not come back.
func (c *Connector) Run(ctx context.Context) error {
	for _, w := range c.Warnings() {
		c.log.Warn("the configuration is weak", telemetry.KeyReason, w)
	}
	c.log.Info("connector is up, dialling its gateway", telemetry.KeyGateway, c.cfg.Gateway, telemetry.KeyInstance, c.instance,
		"servers", len(c.current().names), telemetry.KeyVersion, c.cfg.Version)
	closeAudit, err := c.openAudit()
	if err != nil {
		c.closeRoutes()
		return err
	}
	defer c.log.Info("connector has stopped")
	defer closeAudit()
	defer c.ended.Close()
	defer c.closeRoutes() // which waits for the last calls, and so for what is told of them
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stopLocal := c.runLocal(ctx)
	defer stopLocal()
	defer c.lookAtDatabases(ctx)()
	defer c.control(ctx)()
	var crew sync.WaitGroup
	for i := range c.cfg.Connections {
		crew.Go(func() {
			if err := c.keep(ctx, i); err != nil {
				stop(err)
			}
		})
	}
	crew.Wait()
	var ended *tunnel.CloseError
	if err := context.Cause(ctx); errors.As(err, &ended) {
		return fmt.Errorf("the gateway ended the session for good: %w", ended)
	}
	return nil
}

// runLocal keeps local servers possible, and makes them ready, until the returned function has been called: after the
// calls in flight have ended.
func (c *Connector) runLocal(ctx context.Context) (stop func()) {
	if len(c.current().localNames()) == 0 {
		return func() {}
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	started := make(chan struct{})
	var crew sync.WaitGroup
	crew.Go(func() { c.children.run(life, started) })
	<-started
	crew.Go(func() { c.getReady(ctx) })
	return func() {
		end()
		crew.Wait()
	}
}

// Close gives back what was lent for credentials, for a connector that is not run: Run does so itself. A second Close does
// nothing.
func (c *Connector) Close() { c.closeRoutes() }

// closeRoutes closes all upstreams, when no call is under way any more, and gives back what was lent for them.
func (c *Connector) closeRoutes() {
	c.mu.Lock()
	closed, now := c.stopped, c.routes
	c.stopped = true
	c.mu.Unlock()
	if closed {
		return
	}
	for _, u := range now.servers {
		u.close()
	}
	now.services.close()
	if c.agents != nil {
		c.agents.Close()
	}
	c.retired.Wait()
	c.keeper.Close()
}

// httpServer serves one session's streams.
func (c *Connector) httpServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		MaxHeaderBytes:    maxRequestHead,
		ErrorLog:          c.httpLog,
	}
}

// logFields are the attributes of a session's log lines.
func (c *Connector) logFields(s *tunnel.Session) []any {
	return []any{
		telemetry.KeyGateway, s.Peer().Addr.String(),
		telemetry.KeyTransport, string(s.Peer().Transport),
		telemetry.KeySession, s.ID(),
	}
}

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
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"sallyport.dev/credential"
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
	httpLog  *log.Logger
	instance string
	token    secret.Value
	dial     DialFunc
	upgrade  DialFunc // QUIC alone, to leave a provisional TCP session; nil if the transport is pinned
	servers  map[string]*upstream
	names    []string
	bodies   *semaphore.Weighted
	buffers  mcp.Buffers
	places   *places
	children *children // the processes of local servers
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
		cfg:      cfg,
		log:      logger,
		httpLog:  slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		instance: rand.Text(),
		servers:  make(map[string]*upstream),
		names:    slices.Sorted(maps.Keys(cfg.Servers)),
		bodies:   semaphore.NewWeighted(bodyBudget),
	}
	var err error
	if c.places, err = newPlaces(); err != nil {
		return nil, err
	}
	if c.token, err = cfg.TunnelToken.Resolve(); err != nil {
		return nil, fmt.Errorf("tunnel_token: %w", err)
	}
	if c.token.Len() < minTokenLength {
		return nil, fmt.Errorf("tunnel_token: it has %d characters, and no gateway accepts fewer than %d: compare it with the tunnel's at the gateway", c.token.Len(), minTokenLength)
	}
	addresses, err := credential.ParseAddresses(cfg.Upstream.AllowedIPs)
	if err != nil {
		return nil, fmt.Errorf("upstream.allowed_ips: %w", err)
	}
	c.children = newChildren(logger, cfg.MaxProcesses, cfg.StateDir)
	hide := cfg.hidden()
	for _, name := range c.names {
		if s := cfg.Servers[name]; s.isLocal() {
			c.servers[name] = newCommand(name, s, hide, c.children)
			continue
		}
		if c.servers[name], err = newUpstream(cfg.Servers[name], addresses); err != nil {
			return nil, fmt.Errorf("servers.%s: %w", name, err)
		}
	}
	return c, c.chooseDialer()
}

// chooseDialer makes the dialer for the configured gateway and transport.
func (c *Connector) chooseDialer() error {
	if c.cfg.Dial != nil {
		c.dial = c.cfg.Dial
		return nil
	}
	roots, err := loadRoots(c.cfg.GatewayCA)
	if err != nil {
		return fmt.Errorf("gateway_ca: %w", err)
	}
	over := func(transport tunnel.Transport) DialFunc {
		return func(ctx context.Context, self tunnel.Config) (*tunnel.Session, error) {
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

// Warnings says what is open or weak in the configuration, for --check and the
// start of the log.
func (c *Connector) Warnings() []string {
	var warnings []string
	if c.cfg.Policy.IsOpen() {
		warnings = append(warnings, "policy is OPEN: every principal that the gateway lets through may call everything")
	}
	if c.cfg.Policy.IsEmpty() {
		warnings = append(warnings, "policy has no rule: every call is denied")
	}
	warnings = append(warnings, c.cfg.TunnelToken.Warnings()...)
	addresses, _ := credential.ParseAddresses(c.cfg.Upstream.AllowedIPs) // checked by Validate
	for _, name := range c.names {
		s := c.cfg.Servers[name]
		if command := c.servers[name].command; command != nil {
			warnings = append(warnings, command.exposed()...)
			for _, variable := range slices.Sorted(maps.Keys(s.Env)) {
				warnings = append(warnings, s.Env[variable].Secret.Warnings()...)
			}
			continue
		}
		u := c.servers[name].origin()
		if u.Scheme == "http" && len(s.Credentials) > 0 {
			warnings = append(warnings, fmt.Sprintf("servers.%s: credentials go over plain http", name))
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			if err := addresses.Check(addr); err != nil {
				warnings = append(warnings, fmt.Sprintf("servers.%s: every call will fail: %v", name, err))
			}
		}
		for _, cred := range s.Credentials {
			warnings = append(warnings, cred.Secret.Warnings()...)
		}
	}
	return warnings
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
		"servers", len(c.names), telemetry.KeyVersion, c.cfg.Version)
	defer c.closeUpstreams()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stopLocal := c.runLocal(ctx)
	defer stopLocal()
	var crew sync.WaitGroup
	for i := range c.cfg.Connections {
		crew.Go(func() {
			if err := c.keep(ctx, i); err != nil {
				stop(err)
			}
		})
	}
	crew.Wait()
	c.log.Info("connector has stopped")
	var ended *tunnel.CloseError
	if err := context.Cause(ctx); errors.As(err, &ended) {
		return fmt.Errorf("the gateway ended the session for good: %w", ended)
	}
	return nil
}

// runLocal keeps local servers possible, and makes them ready, until the returned function has been called: after the
// calls in flight have ended.
func (c *Connector) runLocal(ctx context.Context) (stop func()) {
	if len(c.localNames()) == 0 {
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

// localNames are the names of the servers that are local commands.
func (c *Connector) localNames() (names []string) {
	for _, name := range c.names {
		if c.servers[name].command != nil {
			names = append(names, name)
		}
	}
	return names
}

func (c *Connector) closeUpstreams() {
	for _, u := range c.servers {
		u.close()
	}
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

// Check reports what could keep the connector from working, without dialling
// the gateway: every credential that cannot be resolved now, and every local
// server that cannot be kept apart as configured. The facts say how the others
// are.
func (c *Connector) Check(ctx context.Context) (facts []string, errs []error) {
	for _, name := range c.names {
		more, problems := c.servers[name].check(ctx)
		for _, fact := range more {
			facts = append(facts, fmt.Sprintf("server %s: %s", name, fact))
		}
		for _, err := range problems {
			errs = append(errs, fmt.Errorf("servers.%s: %w", name, err))
		}
	}
	return facts, errs
}

// logFields are the attributes of a session's log lines.
func (c *Connector) logFields(s *tunnel.Session) []any {
	return []any{
		telemetry.KeyGateway, s.Peer().Addr.String(),
		telemetry.KeyTransport, string(s.Peer().Transport),
		telemetry.KeySession, s.ID(),
	}
}

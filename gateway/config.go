package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"sallyport.dev/audit"
	"sallyport.dev/auth/clientcert"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

// Config is gateway.yaml.
type Config struct {
	// Listen is the one public address, on TCP for agents and connectors and on UDP for connectors. Default ":443".
	Listen string `yaml:"listen"`
	// Domain is the DNS name under which the gateway is reached. Required unless public_url is set.
	Domain string `yaml:"domain"`
	// PublicURL is the external scheme, host and port of every URL that is printed, and the issuer of static tokens.
	// Nothing is derived from request headers. Default "https://" and the domain.
	PublicURL string `yaml:"public_url"`
	// StateDir keeps this gateway's own stateless-reset key, assertion key and session key, and with self_signed its
	// certificates.
	// Required; must exist and belong to this gateway alone.
	StateDir string `yaml:"state_dir"`
	// Audit is a log of what the gateway itself denies: the word strict or best_effort, or keys of its own. Both let the
	// gateway go on when it cannot be written. Optional.
	Audit audit.Config `yaml:"audit"`
	// SessionKey refers to the key, of 32 characters or more, that MCP session ids are made with. It must be the same on all
	// gateways of a domain, so that a session goes on at another one. Default: made in state_dir, for one gateway alone.
	SessionKey secret.Ref `yaml:"session_key"`
	// TLS is the certificate that agents and connectors see. Required.
	TLS TLS `yaml:"tls"`
	// Health is where the probes are answered. Optional; without it there are none.
	Health Health `yaml:"health"`
	// Tunnels are the static tunnels.
	Tunnels []Tunnel `yaml:"tunnels"`
	// Agents says who may call.
	Agents Agents `yaml:"agents"`
	// Telemetry says what the gateway tells of itself: traces, metrics and its log.
	Telemetry telemetry.Config `yaml:"telemetry"`

	// Logger gets the log. Optional; default none.
	Logger *slog.Logger `yaml:"-"`
	// Version is the software version, for the log.
	Version string `yaml:"-"`
	// Tracer records calls. Optional; default none.
	Tracer *telemetry.Tracer `yaml:"-"`
	// Meter measures them. Optional; default none.
	Meter *telemetry.Meter `yaml:"-"`
	// Metrics answers /metrics on the health listener. Optional.
	Metrics http.Handler `yaml:"-"`
	// OnAudit gets what the audit log says of calls. Optional.
	OnAudit telemetry.Events `yaml:"-"`
}

// TLS chooses where the certificate comes from.
type TLS struct {
	// CertFile is the certificate chain in PEM; it is read again when it changes.
	CertFile string `yaml:"cert_file"`
	// KeyFile is its private key in PEM.
	KeyFile string `yaml:"key_file"`
	// SelfSigned makes a CA and a certificate in state_dir, for trials: clients must trust the CA file. Default false.
	SelfSigned bool `yaml:"self_signed"`
}

// Health configures the listener for probes.
type Health struct {
	// Listen is a loopback address; it answers /healthz, /readyz and /metrics without authentication; without names, but for those in metrics that telemetry.metrics.names asks for.
	Listen string `yaml:"listen"`
}

// Tunnel is one static tunnel.
type Tunnel struct {
	// Name is the tunnel's slug: 1 to 40 of a-z, 0-9 and -, without --. It stands in its URLs.
	Name string `yaml:"name"`
	// TunnelToken refers to the token, of 32 characters or more, by which its connectors prove that they belong to it.
	TunnelToken secret.Ref `yaml:"tunnel_token"`
	// MaxConnectors is how many connector processes may serve it at once. Default 2.
	MaxConnectors int `yaml:"max_connectors"`
}

// Agents says who may call, and from where.
type Agents struct {
	// Listen is a plaintext address for agents' HTTP behind a TLS-terminating balancer. Optional; requires trusted.
	Listen string `yaml:"listen"`
	// Trusted are the prefixes of the balancers that may use it; every other peer is closed before a byte is read.
	Trusted []netip.Prefix `yaml:"trusted"`
	// Origins are the web origins whose pages may call, such as "https://app.example.com". Default none.
	Origins []string `yaml:"origins"`
	// Tokens are static agent tokens, for trials.
	Tokens []Token `yaml:"tokens"`
	// Issuers are the identity providers whose tokens are accepted. Optional.
	Issuers []oidc.Config `yaml:"issuers"`
	// Certificates are principals by TLS client certificate, for callers without a token. Optional.
	Certificates *clientcert.Config `yaml:"certificates"`
	// Issued is where the tokens of the gateway's own are known from; see sallyport token.
	Issued Issued `yaml:"issued"`
	// Proofs says what a proof of possession (DPoP) must have.
	Proofs Proofs `yaml:"proofs"`
	// MaxBody is the most bytes that one request body may have. Default 4194304 (4 MiB).
	MaxBody int64 `yaml:"max_body"`
}

// Issued says where the gateway's own tokens are known from.
type Issued struct {
	// Dir is the directory of their keys and revocations, an absolute path. Several gateways of one public_url share one.
	// Default the directory tokens in state_dir.
	Dir string `yaml:"dir"`
	// TrustTrace has the trace contexts of those who hold such tokens, traceparent and whether it is sampled, count as the parents of ours.
	// Default false.
	TrustTrace bool `yaml:"trust_trace"`
}

// Proofs says what a proof of possession (RFC 9449) must have.
type Proofs struct {
	// Nonce wants a nonce of the gateway's in each proof, which is a round trip more for a client's first call in five
	// minutes, and makes a proof useless that was signed beforehand. Default false.
	Nonce bool `yaml:"nonce"`
}

// IssuedDir is the directory of the gateway's own tokens.
func (c *Config) IssuedDir() string {
	return cmp.Or(c.Agents.Issued.Dir, filepath.Join(c.StateDir, issuedDir))
}

// issuedDir is in state_dir.
const issuedDir = "tokens"

// Token is one static agent token.
type Token struct {
	// Name is the principal's subject; it appears in logs.
	Name string `yaml:"name"`
	// Token refers to the token itself, of 32 characters or more.
	Token secret.Ref `yaml:"token"`
	// Tunnels are the tunnels that it may use, or "*". Required.
	Tunnels []string `yaml:"tunnels"`
	// Servers are the servers of those tunnels that it may use, or "*". Required.
	Servers []string `yaml:"servers"`
	// TrustTrace has the trace context of its holder, traceparent and whether it is sampled, count as the parent of ours. Default false.
	TrustTrace bool `yaml:"trust_trace"`
}

const (
	defaultListen        = ":443"
	defaultMaxConnectors = 2
	defaultMaxBody       = 4 << 20
	maxMaxBody           = 64 << 20
)

// Validate applies the defaults and reports everything that is wrong at once.
// It reads no file: [New] does.
func (c *Config) Validate() error {
	if c.Listen == "" {
		c.Listen = defaultListen
	}
	if c.PublicURL == "" && c.Domain != "" {
		c.PublicURL = "https://" + c.Domain
	}
	if c.Agents.MaxBody == 0 {
		c.Agents.MaxBody = defaultMaxBody
	}
	errs := []error{checkAddress("listen", c.Listen), c.checkPublicURL(), c.checkTLS(), c.Agents.check()}
	if c.StateDir == "" || !filepath.IsAbs(c.StateDir) {
		errs = append(errs, errors.New("state_dir: an absolute path is required, such as /var/lib/sallyport"))
	}
	if c.Health.Listen != "" {
		errs = append(errs, checkLoopback("health.listen", c.Health.Listen))
	}
	for i := range c.Tunnels {
		if c.Tunnels[i].MaxConnectors == 0 {
			c.Tunnels[i].MaxConnectors = defaultMaxConnectors
		}
		if c.Tunnels[i].TunnelToken.IsZero() {
			errs = append(errs, fmt.Errorf("tunnels: %q: tunnel_token is required: write env:NAME or file:/path", c.Tunnels[i].Name))
		}
	}
	if len(c.Tunnels) == 0 {
		errs = append(errs, errors.New("tunnels: at least one tunnel is required"))
	}
	return errors.Join(append(errs, c.checkGrants(), c.checkCallers(), c.Telemetry.Validate())...)
}

// checkGrants finds the tokens that name a tunnel which does not exist: most
// of all a slip of the pen, that would show as a 404 for every call.
func (c *Config) checkGrants() error {
	var errs []error
	for _, t := range c.Agents.Tokens {
		errs = append(errs, c.checkTunnels("agents.tokens", t.Name, t.Tunnels))
	}
	return errors.Join(errs...)
}

func (c *Config) checkTunnels(key, whose string, tunnels []string) error {
	names := make([]string, len(c.Tunnels))
	for i, t := range c.Tunnels {
		names[i] = t.Name
	}
	var errs []error
	for _, name := range tunnels {
		if name != "*" && !slices.Contains(names, name) {
			errs = append(errs, fmt.Errorf(`%s: %q: there is no tunnel %q: write one of %q, or "*"`, key, whose, name, names))
		}
	}
	return errors.Join(errs...)
}

func (c *Config) checkPublicURL() error {
	if c.PublicURL == "" {
		return errors.New("domain or public_url is required")
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || (u.Path != "" && u.Path != "/") {
		return errors.New("public_url: write scheme, host and port only, such as https://tunnel.example.com")
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return errors.New("public_url: the scheme must be https (or http, behind nothing but loopback)")
	}
	if u.Scheme == "http" && !isLoopbackName(u.Hostname()) {
		return errors.New("public_url: http is for loopback only: agents' tokens would travel in the clear")
	}
	c.PublicURL = u.Scheme + "://" + strings.ToLower(u.Host)
	if c.Domain == "" {
		c.Domain = strings.ToLower(u.Hostname())
	}
	return nil
}

func (c *Config) checkTLS() error {
	switch t := c.TLS; {
	case t.SelfSigned && (t.CertFile != "" || t.KeyFile != ""):
		return errors.New("tls: self_signed and cert_file exclude each other")
	case t.SelfSigned:
		return nil
	case t.CertFile == "" || t.KeyFile == "":
		return errors.New("tls: cert_file and key_file are required (or self_signed: true, for trials)")
	}
	return nil
}

func (a *Agents) check() error {
	var errs []error
	if a.MaxBody < 1 || a.MaxBody > maxMaxBody {
		errs = append(errs, fmt.Errorf("agents.max_body: 1 to %d bytes are allowed", maxMaxBody))
	}
	if a.Listen != "" {
		errs = append(errs, checkAddress("agents.listen", a.Listen))
		if len(a.Trusted) == 0 {
			errs = append(errs, errors.New("agents.trusted: list the balancer's prefixes: the plaintext listener serves nobody else"))
		}
	}
	for _, p := range a.Trusted {
		if p.Bits() == 0 {
			errs = append(errs, fmt.Errorf("agents.trusted: %s is everybody: list the balancer's own prefixes", p))
		}
		if p != p.Masked() {
			errs = append(errs, fmt.Errorf("agents.trusted: %s has bits set behind its prefix: write %s", p, p.Masked()))
		}
	}
	for _, o := range a.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || o != u.Scheme+"://"+u.Host {
			errs = append(errs, fmt.Errorf("agents.origins: %q is no origin: write scheme://host[:port] without a path", o))
		}
	}
	for _, t := range a.Tokens {
		if t.Token.IsZero() {
			errs = append(errs, fmt.Errorf("agents.tokens: %q: token is required: write env:NAME or file:/path", t.Name))
		}
		if len(t.Tunnels) == 0 || len(t.Servers) == 0 {
			errs = append(errs, fmt.Errorf(`agents.tokens: %q: tunnels and servers are both required; all is ["*"]`, t.Name))
		}
	}
	return errors.Join(errs...)
}

func checkAddress(key, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%s: write host:port or :port", key)
	}
	return nil
}

func checkLoopback(key, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: write host:port", key)
	}
	if !isLoopbackName(host) {
		return fmt.Errorf("%s: only a loopback address is served without authentication: write 127.0.0.1:port", key)
	}
	return nil
}

func isLoopbackName(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

package connector

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sallyport.dev/address"
	"sallyport.dev/audit"
	"sallyport.dev/cell"
	"sallyport.dev/connector/pins"
	"sallyport.dev/credential/source"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

// Config is connector.yaml.
type Config struct {
	// Gateway is the gateway's host and port, on UDP and TCP. Required.
	Gateway string `yaml:"gateway"`
	// GatewayCA is a file with the CA certificates to trust for the gateway, in PEM, instead of the system's. Optional.
	GatewayCA string `yaml:"gateway_ca"`
	// TunnelToken refers to the token by which this connector proves its tunnel. Required.
	TunnelToken secret.Ref `yaml:"tunnel_token"`
	// StateDir is an absolute path for what must survive a restart: the refresh tokens that replaced others. Required for those; else optional.
	StateDir string `yaml:"state_dir"`
	// Transport is how the gateway is reached: auto (QUIC, and TCP if that does not get through), quic or tcp. Default auto.
	Transport string `yaml:"transport"`
	// Connections is how many sessions are kept, 1 to 8. Default 2.
	Connections int `yaml:"connections"`
	// Upstream bounds what all upstreams together may be.
	Upstream Upstream `yaml:"upstream"`
	// Sources say where secrets are read that are not in files or variables.
	Sources source.Config `yaml:"sources"`
	// Issuers are names for the issuers of principals, by which {principal.issuer} in a vault: reference stands for them:
	// 1 to 40 of a-z, 0-9 and -, without --. Optional.
	Issuers map[string]string `yaml:"issuers"`
	// Auth is whose tokens the connector verifies itself. Optional; without it the gateway's word on who calls is enough.
	Auth Auth `yaml:"auth"`
	// VerifyAgents are the issuers of auth.issuers whose principals may call, each proved by the caller's own token, here too.
	// Nobody else may: tokens of the gateway's own are refused. Default all of auth.issuers.
	VerifyAgents []string `yaml:"verify_agents"`
	// Servers are the MCP servers that agents see, by name: 1 to 40 of a-z, 0-9 and -, without --. Required.
	Servers map[string]Server `yaml:"servers"`
	// Policy is a list of rules, or the word open. Required: without a matching rule a call is denied.
	Policy policy.Policy `yaml:"policy"`
	// MaxProcesses is how many processes of local servers may run at once, 1 to 1024. Default 32.
	MaxProcesses int `yaml:"max_processes"`
	// Audit is a log of every decision that cannot be changed unnoticed: the word strict or best_effort, or keys of its own.
	// Needs state_dir. Optional.
	Audit audit.Config `yaml:"audit"`
	// MaxBody is the most bytes that one request body may have. Default 4194304 (4 MiB).
	MaxBody int64 `yaml:"max_body"`

	// Telemetry is what the connector tells about itself. Optional.
	Telemetry telemetry.Config `yaml:"telemetry"`

	// File is the file that this was read from: no local server may see it. Optional.
	File string `yaml:"-"`
	// Logger gets the log. Optional; default none.
	Logger *slog.Logger `yaml:"-"`
	// Version is the software version, for the gateway's log.
	Version string `yaml:"-"`
	// OnAudit gets what the audit log says of calls. Optional.
	OnAudit telemetry.Events `yaml:"-"`
	// Proxy chooses the HTTP proxy for TCP to the gateway, never for upstreams. Optional.
	Proxy func(*url.URL) (*url.URL, error) `yaml:"-"`
	// Dial makes sessions in place of the network. Optional, for tests.
	Dial DialFunc `yaml:"-"`
	// Tracer records calls. Optional; default none.
	Tracer *telemetry.Tracer `yaml:"-"`
	// Meter measures them. Optional; default none.
	Meter *telemetry.Meter `yaml:"-"`
	// Metrics answers /v1/metrics on the control socket. Optional.
	Metrics http.Handler `yaml:"-"`
}

// Upstream bounds what the connector dials.
type Upstream struct {
	// AllowedIPs are the prefixes that may be dialled, checked on the dialled address. Default: private ranges and
	// loopback. Link-local, metadata and other special addresses are never dialled.
	AllowedIPs []string `yaml:"allowed_ips"`
}

// Server is one MCP server: over HTTP, a local command, or a database that the connector speaks MCP for.
type Server struct {
	// URL is the upstream's MCP endpoint, over streamable HTTP. Required unless another of sse_url, command, postgres, mysql and
	// sqlite is set.
	URL string `yaml:"url"`
	// SSEURL is where the upstream's event stream over HTTP+SSE begins (revision 2024-11-05), for agents that use the
	// server's …/sse. With url it must have the same scheme, host and port. Optional.
	SSEURL string `yaml:"sse_url"`
	// Postgres is a PostgreSQL database that the connector speaks MCP for. Optional.
	Postgres *Postgres `yaml:"postgres"`
	// MySQL is a MySQL or MariaDB database that the connector speaks MCP for. Optional.
	MySQL *MySQL `yaml:"mysql"`
	// SQLite is a SQLite database that the connector speaks MCP for. Optional.
	SQLite *SQLite `yaml:"sqlite"`
	// AllowPlaintext lets credentials go over plain http, or over a connection to a database without TLS. Default false.
	AllowPlaintext bool `yaml:"allow_plaintext"`
	// CAFile is a file with the CA certificates to trust for the upstream, in PEM, instead of the system's. Optional.
	CAFile string `yaml:"ca_file"`
	// Credentials are put into every request to this upstream, last, and nowhere else.
	Credentials []Credential `yaml:"credentials"`
	// Issuer is the one issuer whose principals may use this server's secrets; calls of all others fail. Optional; needed
	// where a reference has {principal.subject} without {principal.issuer}.
	Issuer string `yaml:"issuer"`
	// OnReflection is what happens when the server sends a secret of its own back, which is masked in any case: log, or
	// quarantine, after which it gets no more calls. Default log.
	OnReflection string `yaml:"on_reflection"`
	// Pins is what happens with a tool whose definition is not the one that was pinned at first sight, or is suspicious: off,
	// report, or quarantine, which keeps it out of lists and refuses its calls. Default report with a state_dir, else off; off for a
	// database, whose tools say what is in its schema.
	Pins pins.Mode `yaml:"pins"`
	// CallTimeout bounds a call until its answer is complete, or, for an event stream over HTTP, until it begins. Default
	// 300s.
	CallTimeout time.Duration `yaml:"call_timeout"`

	// Command is a local MCP server that speaks over its standard input and output: the program and its arguments, without
	// a shell. Each MCP session, or each caller where there are no sessions, gets a process of its own. Optional.
	Command []string `yaml:"command"`
	// Env are variables of the command's environment, each a text or { secret: REF }, which the command then has. Beside
	// them it has PATH, HOME, LANG and TMPDIR, and nothing else. Optional.
	Env map[string]Variable `yaml:"env"`
	// Isolation is how the command is kept apart: namespaces, or none, for which it sees all that the connector sees.
	// Where the one is impossible, the command is not started unless none is written. Default namespaces.
	Isolation cell.Isolation `yaml:"isolation"`
	// Network is what the command reaches: host, all that this machine does, or none. Default host.
	Network string `yaml:"network"`
	// Read are absolute paths that the command sees beside the system's programs and libraries. Optional.
	Read []string `yaml:"read"`
	// Write are absolute paths that it sees and may change, as far as its user may. Optional.
	Write []string `yaml:"write"`
	// Limits bound what each process of the command may use. Optional.
	Limits Limits `yaml:"limits"`
	// IdleTimeout is after how long without a call a process is ended; its MCP session then has to begin anew. Default 10m.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// TraceMeta has each request to the command say in its _meta of which trace it is part: traceparent and tracestate, in place of what an
	// agent put there. All else stays byte for byte. Default false.
	TraceMeta bool `yaml:"trace_meta"`
}

const (
	defaultConnections = 2
	maxConnections     = 8
	defaultCallTimeout = 300 * time.Second
	maxCallTimeout     = time.Hour
	defaultMaxBody     = 4 << 20
	maxMaxBody         = 64 << 20
	maxServers         = 256
)

// Validate applies the defaults and reports everything that is wrong at once.
// It reads no file: [New] does.
func (c *Config) Validate() error {
	if c.Transport == "" {
		c.Transport = "auto"
	}
	if c.Connections == 0 {
		c.Connections = defaultConnections
	}
	if c.MaxBody == 0 {
		c.MaxBody = defaultMaxBody
	}
	if c.MaxProcesses == 0 {
		c.MaxProcesses = defaultMaxProcesses
	}
	var errs []error
	if _, _, err := net.SplitHostPort(c.Gateway); err != nil && c.Dial == nil {
		errs = append(errs, errors.New("gateway: host:port is required, such as tunnel.example.com:443"))
	}
	if c.TunnelToken.IsZero() {
		errs = append(errs, errors.New("tunnel_token: a reference is required: env:NAME or file:/path"))
	}
	if c.StateDir != "" && !filepath.IsAbs(c.StateDir) {
		errs = append(errs, errors.New("state_dir: write an absolute path"))
	}
	if c.Audit.Enabled() && c.StateDir == "" {
		errs = append(errs, errors.New("audit: set state_dir, where the key is kept that signs checkpoints"))
	}
	if _, ok := transports[c.Transport]; !ok {
		errs = append(errs, errors.New("transport: auto, quic or tcp is allowed"))
	}
	if c.Connections < 1 || c.Connections > maxConnections {
		errs = append(errs, fmt.Errorf("connections: 1 to %d are allowed", maxConnections))
	}
	if c.MaxProcesses < 1 || c.MaxProcesses > maxMaxProcesses {
		errs = append(errs, fmt.Errorf("max_processes: 1 to %d are allowed", maxMaxProcesses))
	}
	if c.MaxBody < 1 || c.MaxBody > maxMaxBody {
		errs = append(errs, fmt.Errorf("max_body: 1 to %d bytes are allowed", maxMaxBody))
	}
	if _, err := address.Parse(c.Upstream.AllowedIPs); err != nil {
		errs = append(errs, fmt.Errorf("upstream.allowed_ips: %w", err))
	}
	errs = append(errs, c.Sources.Validate(), c.checkIssuers(), c.checkAuth(), c.checkServers(), c.checkPolicy(), c.Telemetry.Validate())
	return errors.Join(errs...)
}

// transports maps the words of the configuration to what the dialer pins.
var transports = map[string]tunnel.Transport{"auto": "", "quic": tunnel.QUIC, "tcp": tunnel.TCP}

func (c *Config) checkServers() error {
	if len(c.Servers) == 0 || len(c.Servers) > maxServers {
		return fmt.Errorf("servers: 1 to %d are required", maxServers)
	}
	var errs []error
	c.Servers = maps.Clone(c.Servers) // the caller's may be another connector's too
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		s := c.Servers[name]
		if s.CallTimeout == 0 {
			s.CallTimeout = defaultCallTimeout
		}
		if s.isLocal() && s.IdleTimeout == 0 {
			s.IdleTimeout = defaultIdleTimeout
		}
		c.Servers[name] = s
		if err := s.check(name, c.StateDir); err != nil {
			errs = append(errs, fmt.Errorf("servers.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (s Server) check(name, stateDir string) error {
	if !validName(name) {
		return errors.New("the name must be 1 to 40 of a-z, 0-9 and -, without --")
	}
	if s.CallTimeout < time.Second || s.CallTimeout > maxCallTimeout {
		return fmt.Errorf("call_timeout: 1s to %s are allowed", maxCallTimeout)
	}
	if s.OnReflection != "" && s.OnReflection != reflectionLog && s.OnReflection != reflectionQuarantine {
		return errors.New("on_reflection: log (the default) or quarantine is allowed")
	}
	if err := s.Pins.Validate(); err != nil {
		return err
	}
	if stateDir == "" && s.Pins != "" && s.Pins != pins.Off {
		return fmt.Errorf("pins: %s: set state_dir, where they are kept", s.Pins)
	}
	if s.isDatabase() {
		return s.checkDatabase()
	}
	if s.isLocal() {
		return s.checkLocal()
	}
	if key := s.localKeys(); key != "" {
		return fmt.Errorf("%s: it is for a server with a command", key)
	}
	u, err := s.checkURLs()
	if err != nil {
		return err
	}
	return s.checkCredentials(u.Scheme == "http", stateDir)
}

// checkURLs checks the URLs, of which there is at least one, and returns one of them.
func (s Server) checkURLs() (*url.URL, error) {
	streamable, err := checkURL("url", s.URL)
	if err != nil {
		return nil, err
	}
	sse, err := checkURL("sse_url", s.SSEURL)
	switch {
	case err != nil:
		return nil, err
	case streamable == nil && sse == nil:
		return nil, errors.New("url: write http(s)://host[:port]/path (or sse_url, for a server that has HTTP+SSE only, or command, for a local one)")
	case streamable == nil:
		return sse, nil
	case sse != nil && (sse.Scheme != streamable.Scheme || sse.Host != streamable.Host):
		return nil, errors.New("sse_url: it must have the scheme, host and port of url: make a server of its own for another place")
	}
	return streamable, nil
}

// checkURL checks a URL that may be left out.
func checkURL(key, text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("%s: write http(s)://host[:port]/path, without user or fragment", key)
	}
	return u, nil
}

func (c *Config) checkPolicy() error {
	if c.Policy.IsZero() {
		return errors.New("policy: required: a list of rules, or the word open")
	}
	for _, name := range c.Policy.Servers() {
		if _, ok := c.Servers[name]; !ok && name != "*" {
			return fmt.Errorf("policy: there is no server %q", name)
		}
	}
	return nil
}

func validName(s string) bool {
	if s == "" || len(s) > 40 || strings.Contains(s, "--") {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

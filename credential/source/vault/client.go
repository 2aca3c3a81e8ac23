package vault

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/secret"
)

const (
	askTimeout  = 10 * time.Second // for one request
	idleFor     = 3 * time.Second  // for a connection without a request
	maxAnswer   = 1 << 20          // bytes of an answer
	maxHead     = 64 << 10         // bytes of its head
	revokeWaits = time.Second      // for giving a login back; source.Keeper gives leases back before, and has 5 s for all
	loginGrace  = 30 * time.Second // for requests that still use a login that was replaced
	againAfter  = 10 * time.Second // between two logins because of refusals: a policy that says no is no reason for many
	mountsFor   = 10 * time.Minute // how long it is known what kind of engine is mounted where
	maxMounts   = 1024
)

// Client speaks to one Vault as one login. Make it with [New]; it is safe for concurrent use.
type Client struct {
	cfg    Config
	base   *url.URL
	http   *http.Client
	conns  *http.Transport
	logins *fresh.Cache[struct{}, *Login]
	mounts *fresh.Cache[string, *mount]

	closing chan struct{}

	mu     sync.Mutex // guards what follows
	forced time.Time  // when a login was last replaced because it was refused
}

// mount is a secrets engine.
type mount struct {
	path string // without the last slash
	kv2  bool
}

// Reading is what is at a path.
type Reading struct {
	// Data are the fields that are texts, numbers or truth values.
	Data map[string]secret.Value
	// Lease is the lease's id; empty if there is none.
	Lease string
	// Duration is how long the lease is good; Renewable says whether it can be renewed.
	Duration  time.Duration
	Renewable bool
	// Login is whose lease it is.
	Login *Login
}

// New returns a client. It asks nobody for anything. control, which may be nil, is the dialler's (net.Dialer.Control).
func New(cfg Config, control func(network, address string, c syscall.RawConn) error) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.IsZero() {
		return nil, wrong("sources.vault is not configured; write its address and auth")
	}
	base, err := url.Parse(cfg.Address)
	if err != nil { // its text quotes the address
		return nil, wrong("address: write https://host:port")
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("%w: vault: ca_file: %w", credential.ErrConfig, err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, wrong("ca_file: it holds no certificate in PEM")
		}
	}
	c := &Client{cfg: cfg, base: base, closing: make(chan struct{})}
	c.conns = &http.Transport{
		DialContext:            (&net.Dialer{Timeout: askTimeout, Control: control}).DialContext,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    askTimeout,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHead,
		IdleConnTimeout:        idleFor,
	}
	c.http = &http.Client{
		Transport: c.conns, Timeout: askTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	c.logins = fresh.New(1, c.logIn, c.giveBack)
	c.mounts = fresh.New(maxMounts, c.lookUp, nil)
	return c, nil
}

// Close gives back the tokens that were logged in for, and with them all that still hangs on them, within a second. It is called
// once.
func (c *Client) Close() {
	close(c.closing)
	c.mounts.Close()
	c.logins.Close()
	c.conns.CloseIdleConnections()
}

// Read reads a path: of a version 2 key-value engine its newest version, of every other what the engine gives, which may
// come with a lease. known is the beginning of the path that does not depend on who asks.
func (c *Client) Read(ctx context.Context, known, path []string) (*Reading, error) {
	return withLogin(ctx, c, func(login *Login) (*Reading, error) {
		m, err := c.mounts.Get(ctx, strings.Join(known, "/"))
		if err != nil {
			return nil, err
		}
		at := path
		if m.kv2 {
			at = slices.Insert(slices.Clone(path), strings.Count(m.path, "/")+1, "data")
		}
		a, err := c.ask(ctx, login, http.MethodGet, escapePath(at), nil)
		if err != nil {
			return nil, err
		}
		r, err := a.reading(m.kv2, login)
		if err == nil && r.Lease != "" {
			login.leases.Add(1)
		}
		return r, err
	})
}

// Renew renews a reading's lease, and returns how long it is good from now.
func (c *Client) Renew(ctx context.Context, r *Reading) (time.Duration, error) {
	a, err := c.ask(ctx, r.Login, http.MethodPut, "sys/leases/renew", map[string]any{"lease_id": r.Lease, "increment": int(r.Duration.Seconds())})
	if err != nil {
		return 0, err
	}
	return seconds(a.LeaseDuration), nil
}

// Revoke gives a reading's lease back, and with the last one its login, if that was replaced. It is called once for each
// reading that has a lease.
func (c *Client) Revoke(ctx context.Context, r *Reading) error {
	_, err := c.ask(ctx, r.Login, http.MethodPut, "sys/leases/revoke", map[string]string{"lease_id": r.Lease})
	if r.Login.leases.Add(-1) == 0 && r.Login.replaced.Load() {
		c.revoke(ctx, r.Login)
	}
	return err
}

// Current returns the login of now.
func (c *Client) Current(ctx context.Context) (*Login, error) { return c.logins.Get(ctx, struct{}{}) }

// withLogin does something with the login of now, and once more if that was refused and could be renewed or replaced: it may
// have been revoked.
func withLogin[T any](ctx context.Context, c *Client, do func(*Login) (T, error)) (got T, err error) {
	for try := range 2 {
		login, err := c.Current(ctx)
		if err != nil {
			return got, err
		}
		if got, err = do(login); err == nil || !errors.Is(err, ErrRefused) || try > 0 || !c.again(login) {
			return got, err
		}
	}
	return got, err
}

// lookUp is a fresh.FetchFunc: what is mounted where a path begins, as Vault's own command line asks.
func (c *Client) lookUp(ctx context.Context, path string, _ *mount) (*mount, fresh.Lifetime, error) {
	a, err := withLogin(ctx, c, func(login *Login) (answer, error) {
		return c.ask(ctx, login, http.MethodGet, "sys/internal/ui/mounts/"+escapePath(strings.Split(path, "/")), nil)
	})
	if errors.Is(err, errNotFound) { // an old Vault, which has no version 2 either
		return &mount{}, fresh.Lifetime{Expire: mountsFor}, nil
	}
	if err != nil {
		return nil, fresh.Lifetime{}, err
	}
	var data struct {
		Path    string            `json:"path"`
		Type    string            `json:"type"`
		Options map[string]string `json:"options"`
	}
	if json.Unmarshal(a.Data, &data) != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("%w: what is mounted there is told in a form that is not understood", errAnswer)
	}
	m := &mount{path: strings.Trim(data.Path, "/"), kv2: data.Type == "kv" && data.Options["version"] == "2"}
	if m.kv2 && path != m.path && !strings.HasPrefix(path, m.path+"/") {
		return nil, fresh.Lifetime{}, fmt.Errorf("%w: another path is mounted there than was asked for", errAnswer)
	}
	return m, fresh.Lifetime{Expire: mountsFor}, nil
}

var (
	errAnswer   = errors.New("vault: its answer cannot be used")
	errNotFound = errors.New("vault: there is nothing at that path, or it was deleted")
)

// answer is what every answer of Vault looks like.
type answer struct {
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int64          `json:"lease_duration"`
	Renewable     bool           `json:"renewable"`
	Data          jsontext.Value `json:"data"`
	Auth          *struct {
		ClientToken   string `json:"client_token"`
		LeaseDuration int64  `json:"lease_duration"`
		Renewable     bool   `json:"renewable"`
	} `json:"auth"`
}

// ask makes one request. Nothing of an answer that is an error is repeated: it may hold what was sent.
func (c *Client) ask(ctx context.Context, login *Login, method, path string, body any) (a answer, err error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return a, fmt.Errorf("%w: the request cannot be written", errAnswer)
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base.Scheme+"://"+c.base.Host+"/v1/"+path, sent)
	if err != nil {
		return a, fmt.Errorf("%w: the path cannot be asked for", errAnswer)
	}
	r.Header.Set("X-Vault-Request", "true")
	if c.cfg.Namespace != "" {
		r.Header.Set("X-Vault-Namespace", c.cfg.Namespace)
	}
	if login != nil {
		r.Header.Set("X-Vault-Token", login.token.Reveal())
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return a, unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return a, unreachable(err)
	case len(text) > maxAnswer:
		return a, fmt.Errorf("%w: it is longer than %d bytes", errAnswer, maxAnswer)
	case resp.StatusCode == http.StatusNoContent:
		return a, nil
	case resp.StatusCode == http.StatusNotFound:
		return a, errNotFound
	case resp.StatusCode == http.StatusForbidden:
		return a, fmt.Errorf("%w (HTTP 403); see what the policy of our login allows", ErrRefused)
	case resp.StatusCode == http.StatusServiceUnavailable:
		return a, fmt.Errorf("%w: HTTP 503: it is sealed, or starting", errAnswer)
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return a, fmt.Errorf("%w: HTTP %d: a redirect, which is never followed; write the address of the active server", errAnswer, resp.StatusCode)
	case resp.StatusCode != http.StatusOK:
		return a, fmt.Errorf("%w: HTTP %d", errAnswer, resp.StatusCode)
	}
	if json.Unmarshal(text, &a) != nil { // whose error quotes the answer
		return answer{}, fmt.Errorf("%w: it is no JSON in the form of Vault's", errAnswer)
	}
	return a, nil
}

// unreachable says why there was no answer. What the other side sent may stand in such an error, and so may the URL: only
// what the dialler says is kept, for it has met no one yet.
func unreachable(err error) error {
	var dial *net.OpError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("vault: it cannot be connected to: %w; see sources.vault.address and upstream.allowed_ips", dial)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("vault: it is not asked any more: %w", context.Canceled)
	case isTimeout(err):
		return fmt.Errorf("vault: no answer within %s: %w", askTimeout, context.DeadlineExceeded)
	case errors.As(err, &unknown):
		return errors.New("vault: its certificate is signed by nobody who is trusted; write sources.vault.ca_file")
	case errors.As(err, &name):
		return errors.New("vault: its certificate is for another host; see sources.vault.address")
	case errors.As(err, &certificate):
		return errors.New("vault: its certificate is not valid; look at its dates and its chain")
	}
	return errors.New("vault: the connection broke before its answer was complete; see that HTTPS is spoken there")
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// reading takes the fields out of an answer.
func (a answer) reading(kv2 bool, login *Login) (*Reading, error) {
	data := a.Data
	if kv2 {
		var versioned struct {
			Data jsontext.Value `json:"data"`
		}
		if json.Unmarshal(data, &versioned) != nil || versioned.Data.Kind() == 'n' {
			return nil, errNotFound // its newest version was deleted
		}
		data = versioned.Data
	}
	var fields map[string]jsontext.Value
	if json.Unmarshal(data, &fields) != nil || len(fields) == 0 {
		return nil, fmt.Errorf("%w: there are no fields in it", errAnswer)
	}
	r := &Reading{Data: make(map[string]secret.Value), Lease: a.LeaseID, Duration: seconds(a.LeaseDuration), Renewable: a.Renewable, Login: login}
	for name, raw := range fields {
		switch raw.Kind() {
		case '"':
			var text string
			if json.Unmarshal(raw, &text) != nil {
				return nil, fmt.Errorf("%w: a field is no text", errAnswer)
			}
			r.Data[name] = secret.New(text)
		case '0', 't', 'f':
			r.Data[name] = secret.New(string(raw))
		}
	}
	return r, nil
}

const maxDuration = 365 * 24 * time.Hour

// seconds bounds what a server says of times.
func seconds(n int64) time.Duration {
	return min(time.Duration(max(0, min(n, int64(maxDuration/time.Second))))*time.Second, maxDuration)
}

func escapePath(segments []string) string {
	escaped := make([]string, len(segments))
	for i, segment := range segments {
		escaped[i] = url.PathEscape(segment)
	}
	return strings.Join(escaped, "/")
}

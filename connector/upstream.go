package connector

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/address"
	"sallyport.dev/credential"
	"sallyport.dev/credential/mint"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

const (
	dialUpstream        = 10 * time.Second // to connect to an upstream, and again for its TLS handshake
	idleUpstream        = 3 * time.Second  // for an upstream's connection without a call: below the 5 s after which common servers hang up
	idlePerUpstream     = 256              // idle connections that are kept for one upstream
	maxUpstreamHead     = 64 << 10         // bytes of the head of an upstream's answer
	upstreamPingTimeout = 15 * time.Second
)

var (
	errCallTimeout = errors.New("connector: the upstream did not answer in time")
	errUpstream    = errors.New("connector: the upstream's answer cannot be passed on")
)

// upstream is what the connector calls for one server.
type upstream struct {
	name      string
	cfg       Server
	identity  string   // differs from that of every other configuration
	where     site     // for telemetry
	names     []string // of its credentials
	url       *url.URL // of streamable HTTP; nil if there is only sse
	sse       *url.URL // of HTTP+SSE; nil if there is none
	timeout   time.Duration
	transport http.RoundTripper
	guard     *guard // against its secrets in what it answers

	pools    *credential.Pools    // of connections; nil for what is not HTTP
	bindings []credential.Binding // which transport puts in last
	closers  []func()             // of what stands behind the bindings
	minters  []*mint.Minter
	command  *command          // nil for all others
	database *databaseUpstream // nil for all others
	sessions *upstreamSessions // nil where all principals have the same credentials
	versions func(context.Context, credential.Principal) (credential.Version, error)

	health health
	since  func() []time.Time // by binding, when its value came into use; nil for what is not HTTP

	calls sync.WaitGroup // under way
}

// newUpstream makes the upstream of a server, as makeUpstream does, with what telemetry says of it.
func (c *Connector) newUpstream(name string, cfg Server, r *routes, before *upstream) (*upstream, error) {
	u, err := c.makeUpstream(name, cfg, r, before)
	if err == nil {
		u.where, u.names = u.site(), u.credentialNames()
	}
	return u, err
}

// makeUpstream makes the upstream of a server. What the one before it, which may be nil, has learnt goes on: which secrets are
// not to come back, that it has sent one back, and whose sessions it has begun.
func (c *Connector) makeUpstream(name string, cfg Server, r *routes, before *upstream) (*upstream, error) {
	guard := newGuard(name, cfg, c.log)
	guard.reflected = c.metrics.reflected(name)
	if before != nil {
		guard = before.guard.successor(guard, inYAML(before.cfg) == inYAML(cfg))
	}
	switch {
	case cfg.isLocal():
		return c.newCommand(name, cfg, guard)
	case cfg.isDatabase():
		return c.newDatabase(name, cfg, r, guard)
	}
	streamable, err := parseURL(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	sse, err := parseURL(cfg.SSEURL)
	if err != nil {
		return nil, fmt.Errorf("sse_url: %w", err)
	}
	roots, err := loadRoots(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	u := &upstream{name: name, cfg: cfg, url: streamable, sse: sse, timeout: cfg.CallTimeout, guard: guard}
	u.pools = credential.NewPools(func(shown *tls.Certificate) credential.Conns { return newConns(r.addresses, roots, shown) })
	for i := range cfg.Credentials {
		b, err := c.bind(u, &cfg.Credentials[i], r)
		if err != nil {
			u.close()
			return nil, fmt.Errorf("credentials: number %d: %w", i+1, err)
		}
		u.bindings = append(u.bindings, b)
	}
	transport, err := credential.NewTransport(u.pools, u.bindings, guard.use)
	if err != nil {
		u.close()
		return nil, err
	}
	u.transport, u.versions, u.since = transport, transport.Version, transport.Since
	if slices.ContainsFunc(cfg.Credentials, func(c Credential) bool { return c.isPersonal() }) {
		u.sessions = newUpstreamSessions()
		if before != nil && before.sessions != nil && sameOrigin(before.origin(), u.origin()) {
			u.sessions = before.sessions
		}
	}
	return u, nil
}

// newConns makes the connections to an upstream, or to whoever gives out a credential for it. There is no proxy: the
// tunnel's is not for them.
func newConns(allowed address.Allowed, roots *x509.CertPool, shown *tls.Certificate) *http.Transport {
	secure := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	if shown != nil {
		secure.Certificates = []tls.Certificate{*shown}
	}
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: dialUpstream, Control: allowed.Control}).DialContext,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    dialUpstream,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    idlePerUpstream,
		IdleConnTimeout:        idleUpstream,
		MaxResponseHeaderBytes: maxUpstreamHead,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: upstreamPingTimeout},
	}
}

// parseURL parses a URL that may be left out.
func parseURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	parsed, err := url.Parse(text)
	if err != nil { // its text quotes the URL
		return nil, errors.New("cannot be parsed")
	}
	return parsed, nil
}

// origin is a URL with the scheme, host and port that all of the upstream's have.
func (u *upstream) origin() *url.URL {
	if u.url != nil {
		return u.url
	}
	return u.sse
}

// sameOrigin reports whether two URLs lead to the same server.
func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// serves reports whether the upstream has what stands behind an endpoint.
func (u *upstream) serves(e mcp.Endpoint) bool {
	if e == mcp.EndpointMCP {
		return u.url != nil
	}
	return u.sse != nil
}

// close waits for the calls that are under way, and closes what it keeps.
func (u *upstream) close() {
	u.calls.Wait()
	if u.pools != nil {
		u.pools.Close()
	}
	for _, c := range u.closers {
		c()
	}
}

// check fetches every credential that is not a principal's, and drops the values.
func (u *upstream) check(ctx context.Context) (facts []string, errs []error) {
	switch {
	case u.command != nil:
		return u.command.check(ctx)
	case u.database != nil:
		return u.database.check(ctx)
	}
	for i, b := range u.bindings {
		if u.cfg.Credentials[i].namesPrincipal() {
			continue // there is none to ask for
		}
		if _, err := b.Source.Fetch(ctx, credential.Principal{}); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b.Injector.Place(), err))
		}
	}
	return nil, errs
}

// callUpstream sends an allowed call to the upstream and streams the answer
// back. It runs only after the last byte of the request has been read.
func (c *Connector) callUpstream(w http.ResponseWriter, r *http.Request) {
	n := noteFrom(r.Context())
	u := n.upstream
	switch {
	case u.cfg.admits(n.caller()) != nil:
		c.refuse(w, r, mcp.CredentialUnavailable(u.cfg.admits(n.caller())).For(n.call))
		return
	case u.guard.closed():
		c.refuse(w, r, mcp.UpstreamQuarantined(errQuarantined).For(n.call))
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	var deadline *time.Timer
	if r.Method != http.MethodGet { // an event stream may begin with hours of silence
		deadline = time.AfterFunc(u.timeout, func() { cancel(errCallTimeout) })
		defer deadline.Stop()
	}
	c.call(n)
	var touched atomic.Bool // a connection to the upstream was there to write to
	ctx = c.watching(ctx, n, touched.Load)
	credentials, same, err := u.continues(ctx, n)
	switch {
	case err != nil:
		c.refuse(w, r, mcp.CredentialUnavailable(u.guard.clean(err)).For(n.call))
		return
	case !same:
		c.refuse(w, r, mcp.SessionNotFound().For(n.call))
		return
	}
	target := c.target(n, credentials)
	if target == nil {
		c.refuse(w, r, mcp.SessionNotFound().For(n.call))
		return
	}
	connected := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { touched.Store(true) }}
	asked := credential.WithPrincipal(httptrace.WithClientTrace(ctx, connected), n.caller())
	if u.sessions != nil {
		asked = credential.WithVersion(asked, credentials)
	}
	n.client.Start = time.Now()
	resp, err := u.transport.RoundTrip(upstreamRequest(asked, r, n.call, target, n.told))
	switch {
	case errors.Is(err, credential.ErrChanged) && n.call.SessionID != "":
		c.refuse(w, r, mcp.SessionNotFound().For(n.call))
		return
	case err != nil:
		e := upstreamError(ctx, u.guard.clean(err), touched.Load()).For(n.call)
		n.asked = attempted(e)
		if n.left = errors.Is(context.Cause(ctx), context.Canceled); n.left {
			e.Reason = reasonLeft
		}
		c.refuse(w, r, e)
		return
	}
	n.answeredBy(resp)
	u.began(n, resp.Header, credentials)
	u.guard.watch(ctx, resp, func() { n.masked++ })
	defer func() { _ = resp.Body.Close() }()
	if e := unacceptable(r.Method, resp); e != nil {
		c.refuse(w, r, e.For(n.call))
		return
	}
	if e := capResult(resp, n.maxResult); e != nil {
		c.refuse(w, r, e.For(n.call))
		return
	}
	asks := asking{results: !n.call.Version.Sessionful(), errors: true}
	if n.routes.cfg.Policy.IsOpen() {
		asks = asking{}
	}
	if !mcp.IsEventStream(resp.Header) {
		buf := c.buffers.Large()
		e := u.judgeBody(ctx, resp, *buf, n.call, asks, c.mayAsk(n))
		c.buffers.Put(buf)
		if e != nil {
			c.refuse(w, r, e.For(n.call))
			return
		}
		asks = asking{} // it has been judged, whatever form it gets
	}
	if n.streaming && !mcp.IsEventStream(resp.Header) {
		asEvents(resp)
	}
	lists := mcp.NewListFilter(n.call, c.listRules(ctx, n))
	defer func() { n.dropped = lists.Dropped() }()
	if !mcp.IsEventStream(resp.Header) {
		if lists != nil && len(n.call.Messages) > 0 { // else there is no request that it could answer with a list
			if e := u.filterBody(ctx, resp, lists); e != nil {
				c.refuse(w, r, e.For(n.call))
				return
			}
		}
		c.respond(ctx, w, resp, nil)
		return
	}
	if deadline != nil {
		deadline.Stop()
	}
	var place func([]byte) ([]byte, *url.URL, error)
	if n.call.Endpoint == mcp.EndpointSSE {
		place = c.placeEndpoint(n, credentials, messagesPath(r))
	}
	resumed := r.Method == http.MethodGet && r.Header.Get("Last-Event-ID") != ""
	a := newAnswer(n.call, resumed, place)
	a.Lists = lists
	a.requestID, a.denied = n.requestID, func(e *mcp.Error) {
		c.log.WarnContext(ctx, "an answer on a stream was replaced by an error", telemetry.KeyRequestID, n.requestID, telemetry.KeyServer, n.server, telemetry.KeyOutcome, e.Reason, telemetry.KeyPrincipal, n.principal.String())
	}
	if len(n.call.Messages) == 0 {
		a.maxResult = n.routes.cfg.Policy.SmallestResult(n.server)
	}
	if !n.routes.cfg.Policy.IsOpen() {
		a.Asks, a.Elicits = asks.results, asks.errors
		a.mayAsk, a.refused = c.mayAsk(n), c.refuser(ctx, n, r, a)
	}
	if len(n.call.IDs()) > 0 {
		a.verdict = n.judged
	}
	c.metrics.streaming(ctx, 1)
	defer c.metrics.streaming(ctx, -1)
	c.respond(ctx, w, resp, a)
}

// judged notes how a request has gone by the server's own word, of which the first failure counts.
func (n *note) judged(v mcp.Verdict) {
	if !n.verdict.Failed() {
		n.verdict = v
	}
}

// upstreamRequest makes the upstream's request: the agent's header, stripped again
// because the gateway is not trusted with it, and the very bytes of the body.
// With GetBody net/http repeats a request on a fresh connection only if nothing
// of it was written; Idempotency-Key, which would allow more, is stripped. What the upstream hears of the trace stands in it before the
// credentials do, and so under their signatures.
func upstreamRequest(ctx context.Context, r *http.Request, call *mcp.Call, target *url.URL, told trace.SpanContext) *http.Request {
	h := maps.Clone(r.Header) // whose values nobody changes
	mcp.StripRequest(h)
	telemetry.Inject(h, told)
	h["Accept-Encoding"] = []string{"identity"}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // or net/http names itself
	}
	req := &http.Request{Method: r.Method, URL: target, Host: target.Host, Header: h}
	if len(call.Body) > 0 {
		body := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(call.Body)), nil }
		req.Body, _ = body()
		req.GetBody, req.ContentLength = body, int64(len(call.Body))
	}
	return req.WithContext(ctx)
}

// upstreamError maps a failed round trip to the table of errors. Whether the
// upstream may have run the call hangs on whether there was a connection.
func upstreamError(ctx context.Context, err error, touched bool) *mcp.Error {
	var dial *net.OpError
	cause := quoteless(err)
	timedOut := errors.Is(context.Cause(ctx), errCallTimeout)
	var known *mcp.Error
	if errors.As(err, &known) { // a command's
		return known
	}
	switch {
	case errors.Is(err, credential.ErrUnavailable), errors.Is(err, credential.ErrUnusable), errors.Is(err, credential.ErrChanged), errors.Is(err, credential.ErrDestination):
		return mcp.CredentialUnavailable(err) // which quotes nothing
	case touched && timedOut:
		return mcp.UpstreamTimeout(errCallTimeout)
	case touched:
		return mcp.UpstreamBroken(cause)
	case timedOut, errors.As(err, &dial) && dial.Timeout():
		return mcp.UpstreamConnectTimeout(cause)
	}
	return mcp.UpstreamUnreachable(cause)
}

// quoteless returns what may be logged of an error from net/http, whose own
// text quotes an answer that it cannot parse: the part that comes from the
// network, TLS or us, or else the error's type alone. A command's *mcp.Error
// is ours.
func quoteless(err error) error {
	var (
		network  *net.OpError
		name     *net.DNSError
		verify   *tls.CertificateVerificationError
		alert    tls.AlertError
		record   tls.RecordHeaderError
		timedOut net.Error
		known    *mcp.Error
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &network):
		return network
	case errors.As(err, &name):
		return name
	case errors.As(err, &verify):
		return verify
	case errors.As(err, &alert):
		return alert
	case errors.As(err, &record):
		return fmt.Errorf("%w: it does not speak TLS", errUpstream)
	}
	for _, plain := range []error{errUpstream, errCallTimeout, context.Canceled, context.DeadlineExceeded, io.ErrUnexpectedEOF, io.EOF} {
		if errors.Is(err, plain) {
			return plain
		}
	}
	if errors.As(err, &timedOut) && timedOut.Timeout() {
		return fmt.Errorf("%w: timeout", errUpstream)
	}
	return fmt.Errorf("%w: the exchange failed with a %T", errUpstream, err)
}

// unacceptable judges the head of an answer to a request of a method.
func unacceptable(method string, resp *http.Response) *mcp.Error {
	switch {
	case resp.StatusCode == http.StatusUnauthorized,
		resp.StatusCode == http.StatusForbidden && resp.Header.Get("WWW-Authenticate") != "":
		return mcp.CredentialRejected()
	case resp.StatusCode >= 300 && resp.StatusCode < 400 && resp.StatusCode != http.StatusNotModified:
		return mcp.UpstreamInvalid(fmt.Errorf("%w: a redirect, which is never followed", errUpstream))
	case resp.StatusCode < 200, resp.StatusCode > 599:
		return mcp.UpstreamInvalid(fmt.Errorf("%w: its status is no final one", errUpstream))
	case encoded(resp.Header):
		return mcp.UpstreamInvalid(fmt.Errorf("%w: it is encoded, though identity was asked for", errUpstream))
	case disguised(resp.Header):
		return mcp.UpstreamInvalid(fmt.Errorf("%w: only some clients would take its type for an event stream", errUpstream))
	case method == http.MethodGet && resp.StatusCode < 300 && resp.StatusCode != http.StatusNoContent && !mcp.IsEventStream(resp.Header):
		return mcp.UpstreamInvalid(fmt.Errorf("%w: a GET is not answered by an event stream, for which clients would take it", errUpstream))
	}
	return nil
}

// encoded reports whether any coding is named, in whichever of the fields: clients undo all of them.
func encoded(h http.Header) bool {
	for _, coding := range h["Content-Encoding"] {
		if coding != "" && !strings.EqualFold(coding, "identity") {
			return true
		}
	}
	return false
}

// disguised reports whether the type of an answer is an event stream to clients that look for the words anywhere in it, or
// in another of its fields, and is none to those that read it as a media type; or one in another charset than UTF-8, which
// the format does not have and some clients heed. What is in it would pass unjudged.
func disguised(h http.Header) bool {
	types := h["Content-Type"]
	if !slices.ContainsFunc(types, func(t string) bool { return strings.Contains(strings.ToLower(t), "text/event-stream") }) {
		return false
	}
	if len(types) > 1 || !mcp.IsEventStream(h) {
		return true
	}
	_, params, err := mime.ParseMediaType(types[0])
	charset, ok := params["charset"]
	return err != nil || ok && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "utf8")
}

package connector

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/credential/watch"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

// slowPhase is from when on a phase of a call has a span of its own; shorter ones are attributes alone.
const slowPhase = time.Millisecond

// maxPhases bounds the phases of one call that are kept: a batch may wait for as many humans as it has messages.
const maxPhases = 64

// methodCallTool is the method whose calls are told apart by the tool.
const methodCallTool = "tools/call"

// The outcomes of calls that are not refused.
const (
	outcomeUpstream = "upstream" // the upstream has answered
	outcomeBroken   = "broken"

	outcomeCancelled = "cancelled" // only as error.type: the caller has left
)

// reasonLeft is the log's word for a call whose caller has left before the upstream has answered, or whose session we have left.
const reasonLeft = "caller_left"

// hop is what carries the calls that come over one session of the tunnel.
type hop struct {
	tunnel    string
	session   string
	transport tunnel.Transport
}

// hopOf is the hop of a session.
func hopOf(s *tunnel.Session, name string) hop {
	return hop{tunnel: name, session: s.ID(), transport: s.Peer().Transport}
}

// The names of phases.
const (
	phasePolicy   = "policy"
	phaseApproval = "approval"
	phaseFetch    = "fetch credential"
	phaseStart    = "start process"
)

// phase is one part of a call's time.
type phase struct {
	name        string
	began, over time.Time
	credential  string // that was fetched
	failed      bool
}

// pass notes a phase that ends now.
func (n *note) pass(name string, began time.Time) {
	n.passed(phase{name: name, began: began, over: time.Now()})
}

// started notes that a process was started for the call, before which nothing was asked of it.
func (n *note) started(began time.Time) {
	n.pass(phaseStart, began)
	n.client.Start = time.Now()
}

func (n *note) passed(p phase) {
	if len(n.phases) < maxPhases {
		n.phases = append(n.phases, p)
	}
}

// spent sums the time of the phases with a name.
func (n *note) spent(name string) (sum time.Duration) {
	for i := range n.phases {
		if n.phases[i].name == name {
			sum += n.phases[i].over.Sub(n.phases[i].began)
		}
	}
	return sum
}

// watching returns a context whose fetches of credentials are noted and measured. What has been sent to the upstream before, as
// touched says, is what the first of them did not hold up.
func (c *Connector) watching(ctx context.Context, n *note, touched func() bool) context.Context {
	if c.metrics == nil && c.cfg.Tracer == nil || len(n.upstream.names) == 0 {
		return ctx // nobody wants to hear of them, or there are none
	}
	return watch.With(ctx, &watch.Watch{Fetched: func(f watch.Fetch) {
		over := f.Began.Add(f.Took)
		if !touched() {
			n.client.Start = over
		}
		name := n.upstream.credentialName(f.Number)
		n.passed(phase{phaseFetch, f.Began, over, name, f.Err != nil})
		c.metrics.fetched(ctx, name, &f)
	}})
}

// call begins what is asked of the upstream. It is told of the trace it is part of, if anybody records that: an upstream that samples by
// its own lights must not hear of a trace that nobody will see.
func (c *Connector) call(n *note) {
	n.client = n.span.Child(time.Now())
	if c.cfg.Tracer != nil || n.client.Context.IsSampled() {
		n.told = n.client.Context
	}
}

// answeredBy notes the head of the upstream's answer.
func (n *note) answeredBy(resp *http.Response) {
	n.asked, n.head, n.answered = true, time.Now(), resp.StatusCode
	if n.protocol = "1.1"; resp.ProtoMajor > 1 {
		n.protocol = strconv.Itoa(resp.ProtoMajor)
	}
	if n.call.SessionID == "" {
		n.begun = resp.Header.Get(headerMCPSession)
	}
}

// attempted reports whether a call that has failed so was tried: without its credentials, or a session to go on, it is not.
func attempted(e *mcp.Error) bool {
	return e.Reason != mcp.CredentialUnavailable(nil).Reason && e.Reason != mcp.SessionNotFound().Reason
}

// errorType is error.type of the conventions: the code of a JSON-RPC error, tool_error for a result that is one, the HTTP status
// of what is neither, or a word for what came to no end; "" for a success. That a server has no stream for a GET, as its 405 says, and
// that a caller leaves a stream that has no end, is none.
func (n *note) errorType() string {
	switch {
	case n.gone():
		return outcomeCancelled
	case n.refused != nil && n.refused.Code != 0:
		return strconv.Itoa(n.refused.Code)
	case n.verdict.Code != "":
		return n.verdict.Code
	case n.verdict.ToolError:
		return "tool_error"
	case n.status == http.StatusMethodNotAllowed && n.verb != http.MethodPost && n.outcome == outcomeUpstream:
		return ""
	case n.status >= http.StatusBadRequest:
		return strconv.Itoa(n.status)
	case n.outcome == outcomeUpstream:
		return ""
	case n.left && n.verb == http.MethodGet:
		return ""
	case n.left:
		return outcomeCancelled
	case n.outcome == "":
		return outcomeBroken
	}
	return n.outcome
}

// clientFailed reports whether the call has failed at the upstream, and not here: an answer that came may have been refused.
func (n *note) clientFailed() bool {
	if n.failure == "" || n.refused == nil || n.head.IsZero() {
		return n.failure != ""
	}
	return strings.HasPrefix(n.refused.Reason, "upstream_") || n.refused.Reason == mcp.CredentialRejected().Reason
}

// gone reports whether the caller has left before there was anything to answer. What it would have been answered with is no failure of anybody.
func (n *note) gone() bool { return n.refused != nil && n.refused.Reason == reasonLeft }

// reason is why a call has failed, in a few words. Of the server's own words none are told: anything may be in them.
func (n *note) reason() string {
	switch {
	case n.refused != nil:
		return n.refused.Reason
	case n.outcome == outcomeUpstream:
		return "the server has answered with an error"
	}
	return n.outcome
}

// recordSpans records the call.
func (c *Connector) recordSpans(n *note) {
	t, failed := c.cfg.Tracer, n.failure != ""
	if !t.Records(n.span, failed) {
		return
	}
	for i := range n.phases {
		p := &n.phases[i]
		if p.over.Sub(p.began) < slowPhase && !p.failed {
			continue
		}
		e := telemetry.Ended{Name: p.name, Kind: trace.SpanKindInternal, End: p.over, Failed: p.failed}
		if p.credential != "" {
			e.Attributes = t.Attributes()
			e.Attributes.Text(telemetry.AttrCredential, p.credential)
		}
		t.EndBelow(n.span.Child(p.began), failed, e)
	}
	name, attrs := n.spanName(), t.Attributes()
	n.describe(attrs)
	if n.asked {
		e := telemetry.Ended{Name: n.clientName(name), Kind: trace.SpanKindClient, End: n.ended, Attributes: attrs.Clone()}
		n.describeClient(e.Attributes)
		if n.clientFailed() {
			e.Failed, e.Reason = true, n.reason()
		}
		t.EndBelow(n.client, failed, e)
	}
	c.describeServer(attrs, n)
	t.End(n.span, telemetry.Ended{Name: name, Kind: trace.SpanKindServer, End: n.ended, Attributes: attrs, Failed: failed, Reason: n.reason()})
}

// operation is what the conventions say of a message.
func operation(m *mcp.Message) telemetry.Operation {
	o := telemetry.Operation{Method: m.Method, Known: mcp.KnownMethod(m.Method), ID: m.ID}
	switch m.Method {
	case methodCallTool:
		o.Tool = m.Name
	case "prompts/get":
		o.Prompt = m.Name
	}
	return o
}

// spanName is the method and the tool or prompt, as the conventions have it; without a message, the HTTP method and the kind of
// path.
func (n *note) spanName() string {
	if n.call != nil && n.call.Method() != "" {
		o := operation(&n.call.Messages[0])
		return o.SpanName()
	}
	method := telemetry.Other
	switch n.verb {
	case http.MethodGet, http.MethodPost, http.MethodDelete:
		method = n.verb
	}
	if n.upstream == nil {
		return method
	}
	return method + " " + httpRoute(n.endpoint)
}

// httpRoute is the kind of path.
func httpRoute(e mcp.Endpoint) string { return "/t/{tunnel}/{server}/" + string(e) }

// clientName is the name of the span of the upstream: that of the call, or what database was asked.
func (n *note) clientName(call string) string {
	if at := &n.upstream.where; at.system != "" {
		return strings.TrimSpace(at.system + " " + telemetry.Short(at.namespace))
	}
	return call
}

// describe adds the attributes that a call has on both of its spans.
func (n *note) describe(attrs *telemetry.Attributes) {
	switch {
	case n.call == nil || n.call.Method() == "":
		attrs.Text(telemetry.AttrHTTPMethod, n.verb)
		if n.upstream != nil {
			attrs.Text(telemetry.AttrHTTPRoute, httpRoute(n.endpoint))
		}
	default:
		o := operation(&n.call.Messages[0])
		o.Describe(attrs)
	}
	if n.call != nil {
		attrs.Text(telemetry.AttrMCPVersion, n.version)
		session := n.call.SessionID
		if session == "" {
			session = n.begun
		}
		attrs.Text(telemetry.AttrMCPSession, telemetry.SessionID(session))
		if len(n.call.Messages) > 1 {
			attrs.Int(telemetry.AttrMessages, int64(len(n.call.Messages)))
		}
	}
	if n.upstream != nil { // else it is a stranger's word
		attrs.Text(telemetry.AttrServer, n.server)
	}
}

// took adds the time of a phase that there was.
func took(attrs *telemetry.Attributes, key attribute.Key, d time.Duration) {
	if d > 0 {
		attrs.Seconds(key, d)
	}
}

// describeServer adds what is known of the call: names and numbers, never a body, an argument, a token, a header's value or the URI of
// a resource.
func (c *Connector) describeServer(attrs *telemetry.Attributes, n *note) {
	attrs.Text(telemetry.AttrErrorType, n.failure)
	attrs.Text(telemetry.AttrRequestID, n.requestID)
	if n.status != 0 && !n.gone() {
		attrs.Int(telemetry.AttrHTTPStatus, int64(n.status))
	}
	attrs.Text(telemetry.AttrTunnel, n.hop.tunnel)
	attrs.Text(telemetry.AttrSession, n.hop.session)
	attrs.Text(telemetry.AttrTransport, string(n.hop.transport))
	attrs.Text(telemetry.AttrNetTransport, string(n.hop.transport))
	attrs.Text(telemetry.AttrInstance, c.instance)
	if n.principal.Subject != "" {
		attrs.Text(telemetry.AttrPrincipal, n.principal.String())
	}
	attrs.Text(telemetry.AttrOutcome, n.outcome)
	attrs.Text(telemetry.AttrDelivered, string(n.delivered))
	attrs.Text(telemetry.AttrRPCStatus, n.rpcStatus())
	if n.decision.Rule != "" {
		attrs.Text(telemetry.AttrRule, n.decision.Rule)
		attrs.Text(telemetry.AttrDecision, word(n.decision.Allow))
	}
	n.found(attrs)
	took(attrs, telemetry.AttrPolicy, n.spent(phasePolicy))
	took(attrs, telemetry.AttrApproval, n.spent(phaseApproval))
	took(attrs, telemetry.AttrFetch, n.spent(phaseFetch))
	n.times(attrs)
}

// rpcStatus is the code of the JSON-RPC error that the call was answered with; "" if it was none.
func (n *note) rpcStatus() string {
	if n.gone() {
		return ""
	}
	if n.refused != nil && n.refused.Code != 0 {
		return strconv.Itoa(n.refused.Code)
	}
	return n.verdict.Code
}

// found adds what the call carried, and what was found in its answer.
func (n *note) found(attrs *telemetry.Attributes) {
	if n.asked {
		attrs.Texts(telemetry.AttrCredentials, n.upstream.credentialNames())
	}
	if n.masked > 0 {
		attrs.Int(telemetry.AttrMasked, n.masked)
	}
	if n.dropped > 0 {
		attrs.Int(telemetry.AttrDropped, int64(n.dropped))
	}
}

// times adds how long the upstream took.
func (n *note) times(attrs *telemetry.Attributes) {
	if n.head.IsZero() {
		return
	}
	took(attrs, telemetry.AttrFirstByte, n.head.Sub(n.client.Start))
	took(attrs, telemetry.AttrStream, n.ended.Sub(n.head))
}

// describeClient adds what is known of the exchange with the upstream.
func (n *note) describeClient(attrs *telemetry.Attributes) {
	if n.clientFailed() {
		attrs.Text(telemetry.AttrErrorType, n.failure)
		attrs.Text(telemetry.AttrRPCStatus, n.verdict.Code)
	}
	at := &n.upstream.where
	attrs.Text(telemetry.AttrNetTransport, at.carrier)
	attrs.Text(telemetry.AttrServerAddress, at.host)
	if at.port > 0 {
		attrs.Int(telemetry.AttrServerPort, int64(at.port))
	}
	attrs.Text(telemetry.AttrDBSystem, at.system)
	attrs.Text(telemetry.AttrDBNamespace, at.namespace)
	if n.upstream.isHTTP() && n.answered != 0 {
		attrs.Int(telemetry.AttrHTTPStatus, int64(n.answered))
		attrs.Text(telemetry.AttrProtocol, "http")
		attrs.Text(telemetry.AttrProtocolVersion, n.protocol)
	}
	n.found(attrs)
	n.times(attrs)
}

// site is where an upstream is, as the conventions say it.
type site struct {
	host              string
	port              int
	system, namespace string // of a database
	carrier           string // network.transport
}

// siteOf reads a site out of a URL. It takes nothing of the user, the path and the query.
func siteOf(u *url.URL, port int) site {
	at := site{host: u.Hostname(), port: port, carrier: "tcp"}
	if given, err := strconv.Atoi(u.Port()); err == nil {
		at.port = given
	}
	return at
}

// siteOfDSN reads a site out of a data source name, of whose query only whether there is a socket counts.
func siteOfDSN(dsn, system string, port int) site {
	u, err := url.Parse(dsn)
	if err != nil {
		return site{system: system}
	}
	at := siteOf(u, port)
	at.system, at.namespace = system, strings.TrimPrefix(u.Path, "/")
	if u.Query().Has("socket") {
		at.port, at.carrier = 0, "unix"
	}
	return at
}

// site is where the upstream is.
func (u *upstream) site() site {
	switch {
	case u.command != nil:
		return site{carrier: "pipe"}
	case u.database != nil:
		return u.database.kind.site()
	}
	port := 80
	if u.origin().Scheme == "https" {
		port = 443
	}
	return siteOf(u.origin(), port)
}

// isHTTP reports whether the upstream is called over HTTP.
func (u *upstream) isHTTP() bool { return u.command == nil && u.database == nil }

// revision is one as spans and metrics have it: others than those that there are would be a stranger's words.
func revision(v mcp.Version) string {
	if v == "" || v.Known() {
		return string(v)
	}
	return telemetry.Other
}

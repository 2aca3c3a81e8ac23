package gateway

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// slowPhase is from when on a phase of a call has a span of its own; shorter ones are attributes alone.
const slowPhase = time.Millisecond

// Requests by callers who are not known, of which spans are recorded: so many a second, and at once.
const (
	strangersEvery = 50 * time.Millisecond
	strangersBurst = 100
)

// maxJudged is how much of an answer is held to read its verdict, in bytes. A longer one is taken for a success, as HTTP has it.
const maxJudged = 64 << 10

// trusting says whose trace context counts as the parent of ours.
type trusting struct {
	issuers map[string]bool
	names   map[string]bool // principals of the gateway's own: static tokens and certificates
	issued  bool            // all other principals of the gateway's own
	own     map[string]bool // names that are not issued
}

func (c *Config) trusting() trusting {
	t := trusting{issuers: make(map[string]bool), names: make(map[string]bool), own: make(map[string]bool), issued: c.Agents.Issued.TrustTrace}
	for i := range c.Agents.Issuers {
		t.issuers[c.Agents.Issuers[i].Issuer] = c.Agents.Issuers[i].TrustTrace
	}
	for _, token := range c.Agents.Tokens {
		t.names[token.Name], t.own[token.Name] = token.TrustTrace, true
	}
	if c.Agents.Certificates != nil {
		for _, p := range c.Agents.Certificates.Principals {
			t.names[p.Name], t.own[p.Name] = p.TrustTrace, true
		}
	}
	return t
}

// trusts reports whether the trace context of a principal counts.
func (t *trusting) trusts(p auth.Principal, ownIssuer string) bool {
	if p.Issuer != ownIssuer {
		return t.issuers[p.Issuer]
	}
	return t.names[p.Subject] || t.issued && !t.own[p.Subject]
}

// join makes a call part of the trace that its caller says it is part of, if the caller is trusted with that; else the two are
// linked. What is in the message counts before what is in the head, which whoever passes the request on may have put there
// (SEP-414); so this is done once the caller is known, and again when the message is.
func (g *Gateway) join(r *http.Request, n *note) {
	var own trace.SpanContext
	hasOwn := false
	if n.call != nil && len(n.call.Messages) > 0 {
		parent, state := n.call.Messages[0].TraceContext()
		if own, hasOwn = telemetry.Parse(parent, state); !hasOwn {
			return // what is in the head counts
		}
	}
	ambient, hasAmbient := telemetry.Extract(r.Header)
	n.links = n.links[:0]
	if !hasOwn {
		own, hasOwn, hasAmbient = ambient, hasAmbient, false
	}
	if !hasOwn {
		return
	}
	if g.traced.trusts(n.principal, g.cfg.PublicURL) {
		n.span = g.cfg.Tracer.Begin(own, n.start)
	} else {
		n.links = append(n.links, trace.Link{SpanContext: own.WithTraceState(trace.TraceState{})})
	}
	if hasAmbient && ambient.SpanID() != own.SpanID() {
		n.links = append(n.links, trace.Link{SpanContext: ambient.WithTraceState(trace.TraceState{})}) // a stranger's words, whoever is trusted
	}
}

// revision is one as spans and metrics have it: others than those that there are would be a stranger's words.
func revision(v mcp.Version) string {
	if v == "" || v.Known() {
		return string(v)
	}
	return telemetry.Other
}

// about is how lines and measurements say which call they are about.
func (n *note) about() telemetry.Call {
	return telemetry.Call{RequestID: n.requestID, Span: n.span.Context}
}

// errorType is error.type of the conventions: the code of a JSON-RPC error, tool_error for a result that is one, the HTTP status
// of what is neither, or the outcome of what came to no end; "" for a success. That a server has no stream for a GET, as its 405 says, and that
// an agent leaves a stream that has no end, is none.
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
	case n.verb == http.MethodGet && n.left:
		return ""
	case n.left && n.outcome == outcomeBroken:
		return outcomeCancelled
	case n.outcome == "": // it has panicked
		return outcomeBroken
	case n.outcome == outcomeBroken || n.outcome == outcomeUnknown:
		return n.outcome
	}
	return ""
}

// gone reports whether the agent has left before there was anything to answer. What it would have been answered with is no failure of anybody.
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

// recordSpans records the call. Of requests by callers who are not known only so many are recorded: whoever is at the gate can be
// refused as often as he likes, and must not take the room of others.
func (g *Gateway) recordSpans(n *note) {
	failed := n.failure != ""
	if !g.cfg.Tracer.Records(n.span, failed) || n.principal.Subject == "" && !g.strangers.Allow() {
		return
	}
	for _, p := range [...]struct {
		name        string
		began, over time.Time
	}{{"authenticate", n.start, n.known}, {"queue", n.queued, n.picked}, {"open stream", n.picked, n.opened}} {
		if !p.began.IsZero() && p.over.Sub(p.began) >= slowPhase {
			g.cfg.Tracer.EndBelow(n.span.Child(p.began), failed, telemetry.Ended{Name: p.name, Kind: trace.SpanKindInternal, End: p.over})
		}
	}
	g.cfg.Tracer.End(n.span, telemetry.Ended{
		Name: n.spanName(), Kind: trace.SpanKindServer, End: n.ended, Attributes: g.attributes(n), Links: n.links, Failed: failed, Reason: n.reason(),
	})
}

// spanName is the method and the tool or prompt, as the conventions have it; without a message, the HTTP method and the kind of
// path.
func (n *note) spanName() string {
	if n.call == nil || len(n.call.Messages) == 0 {
		method := telemetry.Other
		switch n.verb {
		case http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodHead:
			method = n.verb
		}
		if n.route.tunnel == "" {
			return method
		}
		return method + " " + httpRoute(n.route.endpoint)
	}
	o := operation(&n.call.Messages[0])
	return o.SpanName()
}

// operation is what the conventions say of a message.
func operation(m *mcp.Message) telemetry.Operation {
	o := telemetry.Operation{Method: m.Method, Known: mcp.KnownMethod(m.Method), ID: m.ID}
	switch m.Method {
	case "tools/call":
		o.Tool = m.Name
	case "prompts/get":
		o.Prompt = m.Name
	}
	return o
}

// httpRoute is the kind of path.
func httpRoute(e mcp.Endpoint) string { return "/t/{tunnel}/{server}/" + string(e) }

// attributes says what is known of the call: names and numbers, never a body, an argument, a token, a header's value or the URI of a
// resource.
func (g *Gateway) attributes(n *note) *telemetry.Attributes {
	attrs := g.cfg.Tracer.Attributes()
	attrs.Text(telemetry.AttrRequestID, n.requestID)
	if n.status != 0 && !n.gone() {
		attrs.Int(telemetry.AttrHTTPStatus, int64(n.status))
	}
	attrs.Text(telemetry.AttrNetTransport, "tcp")
	attrs.Text(telemetry.AttrProtocol, "http")
	attrs.Text(telemetry.AttrProtocolVersion, n.protocol)
	if peer, err := netip.ParseAddrPort(n.remote); err == nil {
		attrs.Text(telemetry.AttrClientAddress, peer.Addr().Unmap().WithZone("").String())
		attrs.Int(telemetry.AttrClientPort, int64(peer.Port()))
	}
	attrs.Text(telemetry.AttrTunnel, n.route.tunnel)
	attrs.Text(telemetry.AttrServer, n.route.server)
	if n.principal.Subject != "" {
		attrs.Text(telemetry.AttrPrincipal, n.principal.String())
	}
	attrs.Text(telemetry.AttrOutcome, n.outcome)
	attrs.Text(telemetry.AttrDelivered, string(n.delivered))
	attrs.Text(telemetry.AttrErrorType, n.failure)
	switch {
	case n.gone(): // nobody was answered
	case n.refused != nil && n.refused.Code != 0:
		attrs.Text(telemetry.AttrRPCStatus, strconv.Itoa(n.refused.Code))
	default:
		attrs.Text(telemetry.AttrRPCStatus, n.verdict.Code)
	}
	if n.call == nil || len(n.call.Messages) == 0 {
		attrs.Text(telemetry.AttrHTTPMethod, n.verb)
		if n.route.tunnel != "" {
			attrs.Text(telemetry.AttrHTTPRoute, httpRoute(n.route.endpoint))
		}
	} else {
		o := operation(&n.call.Messages[0])
		o.Describe(attrs)
	}
	if n.call != nil {
		attrs.Text(telemetry.AttrMCPVersion, n.version)
		attrs.Text(telemetry.AttrMCPSession, telemetry.SessionID(n.original))
		if len(n.call.Messages) > 1 {
			attrs.Int(telemetry.AttrMessages, int64(len(n.call.Messages)))
		}
	}
	if n.session != nil {
		attrs.Text(telemetry.AttrInstance, n.session.instance)
		attrs.Text(telemetry.AttrSession, n.session.ID())
		attrs.Text(telemetry.AttrTransport, string(n.session.Peer().Transport))
	}
	if n.attempts > 1 {
		attrs.Int(telemetry.AttrAttempts, int64(n.attempts))
		attrs.Text(telemetry.AttrRetryOf, n.first)
	}
	phase := func(key attribute.Key, began, over time.Time) {
		if !began.IsZero() && !over.Before(began) {
			attrs.Seconds(key, over.Sub(began))
		}
	}
	phase(telemetry.AttrAuthenticate, n.start, n.known)
	phase(telemetry.AttrQueue, n.queued, n.picked)
	phase(telemetry.AttrOpen, n.picked, n.opened)
	phase(telemetry.AttrFirstByte, n.opened, n.head)
	phase(telemetry.AttrStream, n.head, n.ended)
	return attrs
}

// httpVersion is network.protocol.version.
func httpVersion(r *http.Request) string {
	if r.ProtoMajor == 1 {
		return "1.1"
	}
	return strconv.Itoa(r.ProtoMajor)
}

// judged holds the beginning of an answer in JSON until its verdict can be read.
type judged struct {
	wanted bool
	text   []byte
}

// read takes the next piece. The last one, or one that is the whole answer, has the verdict read.
func (j *judged) read(n *note, piece []byte, whole bool) {
	switch {
	case !j.wanted:
	case whole && len(j.text) == 0:
		n.verdict, j.wanted = mcp.JudgeResponse(piece), false
	case len(j.text)+len(piece) > maxJudged:
		j.text, j.wanted = nil, false
	default:
		j.text = append(j.text, piece...)
		if whole {
			n.verdict, j.wanted = mcp.JudgeResponse(j.text), false
		}
	}
}

// complete reports whether what has come so far, of an answer that did not end, is a whole one, and reads its verdict.
func (j *judged) complete(n *note) bool {
	if !j.wanted || !jsontext.Value(j.text).IsValid() {
		return false
	}
	n.verdict, j.wanted = mcp.JudgeResponse(j.text), false
	return true
}

package connector

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/audit"
	"sallyport.dev/auth"
	"sallyport.dev/credential"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
)

const (
	maxRequestHead = 64 << 10 // bytes of the head of a request from the gateway
	maxKept        = 16 << 10 // bytes of the body of a call that has ended and is yet to be told of
)

// handler returns the chain that every call over one session goes through, in
// this order: note → find the server → verify the assertion, and the caller's
// own token where that is wanted → inspect → decide → call the upstream, where
// the credential is put in last.
func (c *Connector) handler(checker *auth.Checker, over hop, onLeave afterFunc) http.Handler {
	upstream := http.HandlerFunc(c.callUpstream)
	decide := c.decide(upstream)
	inspect := mcp.Inspect(mcp.InspectConfig{MaxBody: c.cfg.MaxBody, Budget: c.bodies, Endpoint: endpointOf, Refuse: c.refuse})(decide)
	verify := c.verify(checker, inspect)
	find := c.find(over.tunnel, verify)
	return c.record(over, endOnLeave(onLeave, find))
}

// note collects what will be told of the call: its one log line, its spans and its measurements. It belongs to the call's handler; when that
// has put it on the list of those that have ended, it is not changed any more.
type note struct {
	requestID string // the gateway's name for the call
	start     time.Time
	ended     time.Time
	failure   string // what its error.type is
	server    string
	endpoint  mcp.Endpoint
	routes    *routes
	upstream  *upstream
	leave     func()   // lets the upstream and the logs close; nil if nothing keeps them open
	tokens    []string // the caller's own, out of the headers
	principal auth.Principal
	source    netip.Addr // of the caller, as the gateway says; the zero Addr if it does not
	decision  policy.Decision
	verb      string        // HTTP method
	events    []audit.Event // of the audit log
	taken     []func()      // give back what limits have lent
	waited    bool          // a human has been asked
	streaming bool          // the answer has begun, as an event stream
	maxResult int64         // bytes that the answer may have; 0 for any number
	call      *mcp.Call
	version   string                                  // of MCP
	keep      func(method string, e mcp.Element) bool // which elements of lists the caller gets to see; nil: all
	checks    []resultCheck                           // of answers
	dropped   int                                     // elements that it did not get to see
	status    int
	outcome   string
	left      bool // nobody waits for the rest of the answer: its caller has left, or we leave the session
	delivered mcp.Delivered
	cause     error
	refused   *mcp.Error  // what the connector itself has answered with
	verdict   mcp.Verdict // what the upstream says of how it went

	hop      hop
	span     telemetry.Span
	client   telemetry.Span    // of what is asked of the upstream; its start is put off while credentials are fetched
	asked    bool              // the upstream was, or somebody has tried to
	head     time.Time         // when the head of its answer came
	answered int               // its status
	protocol string            // the version of HTTP of its answer
	begun    string            // the MCP session that began with the call, as the upstream names it
	masked   int64             // secrets in its answer
	told     trace.SpanContext // what the upstream hears of the trace; the zero one if nothing
	deciding time.Time         // since when policy is at work, or is again
	phases   []phase
	room     [3]phase // for the first of them
}

// caller is the principal, as far as credentials depend on it.
func (n *note) caller() credential.Principal {
	return credential.Principal{Issuer: n.principal.Issuer, Subject: n.principal.Subject}
}

// about is how lines and measurements say which call they are about.
func (n *note) about() telemetry.Call {
	return telemetry.Call{RequestID: n.requestID, Span: n.span.Context}
}

type noteKey struct{}

func noteFrom(ctx context.Context) *note {
	n, _ := ctx.Value(noteKey{}).(*note)
	return n
}

// record names the call as a part of the trace that the gateway says, and has it told of when it has ended: one log line, its spans, its
// measurements.
func (c *Connector) record(over hop, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &note{requestID: r.Header.Get(mcp.HeaderRequestID), start: time.Now(), verb: r.Method, tokens: r.Header[mcp.HeaderAgentToken], hop: over}
		n.phases = n.room[:0]
		delete(r.Header, mcp.HeaderAgentToken)
		parent, _ := telemetry.Extract(r.Header)
		telemetry.Inject(r.Header, trace.SpanContext{}) // it was meant for us
		n.span = c.cfg.Tracer.Begin(parent, n.start)
		ctx := n.about().Context(r.Context())
		c.metrics.began()
		defer func() {
			if n.upstream != nil {
				n.upstream.health.note(n.outcome, n.left)
			}
			n.ended, n.failure = time.Now(), n.errorType()
			n.checks = nil // they have copies of what was asked, and nobody tells of them
			c.metrics.over()
			c.ended.Add(n)
			if n.call != nil && len(n.call.Body) > maxKept {
				c.ended.Flush()
			}
			if n.leave != nil {
				n.leave()
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, noteKey{}, n)))
	})
}

// tell tells of a call that has ended.
func (c *Connector) tell(n *note) {
	c.logCall(n)
	c.metrics.record(n)
	c.recordSpans(n)
}

// afterFunc has a function called when something has happened, as
// [context.AfterFunc] does for one context.
type afterFunc func(f func()) (stop func() (late bool))

// endOnLeave ends event streams without a request, which may be silent for
// hours, when we leave the session, so that they do not hold that up.
func endOnLeave(onLeave afterFunc, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer onLeave(cancel)()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// find looks the server up by the path that the gateway sends: one of the
// server's URLs. The route table is ours; the gateway only names an entry of it.
func (c *Connector) find(tunnel string, next http.Handler) http.Handler {
	prefix := "/t/" + tunnel + "/"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := noteFrom(r.Context())
		path, _, query := strings.Cut(r.RequestURI, "?")
		rest, ok := strings.CutPrefix(path, prefix)
		name, segment, _ := strings.Cut(rest, "/")
		endpoint, known := mcp.ParseEndpoint(segment)
		now, u, leave := c.enter(name)
		n.leave = leave
		if !ok || !known || query && endpoint != mcp.EndpointMessages || u == nil || !u.serves(endpoint) {
			c.refuse(w, r, mcp.NotFound())
			return
		}
		n.routes, n.upstream = now, u
		n.server, n.endpoint = name, endpoint
		defer c.auditEnd(n)
		next.ServeHTTP(w, r)
	})
}

// endpointOf is the endpoint that find has found.
func endpointOf(r *http.Request) mcp.Endpoint { return noteFrom(r.Context()).endpoint }

// messagesPath is the path of EndpointMessages beside that of EndpointSSE.
func messagesPath(r *http.Request) string {
	return strings.TrimSuffix(r.URL.Path, string(mcp.EndpointSSE)) + string(mcp.EndpointMessages)
}

// verify admits calls whose assertion the gateway has signed for this tunnel,
// server and connector. The principal it names is who policy will judge, unless
// the caller's own token has to prove it.
func (c *Connector) verify(checker *auth.Checker, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := noteFrom(r.Context())
		assertions := r.Header[mcp.HeaderAssertion]
		if len(assertions) != 1 {
			c.refuse(w, r, mcp.Unauthenticated())
			return
		}
		principal, err := checker.Check(r.Context(), assertions[0], n.server)
		if err != nil {
			e := mcp.Unauthenticated()
			e.Err = err
			c.refuse(w, r, e)
			return
		}
		n.principal = principal
		if c.agents != nil {
			if e := c.verifyAgent(r.Context(), n); e != nil {
				c.refuse(w, r, e)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers with an error of the table, after the whole bounded request
// has been read: an answer that overtakes its request could be lost with it.
func (c *Connector) refuse(w http.ResponseWriter, r *http.Request, e *mcp.Error) {
	n := noteFrom(r.Context())
	n.status, n.outcome, n.delivered, n.cause, n.refused = e.Status, e.Reason, e.Delivered, e.Err, e
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, c.cfg.MaxBody))
	if n.streaming {
		for _, id := range e.IDs {
			_, _ = w.Write(mcp.ErrorEvent(e, n.requestID, id))
		}
		return
	}
	mcp.WriteHopError(w, r, e)
}

// logCall writes the access line: names and numbers, never a body, an
// argument, a token or a header value.
func (c *Connector) logCall(n *note) {
	level := slog.LevelInfo
	if n.status >= http.StatusInternalServerError && n.outcome != outcomeUpstream && !n.gone() {
		level = slog.LevelWarn // somebody here should look: the upstream or its credential fails
	}
	if !c.log.Enabled(context.Background(), level) {
		return
	}
	line := c.lines.New(c.log, n.ended, level, "call")
	line.String(telemetry.KeyRequestID, n.requestID)
	line.String(telemetry.KeyServer, n.server)
	line.String(telemetry.KeyHTTPMethod, telemetry.Short(n.verb))
	line.Int(telemetry.KeyStatus, int64(n.status))
	line.String(telemetry.KeyOutcome, n.outcome)
	if n.failure != "" {
		line.String(telemetry.KeyErrorType, n.failure)
	}
	line.Milliseconds(telemetry.KeyDurationMS, n.ended.Sub(n.start))
	if n.principal.Subject != "" {
		issuer, subject := n.principal.Printable()
		line.Pair(telemetry.KeyPrincipal, issuer, "|", subject)
	}
	if n.decision.Rule != "" {
		line.String(telemetry.KeyRule, n.decision.Rule)
	}
	if n.call != nil && len(n.call.Messages) > 0 {
		m := &n.call.Messages[0]
		line.String(telemetry.KeyMethod, telemetry.Short(m.Method))
		if m.Method == methodCallTool {
			line.String(telemetry.KeyTool, telemetry.Short(m.Name))
		}
	}
	if n.dropped > 0 {
		line.Int(telemetry.KeyDropped, int64(n.dropped))
	}
	if n.delivered != "" {
		line.String(telemetry.KeyDelivered, string(n.delivered))
	}
	if n.cause != nil {
		line.String(telemetry.KeyError, n.cause.Error())
	}
	line.Write(n.about())
}

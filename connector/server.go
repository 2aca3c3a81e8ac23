package connector

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/auth"
	"sallyport.dev/credential"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
)

// maxRequestHead bounds the head of a request from the gateway, in bytes.
const maxRequestHead = 64 << 10

// handler returns the chain that every call over one session goes through, in
// this order: note → find the server → verify the assertion, and the caller's
// own token where that is wanted → inspect → decide → call the upstream, where
// the credential is put in last.
func (c *Connector) handler(checker *auth.Checker, tunnel string, onLeave afterFunc) http.Handler {
	upstream := http.HandlerFunc(c.callUpstream)
	decide := c.decide(upstream)
	inspect := mcp.Inspect(mcp.InspectConfig{MaxBody: c.cfg.MaxBody, Budget: c.bodies, Endpoint: endpointOf, Refuse: c.refuse})(decide)
	verify := c.verify(checker, inspect)
	find := c.find(tunnel, verify)
	return c.record(endOnLeave(onLeave, find))
}

// note collects what the call's one log line will say.
type note struct {
	requestID string // the gateway's name for the call
	start     time.Time
	server    string
	endpoint  mcp.Endpoint
	routes    *routes
	upstream  *upstream
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
	keep      func(method string, e mcp.Element) bool // which elements of lists the caller gets to see; nil: all
	checks    []resultCheck                           // of answers
	dropped   int                                     // elements that it did not get to see
	status    int
	outcome   string
	delivered mcp.Delivered
	cause     error
}

// caller is the principal, as far as credentials depend on it.
func (n *note) caller() credential.Principal {
	return credential.Principal{Issuer: n.principal.Issuer, Subject: n.principal.Subject}
}

type noteKey struct{}

func noteFrom(ctx context.Context) *note {
	n, _ := ctx.Value(noteKey{}).(*note)
	return n
}

// record writes one log line for each call.
func (c *Connector) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &note{requestID: r.Header.Get(mcp.HeaderRequestID), start: time.Now(), verb: r.Method, tokens: r.Header[mcp.HeaderAgentToken]}
		delete(r.Header, mcp.HeaderAgentToken)
		defer func() {
			if n.upstream != nil {
				n.upstream.health.note(n.outcome)
			}
			c.logCall(r, n)
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
	})
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
		if u != nil {
			defer leave()
		}
		if !ok || !known || query && endpoint != mcp.EndpointMessages || u == nil || !u.serves(endpoint) {
			c.refuse(w, r, mcp.NotFound())
			return
		}
		n.routes, n.upstream = now, u
		n.server, n.endpoint = name, endpoint
		defer c.auditEnd(n) // before leave: the log stays open for it
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
	n.status, n.outcome, n.delivered, n.cause = e.Status, e.Reason, e.Delivered, e.Err
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
func (c *Connector) logCall(r *http.Request, n *note) {
	if !c.log.Enabled(r.Context(), slog.LevelWarn) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String(telemetry.KeyRequestID, n.requestID),
		slog.String(telemetry.KeyServer, n.server),
		slog.Int(telemetry.KeyStatus, n.status),
		slog.String(telemetry.KeyOutcome, n.outcome),
		slog.Float64(telemetry.KeyDurationMS, float64(time.Since(n.start).Microseconds())/1000),
	)
	if n.principal.Subject != "" {
		attrs = append(attrs, slog.String(telemetry.KeyPrincipal, n.principal.String()))
	}
	if n.decision.Rule != "" {
		attrs = append(attrs, slog.String(telemetry.KeyRule, n.decision.Rule))
	}
	if n.call != nil && len(n.call.Messages) > 0 {
		m := n.call.Messages[0]
		attrs = append(attrs, slog.String(telemetry.KeyMethod, telemetry.Short(m.Method)))
		if m.Method == "tools/call" {
			attrs = append(attrs, slog.String(telemetry.KeyTool, telemetry.Short(m.Name)))
		}
	}
	if n.dropped > 0 {
		attrs = append(attrs, slog.Int(telemetry.KeyDropped, n.dropped))
	}
	if n.delivered != "" {
		attrs = append(attrs, slog.String(telemetry.KeyDelivered, string(n.delivered)))
	}
	if n.cause != nil {
		attrs = append(attrs, slog.String(telemetry.KeyError, n.cause.Error()))
	}
	level := slog.LevelInfo
	if n.status >= http.StatusInternalServerError && n.outcome != "upstream" {
		level = slog.LevelWarn // somebody here should look: the upstream or its credential fails
	}
	c.log.LogAttrs(r.Context(), level, "call", attrs...)
}

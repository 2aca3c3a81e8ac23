package gateway

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// note collects, while a request goes through the chain, what will be told of
// it. It belongs to the request's goroutine; when that has put it on the list
// of those that have ended, it is not changed any more.
type note struct {
	requestID string
	start     time.Time
	ended     time.Time
	failure   string // what its error.type is, once it has ended
	remote    string // who has sent it, or passed it on
	protocol  string // the version of HTTP
	route     route
	principal auth.Principal
	call      *mcp.Call
	version   string // of MCP
	instance  string // of the connector that holds the MCP session, if the call has one
	original  string // the upstream's id of that session
	session   *attached
	status    int
	outcome   string // "upstream", or the reason of our own or the connector's refusal
	delivered mcp.Delivered
	bytesIn   int   // of the request's body
	bytesOut  int64 // of the answer's
	attempts  int
	cause     error
	refused   *mcp.Error // what the gateway itself has answered with
	verdict   mcp.Verdict
	verb      string // HTTP method
	left      bool   // the agent has hung up
	named     string // of the MCP session that begins with this call, as the agent knows it
	first     string // connector that did not get the call

	span  telemetry.Span
	links []trace.Link // to what an agent says that the call is part of, if it is not trusted with that

	// When the caller was known, a session was looked for and found, its stream was open and the head of the answer came.
	known, queued, picked, opened, head time.Time
}

// The outcomes of calls that are not refused.
const (
	outcomeUpstream = "upstream" // the upstream has answered
	outcomeBroken   = "broken"
	outcomeUnknown  = "outcome_unknown"

	outcomeCancelled = "cancelled" // only as error.type: the agent has left
)

const maxKept = 16 << 10 // bytes of the body of a call that has ended and is yet to be told of

// refusedBodyTime is how long the rest of a refused request's body may take.
const refusedBodyTime = time.Second

// answered notes an answer that is neither a refusal nor a call's.
func (n *note) answered(status int, outcome string) { n.status, n.outcome = status, outcome }

type noteKey struct{}

func noteFrom(ctx context.Context) *note {
	n, _ := ctx.Value(noteKey{}).(*note)
	return n
}

// record names the request, and has it told of when it has ended: one log line, its spans, its measurements.
func (g *Gateway) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &note{requestID: rand.Text(), start: time.Now(), remote: r.RemoteAddr, protocol: httpVersion(r), verb: r.Method}
		n.span = g.cfg.Tracer.Begin(trace.SpanContext{}, n.start)
		g.metrics.began()
		defer func() {
			n.ended, n.left = time.Now(), r.Context().Err() != nil
			n.failure = n.errorType()
			g.auditDenial(n)
			g.metrics.over()
			g.ended.Add(n)
			if n.call != nil && len(n.call.Body) > maxKept {
				g.ended.Flush()
			}
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
		if r.ProtoMajor == 2 {
			// What is left of a short answer is written when this returns, out of
			// sight of the stall watch: an agent that takes nothing is cut all the same.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // none in memory
		}
	})
}

// tell tells of a request that has ended.
func (g *Gateway) tell(n *note) {
	g.logCall(n)
	g.metrics.record(n)
	g.recordSpans(n)
}

// refuse answers with an error of the table, and notes it.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, e *mcp.Error) {
	n := noteFrom(r.Context())
	n.status, n.outcome, n.delivered, n.cause, n.refused = e.Status, e.Reason, e.Delivered, e.Err, e
	if n.call == nil {
		if n.call = mcp.CallFrom(r.Context()); n.call != nil {
			n.bytesIn, n.version = len(n.call.Body), revision(n.call.Spoken())
		}
	}
	if n.call == nil && r.ContentLength != 0 {
		// net/http reads on in a body that nobody wanted, to keep the connection.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBodyTime)) // none in memory
	}
	mcp.WriteError(w, e, n.requestID)
}

// logCall writes the access line: names and numbers, never a body, an
// argument, a token or a header value.
func (g *Gateway) logCall(n *note) {
	if !g.log.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	line := g.lines.New(g.log, n.ended, slog.LevelInfo, "call")
	line.String(telemetry.KeyRequestID, n.requestID)
	line.String(telemetry.KeyHTTPMethod, telemetry.Short(n.verb))
	line.Int(telemetry.KeyStatus, int64(n.status))
	line.String(telemetry.KeyOutcome, n.outcome)
	if n.failure != "" {
		line.String(telemetry.KeyErrorType, n.failure)
	}
	line.Milliseconds(telemetry.KeyDurationMS, n.ended.Sub(n.start))
	line.String(telemetry.KeyRemote, n.remote)
	if n.route.tunnel != "" {
		line.String(telemetry.KeyTunnel, n.route.tunnel)
		line.String(telemetry.KeyServer, n.route.server)
	}
	if n.principal.Subject != "" {
		issuer, subject := n.principal.Printable()
		line.Pair(telemetry.KeyPrincipal, issuer, "|", subject)
	}
	if n.call != nil && len(n.call.Messages) > 0 {
		m := &n.call.Messages[0]
		line.String(telemetry.KeyMethod, m.Method)
		if m.Method == "tools/call" {
			line.String(telemetry.KeyTool, telemetry.Short(m.Name))
		}
		line.Int(telemetry.KeyBytesIn, int64(n.bytesIn))
	}
	if n.session != nil {
		line.String(telemetry.KeyInstance, n.session.instance)
		line.String(telemetry.KeyTransport, string(n.session.Peer().Transport))
		line.Int(telemetry.KeyBytesOut, n.bytesOut)
	}
	if n.attempts > 1 {
		line.Int(telemetry.KeyAttempts, int64(n.attempts))
	}
	if n.delivered != "" {
		line.String(telemetry.KeyDelivered, string(n.delivered))
	}
	if n.cause != nil {
		line.String(telemetry.KeyError, n.cause.Error())
	}
	line.Write(n.about())
}

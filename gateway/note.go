package gateway

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// note collects, while a request goes through the chain, what its one log
// line will say. It belongs to the request's goroutine.
type note struct {
	requestID string
	start     time.Time
	route     route
	principal auth.Principal
	call      *mcp.Call
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
}

// refusedBodyTime is how long the rest of a refused request's body may take.
const refusedBodyTime = time.Second

// answered notes an answer that is neither a refusal nor a call's.
func (n *note) answered(status int, outcome string) { n.status, n.outcome = status, outcome }

type noteKey struct{}

func noteFrom(ctx context.Context) *note {
	n, _ := ctx.Value(noteKey{}).(*note)
	return n
}

// record names the request and writes one log line when it has ended.
func (g *Gateway) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := &note{requestID: rand.Text(), start: time.Now()}
		defer func() {
			g.auditDenial(n)
			g.logCall(r, n)
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
		if r.ProtoMajor == 2 {
			// What is left of a short answer is written when this returns, out of
			// sight of the stall watch: an agent that takes nothing is cut all the same.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // none in memory
		}
	})
}

// refuse answers with an error of the table, and notes it.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, e *mcp.Error) {
	n := noteFrom(r.Context())
	n.status, n.outcome, n.delivered, n.cause = e.Status, e.Reason, e.Delivered, e.Err
	if n.call == nil {
		if n.call = mcp.CallFrom(r.Context()); n.call != nil {
			n.bytesIn = len(n.call.Body)
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
func (g *Gateway) logCall(r *http.Request, n *note) {
	level := slog.LevelInfo
	if !g.log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 20)
	attrs = append(attrs,
		slog.String(telemetry.KeyRequestID, n.requestID),
		slog.String(telemetry.KeyHTTPMethod, telemetry.Short(r.Method)),
		slog.Int(telemetry.KeyStatus, n.status),
		slog.String(telemetry.KeyOutcome, n.outcome),
		slog.Float64(telemetry.KeyDurationMS, float64(time.Since(n.start).Microseconds())/1000),
		slog.String(telemetry.KeyRemote, r.RemoteAddr),
	)
	if n.route.tunnel != "" {
		attrs = append(attrs, slog.String(telemetry.KeyTunnel, n.route.tunnel), slog.String(telemetry.KeyServer, n.route.server))
	}
	if n.principal.Subject != "" {
		attrs = append(attrs, slog.String(telemetry.KeyPrincipal, n.principal.String()))
	}
	if n.call != nil && len(n.call.Messages) > 0 {
		m := n.call.Messages[0]
		attrs = append(attrs, slog.String(telemetry.KeyMethod, m.Method))
		if m.Method == "tools/call" {
			attrs = append(attrs, slog.String(telemetry.KeyTool, telemetry.Short(m.Name)))
		}
		attrs = append(attrs, slog.Int(telemetry.KeyBytesIn, n.bytesIn))
	}
	if n.session != nil {
		attrs = append(attrs,
			slog.String(telemetry.KeyInstance, n.session.instance),
			slog.String(telemetry.KeyTransport, string(n.session.Peer().Transport)),
			slog.Int64(telemetry.KeyBytesOut, n.bytesOut),
		)
	}
	if n.attempts > 1 {
		attrs = append(attrs, slog.Int(telemetry.KeyAttempts, n.attempts))
	}
	if n.delivered != "" {
		attrs = append(attrs, slog.String(telemetry.KeyDelivered, string(n.delivered)))
	}
	if n.cause != nil {
		attrs = append(attrs, slog.String(telemetry.KeyError, n.cause.Error()))
	}
	g.log.LogAttrs(r.Context(), level, "call", attrs...)
}

package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
	"sallyport.dev/tunnel"
)

// forward sends an inspected call to a connector and streams the answer back.
// A call that certainly was not delivered is tried once more, on another
// session; nothing else is ever repeated.
func (g *Gateway) forward(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	call, n := mcp.CallFrom(ctx), noteFrom(ctx)
	n.call, n.bytesIn, n.version = call, len(call.Body), revision(call.Spoken())
	g.join(r, n)
	if r.Method == http.MethodGet { // an idle event stream must not hold up a shutdown
		var cancel context.CancelFunc
		ctx, cancel = g.untilDraining(ctx)
		defer cancel()
	}
	n.queued = time.Now()
	s, err := g.sessions.pick(ctx, n.wanted())
	n.picked = time.Now()
	if err != nil {
		g.refuse(w, r, pickError(ctx, err).For(call))
		return
	}
	for {
		n.session = s
		n.attempts++
		next, refused := g.try(ctx, w, r, s, n.attempts == 1)
		if refused == nil {
			return
		}
		if next == nil {
			g.refuse(w, r, refused.For(call))
			return
		}
		n.first = s.instance
		n.queued, n.opened, n.head = n.picked, time.Time{}, time.Time{}
		n.picked = time.Now()
		s = next
	}
}

// another returns a session for a second attempt that is there now, past those
// that except names; nil if there is none, or if this was the second.
func (g *Gateway) another(ctx context.Context, first bool, except func(*attached) bool) *attached {
	if !first {
		return nil
	}
	next, _, _ := g.sessions.find(noteFrom(ctx).wanted(), except)
	return next
}

// wanted is what the call needs of a session. HTTP+SSE answers on the stream
// that one connector holds; streamable HTTP has its MCP sessions at the
// upstream, which every connector of the server reaches.
func (n *note) wanted() wanted {
	return wanted{route: n.route, instance: n.instance, only: n.route.endpoint == mcp.EndpointMessages}
}

func pickError(ctx context.Context, err error) *mcp.Error {
	switch {
	case errors.Is(err, errNoServer):
		return mcp.NotFound()
	case errors.Is(err, errNoInstance) && ctx.Err() == nil:
		return mcp.SessionNotFound()
	}
	e := mcp.ConnectorOffline(offlineRetryAfter)
	if ctx.Err() != nil {
		e.Reason = reasonLeft
	}
	e.Err = err
	return e
}

// try makes one attempt on one session. If nothing was sent to the agent, it
// returns the error to answer with, and the session to try instead, if any.
func (g *Gateway) try(ctx context.Context, w http.ResponseWriter, r *http.Request, s *attached, first bool) (next *attached, refused *mcp.Error) {
	thisSession := func(a *attached) bool { return a == s }
	thisConnector := func(a *attached) bool { return a.instance == s.instance }
	s.inFlight.Add(1)
	defer s.inFlight.Add(-1)
	header, err := g.requestHeader(r, s)
	if err != nil {
		return nil, mcp.Internal(err)
	}
	x, err := g.send(ctx, s, r, mcp.CallFrom(ctx), header)
	switch {
	case err == nil:
	case ctx.Err() != nil && !g.draining():
		return nil, left(err)
	case errors.Is(err, errNotDelivered):
		return g.another(ctx, first, thisSession), mcp.NotDelivered(err)
	default:
		if broken(s, err) {
			g.log.WarnContext(noteFrom(ctx).about().Context(ctx), "a connector breaks the protocol", telemetry.KeyInstance, s.instance, telemetry.KeyError, err)
		}
		return nil, mcp.OutcomeUnknown(err)
	}
	if assertionRefused(x.resp) {
		x.abort()
		g.log.WarnContext(noteFrom(ctx).about().Context(ctx), "a connector refuses our assertion", telemetry.KeyInstance, s.instance, telemetry.KeyError, errAssertion)
		return g.another(ctx, first, thisSession), mcp.NotDelivered(errAssertion)
	}
	if refusedElsewhere(x.resp) { // what it lacks, its other session lacks too
		if next := g.another(ctx, first, thisConnector); next != nil {
			x.abort()
			return next, mcp.NotDelivered(nil)
		}
	}
	if refused := g.nameSession(noteFrom(ctx), s, x.resp.Header); refused != nil {
		x.abort()
		return nil, refused
	}
	g.respond(ctx, w, r, x)
	return nil, nil
}

// reasonLeft is the log's word for a call whose agent hung up.
const reasonLeft = "agent_left"

// left is what becomes of a call whose agent hung up: nobody reads it, but the
// log line says so.
func left(cause error) *mcp.Error {
	e := mcp.OutcomeUnknown(cause)
	if errors.Is(cause, errNotDelivered) {
		e = mcp.NotDelivered(cause)
	}
	e.Reason = reasonLeft
	return e
}

func broken(s *attached, err error) bool {
	var ended *tunnel.CloseError
	return errors.Is(err, errBadResponse) && !errors.As(err, &ended) && s.usable()
}

// refusedElsewhere reports an answer by which the connector itself asks for
// the call to go to another one: it has not touched the upstream.
func refusedElsewhere(resp *http.Response) bool {
	return resp.StatusCode == http.StatusServiceUnavailable && mcp.OutcomeOf(resp.Header) == mcp.OutcomeRefused
}

// assertionRefused reports that the connector does not believe who we say is
// calling. The agent's own token is good, so it must not get that 401.
func assertionRefused(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized && mcp.OutcomeOf(resp.Header) == mcp.OutcomeRefused
}

// requestHeader makes the header that goes down the tunnel: the agent's,
// stripped, and the hop's own.
func (g *Gateway) requestHeader(r *http.Request, s *attached) (http.Header, error) {
	name := routeFrom(r.Context())
	principal, _ := auth.PrincipalFrom(r.Context())
	assertion, err := g.signer.Sign(auth.Assertion{Tunnel: name.tunnel, Server: name.server, Connector: s.instance, Principal: principal})
	if err != nil {
		return nil, err
	}
	h := make(http.Header, len(r.Header)+6)
	for key, values := range r.Header {
		h[key] = values
	}
	mcp.StripRequest(h)
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = []string{""} // or net/http names itself
	}
	n := noteFrom(r.Context())
	if n.original != "" && n.route.endpoint == mcp.EndpointMCP {
		h[headerMCPSession] = []string{n.original}
	}
	h[mcp.HeaderRequestID] = []string{n.requestID}
	telemetry.Inject(h, n.span.Context) // nothing if nobody here traces, so that the connector decides for itself
	h[mcp.HeaderAssertion] = []string{assertion}
	if slices.Contains(s.verifies, principal.Issuer) { // who verifies it anew must have it, and nobody else
		if _, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
			h[mcp.HeaderAgentToken] = []string{strings.TrimLeft(token, " ")}
		}
	}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		h[mcp.HeaderSource] = []string{peer.Addr().Unmap().WithZone("").String()}
	}
	return h, nil
}

package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"

	"sallyport.dev/mcp"
	"sallyport.dev/tunnel"
)

// respond streams the connector's answer to the agent: each piece is flushed
// as it comes, unless it is no event stream and its length is known.
func (g *Gateway) respond(ctx context.Context, w http.ResponseWriter, r *http.Request, x *exchange) {
	n := noteFrom(ctx)
	resp := x.resp
	n.status, n.outcome, n.delivered = resp.StatusCode, outcomeUpstream, mcp.DeliveredYes
	if outcome := mcp.OutcomeOf(resp.Header); outcome != "" {
		n.outcome, n.delivered = "connector_"+string(outcome), delivered(outcome)
	}
	var events *stream
	if mcp.IsEventStream(resp.Header) {
		events = g.follow(n, n.session)
	}
	mcp.PassHead(w.Header(), resp)
	verdict := judged{wanted: g.records && events == nil && len(n.call.Messages) > 0}
	if events != nil {
		g.metrics.streaming(ctx, 1)
		defer g.metrics.streaming(ctx, -1)
		w.Header().Set("X-Accel-Buffering", "no") // nginx and its like would buffer them
		w.Header().Del("Content-Length")          // what we put in may lengthen it
		n.call.Forget()
	}
	w.WriteHeader(resp.StatusCode)
	out := &agentWriter{w: w, control: http.NewResponseController(w), flush: events != nil || resp.ContentLength < 0}
	if out.flush {
		if err := out.control.Flush(); err != nil {
			n.cause, n.outcome, n.delivered = err, outcomeBroken, mcp.DeliveredUnknown
			x.abort()
			panic(http.ErrAbortHandler)
		}
	}
	out.flow = g.stalls.watch(out.control)
	defer g.stalls.unwatch(out.flow)

	err := g.copyBody(out, resp.Body, events, func(piece []byte, read int64, ended bool) {
		verdict.read(n, piece, ended || read == resp.ContentLength)
	})
	if err == nil && r.ProtoMajor == 1 {
		err = out.end()
	}
	n.bytesOut = out.written
	if err == nil {
		x.finish()
		return
	}
	x.abort()
	if out.err == nil && !errors.Is(err, errBadResponse) && !errors.Is(err, mcp.ErrEventStream) {
		err = x.cause()
	}
	n.cause = err
	if out.err != nil || ctx.Err() == nil || !verdict.complete(n) && !events.complete() { // else the agent has left with its answer, before that had ended
		n.outcome, n.delivered = outcomeBroken, mcp.DeliveredUnknown
	}
	if events == nil || out.err != nil || ctx.Err() != nil && !g.draining() {
		panic(http.ErrAbortHandler) // never a clean end
	}
	var ended *tunnel.CloseError
	// The agent is there and the tunnel is not: say what is known, if that can be said between two events.
	switch {
	case events.complete() && errors.As(err, &ended): // the tunnel is gone; else the connector has stopped the stream
		n.outcome, n.delivered = outcomeUpstream, mcp.DeliveredYes
	case events.repairable():
		n.outcome = outcomeUnknown
		for _, id := range events.pending.Left() {
			_, _ = out.Write(mcp.ErrorEvent(mcp.OutcomeUnknown(err), n.requestID, id))
		}
	default:
		panic(http.ErrAbortHandler)
	}
}

func delivered(o mcp.Outcome) mcp.Delivered {
	switch o {
	case mcp.OutcomeRefused:
		return mcp.DeliveredNo
	case mcp.OutcomeDelivered:
		return mcp.DeliveredYes
	}
	return mcp.DeliveredUnknown
}

// copyBody copies until EOF, and follows an event stream if there is one. Of what is none, seen gets each piece with how much has
// been read by then.
func (g *Gateway) copyBody(out *agentWriter, body io.Reader, events *stream, seen func(piece []byte, read int64, ended bool)) error {
	lend := g.buffers.Large
	if out.flush {
		lend = g.buffers.Small
	}
	buf := lend()
	defer func() { g.buffers.Put(buf) }()
	read := int64(0)
	for {
		n, err := body.Read(*buf)
		piece, ended := (*buf)[:n], errors.Is(err, io.EOF)
		var refused error
		read += int64(n)
		switch {
		case events == nil:
			seen(piece, read, ended)
		case n > 0:
			piece, refused = events.Write(piece)
		}
		if writeErr := out.pass(piece, refused); writeErr != nil {
			return writeErr
		}
		switch {
		case ended && events != nil:
			return out.pass(events.End())
		case ended:
			return nil
		case err != nil:
			return err
		case out.flush:
			buf = g.buffers.Fit(buf, n)
		}
	}
}

// agentWriter writes to an agent, flushing each piece if it streams, under the
// eye of the stall watch.
type agentWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	flush   bool
	flow    *flow
	written int64
	err     error // of the agent's side
}

func (a *agentWriter) Write(p []byte) (int, error) {
	a.flow.begin()
	n, err := a.w.Write(p)
	if err == nil && a.flush {
		err = a.control.Flush()
	}
	a.flow.end()
	a.written += int64(n)
	a.err = err
	return n, err
}

// pass writes what may pass, and returns why nothing more may.
func (a *agentWriter) pass(p []byte, refused error) error {
	if len(p) > 0 {
		if _, err := a.Write(p); err != nil {
			return err
		}
	}
	return refused
}

// end sends a short answer off now, and not after the call has been put away
// and logged. HTTP/2 would take a frame more for that.
func (a *agentWriter) end() error {
	if a.flush {
		return nil
	}
	a.flow.begin()
	a.err = a.control.Flush()
	a.flow.end()
	return a.err
}

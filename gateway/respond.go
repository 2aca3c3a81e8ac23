package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"

	"sallyport.dev/mcp"
)

// respond streams the connector's answer to the agent: each piece is flushed
// as it comes, unless it is no event stream and its length is known.
func (g *Gateway) respond(ctx context.Context, w http.ResponseWriter, r *http.Request, x *exchange) {
	n := noteFrom(ctx)
	resp := x.resp
	n.status, n.outcome, n.delivered = resp.StatusCode, "upstream", mcp.DeliveredYes
	if outcome := mcp.Outcome(resp.Header.Get(mcp.HeaderOutcome)); outcome != "" {
		n.outcome, n.delivered = "connector_"+string(outcome), delivered(outcome)
	}
	events := mcp.IsEventStream(resp.Header)
	mcp.PassHead(w.Header(), resp)
	if events {
		w.Header().Set("X-Accel-Buffering", "no") // nginx and its like would buffer them
		w.Header().Del("Content-Length")          // an error event of ours may lengthen it
		n.call.Forget()
	}
	w.WriteHeader(resp.StatusCode)
	out := &agentWriter{w: w, control: http.NewResponseController(w), flush: events || resp.ContentLength < 0}
	if out.flush {
		if err := out.control.Flush(); err != nil {
			x.abort()
			panic(http.ErrAbortHandler)
		}
	}
	out.flow = g.stalls.watch(out.control)
	defer g.stalls.unwatch(out.flow)

	var tracker *mcp.EventTracker
	if events {
		tracker = new(mcp.EventTracker)
	}
	err := g.copyBody(out, resp.Body, tracker)
	if err == nil && r.ProtoMajor == 1 {
		err = out.end()
	}
	n.bytesOut = out.written
	if err == nil {
		x.finish()
		return
	}
	x.abort()
	if out.err == nil {
		err = x.cause()
	}
	n.cause, n.outcome, n.delivered = err, "broken", mcp.DeliveredUnknown
	if out.err == nil && (ctx.Err() == nil || g.draining()) {
		// The agent is there and the tunnel is not: say what is known, if that
		// can be said between two events.
		if ids := mcp.CallFrom(ctx).IDs(); tracker != nil && tracker.Between() && !tracker.SawID() && len(ids) > 0 {
			n.outcome = "outcome_unknown"
			for _, id := range ids {
				_, _ = out.Write(mcp.ErrorEvent(mcp.OutcomeUnknown(err), n.requestID, id))
			}
			return
		}
	}
	panic(http.ErrAbortHandler) // never a clean end
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

// copyBody copies until EOF. A nil tracker follows nothing.
func (g *Gateway) copyBody(out *agentWriter, body io.Reader, tracker *mcp.EventTracker) error {
	pool := &g.buffers.bulk
	if out.flush {
		pool = &g.buffers.events
	}
	buf := pool.Get().(*[]byte)
	defer pool.Put(buf)
	for {
		n, err := body.Read(*buf)
		if n > 0 {
			piece := (*buf)[:n]
			if _, err := out.Write(piece); err != nil {
				return err
			}
			if tracker != nil {
				tracker.Write(piece)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
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

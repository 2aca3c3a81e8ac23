package gateway

import (
	"fmt"

	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// stream follows the event stream that answers a call: which requests it has answered, and whether something may be put
// behind what has passed. It judges nothing: what an upstream may say is the connector's to decide.
type stream struct {
	mcp.EventFilter
	call    *mcp.Call
	pending *mcp.Pending
}

// follow begins with a stream of a session. In HTTP+SSE its endpoint event is made the agent's.
func (g *Gateway) follow(n *note, s *attached) *stream {
	f := &stream{call: n.call, pending: mcp.NewPending(n.call)}
	placed := n.route.endpoint != mcp.EndpointSSE
	f.Judge = func(e *mcp.Event) error {
		for i := range e.Messages {
			if m := &e.Messages[i]; m.Kind == mcp.Response && f.pending.Take(m.ID) && g.records && !n.verdict.Failed() {
				if n.verdict = mcp.JudgeResponse(e.Data()); e.Data() == nil && m.Failed { // it is long, or over several lines
					n.verdict.Code = telemetry.Other
				}
			}
		}
		if e.Name != "endpoint" {
			return nil
		}
		if placed {
			return fmt.Errorf("%w: an endpoint event where none belongs", errBadResponse)
		}
		data, err := g.nameMessages(n, s, e.Data())
		if err != nil {
			return err
		}
		e.Replace(data)
		placed = true
		return nil
	}
	return f
}

// repairable reports whether error events may be put behind what has passed: nothing is open, and the agent cannot fetch
// the rest by an event id.
func (f *stream) repairable() bool {
	return f.Between() && (!f.call.Version.Sessionful() || !f.SawID()) && len(f.pending.Left()) > 0
}

// complete reports whether all that was asked has been answered, so that the stream may end here.
func (f *stream) complete() bool { return f != nil && f.Between() && f.pending.Done() }

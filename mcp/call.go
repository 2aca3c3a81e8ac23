package mcp

import (
	"bytes"
	"context"

	"github.com/go-json-experiment/json"
)

// Call is one HTTP request of an agent as Inspect understood it. It is not changed after Inspect made it, but by Forget.
type Call struct {
	// Messages are the JSON-RPC messages of a POST, at least one; none for GET and DELETE.
	Messages []Message
	// Batch says that the body was an array, which only 2025-03-26 has.
	Batch bool
	// Endpoint is where the request came.
	Endpoint Endpoint
	// Version is the revision that the request is in: the MCP-Protocol-Version header. Without one it is 2025-03-26, as
	// the revisions since 2025-06-18 say, or, for HTTP+SSE, 2024-11-05.
	Version Version
	// SessionID is the MCP session: the Mcp-Session-Id header, or what the query of EndpointMessages holds, or "".
	// Revisions without sessions have none.
	SessionID string
	// Body is the very bytes that were inspected and that must be forwarded; nil for GET and DELETE.
	Body []byte

	release func() // gives the body's bytes back to the budget; may be nil
}

// Forget lets go of the body of a call that may last for hours, once its answer has begun and nothing can need the body
// again: its bytes no longer count against the budget. The ids stay, the params and arguments go with it. It is for the handler alone, and not concurrent with
// any other use of the call.
func (c *Call) Forget() {
	for i := range c.Messages {
		m := &c.Messages[i] // which shares memory with the body
		m.ID, m.Params, m.Arguments, m.traceParent, m.traceState = bytes.Clone(m.ID), nil, nil, nil, nil
	}
	c.Body = nil
	if c.release != nil {
		c.release()
	}
}

// IDs returns the raw ids of the call's requests in their order.
func (c *Call) IDs() [][]byte { return requestIDs(c.Messages) }

// Method returns the first message's method, or "" for a response, GET and DELETE.
func (c *Call) Method() string {
	if len(c.Messages) == 0 {
		return ""
	}
	return c.Messages[0].Method
}

// Spoken is the revision that the call is in: the one that initialize asks for, which comes before there is a header for it; else Version.
func (c *Call) Spoken() Version {
	if c.Method() != "initialize" {
		return c.Version
	}
	var params struct {
		ProtocolVersion Version `json:"protocolVersion"`
	}
	if err := json.Unmarshal(c.Messages[0].Params, &params); err != nil || params.ProtocolVersion == "" {
		return c.Version
	}
	return params.ProtocolVersion
}

// requestIDs collects the ids that want an answer.
func requestIDs(msgs []Message) [][]byte {
	var ids [][]byte
	for i := range msgs {
		if msgs[i].Kind == Request {
			ids = append(ids, msgs[i].ID)
		}
	}
	return ids
}

// callKey is the context key of the Call.
type callKey struct{}

// CallFrom returns the call that Inspect put into the context of a request. It is never nil in a handler behind
// Inspect. Elsewhere it is nil, except for InspectConfig.Refuse when the body had been parsed.
func CallFrom(ctx context.Context) *Call {
	call, _ := ctx.Value(callKey{}).(*Call)
	return call
}

// withCall returns a context that carries call.
func withCall(ctx context.Context, call *Call) context.Context {
	return context.WithValue(ctx, callKey{}, call)
}

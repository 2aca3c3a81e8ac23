package connector

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// errAnswer is an answer that says what no upstream may say there. An agent could take it for the answer to a call
// that another request made, or for an order to send its messages elsewhere.
var errAnswer = errors.New("connector: the upstream's answer breaks the protocol")

// answer follows the event stream that answers a call, and stops it where it leaves the protocol. What it lets by passes
// unchanged, but for the place of HTTP+SSE's messages and for the lists that its Lists filters.
type answer struct {
	mcp.EventFilter
	call    *mcp.Call
	pending *mcp.Pending
	// maxResult bounds each response, in bytes of its event, where it is not known which of the server's rules it belongs to;
	// 0 for any number. requestID names the call to the agent that gets an error instead.
	maxResult int64
	requestID string
	denied    func(e *mcp.Error) // notes an error in the place of a response
	verdict   func(mcp.Verdict)  // notes how a request has gone; nil where none of the call's is answered

	resumed bool // the agent has asked for what it missed, which may be answers to anything it has asked

	// mayAsk reports whether the server may make a request of the client. One that may not is taken out of the stream, and
	// answered by refused in the client's place.
	mayAsk  func(m *mcp.Message, paramsUnknown bool) bool
	refused func(m *mcp.Message)

	// place gives the data to put in for an endpoint event's, once; nil where none belongs.
	place    func(data []byte) (own []byte, messages *url.URL, err error)
	messages *url.URL // where the upstream of HTTP+SSE wants messages, once it has said so
}

func newAnswer(call *mcp.Call, resumed bool, place func([]byte) ([]byte, *url.URL, error)) *answer {
	a := &answer{call: call, pending: mcp.NewPending(call), resumed: resumed, place: place}
	a.Judge = a.judge
	return a
}

// modern reports whether the call's revision has neither sessions nor resumption.
func (a *answer) modern() bool { return !a.call.Version.Sessionful() }

// repairable reports whether an error event may still be put behind what has passed: nothing is open, and the agent
// cannot fetch the rest by an event id.
func (a *answer) repairable() bool {
	return a.Between() && (a.modern() || !a.SawID()) && len(a.pending.Left()) > 0
}

// complete reports whether all that was asked has been answered.
func (a *answer) complete() bool {
	return a != nil && len(a.call.IDs()) > 0 && a.pending.Done() && a.Between()
}

// judge decides about one event.
func (a *answer) judge(e *mcp.Event) error {
	switch {
	case e.Hammers:
		return fmt.Errorf("%w: it asks for reconnections without a pause", errAnswer)
	case e.HasID && a.modern():
		return fmt.Errorf("%w: an event id, which this revision does not have", errAnswer)
	case e.Misread:
		return fmt.Errorf("%w: an event's name could be taken for another", errAnswer)
	case e.Name == "endpoint" || a.place != nil && e.HasData:
		return a.placed(e)
	case !e.HasData:
		return nil
	case e.Messages == nil && e.Alien && e.Name != "" && e.Name != "message":
		return nil // an event that clients do not know, and no message to those that pay names no heed
	case e.Messages == nil:
		return fmt.Errorf("%w: an event that is no JSON-RPC message", errAnswer)
	case e.Batch && a.call.Endpoint == mcp.EndpointMCP && a.call.Version != mcp.V20250326:
		return fmt.Errorf("%w: a batch, which this revision does not have", errAnswer)
	}
	var refused *mcp.Error
	switch {
	case a.maxResult > 0 && e.Size > a.maxResult && slices.ContainsFunc(e.Messages, func(m mcp.Message) bool { return m.Kind == mcp.Response }):
		refused = mcp.ResultTooLarge()
	case a.mayAsk != nil && e.Asks:
		refused = judgeInput(e.Data(), a.mayAsk)
	}
	if refused != nil { // before the response counts as given
		return a.instead(e, refused)
	}
	for i := range e.Messages {
		if err := a.message(&e.Messages[i]); err != nil {
			return err
		}
	}
	a.judged(e)
	return a.askedFor(e)
}

// judged reads how requests have gone by the server's own word.
func (a *answer) judged(e *mcp.Event) {
	if a.verdict == nil {
		return
	}
	for i := range e.Messages {
		m := &e.Messages[i]
		switch {
		case m.Kind != mcp.Response:
		case e.Data() != nil:
			a.verdict(mcp.JudgeResponse(e.Data()))
			return
		case m.Failed: // with a code that is not held
			a.verdict(mcp.Verdict{Code: telemetry.Other})
		}
	}
}

// instead puts an error in the place of a response that must not pass, so that the stream goes on for the other calls that it serves.
// That of a call alone ends, and so does one of which the event cannot be replaced.
func (a *answer) instead(e *mcp.Event, refused *mcp.Error) error {
	if len(a.call.Messages) > 0 || e.Data() == nil || e.Batch || len(e.Messages) != 1 || e.Messages[0].ID == nil {
		return refused
	}
	if err := a.message(&e.Messages[0]); err != nil {
		return err
	}
	e.Replace(mcp.ErrorMessage(refused, a.requestID, e.Messages[0].ID))
	a.denied(refused)
	return nil
}

// askedFor withholds a request of the server that policy does not allow. One in a batch stops the stream: the rest of it
// could not be told apart.
func (a *answer) askedFor(e *mcp.Event) error {
	if a.mayAsk == nil {
		return nil
	}
	for i := range e.Messages {
		m := &e.Messages[i]
		if m.Kind != mcp.Request {
			continue
		}
		whole, unknown := askedWhole(e, m)
		if a.mayAsk(whole, unknown) {
			continue
		}
		if e.Batch {
			return fmt.Errorf("%w: a batch with a request to the client that policy does not allow", errAnswer)
		}
		e.Withhold()
		a.refused(m)
	}
	return nil
}

// message decides about one message.
func (a *answer) message(m *mcp.Message) error {
	switch m.Kind {
	case mcp.Response:
		switch {
		case string(m.ID) == "null" && !m.Failed:
			return fmt.Errorf("%w: a result that answers nothing", errAnswer)
		case a.call.Endpoint == mcp.EndpointSSE, a.resumed, string(m.ID) == "null":
		case !a.pending.Take(m.ID):
			return fmt.Errorf("%w: a response that no request of the call waits for", errAnswer)
		}
	case mcp.Request:
		if a.modern() {
			return fmt.Errorf("%w: a request to the client, which this revision does not have", errAnswer)
		}
		if a.pending.Done() {
			return fmt.Errorf("%w: a request behind the last response", errAnswer)
		}
	case mcp.Notification:
		if a.modern() && a.pending.Done() {
			return fmt.Errorf("%w: a notification behind the response", errAnswer)
		}
	}
	return nil
}

// askedWhole is a request of the server with its params, which an event's messages do not have. They are not known of one that
// is long, over several lines or in a batch, or that is not as strict as a request of a client has to be.
func askedWhole(e *mcp.Event, m *mcp.Message) (whole *mcp.Message, paramsUnknown bool) {
	if e.Batch || e.Data() == nil {
		return m, true
	}
	messages, batch, err := mcp.Parse(e.Data())
	if err != nil || batch || messages[0].Kind != mcp.Request || messages[0].Method != m.Method {
		return m, true
	}
	return &messages[0], false
}

// placed replaces the data of the endpoint event, which HTTP+SSE has once, before all messages.
func (a *answer) placed(e *mcp.Event) error {
	if a.place == nil {
		return fmt.Errorf("%w: an endpoint event where none belongs", errAnswer)
	}
	if e.Name != "endpoint" {
		return fmt.Errorf("%w: a message before the endpoint event", errAnswer)
	}
	data, messages, err := a.place(e.Data())
	if err != nil {
		return err
	}
	a.messages = messages
	e.Replace(data)
	a.place = nil
	return nil
}

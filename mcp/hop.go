package mcp

import "net/http"

// Headers of the hop between gateway and connector. They are deleted from
// what agents and upstreams send, see [StripRequest] and [StripResponse].
const (
	HeaderAssertion = "Sallyport-Assertion"  // who is calling, signed by the gateway
	HeaderRequestID = "Sallyport-Request-Id" // names the call in both logs
	HeaderSource    = "Sallyport-Source"     // the IP address of the caller, as the gateway sees it
	// HeaderAgentToken is the caller's own token, for a connector that verifies it itself. The connector deletes it before
	// anything else reads the headers.
	HeaderAgentToken = "Sallyport-Agent-Token"
	HeaderOutcome    = "Sallyport-Outcome" // set on every answer that the connector itself makes
)

// Outcome is the value of [HeaderOutcome]. Without that header the upstream
// itself has answered.
type Outcome string

// What a connector's own answer says of the call.
const (
	OutcomeRefused   Outcome = "refused"   // the upstream was not touched
	OutcomeUncertain Outcome = "unknown"   // the upstream may have run the call
	OutcomeDelivered Outcome = "delivered" // the upstream answered, and we replaced its answer
)

// OutcomeOf reads a connector's answer; "" if the upstream itself has answered. A connector that uses another word says nothing that
// could be relied on.
func OutcomeOf(h http.Header) Outcome {
	values, own := h[HeaderOutcome]
	switch {
	case !own:
		return ""
	case len(values) != 1:
		return OutcomeUncertain
	}
	switch o := Outcome(values[0]); o {
	case OutcomeRefused, OutcomeDelivered:
		return o
	}
	return OutcomeUncertain
}

// Outcome returns what the connector tells the gateway with e.
func (e *Error) Outcome() Outcome {
	switch e.Delivered {
	case DeliveredNo:
		return OutcomeRefused
	case DeliveredYes:
		return OutcomeDelivered
	}
	return OutcomeUncertain
}

// WriteHopError answers the gateway with e, marked as the connector's own.
func WriteHopError(w http.ResponseWriter, r *http.Request, e *Error) {
	w.Header().Set(HeaderOutcome, string(e.Outcome()))
	WriteError(w, e, r.Header.Get(HeaderRequestID))
}

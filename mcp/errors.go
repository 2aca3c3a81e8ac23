package mcp

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Delivered says whether a refused or failed call can have had an effect at the upstream.
type Delivered string

// The three honest answers. Only DeliveredNo makes a repetition of the same call safe.
const (
	DeliveredNo      Delivered = "no"      // the upstream got no complete request
	DeliveredUnknown Delivered = "unknown" // it may have got one
	DeliveredYes     Delivered = "yes"     // it got one and answered
)

// Error is one refused or failed call as the agent sees it. The constructors in table.go are the only conditions
// there are; each call makes a fresh value, so that a caller may set IDs and the optional fields.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is the JSON-RPC code: ours are -32000 to -32019, the rest belongs to the specifications. Zero means that
	// the answer is no JSON-RPC message and carries nothing of the call.
	Code int
	// Reason is a stable word for programs, in error.data.reason.
	Reason string
	// Delivered is in error.data.delivered.
	Delivered Delivered
	// Message says to the agent what happened, whether the call was delivered, and what to do next.
	Message string
	// Rule names the policy rule that denied, in error.data.rule. Optional.
	Rule string
	// RetryAfter is sent as Retry-After, rounded up to whole seconds. Optional.
	RetryAfter time.Duration
	// Allow is sent as Allow. Optional.
	Allow string
	// Challenges are sent as fields WWW-Authenticate. Optional.
	Challenges []string
	// Close asks for the connection to be given up after the answer (HTTP/1.1 Connection: close, HTTP/2 GOAWAY).
	Close bool
	// IDs are the raw ids of the requests that are answered, as Message.ID has them. Optional.
	IDs [][]byte
	// Batch says that the requests came in an array, so that the answer is one too.
	Batch bool
	// Err is the cause, for the log only. Optional.
	Err error

	problem string // the phrase of Message that says what is wrong with a text, where there is one
}

// Error describes the error for a log; the agent sees Message instead.
func (e *Error) Error() string {
	if e.Err == nil {
		return "mcp: " + e.Reason
	}
	return "mcp: " + e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// For returns a copy of e that answers the requests of c. A nil call leaves the copy without ids.
func (e *Error) For(c *Call) *Error {
	answer := *e
	if c != nil {
		answer.IDs, answer.Batch = c.IDs(), c.Batch
	}
	return &answer
}

// WriteError answers a request with e. The body is one JSON-RPC error object with the id of the request; for a batch
// it is an array with one such object for each request in it, as JSON-RPC 2.0 §6 has a server answer, and for a call
// without requests (a notification, GET, DELETE) or refused before its ids were known, one object with the id null.
// requestID may be empty. The ids are raw JSON tokens; without any, those in e are taken.
//
// Headers that the caller has set stay, so the caller must not have copied an upstream's.
func WriteError(w http.ResponseWriter, e *Error, requestID string, ids ...[]byte) {
	if len(ids) == 0 {
		ids = e.IDs
	}
	body := e.body(requestID, ids)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.Allow != "" {
		h.Set("Allow", e.Allow)
	}
	if len(e.Challenges) > 0 {
		h["Www-Authenticate"] = e.Challenges
	}
	if e.Close {
		h.Set("Connection", "close")
	}
	w.WriteHeader(e.Status)
	_, _ = w.Write(body) // nobody is left to tell
}

// ErrorEvent returns e as one event of a text/event-stream, for a stream that broke between two events. The id is
// the raw id of the request that the stream answers; nil becomes null.
func ErrorEvent(e *Error, requestID string, id []byte) []byte {
	event := append([]byte(nil), "event: message\ndata: "...)
	event = e.object(event, requestID, id) // has no line break: JSON tokens have none
	return append(event, "\n\n"...)
}

// ErrorMessage returns e as the response to the request with a raw id.
func ErrorMessage(e *Error, requestID string, id []byte) []byte { return e.object(nil, requestID, id) }

// body returns what WriteError sends.
func (e *Error) body(requestID string, ids [][]byte) []byte {
	if e.Code == 0 {
		return e.plain()
	}
	if len(ids) == 0 {
		return e.object(nil, requestID, nil)
	}
	if len(ids) == 1 && !e.Batch {
		return e.object(nil, requestID, ids[0])
	}
	objects := make([][]byte, len(ids))
	for i, id := range ids {
		objects[i] = e.object(nil, requestID, id)
	}
	return append(append([]byte{'['}, bytes.Join(objects, []byte{','})...), ']')
}

// object appends the JSON-RPC error object.
func (e *Error) object(b []byte, requestID string, id []byte) []byte {
	b = append(b, `{"jsonrpc":"2.0","id":`...)
	if id == nil {
		b = append(b, "null"...)
	}
	b = append(b, id...)
	b = append(b, `,"error":{"code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = appendMember(b, `,"message":`, e.Message)
	b = appendMember(b, `,"data":{"reason":`, e.Reason)
	b = appendMember(b, `,"delivered":`, string(e.Delivered))
	if e.Rule != "" {
		b = appendMember(b, `,"rule":`, e.Rule)
	}
	if requestID != "" {
		b = appendMember(b, `,"request_id":`, requestID)
	}
	return append(b, `}}}`...)
}

// plain returns a body that depends on nothing but the condition.
func (e *Error) plain() []byte {
	b := appendMember(nil, `{"error":{"reason":`, e.Reason)
	b = appendMember(b, `,"message":`, e.Message)
	return append(b, `}}`...)
}

// appendMember appends a literal and a JSON string. Bytes that are no UTF-8 become U+FFFD.
func appendMember(b []byte, literal, text string) []byte {
	b = append(b, literal...)
	b, _ = jsontext.AppendQuote(b, text) // the only error is bad UTF-8, which has been replaced
	return b
}

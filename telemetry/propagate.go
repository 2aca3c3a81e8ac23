package telemetry

import (
	"context"
	"encoding/hex"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/trace"
)

// The fields of W3C Trace Context, in canonical form.
const (
	headerParent = "Traceparent"
	headerState  = "Tracestate"
)

// parentLength is that of a traceparent of version 00; later ones may have more behind a dash (W3C Trace Context §3.2.2).
const parentLength = 55

// maxState bounds a tracestate that is passed on, in bytes (W3C Trace Context §3.3.1.5).
const maxState = 512

// Extract reads the trace context of a request. It takes nothing from one with two of them, or one that is not valid.
func Extract(h http.Header) (trace.SpanContext, bool) {
	parents, states := h[headerParent], h[headerState]
	if len(parents) != 1 || len(states) > 1 {
		return trace.SpanContext{}, false
	}
	state := ""
	if len(states) == 1 {
		state = states[0]
	}
	return Parse(parents[0], state)
}

// Parse reads a traceparent and a tracestate, which may be empty. A tracestate that cannot be used is left out. It reads what the
// SDK's own propagator does; each call has one read at each hop, and this takes a tenth of the time.
func Parse(parent, state string) (trace.SpanContext, bool) {
	id := trace.SpanContextConfig{Remote: true}
	var version, flags [1]byte
	switch {
	case len(parent) < parentLength, parent[2] != '-', parent[35] != '-', parent[52] != '-',
		!unhex(version[:], parent[:2]), !unhex(id.TraceID[:], parent[3:35]), !unhex(id.SpanID[:], parent[36:52]), !unhex(flags[:], parent[53:55]):
		return trace.SpanContext{}, false
	case version[0] == 0xff, version[0] == 0 && len(parent) != parentLength, len(parent) > parentLength && parent[parentLength] != '-', !id.TraceID.IsValid(), !id.SpanID.IsValid():
		return trace.SpanContext{}, false
	}
	id.TraceFlags = trace.TraceFlags(flags[0]) & trace.FlagsSampled
	if state != "" && len(state) <= maxState {
		id.TraceState, _ = trace.ParseTraceState(state)
	}
	return trace.NewSpanContext(id), true
}

// unhex reads lower-case hexadecimal digits, two for each byte.
func unhex(to []byte, digits string) bool {
	bad := byte(0)
	for i := range to {
		high, low := nibbles[digits[2*i]], nibbles[digits[2*i+1]]
		bad |= high | low
		to[i] = high<<4 | low
	}
	return bad <= 0xf
}

// nibbles has the value of each digit, and 0xff for what is none.
var nibbles = func() (values [256]byte) {
	for c := range values {
		values[c] = 0xff
	}
	for value, c := range "0123456789abcdef" {
		values[c] = byte(value)
	}
	return values
}()

// Inject puts a trace context in, in place of any that is there.
func Inject(h http.Header, sc trace.SpanContext) {
	if !sc.IsValid() {
		delete(h, headerParent)
		delete(h, headerState)
		return
	}
	h[headerParent] = []string{Traceparent(sc)}
	if state := sc.TraceState().String(); state != "" {
		h[headerState] = []string{state}
	} else {
		delete(h, headerState)
	}
}

// Traceparent writes a trace context as version 00 of the W3C's has it.
func Traceparent(sc trace.SpanContext) string {
	tid, sid := sc.TraceID(), sc.SpanID()
	var text [parentLength]byte
	copy(text[:], "00-")
	hex.Encode(text[3:], tid[:])
	text[35] = '-'
	hex.Encode(text[36:], sid[:])
	copy(text[52:], "-00")
	if sc.IsSampled() {
		text[54] = '1'
	}
	return string(text[:])
}

// callKey is the key of what log lines say of the call that they are about.
type callKey struct{}

// Call is what lines of the log and measurements say of the call that they are about. The zero Call is none.
type Call struct {
	RequestID string
	Span      trace.SpanContext
}

// call is one in a context, which costs one allocation.
type call struct {
	context.Context
	Call
}

// Value implements context.Context.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// Context returns a context for what is logged and measured about the call. The SDK sees the span in it if that is sampled, for
// exemplars.
func (c Call) Context(ctx context.Context) context.Context {
	if c.Span.IsSampled() {
		ctx = trace.ContextWithSpanContext(ctx, c.Span)
	}
	return &call{ctx, c}
}

// withSpan returns a context in which the SDK sees the span of a call, sampled or not.
func withSpan(ctx context.Context) context.Context {
	if c := callOf(ctx); c.Span.IsValid() && !c.Span.IsSampled() {
		return trace.ContextWithSpanContext(ctx, c.Span)
	}
	return ctx
}

// callOf is the call that a context is about.
func callOf(ctx context.Context) Call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.Call
	}
	return Call{}
}

// attrs are those that a line about the call has.
func (c *Call) attrs() []slog.Attr {
	if c.RequestID == "" && !c.Span.IsValid() {
		return nil
	}
	attrs := make([]slog.Attr, 0, 3)
	if c.RequestID != "" {
		attrs = append(attrs, slog.String(KeyRequestID, c.RequestID))
	}
	if c.Span.IsValid() {
		attrs = append(attrs, slog.String(KeyTraceID, c.Span.TraceID().String()), slog.String(KeySpanID, c.Span.SpanID().String()))
	}
	return attrs
}

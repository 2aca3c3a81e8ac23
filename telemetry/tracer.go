package telemetry

import (
	"encoding/binary"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Span is a span that is under way: its place in a trace, and when it began. The zero Span belongs to no trace.
type Span struct {
	// Context is what its children and other processes know it by.
	Context trace.SpanContext
	// Parent is what it is part of; not valid at the root of a trace.
	Parent trace.SpanContext
	// Start is when it began.
	Start time.Time

	passed bool // the context is another process's: nobody here records
}

// Ended is what is said of a span when it has ended.
type Ended struct {
	Name string
	Kind trace.SpanKind
	End  time.Time
	// Attributes say more. They must not be used any more after that.
	Attributes *Attributes
	// Links are contexts that it belongs to otherwise than by its parent.
	Links []trace.Link
	// Failed says that what it is about has failed, and Reason why, in a few words.
	Failed bool
	Reason string
}

// Tracer decides which calls are traced, and records their spans. The nil Tracer records none, and passes contexts of
// others on as they are. It is safe for concurrent use.
type Tracer struct {
	spans   *spans // gets those that are recorded
	bound   uint64 // a trace is sampled if the last 63 bits of its id are below
	parents bool   // the decision of a parent counts

	attributes *sync.Pool // of *Attributes
}

func newTracer(spans *spans, part float64, parents bool) *Tracer {
	return &Tracer{spans: spans, bound: uint64(part * (1 << 63)), parents: parents, attributes: newAttributes()}
}

// Begin begins a span: of the parent's trace, or, where that is not valid, at the root of a new one. Whoever made the parent is
// trusted with the decision whether the trace is sampled.
func (t *Tracer) Begin(parent trace.SpanContext, start time.Time) Span {
	if t == nil {
		return Span{Context: parent, Start: start, passed: true} // nobody would record what we put in between
	}
	id := trace.SpanContextConfig{TraceID: parent.TraceID(), SpanID: newSpanID(), TraceFlags: parent.TraceFlags() & trace.FlagsSampled, TraceState: parent.TraceState()}
	if !parent.IsValid() {
		id.TraceID, id.TraceFlags, id.TraceState = newTraceID(), 0, trace.TraceState{}
		parent = trace.SpanContext{}
	}
	if !parent.IsValid() || !t.parents {
		id.TraceFlags = id.TraceFlags.WithSampled(binary.BigEndian.Uint64(id.TraceID[8:])>>1 < t.bound)
	}
	return Span{Context: trace.NewSpanContext(id), Parent: parent, Start: start}
}

// Child begins a span of the same process below this one.
func (s Span) Child(start time.Time) Span {
	if s.passed || !s.Context.IsValid() {
		return Span{Context: s.Context, Start: start, passed: s.passed}
	}
	return Span{Context: s.Context.WithSpanID(newSpanID()), Parent: s.Context, Start: start}
}

// Records reports whether End would record the span, so that nobody need say what it would not.
func (t *Tracer) Records(s Span, failed bool) bool {
	return t != nil && s.Context.IsValid() && (failed || s.Context.IsSampled())
}

// Attributes returns none, to which some can be added, for a span that Records reports to be recorded.
func (t *Tracer) Attributes() *Attributes { return t.attributes.Get().(*Attributes) }

// End records a span whose call is sampled or has failed.
func (t *Tracer) End(s Span, e Ended) { t.EndBelow(s, e.Failed, e) }

// EndBelow records a span if the one above it, which may have failed, is recorded.
func (t *Tracer) EndBelow(s Span, failed bool, e Ended) {
	defer e.Attributes.release()
	if !t.Records(s, failed) {
		return
	}
	room := t.Attributes()
	defer room.release()
	room.wire = appendSpan(room.wire, s, &e)
	t.spans.add(room.wire)
}

// validText replaces what is not UTF-8: one such text would cost all spans of its batch, because protocol buffers have none.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

package telemetry

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// scope names what records, as the instrumentation scope of spans and metrics.
const scope = "sallyport.dev"

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
	Name       string
	Kind       trace.SpanKind
	End        time.Time
	Attributes []attribute.KeyValue
	// Links are contexts that it belongs to otherwise than by its parent.
	Links []trace.Link
	// Failed says that what it is about has failed, and Reason why, in a few words.
	Failed bool
	Reason string
}

// Tracer decides which calls are traced, and records their spans. The nil Tracer records none, and passes contexts of
// others on as they are. It is safe for concurrent use.
type Tracer struct {
	spans   sdktrace.SpanProcessor // gets those that are recorded
	about   *resource.Resource     // the process
	scope   instrumentation.Scope
	bound   uint64 // a trace is sampled if the last 63 bits of its id are below
	parents bool   // the decision of a parent counts
}

func newTracer(spans sdktrace.SpanProcessor, about *resource.Resource, version string, part float64, parents bool) *Tracer {
	return &Tracer{
		spans: spans, about: about, bound: uint64(part * (1 << 63)), parents: parents,
		scope: instrumentation.Scope{Name: scope, Version: version, Attributes: attribute.NewSet(attribute.String("sallyport.conventions", Conventions))},
	}
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

// End records a span whose call is sampled or has failed.
func (t *Tracer) End(s Span, e Ended) {
	if !t.Records(s, e.Failed) {
		return
	}
	t.record(s, e)
}

// EndBelow records a span if the one above it, which may have failed, is recorded.
func (t *Tracer) EndBelow(s Span, failed bool, e Ended) {
	if t.Records(s, failed) {
		t.record(s, e)
	}
}

func (t *Tracer) record(s Span, e Ended) {
	e.Name, e.Reason = validText(e.Name), validText(e.Reason)
	for i, a := range e.Attributes {
		if a.Value.Type() == attribute.STRING && !utf8.ValidString(a.Value.AsString()) {
			e.Attributes[i] = a.Key.String(validText(a.Value.AsString()))
		}
	}
	t.spans.OnEnd(&recorded{span: s, ended: e, by: t})
}

// validText replaces what is not UTF-8: one such text would cost all spans of its batch, because protocol buffers have none.
func validText(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

package telemetry

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// recorded is a span that has ended, as the SDK's processors and exporters take it.
type recorded struct {
	sdktrace.ReadOnlySpan // nil: it has what nobody calls, a method by which the SDK reserves the right to add others

	span  Span
	ended Ended
	by    *Tracer
}

// Name implements sdktrace.ReadOnlySpan, and so do the others.
func (r *recorded) Name() string { return r.ended.Name }

// SpanContext is sampled: what is recorded is, by us.
func (r *recorded) SpanContext() trace.SpanContext {
	return r.span.Context.WithTraceFlags(r.span.Context.TraceFlags() | trace.FlagsSampled)
}

func (r *recorded) Parent() trace.SpanContext                   { return r.span.Parent }
func (r *recorded) SpanKind() trace.SpanKind                    { return r.ended.Kind }
func (r *recorded) StartTime() time.Time                        { return r.span.Start }
func (r *recorded) EndTime() time.Time                          { return r.ended.End }
func (r *recorded) Attributes() []attribute.KeyValue            { return r.ended.Attributes }
func (r *recorded) Events() []sdktrace.Event                    { return nil }
func (r *recorded) Resource() *resource.Resource                { return r.by.about }
func (r *recorded) DroppedAttributes() int                      { return 0 }
func (r *recorded) DroppedLinks() int                           { return 0 }
func (r *recorded) DroppedEvents() int                          { return 0 }
func (r *recorded) ChildSpanCount() int                         { return 0 }
func (r *recorded) InstrumentationScope() instrumentation.Scope { return r.by.scope }

func (r *recorded) Links() []sdktrace.Link {
	if len(r.ended.Links) == 0 {
		return nil
	}
	links := make([]sdktrace.Link, len(r.ended.Links))
	for i, l := range r.ended.Links {
		links[i] = sdktrace.Link{SpanContext: l.SpanContext, Attributes: l.Attributes}
	}
	return links
}

func (r *recorded) Status() sdktrace.Status {
	if !r.ended.Failed {
		return sdktrace.Status{}
	}
	return sdktrace.Status{Code: codes.Error, Description: r.ended.Reason}
}

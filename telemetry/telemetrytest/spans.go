// Package telemetrytest reads what a process tells of itself, for tests. It does not know what should be told.
package telemetrytest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Spans is a client of OTLP that keeps what others send. It is safe for concurrent use.
type Spans struct {
	mu  sync.Mutex // guards all
	all tracetest.SpanStubs
}

// Start implements otlptrace.Client.
func (*Spans) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (*Spans) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client.
func (s *Spans) UploadTraces(_ context.Context, processes []*tracepb.ResourceSpans) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, process := range processes {
		sent, err := proto.Marshal(process)
		if err != nil {
			return err
		}
		read := new(tracepb.ResourceSpans)
		if err := proto.Unmarshal(sent, read); err != nil {
			return err
		}
		about := resource.NewSchemaless(attributes(read.GetResource().GetAttributes())...)
		for _, scoped := range read.GetScopeSpans() {
			scope := instrumentation.Scope{
				Name: scoped.GetScope().GetName(), Version: scoped.GetScope().GetVersion(), Attributes: attribute.NewSet(attributes(scoped.GetScope().GetAttributes())...),
			}
			for _, span := range scoped.GetSpans() {
				stub, err := stub(span)
				if err != nil {
					return err
				}
				stub.Resource, stub.InstrumentationScope = about, scope
				s.all = append(s.all, stub)
			}
		}
	}
	return nil
}

// All returns what has been sent so far.
func (s *Spans) All() tracetest.SpanStubs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append(tracetest.SpanStubs(nil), s.all...)
}

func stub(s *tracepb.Span) (tracetest.SpanStub, error) {
	own, err := spanContext(s.GetTraceId(), s.GetSpanId(), s.GetTraceState(), s.GetFlags())
	if err != nil {
		return tracetest.SpanStub{}, err
	}
	made := tracetest.SpanStub{
		Name: s.GetName(), SpanContext: own.WithRemote(false), SpanKind: trace.SpanKind(s.GetKind()), Attributes: attributes(s.GetAttributes()),
		StartTime: time.Unix(0, int64(s.GetStartTimeUnixNano())), EndTime: time.Unix(0, int64(s.GetEndTimeUnixNano())),
	}
	if len(s.GetParentSpanId()) > 0 {
		if made.Parent, err = spanContext(s.GetTraceId(), s.GetParentSpanId(), s.GetTraceState(), s.GetFlags()); err != nil {
			return made, err
		}
	}
	for _, l := range s.GetLinks() {
		to, err := spanContext(l.GetTraceId(), l.GetSpanId(), l.GetTraceState(), l.GetFlags())
		if err != nil {
			return made, err
		}
		made.Links = append(made.Links, sdktrace.Link{SpanContext: to, Attributes: attributes(l.GetAttributes())})
	}
	made.Status.Description = s.GetStatus().GetMessage()
	switch s.GetStatus().GetCode() {
	case tracepb.Status_STATUS_CODE_ERROR:
		made.Status.Code = codes.Error
	case tracepb.Status_STATUS_CODE_OK:
		made.Status.Code = codes.Ok
	case tracepb.Status_STATUS_CODE_UNSET:
	}
	return made, nil
}

func spanContext(traceID, spanID []byte, state string, flags uint32) (trace.SpanContext, error) {
	id := trace.SpanContextConfig{TraceFlags: trace.TraceFlags(flags), Remote: flags&uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK) != 0}
	if copy(id.TraceID[:], traceID) != len(id.TraceID) || copy(id.SpanID[:], spanID) != len(id.SpanID) {
		return trace.SpanContext{}, fmt.Errorf("telemetrytest: the ids %x and %x", traceID, spanID)
	}
	var err error
	id.TraceState, err = trace.ParseTraceState(state)
	return trace.NewSpanContext(id), err
}

func attributes(list []*commonpb.KeyValue) (read []attribute.KeyValue) {
	for _, a := range list {
		key := attribute.Key(a.GetKey())
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_IntValue:
			read = append(read, key.Int64(v.IntValue))
		case *commonpb.AnyValue_DoubleValue:
			read = append(read, key.Float64(v.DoubleValue))
		case *commonpb.AnyValue_BoolValue:
			read = append(read, key.Bool(v.BoolValue))
		case *commonpb.AnyValue_ArrayValue:
			var texts []string
			for _, element := range v.ArrayValue.GetValues() {
				texts = append(texts, element.GetStringValue())
			}
			read = append(read, key.StringSlice(texts))
		default:
			read = append(read, key.String(a.GetValue().GetStringValue()))
		}
	}
	return read
}

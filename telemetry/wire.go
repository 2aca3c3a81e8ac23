package telemetry

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of fields in opentelemetry/proto/{trace,common,resource}/v1 of OTLP 1.x, which never change.
const (
	resourceSpansResource = 1
	resourceAttributes    = 1

	scopeSpansScope = 1
	scopeSpansSpans = 2
	scopeName       = 1
	scopeVersion    = 2
	scopeAttributes = 3

	spanTraceID    = 1
	spanID         = 2
	spanTraceState = 3
	spanParentID   = 4
	spanName       = 5
	spanKind       = 6
	spanStart      = 7
	spanEnd        = 8
	spanAttributes = 9
	spanLinks      = 13
	spanStatus     = 15
	spanFlags      = 16

	linkTraceID    = 1
	linkSpanID     = 2
	linkTraceState = 3
	linkFlags      = 6

	statusMessage = 2
	statusCode    = 3

	pairKey     = 1
	pairValue   = 2
	valueText   = 1
	valueNumber = 3
	valueFloat  = 4
	valueArray  = 5
	arrayValues = 1
)

// appendSpan appends the fields of a span.
func appendSpan(to []byte, s Span, e *Ended) []byte {
	tid, sid, pid := s.Context.TraceID(), s.Context.SpanID(), s.Parent.SpanID()
	to = appendMessage(to, spanTraceID, tid[:])
	to = appendMessage(to, spanID, sid[:])
	to = appendText(to, spanTraceState, s.Context.TraceState().String())
	if s.Parent.IsValid() {
		to = appendMessage(to, spanParentID, pid[:])
	}
	to = appendText(to, spanName, validText(e.Name)) // of parts that are short
	to = appendNumber(to, spanKind, wireKind(e.Kind))
	to = appendTime(to, spanStart, s.Start)
	to = appendTime(to, spanEnd, e.End)
	if e.Attributes != nil {
		to = append(to, e.Attributes.wire...)
	}
	for i := range e.Links {
		to = appendMessage(to, spanLinks, linkFields(e.Links[i].SpanContext))
	}
	if e.Failed {
		fields := appendText(nil, statusMessage, validText(Short(e.Reason)))
		to = appendMessage(to, spanStatus, appendNumber(fields, statusCode, uint64(tracepb.Status_STATUS_CODE_ERROR)))
	}
	return appendFlags(to, spanFlags, s.Context.TraceFlags()|trace.FlagsSampled, s.Parent) // what is recorded is sampled, by us
}

// linkFields are the fields of a link.
func linkFields(sc trace.SpanContext) []byte {
	tid, sid := sc.TraceID(), sc.SpanID()
	fields := appendMessage(nil, linkTraceID, tid[:])
	fields = appendMessage(fields, linkSpanID, sid[:])
	fields = appendText(fields, linkTraceState, sc.TraceState().String())
	return appendFlags(fields, linkFlags, sc.TraceFlags(), sc)
}

// appendFlags appends the flags of a span, and whether what it is part of is another process's.
func appendFlags(to []byte, field protowire.Number, flags trace.TraceFlags, parent trace.SpanContext) []byte {
	all := uint32(flags) | uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
	if parent.IsRemote() {
		all |= uint32(tracepb.SpanFlags_SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
	}
	to = protowire.AppendTag(to, field, protowire.Fixed32Type)
	return protowire.AppendFixed32(to, all)
}

func wireKind(kind trace.SpanKind) uint64 {
	switch kind {
	case trace.SpanKindServer:
		return uint64(tracepb.Span_SPAN_KIND_SERVER)
	case trace.SpanKindClient:
		return uint64(tracepb.Span_SPAN_KIND_CLIENT)
	default:
		return uint64(tracepb.Span_SPAN_KIND_INTERNAL)
	}
}

// appendAttributes appends a list of attributes that are texts, each a message of its own.
func appendAttributes(to []byte, field protowire.Number, list []attribute.KeyValue) []byte {
	for _, a := range list {
		pair := appendText(nil, pairKey, string(a.Key))
		to = appendMessage(to, field, appendMessage(pair, pairValue, appendText(nil, valueText, validText(a.Value.String()))))
	}
	return to
}

func appendMessage(to []byte, field protowire.Number, message []byte) []byte {
	to = protowire.AppendTag(to, field, protowire.BytesType)
	return protowire.AppendBytes(to, message)
}

// appendText appends a text, unless it is empty.
func appendText(to []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return to
	}
	to = protowire.AppendTag(to, field, protowire.BytesType)
	return protowire.AppendString(to, text)
}

func appendNumber(to []byte, field protowire.Number, n uint64) []byte {
	to = protowire.AppendTag(to, field, protowire.VarintType)
	return protowire.AppendVarint(to, n)
}

func appendTime(to []byte, field protowire.Number, at time.Time) []byte {
	to = protowire.AppendTag(to, field, protowire.Fixed64Type)
	return protowire.AppendFixed64(to, uint64(max(0, at.UnixNano())))
}

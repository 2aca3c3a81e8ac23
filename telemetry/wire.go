package telemetry

import (
	"context"
	"math"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// wireExporter hands spans to a client of OTLP. The SDK's own exporter makes an object for each attribute, of which a call has
// seventy, to have them written one by one; this writes them at once, a fifth of the time that a span takes in all.
type wireExporter struct{ client otlptrace.Client }

// ExportSpans implements sdktrace.SpanExporter. All spans are of one process and one scope.
func (w wireExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	message := new(tracepb.ResourceSpans)
	message.ProtoReflect().SetUnknown(inWire(spans)) // fields as they are on the wire, which the client need not write any more
	return w.client.UploadTraces(ctx, []*tracepb.ResourceSpans{message})
}

// Shutdown implements sdktrace.SpanExporter.
func (w wireExporter) Shutdown(ctx context.Context) error { return w.client.Stop(ctx) }

// The numbers of fields in opentelemetry/proto/{trace,common,resource}/v1 of OTLP 1.x, which never change.
const (
	resourceSpansResource = 1
	resourceSpansScopes   = 2
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
	valueBool   = 2
	valueNumber = 3
	valueFloat  = 4
	valueArray  = 5
	arrayValues = 1
)

// inWire writes spans as the fields of one ResourceSpans.
func inWire(spans []sdktrace.ReadOnlySpan) []byte {
	scope := spans[0].InstrumentationScope()
	var part []byte // a message that is part of the next
	var about []byte
	about = appendText(about, scopeName, scope.Name)
	about = appendText(about, scopeVersion, scope.Version)
	about = appendAttributes(about, scopeAttributes, scope.Attributes.ToSlice())
	scoped := make([]byte, 0, len(spans)<<10)
	scoped = appendMessage(scoped, scopeSpansScope, about)
	for _, s := range spans {
		part = appendSpan(part[:0], s)
		scoped = appendMessage(scoped, scopeSpansSpans, part)
	}
	all := make([]byte, 0, len(scoped)+1<<10)
	all = appendMessage(all, resourceSpansResource, appendAttributes(part[:0], resourceAttributes, spans[0].Resource().Attributes()))
	return appendMessage(all, resourceSpansScopes, scoped)
}

// appendSpan appends the fields of a span.
func appendSpan(to []byte, s sdktrace.ReadOnlySpan) []byte {
	sc, parent, status := s.SpanContext(), s.Parent(), s.Status()
	tid, sid, pid := sc.TraceID(), sc.SpanID(), parent.SpanID()
	to = appendMessage(to, spanTraceID, tid[:])
	to = appendMessage(to, spanID, sid[:])
	to = appendText(to, spanTraceState, sc.TraceState().String())
	if parent.IsValid() {
		to = appendMessage(to, spanParentID, pid[:])
	}
	to = appendText(to, spanName, s.Name())
	to = appendNumber(to, spanKind, wireKind(s.SpanKind()))
	to = appendTime(to, spanStart, s.StartTime())
	to = appendTime(to, spanEnd, s.EndTime())
	to = appendAttributes(to, spanAttributes, s.Attributes())
	for _, l := range s.Links() {
		to = appendMessage(to, spanLinks, linkFields(l.SpanContext))
	}
	if status.Description != "" || status.Code != 0 {
		fields := appendText(nil, statusMessage, status.Description)
		to = appendMessage(to, spanStatus, appendNumber(fields, statusCode, uint64(tracepb.Status_STATUS_CODE_ERROR))) // there is no other here
	}
	return appendFlags(to, spanFlags, sc.TraceFlags(), parent)
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

// appendAttributes appends a list of them, each a message of its own.
func appendAttributes(to []byte, field protowire.Number, list []attribute.KeyValue) []byte {
	for i := range list {
		key, v := string(list[i].Key), &list[i].Value
		value := valueSize(v)
		to = protowire.AppendTag(to, field, protowire.BytesType)
		to = protowire.AppendVarint(to, uint64(protowire.SizeTag(pairKey)+protowire.SizeBytes(len(key))+protowire.SizeTag(pairValue)+protowire.SizeBytes(value)))
		to = protowire.AppendTag(to, pairKey, protowire.BytesType)
		to = protowire.AppendString(to, key)
		to = protowire.AppendTag(to, pairValue, protowire.BytesType)
		to = protowire.AppendVarint(to, uint64(value))
		to = appendValue(to, v)
	}
	return to
}

// valueSize is how many bytes appendValue appends.
func valueSize(v *attribute.Value) int {
	tag := protowire.SizeTag(valueText) // all have numbers below 16
	switch v.Type() {
	case attribute.STRING:
		return tag + protowire.SizeBytes(len(v.AsString()))
	case attribute.INT64:
		return tag + protowire.SizeVarint(uint64(v.AsInt64()))
	case attribute.FLOAT64:
		return tag + protowire.SizeFixed64()
	case attribute.BOOL:
		return tag + 1
	case attribute.STRINGSLICE:
		return tag + protowire.SizeBytes(len(arrayFields(v.AsStringSlice())))
	default:
		return tag + protowire.SizeBytes(len(v.String()))
	}
}

// appendValue appends the one field of a value.
func appendValue(to []byte, v *attribute.Value) []byte {
	switch v.Type() {
	case attribute.STRING:
		to = protowire.AppendTag(to, valueText, protowire.BytesType)
		return protowire.AppendString(to, v.AsString())
	case attribute.INT64:
		to = protowire.AppendTag(to, valueNumber, protowire.VarintType)
		return protowire.AppendVarint(to, uint64(v.AsInt64()))
	case attribute.FLOAT64:
		to = protowire.AppendTag(to, valueFloat, protowire.Fixed64Type)
		return protowire.AppendFixed64(to, math.Float64bits(v.AsFloat64()))
	case attribute.BOOL:
		to = protowire.AppendTag(to, valueBool, protowire.VarintType)
		return protowire.AppendVarint(to, protowire.EncodeBool(v.AsBool()))
	case attribute.STRINGSLICE:
		return appendMessage(to, valueArray, arrayFields(v.AsStringSlice()))
	default: // nothing here has others
		to = protowire.AppendTag(to, valueText, protowire.BytesType)
		return protowire.AppendString(to, v.String())
	}
}

// arrayFields are the fields of a list of texts.
func arrayFields(texts []string) (fields []byte) {
	for _, text := range texts {
		value := attribute.StringValue(text)
		fields = appendMessage(fields, arrayValues, appendValue(nil, &value))
	}
	return fields
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

package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// BenchmarkSpan is what a recorded span costs in all, with the attributes of a usual call, from its beginning until a collector has it.
func BenchmarkSpan(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer collector.Close()
	tel, err := Setup(b.Context(), Config{OTLP: OTLP{Endpoint: collector.URL, Signals: []string{SignalTraces}}}, Options{Role: "gateway"})
	if err != nil {
		b.Fatal(err)
	}
	defer tel.Shutdown()
	q := tel.queues[0]
	b.ReportAllocs()
	for b.Loop() {
		for q.waiting.Load() > queueSize/2 {
			time.Sleep(time.Millisecond)
		}
		start := time.Now()
		s := tel.Tracer.Begin(trace.SpanContext{}, start)
		attrs := make([]attribute.KeyValue, 0, 32)
		for _, key := range []attribute.Key{AttrMCPMethod, AttrTool, AttrOperation, AttrJSONRPCID, AttrMCPVersion, AttrTunnel, AttrServer, AttrPrincipal, AttrRequestID, AttrInstance, AttrSession, AttrTransport, AttrOutcome, AttrDelivered} {
			attrs = append(attrs, key.String("a usual value"))
		}
		attrs = append(attrs, AttrHTTPStatus.Int(200), AttrClientPort.Int(1), AttrAuthenticate.Float64(0.1), AttrQueue.Float64(0.1), AttrOpen.Float64(0.1), AttrFirstByte.Float64(0.1), AttrStream.Float64(0.1))
		tel.Tracer.End(s, Ended{Name: "tools/call search", Kind: trace.SpanKindServer, End: start.Add(time.Millisecond), Attributes: attrs})
	}
}

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
		attrs := tel.Tracer.Attributes()
		for _, key := range []attribute.Key{AttrMCPMethod, AttrTool, AttrOperation, AttrJSONRPCID, AttrMCPVersion, AttrTunnel, AttrServer, AttrPrincipal, AttrRequestID, AttrInstance, AttrSession, AttrTransport, AttrOutcome, AttrDelivered} {
			attrs.Text(key, "a usual value")
		}
		attrs.Int(AttrHTTPStatus, 200)
		attrs.Int(AttrClientPort, 1)
		for _, key := range []attribute.Key{AttrAuthenticate, AttrQueue, AttrOpen, AttrFirstByte, AttrStream} {
			attrs.Seconds(key, 100*time.Millisecond)
		}
		tel.Tracer.End(s, Ended{Name: "tools/call search", Kind: trace.SpanKindServer, End: start.Add(time.Millisecond), Attributes: attrs})
	}
}

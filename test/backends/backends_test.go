package backends_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"sallyport.dev/test/backends"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Jaeger shows what was sent to it as the tree that it is.
func TestJaeger(t *testing.T) {
	t.Parallel()
	j := backends.StartJaeger(t)
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(j.HTTP+"/v1/traces"))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "here"))))
	tracer := provider.Tracer("test")
	other, span := tracer.Start(t.Context(), "elsewhere")
	span.End()
	ctx, root := tracer.Start(t.Context(), "root", trace.WithSpanKind(trace.SpanKindServer), trace.WithLinks(trace.LinkFromContext(other)))
	_, phase := tracer.Start(ctx, "a phase")
	phase.End()
	_, child := tracer.Start(ctx, "child", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.Int("n", 7), attribute.String("word", "x")))
	child.End()
	root.End()
	if err := provider.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := j.Await(t, root.SpanContext().TraceID().String(), 10*time.Second, func(tr *backends.Trace) bool { return len(tr.Spans) == 3 })
	const want = "here SERVER: root (links: 1)\n  here CLIENT: child\n    . n=7\n    . word=x\n"
	if text := got.Text(backends.Text{Tags: []string{"n", "word"}}); text != want {
		t.Errorf("%s", text)
	}
	if text := got.Text(backends.Text{Phases: true, Times: true}); !strings.Contains(text, "a phase  [+") {
		t.Errorf("%s", text)
	}
	if link := got.Roots[0].Links[0]; link.Trace != span.SpanContext().TraceID().String() || link.Span != span.SpanContext().SpanID().String() {
		t.Errorf("%+v", link)
	}
	if traces := j.AwaitTraces(t, "here", 10*time.Second, func(all []*backends.Trace) bool { return len(all) == 2 }); len(traces) != 2 {
		t.Errorf("%v", traces)
	}
	for decoder := xml.NewDecoder(strings.NewReader(got.Picture("one & two"))); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the picture is no XML: %v", err)
		}
	}
}

// Prometheus scrapes what it is told to, with exemplars.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
		_, _ = fmt.Fprintln(w, "# TYPE calls counter\ncalls_total{kind=\"a\"} 7 # {trace_id=\"abc\"} 1\n# EOF")
	}))
	t.Cleanup(target.Close)
	p := backends.StartPrometheus(t, map[string]string{"one": target.Listener.Addr().String()})
	got := p.Await(t, 10*time.Second, "calls_total", func(s []backends.Sample) bool { return len(s) == 1 })
	if got[0].Value != 7 || got[0].Labels["kind"] != "a" || got[0].Labels["job"] != "one" {
		t.Errorf("%+v", got)
	}
	if e, err := p.Exemplars(t.Context(), "calls_total"); err != nil || len(e) != 1 || e[0].Labels["trace_id"] != "abc" {
		t.Errorf("%+v, %v", e, err)
	}
}

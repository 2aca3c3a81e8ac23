package connector

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/telemetry"
	"sallyport.dev/telemetry/telemetrytest"
)

// told is what a connector of a test tells of itself.
type told struct {
	*telemetry.Telemetry
	spans  *telemetrytest.Spans
	reader *sdkmetric.ManualReader
	last   map[string]metricdata.Aggregation // the metrics, once spans have been read
}

func newTold(t testing.TB, sample float64) *told {
	t.Helper()
	o := &told{spans: new(telemetrytest.Spans)}
	var err error
	o.Telemetry, err = telemetry.Setup(t.Context(), telemetry.Config{Traces: telemetry.Traces{Sample: &sample}}, telemetry.Options{Scraped: true, Role: "connector", SpanClient: o.spans, MetricReader: o.read})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Shutdown)
	return o
}

// read makes the reader.
func (o *told) read(from sdkmetric.Producer) sdkmetric.Reader {
	o.reader = sdkmetric.NewManualReader(sdkmetric.WithProducer(from))
	return o.reader
}

// into has a configuration tell, and change what else is wanted.
func (o *told) into(changes ...func(*Config)) func(*Config) {
	return func(cfg *Config) {
		cfg.Tracer, cfg.Meter, cfg.Metrics = o.Tracer, o.Meter, o.Telemetry.Metrics()
		for _, change := range changes {
			if change != nil {
				change(cfg)
			}
		}
	}
}

// over ends a connector, and with it all that it has to tell.
func (r *running) over(t testing.TB) {
	t.Helper()
	r.stop()
	if err := r.ended(t); err != nil {
		t.Error(err)
	}
}

// tree is what was recorded, once the connector has ended.
type tree struct {
	t   testing.TB
	all tracetest.SpanStubs
}

func (o *told) recorded(t testing.TB, r *running) tree {
	t.Helper()
	r.over(t)
	o.last = o.measured(t)
	o.Shutdown()
	all := o.spans.All()
	if text, err := json.Marshal(all); err != nil || strings.Contains(string(text), testKey) || strings.Contains(string(text), testTunnelToken) || strings.Contains(string(text), "private") {
		t.Errorf("a secret, an argument or an answer is in a span: %v\n%s", err, text)
	}
	return tree{t, all}
}

// of returns the only span of a kind.
func (tr tree) of(kind trace.SpanKind) tracetest.SpanStub {
	tr.t.Helper()
	all := slices.DeleteFunc(slices.Clone(tr.all), func(s tracetest.SpanStub) bool { return s.SpanKind != kind })
	if len(all) != 1 {
		tr.t.Fatalf("%d spans of the kind %s: %v", len(all), kind, tr.names())
	}
	return all[0]
}

// named returns the only span with a name.
func (tr tree) named(name string) tracetest.SpanStub {
	tr.t.Helper()
	all := slices.DeleteFunc(slices.Clone(tr.all), func(s tracetest.SpanStub) bool { return s.Name != name })
	if len(all) != 1 {
		tr.t.Fatalf("%d spans named %s: %v", len(all), name, tr.names())
	}
	return all[0]
}

func (tr tree) names() (names []string) {
	for _, s := range tr.all {
		names = append(names, s.SpanKind.String()+" "+s.Name)
	}
	return names
}

// below checks that one span is the child of another, in its time.
func (tr tree) below(child, parent tracetest.SpanStub) {
	tr.t.Helper()
	if child.Parent.SpanID() != parent.SpanContext.SpanID() || child.SpanContext.TraceID() != parent.SpanContext.TraceID() {
		tr.t.Errorf("%s is not below %s", child.Name, parent.Name)
	}
	if child.StartTime.Before(parent.StartTime) || child.EndTime.After(parent.EndTime) || child.EndTime.Before(child.StartTime) {
		tr.t.Errorf("%s was from %s to %s, and %s, above it, from %s to %s", child.Name, child.StartTime, child.EndTime, parent.Name, parent.StartTime, parent.EndTime)
	}
}

// has checks attributes; "" is for those that must not be there, and * for those that must, whatever they are.
func (tr tree) has(s tracetest.SpanStub, want map[attribute.Key]string) {
	tr.t.Helper()
	for key, text := range want {
		if got := attr(s, key); got != text && (text != "*" || got == "") {
			tr.t.Errorf("%s %s: %s is %q, want %q", s.SpanKind, s.Name, key, got, text)
		}
	}
}

func attr(s tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

// measured reads the metrics of a connector that has ended.
func (o *told) measured(t testing.TB) map[string]metricdata.Aggregation {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := o.reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]metricdata.Aggregation)
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			found[m.Name] = m.Data
		}
	}
	return found
}

// series are the points of a metric: what has been counted, by the attributes in text.
func series(a metricdata.Aggregation) map[string]int64 {
	points := make(map[string]int64)
	text := func(set attribute.Set) string { return set.Encoded(attribute.DefaultEncoder()) }
	switch data := a.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			points[text(p.Attributes)] = p.Value
		}
	case metricdata.Gauge[int64]:
		for _, p := range data.DataPoints {
			points[text(p.Attributes)] = p.Value
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			points[text(p.Attributes)] = int64(p.Value)
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			points[text(p.Attributes)] = int64(p.Count)
		}
	}
	return points
}

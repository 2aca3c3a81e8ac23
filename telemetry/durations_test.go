package telemetry

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"
)

func sampled(id byte) trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{id}, TraceFlags: trace.FlagsSampled})
}

// histogram reads the only one with a name, by the attribute server of its series.
func histogram(t *testing.T, all []metricdata.ScopeMetrics, name string) map[string]metricdata.HistogramDataPoint[float64] {
	t.Helper()
	found := make(map[string]metricdata.HistogramDataPoint[float64])
	for _, scoped := range all {
		for _, m := range scoped.Metrics {
			if h, ok := m.Data.(metricdata.Histogram[float64]); ok && m.Name == name {
				for _, p := range h.DataPoints {
					server, _ := p.Attributes.Value("server")
					if _, twice := found[server.AsString()]; twice {
						t.Errorf("%q is there twice", server.AsString())
					}
					found[server.AsString()] = p
				}
			}
		}
	}
	return found
}

// TestDurationsAreWhatTheSDKMeasures: sums and differences have the same counts as the SDK's own histogram.
func TestDurationsAreWhatTheSDKMeasures(t *testing.T) {
	for _, temporality := range []metricdata.Temporality{metricdata.CumulativeTemporality, metricdata.DeltaTemporality} {
		m := &Meter{exemplars: environment(func(string) string { return "" }).exemplars()}
		from := sdkmetric.Producer(m)
		if temporality == metricdata.DeltaTemporality {
			from = &differences{of: m}
		}
		reader := sdkmetric.NewManualReader(sdkmetric.WithProducer(from), sdkmetric.WithTemporalitySelector(func(sdkmetric.InstrumentKind) metricdata.Temporality { return temporality }))
		m.MeterProvider = sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
		theirs, err := m.Meter("test").Float64Histogram("theirs", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(Buckets...))
		if err != nil {
			t.Fatal(err)
		}
		ours := m.Durations("test", "", "ours", "")
		for round := range 3 {
			for i := range 500 {
				server := attribute.NewSet(attribute.String("server", fmt.Sprint(i%(round+1))))
				took := time.Duration(rand.ExpFloat64() * float64(time.Second))
				if i < len(Buckets) {
					took = time.Duration(Buckets[i] * float64(time.Second)) // a bound belongs to what is below it
				}
				theirs.Record(t.Context(), took.Seconds(), metric.WithAttributeSet(server))
				ours.Of(server).Record(took, time.Now(), trace.SpanContext{})
			}
			var all metricdata.ResourceMetrics
			if err := reader.Collect(t.Context(), &all); err != nil {
				t.Fatal(err)
			}
			got, want := histogram(t, all.ScopeMetrics, "ours"), histogram(t, all.ScopeMetrics, "theirs")
			if len(got) != len(want) || len(got) != round+1 {
				t.Fatalf("round %d: %d series, want %d", round, len(got), len(want))
			}
			for server := range maps.Keys(want) {
				a, b := got[server], want[server]
				if a.Count != b.Count || !slices.Equal(a.BucketCounts, b.BucketCounts) || !slices.Equal(a.Bounds, b.Bounds) || a.Sum < b.Sum-1e-6 || a.Sum > b.Sum+1e-6 || a.StartTime.After(a.Time) {
					t.Errorf("round %d, %s: %+v, want %+v", round, server, a, b)
				}
			}
		}
		var nothing metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &nothing); err != nil || temporality == metricdata.DeltaTemporality && len(histogram(t, nothing.ScopeMetrics, "ours")) != 0 {
			t.Errorf("nothing came since: %v, %v", nothing, err)
		}
	}
}

// TestExemplars lead to sampled spans, unless the environment has others, and are told once to those who want differences.
func TestExemplars(t *testing.T) {
	for filter, want := range map[string]int{"": 2, "trace_based": 2, "always_off": 0, "always_on": 3} {
		m := &Meter{exemplars: environment(func(string) string { return filter }).exemplars()}
		s := m.Durations("test", "", "ours", "").Of(attribute.NewSet())
		at := time.Now()
		s.Record(15*time.Millisecond, at, sampled(1))
		s.Record(16*time.Millisecond, at, sampled(2))
		s.Record(time.Hour, at, sampled(3))
		s.Record(time.Minute, at, sampled(4).WithTraceFlags(0))
		since := &differences{of: m}
		for round := range 2 {
			all, err := since.Produce(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			exemplars := histogram(t, all, "ours")[""].Exemplars
			if round == 1 {
				want = 0
			}
			if len(exemplars) != want {
				t.Errorf("%q, round %d: %d exemplars, want %d", filter, round, len(exemplars), want)
			}
			if want == 2 && (exemplars[0].SpanID[0] != 2 || exemplars[0].Value != 0.016 || exemplars[1].SpanID[0] != 3 || !exemplars[1].Time.Equal(at)) {
				t.Errorf("%+v", exemplars)
			}
		}
	}
}

// TestSeriesAreBounded: what there is no room for comes together.
func TestSeriesAreBounded(t *testing.T) {
	m := &Meter{exemplars: trace.SpanContext.IsSampled}
	d := m.Durations("test", "", "ours", "")
	for range 2 {
		for i := range maxSeries + 10 {
			d.Of(attribute.NewSet(attribute.String("server", fmt.Sprint(i)))).Record(time.Second, time.Now(), trace.SpanContext{})
		}
	}
	all, _ := m.Produce(context.Background())
	series := histogram(t, all, "ours")
	if over := series[""]; len(series) != maxSeries || over.Count != 22 || over.Attributes.Len() != 1 {
		t.Errorf("%d series, %+v", len(series), over)
	}
}

// BenchmarkDurations is one measurement, with its attributes known before.
func BenchmarkDurations(b *testing.B) {
	m := &Meter{exemplars: trace.SpanContext.IsSampled}
	s := m.Durations("test", "", "ours", "").Of(attribute.NewSet(attribute.String("server", "wiki")))
	at, span := time.Now(), sampled(1)
	b.ReportAllocs()
	for b.Loop() {
		s.Record(15*time.Millisecond, at, span)
	}
}

// TestExemplarsWithoutATrace have no ids: those of zeros are none.
func TestExemplarsWithoutATrace(t *testing.T) {
	m := &Meter{exemplars: environment(func(string) string { return "always_on" }).exemplars()}
	m.Durations("s", "v", "n", "d").Of(attribute.NewSet()).Record(time.Second, time.Now(), trace.SpanContext{})
	all, err := m.Produce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	shown := histogram(t, all, "n")[""].Exemplars
	if len(shown) != 1 || shown[0].Value != 1 || len(shown[0].TraceID) != 0 || len(shown[0].SpanID) != 0 {
		t.Errorf("%+v", shown)
	}
}

// TestDifferencesHaveEachExemplarOnce: also one of a call that had ended before others were shown, and was measured after that.
func TestDifferencesHaveEachExemplarOnce(t *testing.T) {
	m := &Meter{exemplars: environment(func(string) string { return "" }).exemplars()}
	series, from := m.Durations("s", "v", "n", "d").Of(attribute.NewSet()), &differences{of: m}
	shown := func() (ids []byte) {
		all, err := from.Produce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range histogram(t, all, "n")[""].Exemplars {
			ids = append(ids, e.SpanID[0])
		}
		return ids
	}
	early := time.Now()
	series.Record(time.Second, time.Now(), sampled(1))
	series.Record(time.Minute, time.Now(), sampled(2))
	if got := shown(); !slices.Equal(got, []byte{1, 2}) {
		t.Errorf("first %v", got)
	}
	series.Record(time.Minute, early, sampled(3))
	if got := shown(); !slices.Equal(got, []byte{3}) {
		t.Errorf("then %v", got)
	}
	if got := shown(); got != nil {
		t.Errorf("in the end %v", got)
	}
}

// TestDifferencesOfTheSameName in two scopes are not taken from each other.
func TestDifferencesOfTheSameName(t *testing.T) {
	m := &Meter{exemplars: func(trace.SpanContext) bool { return false }}
	one, other := m.Durations("one", "v", "n", "d").Of(attribute.NewSet()), m.Durations("other", "v", "n", "d").Of(attribute.NewSet())
	from := &differences{of: m}
	for round := range uint64(3) {
		want := map[string]uint64{"one": 3 - round, "other": 1 + round}
		for range want["one"] {
			one.Record(time.Second, time.Now(), trace.SpanContext{})
		}
		for range want["other"] {
			other.Record(time.Second, time.Now(), trace.SpanContext{})
		}
		all, err := from.Produce(t.Context())
		if err != nil || len(all) != 2 {
			t.Fatalf("%d scopes, %v", len(all), err)
		}
		for _, scoped := range all {
			if p := scoped.Metrics[0].Data.(metricdata.Histogram[float64]).DataPoints; len(p) != 1 || p[0].Count != want[scoped.Scope.Name] {
				t.Errorf("round %d, %s: %+v", round, scoped.Scope.Name, p)
			}
		}
	}
}

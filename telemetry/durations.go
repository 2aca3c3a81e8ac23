package telemetry

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"
)

// Meter makes instruments: those of the API, and [Durations].
type Meter struct {
	metric.MeterProvider

	exemplars func(trace.SpanContext) bool // whether a measurement of a span may be one

	mu        sync.Mutex // guards durations
	durations []*Durations
}

// Durations makes a histogram of the scope that instruments of one package have in common.
func (m *Meter) Durations(scope, version, name, description string) *Durations {
	d := &Durations{
		scope: instrumentation.Scope{Name: scope, Version: version}, name: name, description: description, exemplars: m.exemplars,
		series: make(map[attribute.Distinct]*Series),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.durations = append(m.durations, d)
	return d
}

// Produce implements sdkmetric.Producer.
func (m *Meter) Produce(context.Context) (all []metricdata.ScopeMetrics, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.durations {
		points := d.points()
		if len(points) == 0 {
			continue
		}
		if len(all) == 0 || all[len(all)-1].Scope != d.scope {
			all = append(all, metricdata.ScopeMetrics{Scope: d.scope})
		}
		of := &all[len(all)-1]
		of.Metrics = append(of.Metrics, metricdata.Metrics{
			Name: d.name, Description: d.description, Unit: "s",
			Data: metricdata.Histogram[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality},
		})
	}
	return all, nil
}

// Durations is a histogram of how long operations took, with [Buckets]. Each call has three, and the SDK's resolve the attributes
// of each measurement anew, for as many readers as there are; of these one asks for a series once. It is safe for concurrent use.
type Durations struct {
	scope             instrumentation.Scope
	name, description string
	exemplars         func(trace.SpanContext) bool

	mu     sync.RWMutex // guards series
	series map[attribute.Distinct]*Series
}

// overflow is what series are that there is no room for (OpenTelemetry metrics SDK, "Overflow attribute").
var overflow = attribute.NewSet(attribute.Bool("otel.metric.overflow", true))

// Of gives the series of a set of attributes, or one for all that there is no room for.
func (d *Durations) Of(attrs attribute.Set) *Series {
	d.mu.RLock()
	s := d.series[attrs.Equivalent()]
	d.mu.RUnlock()
	if s != nil {
		return s
	}
	return d.add(attrs)
}

func (d *Durations) add(attrs attribute.Set) *Series {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.series[attrs.Equivalent()] == nil && len(d.series) >= maxSeries-1 {
		attrs = overflow
	}
	s := d.series[attrs.Equivalent()]
	if s == nil {
		s = &Series{attrs: attrs, began: time.Now(), exemplars: d.exemplars, counts: make([]uint64, len(Buckets)+1), seen: make([]seen, len(Buckets)+1)}
		d.series[attrs.Equivalent()] = s
	}
	return s
}

func (d *Durations) points() (all []metricdata.HistogramDataPoint[float64]) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	now := time.Now()
	for _, s := range d.series {
		if p, ok := s.point(now); ok {
			all = append(all, p)
		}
	}
	return all
}

// Series is a histogram of operations with the same attributes. It is safe for concurrent use.
type Series struct {
	attrs     attribute.Set
	began     time.Time
	exemplars func(trace.SpanContext) bool

	mu     sync.Mutex // guards what follows
	counts []uint64   // by bucket
	seen   []seen     // by bucket, what was measured last
	sum    float64    // in seconds
}

// seen is a measurement that may be an exemplar.
type seen struct {
	seconds float64
	at      time.Time
	span    trace.SpanContext
}

// Record measures an operation that has ended at a time, in a span that may be an example for those that took as long.
func (s *Series) Record(took time.Duration, at time.Time, span trace.SpanContext) {
	seconds := took.Seconds()
	bucket := 0
	for bucket < len(Buckets) && seconds > Buckets[bucket] {
		bucket++
	}
	example := s.exemplars(span)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[bucket]++; example {
		s.seen[bucket] = seen{seconds, at, span}
	}
	s.sum += seconds
}

// point shows the series as it is now, unless nothing has been measured.
func (s *Series) point(now time.Time) (p metricdata.HistogramDataPoint[float64], ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p = metricdata.HistogramDataPoint[float64]{
		Attributes: s.attrs, StartTime: s.began, Time: now, Bounds: Buckets, BucketCounts: append([]uint64(nil), s.counts...),
		Sum: s.sum,
	}
	for bucket, count := range s.counts {
		p.Count += count
		if last := &s.seen[bucket]; !last.at.IsZero() {
			e := metricdata.Exemplar[float64]{Time: last.at, Value: last.seconds}
			if tid, sid := last.span.TraceID(), last.span.SpanID(); last.span.IsValid() {
				e.TraceID, e.SpanID = tid[:], sid[:]
			}
			p.Exemplars = append(p.Exemplars, e)
		}
	}
	return p, p.Count > 0
}

// differences produces what has come since it was asked last, for a collector that wants that.
type differences struct {
	of   *Meter
	last map[shownSeries]metricdata.HistogramDataPoint[float64]
}

// shownSeries is what a series is known by.
type shownSeries struct {
	scope instrumentation.Scope
	name  string
	attrs attribute.Distinct
}

// Produce implements sdkmetric.Producer. It is called by one reader alone, one call after the other.
func (d *differences) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	all, err := d.of.Produce(ctx)
	last := make(map[shownSeries]metricdata.HistogramDataPoint[float64])
	for _, scoped := range all {
		for i, m := range scoped.Metrics {
			sums := m.Data.(metricdata.Histogram[float64])
			news := metricdata.Histogram[float64]{Temporality: metricdata.DeltaTemporality}
			for _, p := range sums.DataPoints {
				series := shownSeries{scoped.Scope, m.Name, p.Attributes.Equivalent()}
				last[series] = p
				if p, ok := sinceLast(p, d.last[series]); ok {
					news.DataPoints = append(news.DataPoints, p)
				}
			}
			scoped.Metrics[i].Data = news
		}
	}
	d.last = last
	return all, err
}

// sinceLast is what has been measured since a series was shown last, if anything was.
func sinceLast(p, last metricdata.HistogramDataPoint[float64]) (metricdata.HistogramDataPoint[float64], bool) {
	p.BucketCounts = append([]uint64(nil), p.BucketCounts...)
	for bucket, count := range last.BucketCounts {
		p.BucketCounts[bucket] -= count
	}
	if !last.Time.IsZero() {
		p.StartTime = last.Time
	}
	p.Exemplars = slices.DeleteFunc(slices.Clone(p.Exemplars), func(e metricdata.Exemplar[float64]) bool { // by its time alone it might have come before
		return slices.ContainsFunc(last.Exemplars, func(old metricdata.Exemplar[float64]) bool {
			return old.Time.Equal(e.Time) && old.Value == e.Value && bytes.Equal(old.SpanID, e.SpanID)
		})
	})
	p.Count -= last.Count
	p.Sum -= last.Sum
	return p, p.Count > 0
}

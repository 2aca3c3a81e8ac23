package telemetry

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Buckets are the bounds that the conventions give the durations of MCP operations and sessions, in seconds.
var Buckets = []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300}

// maxSeries bounds the series of one metric: what is beyond comes together in one with otel.metric.overflow.
const maxSeries = 2000

// maxScrapes is how many may be answered at once.
const maxScrapes = 4

// newPrometheus makes a reader of what from measures, and the handler that shows it in Prometheus' text formats.
func newPrometheus(from sdkmetric.Producer) (sdkmetric.Reader, http.Handler, error) {
	registry := prometheus.NewRegistry()
	reader, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo(), promexporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		promexporter.WithProducer(from))
	if err != nil {
		return nil, nil, err
	}
	return reader, promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: maxScrapes}), nil
}

// countedMetrics is the exporter of metrics. It never fails, so that a collector that takes none is heard of once.
type countedMetrics struct {
	sdkmetric.Exporter
	queue *queue
}

// Export sends what has been measured. What is not taken is not lost: sums go on, unless the environment asks for differences
// (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE).
func (c countedMetrics) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	c.queue.send(ctx, 1, func(ctx context.Context) error { return c.Exporter.Export(ctx, m) })
	return nil
}

// newMetricReader sends metrics to a collector, also those of another producer.
func newMetricReader(exporter sdkmetric.Exporter, q *queue, every, timeout time.Duration, from sdkmetric.Producer) sdkmetric.Reader {
	return sdkmetric.NewPeriodicReader(countedMetrics{exporter, q}, sdkmetric.WithInterval(every), sdkmetric.WithTimeout(timeout+retryInAll), sdkmetric.WithProducer(from))
}

// sums is what all who are told sums have measured for them: with a reader for each, a call would be measured once for each.
type sums struct {
	sdkmetric.Reader

	own *Meter
}

// Produce implements sdkmetric.Producer.
func (s sums) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	var all metricdata.ResourceMetrics
	err := s.Collect(ctx, &all)
	own, ownErr := s.own.Produce(ctx)
	return append(all.ScopeMetrics, own...), errors.Join(err, ownErr)
}

// wantsSums reports whether an exporter is told sums, and not what has come since it was told last.
func wantsSums(exporter sdkmetric.Exporter) bool {
	for kind := sdkmetric.InstrumentKindCounter; kind <= sdkmetric.InstrumentKindObservableGauge; kind++ {
		if exporter.Temporality(kind) != metricdata.CumulativeTemporality {
			return false
		}
	}
	return true
}

// observeDrops says what of the telemetry itself was lost.
func observeDrops(meter metric.Meter, queues []*queue) error {
	_, err := meter.Int64ObservableCounter("sallyport.telemetry.dropped", metric.WithUnit("{item}"),
		metric.WithDescription("Spans, log lines and batches of metrics that were not delivered to the collector"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, q := range queues {
				o.Observe(q.full.Load(), metric.WithAttributes(AttrSignal.String(q.signal), AttrReason.String("queue_full")))
				o.Observe(q.failed.Load(), metric.WithAttributes(AttrSignal.String(q.signal), AttrReason.String("export_failed")))
			}
			return nil
		}))
	return err
}

// buildInfo says which program this is.
func buildInfo(meter metric.Meter, role, version, goVersion string) error {
	_, err := meter.Int64ObservableGauge("sallyport.build.info", metric.WithDescription("1, with the version of this program"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(1, metric.WithAttributes(attribute.String("sallyport.role", role), attribute.String("sallyport.version", version), attribute.String("go.version", goVersion)))
			return nil
		}))
	return err
}

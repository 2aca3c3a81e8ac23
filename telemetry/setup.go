package telemetry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/go-logr/logr"
	otelruntime "go.opentelemetry.io/contrib/instrumentation/runtime"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	otellog "go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Options are what a configuration does not say.
type Options struct {
	// Role is gateway or connector. Required.
	Role string
	// Version is that of the program.
	Version string
	// Instance tells processes of one role apart. Optional.
	Instance string
	// Log gets what there is to say of the collector. Optional; default none.
	Log *slog.Logger
	// Getenv reads the environment. Optional; default an empty one.
	Getenv func(string) string
	// Scraped says that somebody can ask for the metrics, in Prometheus' format. Without that, and without a collector that takes them,
	// nothing is measured.
	Scraped bool
	// Proxy chooses the HTTP proxy for the collector. Optional.
	Proxy func(*http.Request) (*url.URL, error)
	// SpanClient gets the spans in place of a collector. Optional, for tests.
	SpanClient otlptrace.Client
	// LogExporter gets lines and events of the audit log in place of a collector. Optional, for tests.
	LogExporter sdklog.Exporter
	// MetricReader makes one more reader of the metrics, which reads what is given to it too. Optional, for tests.
	MetricReader func(sdkmetric.Producer) sdkmetric.Reader
}

// Quiet has the SDK write nothing itself: its log quotes variables that may be secrets, and is no log of ours. What is wrong with a
// collector is told by whoever has to do with it. The SDK keeps both of these for the whole process, so that only a command calls it.
func Quiet() {
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
	otel.SetLogger(logr.Discard())
}

// Telemetry is what a process tells about itself. Make it with [Setup], and call Shutdown before the process ends.
type Telemetry struct {
	// Tracer records calls; nil if nobody is told of them.
	Tracer *Tracer
	// Meter makes instruments; nil if nobody reads what they measure.
	Meter *Meter
	// Audit sends events of the audit log; nil if nobody is told of them.
	Audit Events

	log     otellog.Logger // of lines; nil if they are not sent
	handler http.Handler
	queues  []*queue
	sends   []sending
	sample  float64 // part of the calls that is traced
	stops   []func(context.Context) error
	closers []func()
}

// Setup makes what the configuration and the environment ask for. It dials nobody: a collector that is not there is no reason
// not to start.
func Setup(ctx context.Context, cfg Config, o Options) (*Telemetry, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := new(Telemetry)
	get := environment(o.Getenv)
	if get.disabled() {
		return t, nil
	}
	if names := get.ignored(); len(names) > 0 {
		o.Log.Warn("variables are set that do not count here", "names", names)
	}
	about, err := cfg.resource(o)
	if err == nil {
		err = once(t.traces(ctx, cfg, o, about), t.logs(ctx, cfg, o, about), t.metrics(ctx, cfg, o, about))
	}
	if err != nil {
		t.Shutdown()
		return nil, err
	}
	return t, nil
}

// once joins errors, of which signals may have the same.
func once(errs ...error) error {
	var all []error
	for _, err := range errs {
		if err != nil && !slices.ContainsFunc(all, func(other error) bool { return other.Error() == err.Error() }) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// resource says which process this is.
func (c *Config) resource(o Options) (*resource.Resource, error) {
	attrs := []attribute.KeyValue{
		attribute.String("service.name", cmp.Or(c.Service, o.Getenv("OTEL_SERVICE_NAME"), "sallyport-"+o.Role)),
		attribute.String("service.version", o.Version),
		attribute.String("sallyport.role", o.Role),
	}
	if o.Instance != "" {
		attrs = append(attrs, attribute.String("service.instance.id", o.Instance))
	}
	if host, err := os.Hostname(); err == nil {
		attrs = append(attrs, attribute.String("host.name", host))
	}
	given, err := parseResource(o.Getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if err != nil {
		return nil, err
	}
	for name, value := range c.Resource {
		given[name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if name == "service.name" && (c.Service != "" || o.Getenv("OTEL_SERVICE_NAME") != "") && c.Resource[name] == "" {
			continue
		}
		attrs = append(attrs, attribute.String(name, given[name])) // of two with one name the last counts
	}
	sdk, err := resource.New(context.Background(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, err
	}
	return resource.Merge(sdk, resource.NewSchemaless(attrs...))
}

// traces makes the tracer, if there is somebody to tell.
func (t *Telemetry) traces(ctx context.Context, cfg Config, o Options, about *resource.Resource) error {
	get := environment(o.Getenv)
	to, err := cfg.resolve(SignalTraces, get)
	part, parents, samplingErr := cfg.sampling(get)
	flush, flushErr := cfg.flush(get, "OTEL_BSP_SCHEDULE_DELAY")
	if err := errors.Join(err, samplingErr, flushErr); err != nil {
		return err
	}
	client, q := o.SpanClient, newQueue(SignalTraces, o.Log)
	if client == nil {
		if !to.on {
			return nil
		}
		if client, err = to.spanClient(t.client(to, o, q)); err != nil {
			return err
		}
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	t.sent(to, q)
	gathered := newSpans(client, q, flush, cmp.Or(to.timeout, defaultTimeout)+retryInAll, about, o.Version)
	t.stops = append(t.stops, gathered.Shutdown)
	t.Tracer, t.sample = newTracer(gathered, part, parents), part
	return nil
}

// maxValue bounds a value of an attribute of a line, in bytes: hundreds of lines are sent at once. Those of spans are shorter.
const maxValue = 4096

// metrics makes the meter, if there is somebody to read it.
func (t *Telemetry) metrics(ctx context.Context, cfg Config, o Options, about *resource.Resource) error {
	get := environment(o.Getenv)
	if get.disabled() {
		return nil
	}
	to, err := cfg.resolve(SignalMetrics, get)
	every, everyErr := cfg.every(get)
	if err := errors.Join(err, everyErr); err != nil {
		return err
	}
	if !to.on && !o.Scraped && o.MetricReader == nil {
		return nil
	}
	t.Meter = &Meter{exemplars: get.exemplars()}
	all := sums{sdkmetric.NewManualReader(), t.Meter}
	measuring := []sdkmetric.Option{sdkmetric.WithResource(about), sdkmetric.WithCardinalityLimit(maxSeries), sdkmetric.WithReader(all)}
	telling := []sdkmetric.Option{sdkmetric.WithResource(about)}
	if o.Scraped {
		reader, handler, err := newPrometheus(all)
		if err != nil {
			return err
		}
		telling, t.handler = append(telling, sdkmetric.WithReader(reader)), handler
	}
	if to.on {
		q := newQueue(SignalMetrics, o.Log)
		exporter, err := to.metricExporter(ctx, t.client(to, o, q))
		if err != nil {
			return err
		}
		t.sent(to, q)
		if wantsSums(exporter) {
			telling = append(telling, sdkmetric.WithReader(newMetricReader(exporter, q, every, to.timeout, all)))
		} else {
			measuring = append(measuring, sdkmetric.WithReader(newMetricReader(exporter, q, every, to.timeout, &differences{of: t.Meter})))
		}
	}
	if o.MetricReader != nil {
		telling = append(telling, sdkmetric.WithReader(o.MetricReader(all)))
	}
	provider := sdkmetric.NewMeterProvider(measuring...)
	t.stops = append(t.stops, stopInTurn(sdkmetric.NewMeterProvider(telling...).Shutdown, provider.Shutdown))
	t.Meter.MeterProvider = provider
	meter := provider.Meter(scope, metric.WithInstrumentationVersion(o.Version))
	return errors.Join(observeDrops(meter, t.queues), buildInfo(meter, o.Role, o.Version, runtime.Version()), otelruntime.Start(otelruntime.WithMeterProvider(provider)))
}

// stopInTurn stops one after another.
func stopInTurn(stops ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		for _, stop := range stops {
			err = errors.Join(err, stop(ctx))
		}
		return err
	}
}

// sent notes that a signal is sent, through a queue.
func (t *Telemetry) sent(to resolved, q *queue) {
	t.queues = append(t.queues, q)
	if to.on { // else it is for a test
		t.sends = append(t.sends, sending{q.signal, to})
	}
}

// client makes what an exporter over HTTP sends by.
func (t *Telemetry) client(to resolved, o Options, q *queue) func(*tls.Config) *http.Client {
	return func(secure *tls.Config) *http.Client {
		client, stop := newClient(secure, to.timeout, o.Proxy, q.troubled)
		t.closers = append(t.closers, stop)
		return client
	}
}

// Metrics shows the metrics in Prometheus' text formats; nil if there are none.
func (t *Telemetry) Metrics() http.Handler { return t.handler }

// Discard has nothing sent any more, for a process that only wanted to see whether all can be made.
func (t *Telemetry) Discard() {
	for _, q := range t.queues {
		q.giveUp()
	}
}

// Shutdown sends what still waits, for 4 s, and gives up after 5 s in all what a collector does not take.
func (t *Telemetry) Shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	hurry, stop := context.WithTimeout(ctx, sendTime)
	defer stop()
	defer context.AfterFunc(hurry, t.Discard)()
	before := make([]int64, len(t.queues))
	for i, q := range t.queues {
		before[i] = q.failed.Load()
	}
	var crew sync.WaitGroup
	for _, stop := range t.stops {
		crew.Go(func() { _ = stop(ctx) }) // what was lost has been counted and told
	}
	crew.Wait()
	for _, stop := range t.closers {
		stop()
	}
	for i, q := range t.queues {
		if lost := q.failed.Load() - before[i]; lost > 0 && q.bounded {
			q.log.Warn("the process ends before the collector has taken everything", KeySignal, q.signal, "lost", lost)
		}
	}
}

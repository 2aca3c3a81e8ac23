package telemetry

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"google.golang.org/grpc/credentials"
)

// auditEvent is the name of the events of the audit log.
const auditEvent = "sallyport.audit"

// logs makes what lines, and events of the audit log, are sent by if somebody is to have them. Each of the two has its own queue: a
// flood of lines costs no event.
func (t *Telemetry) logs(ctx context.Context, cfg Config, o Options, about *resource.Resource) error {
	get := environment(o.Getenv)
	to, err := cfg.resolve(SignalLogs, get)
	flush, flushErr := cfg.flush(get, "OTEL_BLRP_SCHEDULE_DELAY")
	if err := errors.Join(err, flushErr); err != nil {
		return err
	}
	on := to.on || o.LogExporter != nil
	if on && (len(cfg.OTLP.Signals) == 0 || slices.Contains(cfg.OTLP.Signals, SignalLogs)) {
		if t.log, err = t.newLog(ctx, SignalLogs, to, flush, o, about); err != nil {
			return err
		}
	}
	if on && slices.Contains(cfg.OTLP.Signals, SignalAudit) {
		logger, err := t.newLog(ctx, SignalAudit, to, flush, o, about)
		if err != nil {
			return err
		}
		t.Audit = newEvents(logger, auditEvent)
	}
	return nil
}

// newLog makes a queue, and the exporter behind it.
func (t *Telemetry) newLog(ctx context.Context, signal string, to resolved, flush time.Duration, o Options, about *resource.Resource) (log.Logger, error) {
	exporter, q := o.LogExporter, newQueue(signal, o.Log)
	if exporter == nil {
		var err error
		if exporter, err = to.logExporter(ctx, t.client(to, o, q)); err != nil {
			return nil, err
		}
	}
	t.sent(to, q)
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(about), sdklog.WithAttributeValueLengthLimit(maxValue), sdklog.WithProcessor(newLogProcessor(exporter, q, flush, to.timeout)))
	t.stops = append(t.stops, provider.Shutdown)
	return provider.Logger(scope, log.WithInstrumentationVersion(o.Version)), nil
}

// logExporter sends lines. It dials nobody before it has some.
func (r *resolved) logExporter(ctx context.Context, client func(*tls.Config) *http.Client) (sdklog.Exporter, error) {
	secure, err := r.tls()
	if err != nil {
		return nil, err
	}
	if r.protocol == protocolGRPC {
		options := []otlploggrpc.Option{
			otlploggrpc.WithEndpointURL(r.url), otlploggrpc.WithHeaders(r.headers), otlploggrpc.WithTimeout(r.timeout),
			otlploggrpc.WithRetry(otlploggrpc.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryInAll}),
		}
		if !r.insecure() {
			options = append(options, otlploggrpc.WithTLSCredentials(credentials.NewTLS(secure)))
		}
		if r.compression != r.preset { // which the exporter takes by itself
			options = append(options, otlploggrpc.WithCompressor(r.compression))
		}
		return otlploggrpc.New(ctx, options...)
	}
	compression := otlploghttp.NoCompression
	if r.compression == compressGzip {
		compression = otlploghttp.GzipCompression
	}
	return otlploghttp.New(ctx, otlploghttp.WithEndpointURL(r.url), otlploghttp.WithHeaders(r.headers), otlploghttp.WithTimeout(r.timeout),
		otlploghttp.WithHTTPClient(client(secure)), otlploghttp.WithCompression(compression), otlploghttp.WithMaxResponseSize(maxAnswer),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryInAll}))
}

// logQueue admits lines to the batch processor behind it, which never has to drop one.
type logQueue struct {
	sdklog.Processor
	queue *queue
}

// OnEmit drops what there is no room for.
func (l logQueue) OnEmit(ctx context.Context, r *sdklog.Record) error {
	if l.queue.admit() {
		return l.Processor.OnEmit(ctx, r)
	}
	return nil
}

// countedLogs is the exporter behind a queue.
type countedLogs struct {
	sdklog.Exporter
	queue *queue
}

// Export never fails: what was not taken is counted.
func (c countedLogs) Export(ctx context.Context, lines []sdklog.Record) error {
	if len(lines) > 0 {
		c.queue.send(ctx, len(lines), func(ctx context.Context) error { return c.Exporter.Export(ctx, lines) })
	}
	return nil
}

// newLogProcessor puts an exporter behind a bounded queue.
func newLogProcessor(exporter sdklog.Exporter, q *queue, flush, timeout time.Duration) sdklog.Processor {
	return logQueue{
		queue: q,
		Processor: sdklog.NewBatchProcessor(countedLogs{exporter, q}, sdklog.WithMaxQueueSize(queueSize), sdklog.WithExportMaxBatchSize(batchSize),
			sdklog.WithExportInterval(flush), sdklog.WithExportTimeout(cmp.Or(timeout, defaultTimeout)+retryInAll)),
	}
}

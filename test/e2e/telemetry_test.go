package e2e_test

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/telemetry"
	"sallyport.dev/test/stack"
)

// soon is flush where a test waits for spans.
const soon = 100 * time.Millisecond

// observed is a stack whose roles tell of themselves.
type observed struct {
	*stack.Stack
	gateway, connector *telemetry.Telemetry
	log                *stack.Log // of what there is to say of the collector
}

// observe starts a stack whose roles are set up as cmd sets them up, by one configuration.
func observe(t *testing.T, o stack.Options, cfg telemetry.Config) *observed {
	t.Helper()
	all := &observed{log: new(stack.Log)}
	setup := func(role string) *telemetry.Telemetry {
		told, err := telemetry.Setup(t.Context(), cfg, telemetry.Options{Scraped: true, Role: role, Version: "test", Instance: role, Log: slog.New(slog.NewJSONHandler(all.log, nil)).With("role", role)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(told.Shutdown)
		return told
	}
	all.gateway, all.connector = setup("gateway"), setup("connector")
	ofGateway, ofConnector := o.Gateway, o.Connector
	o.Gateway = func(c *gateway.Config) {
		c.Telemetry, c.Tracer, c.Meter, c.Metrics = cfg, all.gateway.Tracer, all.gateway.Meter, all.gateway.Metrics()
		c.Logger = slog.New(all.gateway.Handler(c.Logger.Handler()))
		if ofGateway != nil {
			ofGateway(c)
		}
	}
	o.Connector = func(c *connector.Config) {
		c.Telemetry, c.Tracer, c.Meter, c.Metrics = cfg, all.connector.Tracer, all.connector.Meter, all.connector.Metrics()
		c.Logger = slog.New(all.connector.Handler(c.Logger.Handler()))
		if ofConnector != nil {
			ofConnector(c)
		}
	}
	all.Stack = stack.New(t, o)
	return all
}

// collector is a configuration that sends to a base URL, soon.
func collector(url string, signals ...string) telemetry.Config {
	return telemetry.Config{OTLP: telemetry.OTLP{Endpoint: url, Flush: soon, Signals: signals}, Metrics: telemetry.Metrics{Every: time.Second}}
}

// elsewhere is a service that is traced by OpenTelemetry's own SDK, as somebody else's is.
func elsewhere(t *testing.T, service, url string) trace.Tracer {
	t.Helper()
	exporter, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(url+"/v1/traces"), otlptracehttp.WithHTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter, sdktrace.WithBatchTimeout(soon)), sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", service))))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := provider.Shutdown(ctx); err != nil {
			t.Errorf("%s: %v", service, err)
		}
	})
	return provider.Tracer(service)
}

// traced has a server continue the trace that it is told of.
func traced(tracer trace.Tracer, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := tracer.Start(ctx, r.Method+" "+r.URL.Path, trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// tracing has a client say which span of its own a request is part of: the one of the request's context. The clients of MCP make
// contexts of their own, so that it is held here.
type tracing struct {
	next http.RoundTripper
	ctx  context.Context //nolint:containedctx // see above
}

func (tr *tracing) RoundTrip(r *http.Request) (*http.Response, error) {
	if tr.ctx != nil {
		r = r.Clone(r.Context())
		propagation.TraceContext{}.Inject(tr.ctx, propagation.HeaderCarrier(r.Header))
		r.Header.Set("Baggage", "canary=baggage-that-is-nobodys-business")
	}
	return tr.next.RoundTrip(r)
}

// CloseIdleConnections lets http.Client reach the pool below.
func (tr *tracing) CloseIdleConnections() {
	if c, ok := tr.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

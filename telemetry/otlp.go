package telemetry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"google.golang.org/grpc/credentials"
)

// What a collector may do to us.
const (
	maxAnswer   = 64 << 10 // bytes of a collector's answer that are read
	retryFirst  = time.Second
	retryMost   = 10 * time.Second // between two attempts to send one batch
	retryInAll  = 30 * time.Second // before it is given up
	dialTimeout = 5 * time.Second
	// idleCollector is how long a connection is kept without use: for longer than flush, as most are.
	idleCollector = 90 * time.Second
)

// newClient makes what an exporter sends by. Redirects are not followed: they would take the headers with them. troubled hears of attempts
// that the exporter will repeat.
func newClient(secure *tls.Config, timeout time.Duration, proxy func(*http.Request) (*url.URL, error), troubled func(why string)) (client *http.Client, stop func()) {
	transport := &http.Transport{
		Proxy:                  proxy,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        secure,
		TLSHandshakeTimeout:    dialTimeout,
		ForceAttemptHTTP2:      true,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: maxAnswer,
		IdleConnTimeout:        idleCollector,
	}
	client = &http.Client{
		Transport:     listening{transport, troubled},
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client, transport.CloseIdleConnections
}

// listening says at once what is wrong with an attempt. The exporters say it when they have given up, and not all of it.
type listening struct {
	http.RoundTripper
	troubled func(why string)
}

// RoundTrip implements http.RoundTripper.
func (l listening) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := l.RoundTripper.RoundTrip(r)
	switch {
	case err != nil:
		l.troubled(trouble(err))
	case slices.Contains(repeated, resp.StatusCode):
		l.troubled("HTTP " + strconv.Itoa(resp.StatusCode))
	}
	return resp, err
}

// repeated are the statuses after which the exporters try again (OTLP specification, "Retryable Response Codes").
var repeated = []int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// tls is whom the exporter trusts, and what it shows.
func (r *resolved) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.ca != "" {
		pem, err := os.ReadFile(r.ca)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.caKey, err)
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: %s: it holds no certificate in PEM", errFile, r.caKey)
		}
	}
	if r.cert != "" {
		pair, err := tls.LoadX509KeyPair(r.cert, r.key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.certKey, err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return conf, nil
}

var errFile = errors.New("telemetry: a file cannot be used")

// insecure reports that the collector is spoken to without TLS.
func (r *resolved) insecure() bool { return len(r.url) > 5 && r.url[:5] == "http:" }

// spanClient sends spans. It dials nobody before it has some.
func (r *resolved) spanClient(client func(*tls.Config) *http.Client) (otlptrace.Client, error) {
	secure, err := r.tls()
	if err != nil {
		return nil, err
	}
	if r.protocol == protocolGRPC {
		options := []otlptracegrpc.Option{
			otlptracegrpc.WithEndpointURL(r.url), otlptracegrpc.WithHeaders(r.headers), otlptracegrpc.WithTimeout(r.timeout),
			otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryInAll}),
		}
		if !r.insecure() {
			options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(secure)))
		}
		if r.compression != r.preset { // which the exporter takes by itself
			options = append(options, otlptracegrpc.WithCompressor(r.compression))
		}
		return otlptracegrpc.NewClient(options...), nil
	}
	compression := otlptracehttp.NoCompression
	if r.compression == compressGzip {
		compression = otlptracehttp.GzipCompression
	}
	return otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(r.url), otlptracehttp.WithHeaders(r.headers), otlptracehttp.WithTimeout(r.timeout),
		otlptracehttp.WithHTTPClient(client(secure)), otlptracehttp.WithCompression(compression), otlptracehttp.WithMaxResponseSize(maxAnswer),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryInAll})), nil
}

// metricExporter sends metrics.
func (r *resolved) metricExporter(ctx context.Context, client func(*tls.Config) *http.Client) (sdkmetric.Exporter, error) {
	secure, err := r.tls()
	if err != nil {
		return nil, err
	}
	if r.protocol == protocolGRPC {
		options := []otlpmetricgrpc.Option{
			otlpmetricgrpc.WithEndpointURL(r.url), otlpmetricgrpc.WithHeaders(r.headers), otlpmetricgrpc.WithTimeout(r.timeout),
			otlpmetricgrpc.WithRetry(otlpmetricgrpc.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryInAll}),
		}
		if !r.insecure() {
			options = append(options, otlpmetricgrpc.WithTLSCredentials(credentials.NewTLS(secure)))
		}
		if r.compression != r.preset { // which the exporter takes by itself
			options = append(options, otlpmetricgrpc.WithCompressor(r.compression))
		}
		return otlpmetricgrpc.New(ctx, options...)
	}
	compression := otlpmetrichttp.NoCompression
	if r.compression == compressGzip {
		compression = otlpmetrichttp.GzipCompression
	}
	return otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(r.url), otlpmetrichttp.WithHeaders(r.headers), otlpmetrichttp.WithTimeout(r.timeout),
		otlpmetrichttp.WithHTTPClient(client(secure)), otlpmetrichttp.WithCompression(compression), otlpmetrichttp.WithMaxResponseSize(maxAnswer),
		otlpmetrichttp.WithRetry(otlpmetrichttp.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: retryInAll}))
}

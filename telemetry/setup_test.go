package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/secret"
)

const canary = "CANARY-zq83hf0s"

// file writes a secret and returns the reference to it.
func file(t *testing.T, text string) secret.Ref {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ref, err := secret.ParseRef("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// send has one span sent to a collector, and returns what was logged of that.
func send(t *testing.T, cfg Config) (*Telemetry, string) {
	t.Helper()
	var out bytes.Buffer
	cfg.OTLP.Signals = []string{SignalTraces}
	tel, err := Setup(t.Context(), cfg, Options{Role: "gateway", Log: slog.New(slog.NewTextHandler(&out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	tel.Tracer.End(tel.Tracer.Begin(trace.SpanContext{}, time.Now()), Ended{Name: "call", End: time.Now()})
	tel.Shutdown()
	return tel, out.String()
}

// TestHeadersReachTheCollectorAlone: a collector that gives back what it was sent puts no secret into the log, and redirects lead
// nowhere.
func TestHeadersReachTheCollectorAlone(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for name, answer := range map[string]http.HandlerFunc{
		"taken": func(http.ResponseWriter, *http.Request) {},
		"unauthorized": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "bad "+r.Header.Get("X-Key"), http.StatusUnauthorized)
		},
		"no such place": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "bad "+r.Header.Get("X-Key"), http.StatusNotFound)
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/"+r.Header.Get("X-Key"), http.StatusTemporaryRedirect)
		},
		"no HTTP at all": func(w http.ResponseWriter, _ *http.Request) { hijack(w, canary) },
	} {
		t.Run(name, func(t *testing.T) {
			var key string
			collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				key = r.Header.Get("X-Key")
				answer(w, r)
			}))
			defer collector.Close()
			tel, log := send(t, Config{OTLP: OTLP{Endpoint: collector.URL + "/in/" + canary, Headers: map[string]Header{"X-Key": {Secret: file(t, canary)}}}})
			if key != canary || strings.Contains(log, canary) {
				t.Errorf("the collector got %q, the log is %s", key, log)
			}
			if failed := tel.queues[0].failed.Load(); failed != map[bool]int64{true: 0, false: 1}[name == "taken"] || (failed > 0) != (log != "") {
				t.Errorf("%d spans have failed, the log is %q", failed, log)
			}
		})
	}
}

// hijack answers with a text that is no HTTP.
func hijack(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, text+"\r\n\r\n")
		_ = conn.Close()
	}
}

func TestTrouble(t *testing.T) {
	for text, want := range map[string]string{
		"failed to send to http://h/v1/traces: 404 Not Found (body: x 500 )":                                    "HTTP 404",
		"failed to upload metrics: failed to send to http://h/v1/metrics: 429 Too Many Requests (body: secret)": "HTTP 429",
		"something: failed to send to http://h: 404 ":                                                           "HTTP 404",
		"failed to upload metrics: failed to send metrics to http://h/v1/metrics: 404 Not Found (body: 404 )":   "HTTP 404",
		"body: failed to send to x": "the exchange failed",
	} {
		if got := trouble(fmt.Errorf("%s", text)); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	_, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", "127.0.0.1:1")
	if got := trouble(fmt.Errorf("x: %w", err)); got != "connection refused" {
		t.Error(got)
	}
	if got := trouble(fmt.Errorf("x: %w", context.DeadlineExceeded)); got != "no answer in time" {
		t.Error(got)
	}
}

// TestPartialSuccess: what a collector has not taken of a request is what was lost, and a warning of it is none.
func TestPartialSuccess(t *testing.T) {
	for text, want := range map[string]int64{
		"OTLP partial success: " + canary + " (3 spans rejected)":             3,
		"OTLP partial success: please upgrade (0 spans rejected)":             0,
		"OTLP partial success: (1 spans rejected) x (2 log records rejected)": 2,
		"OTLP partial success: x (9999 spans rejected)":                       100,
		"failed to send to x: 500 x":                                          100,
	} {
		var out bytes.Buffer
		q := newQueue(SignalTraces, slog.New(slog.NewTextHandler(&out, nil)))
		q.told(100, fmt.Errorf("%s", text))
		if q.failed.Load() != want || strings.Contains(out.String(), canary) || (out.Len() > 0) != strings.HasPrefix(text, "failed") {
			t.Errorf("%s: %d, log %s", text, q.failed.Load(), out.String())
		}
	}
}

// TestEnvironment: what the variables say counts where the configuration is silent.
func TestEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		cfg    Config
		env    map[string]string
		signal string
		want   resolved
		wrong  string
	}{
		"nothing":        {signal: SignalTraces},
		"common":         {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/"}, signal: SignalTraces, want: resolved{on: true, url: "http://c:4318/v1/traces", protocol: protocolHTTP, timeout: defaultTimeout, compression: compressNone}},
		"own":            {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m/x", "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "250", "OTEL_EXPORTER_OTLP_TIMEOUT": "9"}, signal: SignalMetrics, want: resolved{on: true, url: "http://m/x", protocol: protocolHTTP, timeout: 250 * time.Millisecond, compression: compressNone}},
		"gRPC":           {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, signal: SignalTraces, want: resolved{on: true, url: "https://c:4317", protocol: protocolGRPC, timeout: defaultTimeout, compression: compressGzip}},
		"YAML wins":      {cfg: Config{OTLP: OTLP{Endpoint: "http://y:1", Protocol: protocolHTTP, Timeout: time.Second, Compression: compressNone}}, env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}, signal: SignalTraces, want: resolved{on: true, url: "http://y:1/v1/traces", protocol: protocolHTTP, timeout: time.Second, compression: compressNone}},
		"none":           {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, signal: SignalTraces},
		"logs unasked":   {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, signal: SignalLogs},
		"logs":           {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_LOGS_EXPORTER": " otlp"}, signal: SignalLogs, want: resolved{on: true, url: "http://c/v1/logs", protocol: protocolHTTP, timeout: defaultTimeout, compression: compressNone}},
		"disabled":       {cfg: Config{OTLP: OTLP{Endpoint: "http://y:1"}}, env: map[string]string{"OTEL_SDK_DISABLED": "TRUE"}, signal: SignalTraces},
		"zstd":           {cfg: Config{OTLP: OTLP{Endpoint: "http://y:1"}}, env: map[string]string{"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, signal: SignalTraces, wrong: "OTEL_EXPORTER_OTLP_COMPRESSION"},
		"console":        {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "console"}, signal: SignalTraces, wrong: "OTEL_TRACES_EXPORTER"},
		"bad headers":    {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "Bearer " + canary}, signal: SignalTraces, wrong: "OTEL_EXPORTER_OTLP_HEADERS"},
		"a password":     {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:" + canary + "@c"}, signal: SignalTraces, wrong: "OTEL_EXPORTER_OTLP_ENDPOINT"},
		"headers":        {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%20c, d = e"}, signal: SignalTraces, want: resolved{on: true, url: "http://c/v1/traces", protocol: protocolHTTP, timeout: defaultTimeout, compression: compressNone, headers: map[string]string{"a": "b c", "d": "e"}}},
		"headers of own": {cfg: Config{OTLP: OTLP{Headers: map[string]Header{"x": {Text: "y"}}}}, env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, signal: SignalTraces, want: resolved{on: true, url: "http://c/v1/traces", protocol: protocolHTTP, timeout: defaultTimeout, compression: compressNone, headers: map[string]string{"x": "y"}}},
	} {
		got, err := c.cfg.resolve(c.signal, func(name string) string { return c.env[name] })
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || got.on != c.want.on {
			t.Errorf("%s: %+v, %v", name, got, err)
			continue
		}
		if c.want.headers == nil {
			c.want.headers = map[string]string{}
		}
		got.preset = ""
		if got.on && fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestIgnoredVariables are told of, by name.
func TestIgnoredVariables(t *testing.T) {
	var out bytes.Buffer
	env := map[string]string{"OTEL_BSP_MAX_QUEUE_SIZE": canary, "OTEL_PROPAGATORS": "tracecontext,b3"}
	tel, err := Setup(t.Context(), Config{}, Options{Role: "gateway", Log: slog.New(slog.NewTextHandler(&out, nil)), Getenv: func(name string) string { return env[name] }})
	if err != nil {
		t.Fatal(err)
	}
	tel.Shutdown()
	if log := out.String(); !strings.Contains(log, "OTEL_BSP_MAX_QUEUE_SIZE") || !strings.Contains(log, "OTEL_PROPAGATORS") || strings.Contains(log, canary) || tel.Tracer != nil || tel.Meter != nil {
		t.Errorf("%s; %+v", log, tel)
	}
}

package backends

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Receiver takes OTLP over HTTP, as an OpenTelemetry collector does, and keeps all of it.
type Receiver struct {
	// URL is its base URL.
	URL string
	// Judge may refuse a request, by a status of its own instead of 0. Set it before the first one. Optional.
	Judge func(*http.Request) int

	mu       sync.Mutex // guards what follows
	requests []Request
	spans    []*traces.Span
	metrics  []*metrics.ResourceMetrics // of the last request of each process
	logs     []*logs.LogRecord
}

// Request is what is known of a request besides what it brought.
type Request struct {
	Path   string
	Header http.Header
	Body   []byte // not compressed
	Status int
}

// StartReceiver returns a receiver that ends with the test.
func StartReceiver(t testing.TB) *Receiver {
	t.Helper()
	r := new(Receiver)
	server := httptest.NewServer(r)
	r.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return r
}

// ServeHTTP takes one request.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := plain(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := 0
	if r.Judge != nil {
		status = r.Judge(req)
	}
	var answer proto.Message
	if status == 0 {
		status = http.StatusOK
		if answer, err = r.take(req.URL.Path, body); err != nil {
			status = http.StatusBadRequest
		}
	}
	r.mu.Lock()
	r.requests = append(r.requests, Request{req.URL.Path, req.Header.Clone(), body, status})
	r.mu.Unlock()
	if status != http.StatusOK {
		http.Error(w, fmt.Sprint("no: ", err), status)
		return
	}
	said, err := proto.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(said)
}

// plain reads a body, which may be compressed.
func plain(req *http.Request) ([]byte, error) {
	if req.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, errors.New("no protobuf")
	}
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		unpacked, err := gzip.NewReader(req.Body)
		if err != nil {
			return nil, err
		}
		body = unpacked
	}
	return io.ReadAll(io.LimitReader(body, 64<<20))
}

// take keeps what a request has brought.
func (r *Receiver) take(path string, body []byte) (proto.Message, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch path {
	case "/v1/traces":
		var m coltraces.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return nil, err
		}
		for _, rs := range m.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				r.spans = append(r.spans, ss.GetSpans()...)
			}
		}
		return new(coltraces.ExportTraceServiceResponse), nil
	case "/v1/metrics":
		var m colmetrics.ExportMetricsServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return nil, err
		}
		for _, rm := range m.GetResourceMetrics() {
			same := func(other *metrics.ResourceMetrics) bool { return proto.Equal(rm.GetResource(), other.GetResource()) }
			r.metrics = append(slices.DeleteFunc(r.metrics, same), rm)
		}
		return new(colmetrics.ExportMetricsServiceResponse), nil
	case "/v1/logs":
		var m collogs.ExportLogsServiceRequest
		if err := proto.Unmarshal(body, &m); err != nil {
			return nil, err
		}
		for _, rl := range m.GetResourceLogs() {
			for _, sl := range rl.GetScopeLogs() {
				r.logs = append(r.logs, sl.GetLogRecords()...)
			}
		}
		return new(collogs.ExportLogsServiceResponse), nil
	}
	return nil, errors.New("no such path")
}

// Requests returns what is known of all requests so far.
func (r *Receiver) Requests() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.requests)
}

// Spans returns the spans that were taken so far.
func (r *Receiver) Spans() []*traces.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Logs returns the log records that were taken so far.
func (r *Receiver) Logs() []*logs.LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.logs)
}

// Metric returns the last state of a metric of a service, or nil.
func (r *Receiver) Metric(service, name string) *metrics.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rm := range r.metrics {
		if Attribute(rm.GetResource().GetAttributes(), "service.name") != service {
			continue
		}
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				if m.GetName() == name {
					return m
				}
			}
		}
	}
	return nil
}

// Attribute returns the text of an attribute, or "".
func Attribute(attrs []*common.KeyValue, key string) string {
	for _, a := range attrs {
		if a.GetKey() == key {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

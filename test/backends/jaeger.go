package backends

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Jaeger is a Jaeger all-in-one on loopback that keeps traces in memory.
type Jaeger struct {
	// HTTP and GRPC are the base URLs of its OTLP receivers. HTTP has no /v1/metrics and no /v1/logs.
	HTTP, GRPC string
	// Query is the base URL of its API and of its pages.
	Query string
}

// StartJaeger returns a Jaeger that ends with the test.
func StartJaeger(t testing.TB) *Jaeger {
	t.Helper()
	binary := tool(t, "jaeger", "install github.com/jaegertracing/jaeger/cmd/all-in-one as jaeger")
	for try := 1; ; try++ { // a port may be taken between being found and being used
		p := ports(t, 11)
		j := &Jaeger{HTTP: "http://" + p[0], GRPC: "http://" + p[1], Query: "http://" + p[2]}
		ready := func(ctx context.Context) error {
			if err := ask(ctx, "http://"+p[3]+"/", nil); err != nil {
				return err
			}
			return ask(ctx, j.Query+"/api/services", nil)
		}
		// It would trace itself, to where nobody listens.
		env := []string{"COLLECTOR_OTLP_ENABLED=true", "SPAN_STORAGE_TYPE=memory", "OTEL_TRACES_SAMPLER=always_off", "JAEGER_DISABLED=true"}
		err := run(t, t.TempDir(), env, ready, binary,
			"--collector.otlp.http.host-port="+p[0], "--collector.otlp.grpc.host-port="+p[1], "--query.http-server.host-port="+p[2], "--admin.http.host-port="+p[3],
			"--query.grpc-server.host-port="+p[4], "--collector.grpc-server.host-port="+p[5], "--collector.http-server.host-port="+p[6], "--http-server.host-port="+p[7],
			"--processor.jaeger-binary.server-host-port="+p[8], "--processor.jaeger-compact.server-host-port="+p[9], "--processor.zipkin-compact.server-host-port="+p[10],
			"--log-level=warn")
		if err == nil {
			return j
		}
		if try == 3 {
			t.Fatal(err)
		}
	}
}

// Trace returns a trace by its id, in hexadecimal. One that is not there has no spans.
func (j *Jaeger) Trace(ctx context.Context, id string) (*Trace, error) {
	traces, err := j.ask(ctx, "/api/traces/"+url.PathEscape(id))
	if err != nil && strings.Contains(err.Error(), "trace not found") {
		return &Trace{ID: id}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, trace := range traces {
		if strings.TrimLeft(trace.ID, "0") == strings.TrimLeft(id, "0") {
			return trace, nil
		}
	}
	return &Trace{ID: id}, nil
}

// Traces returns the traces that a service has a span of.
func (j *Jaeger) Traces(ctx context.Context, service string) ([]*Trace, error) {
	return j.ask(ctx, "/api/traces?limit=1500&lookback=1h&service="+url.QueryEscape(service))
}

// Await polls for a trace until it is as wanted, and returns it.
func (j *Jaeger) Await(t testing.TB, id string, within time.Duration, wanted func(*Trace) bool) *Trace {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	last := &Trace{ID: id}
	var err error
	for {
		var trace *Trace
		if trace, err = j.Trace(ctx, id); err == nil {
			if last = trace; wanted(trace) {
				return trace
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the trace %s is not in Jaeger as wanted within %s (%v); there is:\n%s", id, within, err, last.Text(Text{AllTags: true}))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// AwaitTraces polls until the traces of a service are as wanted, and returns them.
func (j *Jaeger) AwaitTraces(t testing.TB, service string, within time.Duration, wanted func([]*Trace) bool) []*Trace {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	var last []*Trace
	var err error
	for {
		var traces []*Trace
		if traces, err = j.Traces(ctx, service); err == nil {
			if last = traces; wanted(traces) {
				return traces
			}
		}
		select {
		case <-ctx.Done():
			var text strings.Builder
			for _, trace := range last {
				text.WriteString(trace.Text(Text{AllTags: true}) + "\n")
			}
			t.Fatalf("the traces of %s are not in Jaeger as wanted within %s (%v); there are:\n%s", service, within, err, &text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ask decodes an answer of the query API.
func (j *Jaeger) ask(ctx context.Context, path string) ([]*Trace, error) {
	var answer struct {
		Data []jaegerTrace `json:"data"`
	}
	if err := ask(ctx, j.Query+path, &answer); err != nil {
		return nil, err
	}
	traces := make([]*Trace, len(answer.Data))
	for i := range answer.Data {
		traces[i] = answer.Data[i].trace()
	}
	return traces, nil
}

// jaegerTrace is a trace in the query API's JSON.
type jaegerTrace struct {
	TraceID string `json:"traceID"`
	Spans   []struct {
		TraceID       string            `json:"traceID"`
		SpanID        string            `json:"spanID"`
		OperationName string            `json:"operationName"`
		References    []jaegerReference `json:"references"`
		StartTime     int64             `json:"startTime"` // in microseconds, as Duration
		Duration      int64             `json:"duration"`
		Tags          []jaegerTag       `json:"tags"`
		ProcessID     string            `json:"processID"`
		Warnings      []string          `json:"warnings"`
	} `json:"spans"`
	Processes map[string]struct {
		ServiceName string      `json:"serviceName"`
		Tags        []jaegerTag `json:"tags"`
	} `json:"processes"`
}

type jaegerReference struct {
	RefType string `json:"refType"`
	TraceID string `json:"traceID"`
	SpanID  string `json:"spanID"`
}

type jaegerTag struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func tagsOf(tags []jaegerTag) map[string]string {
	all := make(map[string]string, len(tags))
	for _, tag := range tags {
		if f, ok := tag.Value.(float64); ok {
			all[tag.Key] = fmt.Sprint(f)
		} else {
			all[tag.Key] = fmt.Sprint(tag.Value)
		}
	}
	return all
}

// trace turns it into ours. Of several references the first CHILD_OF of the same trace is the parent; others are links.
func (j *jaegerTrace) trace() *Trace {
	var spans []*Span
	for i := range j.Spans {
		s := &j.Spans[i]
		span := &Span{
			Trace: s.TraceID, ID: s.SpanID, Service: j.Processes[s.ProcessID].ServiceName, Operation: s.OperationName, Tags: tagsOf(s.Tags),
			Resource: tagsOf(j.Processes[s.ProcessID].Tags), Start: time.UnixMicro(s.StartTime), Duration: time.Duration(s.Duration) * time.Microsecond, Warnings: s.Warnings,
		}
		span.Kind = span.Tags["span.kind"]
		for _, r := range s.References {
			if r.RefType == "CHILD_OF" && r.TraceID == s.TraceID && span.Parent == "" {
				span.Parent = r.SpanID
			} else {
				span.Links = append(span.Links, Link{Trace: r.TraceID, Span: r.SpanID})
			}
		}
		spans = append(spans, span)
	}
	return newTrace(j.TraceID, spans)
}

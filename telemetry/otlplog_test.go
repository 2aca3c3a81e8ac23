package telemetry

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	collogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
)

// takesLines is a collector over gRPC.
type takesLines struct {
	collogs.UnimplementedLogsServiceServer

	mu    sync.Mutex // guards lines
	lines []string
}

func (c *takesLines) Export(_ context.Context, r *collogs.ExportLogsServiceRequest) (*collogs.ExportLogsServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.GetResourceLogs() {
		for _, scope := range of.GetScopeLogs() {
			for _, line := range scope.GetLogRecords() {
				c.lines = append(c.lines, line.GetEventName()+line.GetBody().GetStringValue())
			}
		}
	}
	return new(collogs.ExportLogsServiceResponse), nil
}

// Which of lines and events are sent is what signals says, and nothing is unless something asks for it.
func TestWhatIsSentOverGRPC(t *testing.T) {
	for name, c := range map[string]struct {
		signals []string
		env     map[string]string
		want    []string
	}{
		"none":            {},
		"others":          {signals: []string{SignalTraces}},
		"lines":           {signals: []string{SignalLogs}, want: []string{"a line"}},
		"events":          {signals: []string{SignalAudit}, want: []string{"sallyport.audit"}},
		"both":            {signals: []string{SignalLogs, SignalAudit}, want: []string{"a line", "sallyport.audit"}},
		"the environment": {env: map[string]string{"OTEL_LOGS_EXPORTER": "otlp"}, want: []string{"a line"}},
		"YAML wins":       {env: map[string]string{"OTEL_LOGS_EXPORTER": "otlp"}, signals: []string{SignalTraces}},
		"disabled":        {env: map[string]string{"OTEL_SDK_DISABLED": "true"}, signals: []string{SignalLogs, SignalAudit}},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			collector, server := new(takesLines), grpc.NewServer()
			collogs.RegisterLogsServiceServer(server, collector)
			var crew sync.WaitGroup
			crew.Go(func() { _ = server.Serve(listener) }) // until it is stopped
			defer crew.Wait()
			defer server.Stop()
			tel, err := Setup(t.Context(), Config{OTLP: OTLP{Endpoint: "http://" + listener.Addr().String(), Protocol: protocolGRPC, Signals: c.signals}},
				Options{Role: "gateway", Getenv: func(name string) string { return c.env[name] }})
			if err != nil {
				t.Fatal(err)
			}
			slog.New(tel.Handler(slog.NewTextHandler(io.Discard, nil))).Info("a line")
			if tel.Audit != nil {
				tel.Audit(time.Now(), nil)
			}
			tel.Shutdown()
			slices.Sort(collector.lines)
			if !slices.Equal(collector.lines, c.want) {
				t.Errorf("sent are %q, not %q", collector.lines, c.want)
			}
		})
	}
}

package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/metric"
	collector "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	"google.golang.org/protobuf/proto"
)

// TestAllAreToldTheSame: a collector that wants sums, one that wants what has come since, and Prometheus all hear of each measurement
// once.
func TestAllAreToldTheSame(t *testing.T) {
	for preference, want := range map[string]metricspb.AggregationTemporality{
		"":           metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
		"cumulative": metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
		"delta":      metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA,
		"lowmemory":  metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_DELTA,
	} {
		t.Run(preference, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
			var mu sync.Mutex
			var got []*metricspb.Metric
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				var request collector.ExportMetricsServiceRequest
				if err := proto.Unmarshal(body, &request); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				for _, process := range request.GetResourceMetrics() {
					if len(process.GetResource().GetAttributes()) == 0 {
						t.Error("metrics of no process")
					}
					for _, scope := range process.GetScopeMetrics() {
						got = append(got, scope.GetMetrics()...)
					}
				}
			}))
			defer server.Close()
			tel, err := Setup(t.Context(), Config{OTLP: OTLP{Endpoint: server.URL, Signals: []string{SignalMetrics}}}, Options{Role: "gateway", Scraped: true})
			if err != nil {
				t.Fatal(err)
			}
			counter, err := tel.Meter.Meter("test").Int64Counter("things", metric.WithUnit("{thing}"))
			if err != nil {
				t.Fatal(err)
			}
			counter.Add(t.Context(), 3)
			page := httptest.NewRecorder()
			tel.Metrics().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			tel.Shutdown()
			if text := page.Body.String(); !strings.Contains(text, "\nthings_total 3\n") || strings.Count(text, "\ntarget_info{") != 1 {
				t.Errorf("Prometheus got %s", text)
			}
			mu.Lock()
			defer mu.Unlock()
			seen := 0
			for _, m := range got {
				if sum := m.GetSum(); m.GetName() == "things" {
					if seen++; sum.GetAggregationTemporality() != want || sum.GetDataPoints()[0].GetAsInt() != 3 {
						t.Errorf("the collector got %v", m)
					}
				}
			}
			if seen != 1 {
				t.Errorf("the collector heard of it %d times", seen)
			}
		})
	}
}

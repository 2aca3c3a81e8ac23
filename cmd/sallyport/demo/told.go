package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"sallyport.dev/telemetry"
)

// ErrCollector means that what the demo tells of itself cannot be sent as asked.
var ErrCollector = errors.New("demo: telemetry cannot be sent there")

// told is what the two roles tell of themselves.
type told struct{ gateway, connector *telemetry.Telemetry }

// flushEvery is how long a span waits for others: whoever looks at a backend wants to see a call soon.
const flushEvery = time.Second

// tell has both roles send all they can to a collector, if there is one.
func tell(cfg Config) (t told, err error) {
	if cfg.Collector == "" {
		return t, nil
	}
	telemetry.Quiet()
	for role, at := range map[string]**telemetry.Telemetry{roleGateway: &t.gateway, roleConnector: &t.connector} {
		*at, err = telemetry.Setup(context.Background(), telemetry.Config{
			OTLP: telemetry.OTLP{
				Endpoint: cfg.Collector, Signals: []string{telemetry.SignalTraces, telemetry.SignalMetrics, telemetry.SignalLogs}, Flush: flushEvery,
			},
			Metrics: telemetry.Metrics{Names: true, Every: 5 * time.Second},
		}, telemetry.Options{Role: role, Version: cfg.Version, Instance: rand.Text(), Log: slog.New(cfg.collectorLog()).With("role", role)})
		if err != nil {
			t.shutdown()
			return t, fmt.Errorf("%w: %w", ErrCollector, err)
		}
	}
	return t, nil
}

// collectorLog gets what there is to say of the collector.
func (c *Config) collectorLog() slog.Handler {
	if c.CollectorLog == nil {
		return slog.DiscardHandler
	}
	return c.CollectorLog
}

// shutdown sends what still waits.
func (t *told) shutdown() {
	var crew sync.WaitGroup
	for _, role := range []*telemetry.Telemetry{t.gateway, t.connector} {
		if role != nil {
			crew.Go(role.Shutdown)
		}
	}
	crew.Wait()
}

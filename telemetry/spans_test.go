package telemetry

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// slowly is a collector that takes its time, and notes how many spans come at once.
type slowly struct {
	takes time.Duration

	mu      sync.Mutex // guards uploads
	uploads []int
}

func (*slowly) Start(context.Context) error { return nil }
func (*slowly) Stop(context.Context) error  { return nil }

func (c *slowly) UploadTraces(_ context.Context, sent []*tracepb.ResourceSpans) error {
	time.Sleep(c.takes)
	n := 0
	for _, process := range sent {
		wire, err := proto.Marshal(process)
		if err != nil {
			return err
		}
		read := new(tracepb.ResourceSpans)
		if err := proto.Unmarshal(wire, read); err != nil {
			return err
		}
		for _, scoped := range read.GetScopeSpans() {
			n += len(scoped.GetSpans())
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uploads = append(c.uploads, n)
	return nil
}

// TestBatchesWaitForTheirTime: what comes while a batch is on its way waits for the next time, however long that takes.
func TestBatchesWaitForTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &slowly{takes: 3 * time.Millisecond}
		s := newSpans(c, newQueue(SignalTraces, slog.New(slog.DiscardHandler)), 200*time.Millisecond, time.Second, resource.Empty(), "v")
		const many = 1000
		for range many {
			s.add([]byte{8, 1})
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		c.mu.Lock()
		if n := len(c.uploads); n < 4 || n > 5 {
			t.Errorf("%d uploads in a second, every 200 ms: %v", n, c.uploads)
		}
		c.mu.Unlock()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		sum := 0
		for _, n := range c.uploads {
			sum += n
		}
		if sum != many {
			t.Errorf("%d of %d spans were sent: %v", sum, many, c.uploads)
		}
	})
}

// TestFullBatchesGoAtOnce: nobody waits for the next time with them.
func TestFullBatchesGoAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(slowly)
		s := newSpans(c, newQueue(SignalTraces, slog.New(slog.DiscardHandler)), time.Hour, time.Second, resource.Empty(), "v")
		for range 2*batchSize + 1 {
			s.add([]byte{8, 1})
			synctest.Wait()
		}
		if !slices.Equal(c.uploads, []int{batchSize, batchSize}) {
			t.Errorf("%v were sent", c.uploads)
		}
		if err := s.Shutdown(t.Context()); err != nil || !slices.Equal(c.uploads, []int{batchSize, batchSize, 1}) {
			t.Errorf("%v were sent in the end, %v", c.uploads, err)
		}
	})
}

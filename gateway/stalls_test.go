package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/tunnel"
)

// stuckWriter is an agent that reads nothing: Write blocks until the deadline
// that the watch sets.
type stuckWriter struct {
	http.ResponseWriter
	once sync.Once
	cut  chan struct{}
}

func newStuckWriter() *stuckWriter { return &stuckWriter{cut: make(chan struct{})} }

func (w *stuckWriter) Write([]byte) (int, error) {
	<-w.cut
	return 0, os.ErrDeadlineExceeded
}

func (w *stuckWriter) FlushError() error { return nil }

func (w *stuckWriter) SetWriteDeadline(time.Time) error {
	w.once.Do(func() { close(w.cut) })
	return nil
}

// stall begins a write that makes no progress, and returns when it was cut.
func stall(s *stalls) (cut <-chan time.Time) {
	done := make(chan time.Time, 1)
	w := newStuckWriter()
	out := &agentWriter{w: w, control: http.NewResponseController(w)}
	out.flow = s.watch(out.control)
	go func() {
		defer s.unwatch(out.flow)
		if _, err := out.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			panic("a stuck write succeeded")
		}
		done <- time.Now()
	}()
	return done
}

func TestStalledAnswerIsCutAfterThirtySeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStalls(1 << 30)
		go s.run(t.Context())
		start := time.Now()
		took := (<-stall(s)).Sub(start)
		if took < stallCut || took > stallCut+2*stallLook {
			t.Errorf("cut after %s", took)
		}
	})
}

func TestIdleAnswerIsNeverCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStalls(0)
		w := newStuckWriter()
		f := s.watch(http.NewResponseController(w))
		defer s.unwatch(f)
		f.begin()
		f.end()
		go s.run(t.Context())
		select {
		case <-w.cut:
			t.Error("an idle answer was cut")
		case <-time.After(10 * time.Minute):
		}
	})
}

func TestBudgetShedsTheOldestFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStalls(2 * tunnel.StreamWindow) // two may stall
		go s.run(t.Context())
		start := time.Now()
		var cuts []<-chan time.Time
		for range 3 {
			cuts = append(cuts, stall(s))
			time.Sleep(10 * time.Millisecond)
		}
		first := (<-cuts[0]).Sub(start)
		if first > stalledFrom+2*stallLook {
			t.Errorf("the oldest of three was cut after %s", first)
		}
		for _, cut := range cuts[1:] {
			if took := (<-cut).Sub(start); took < stallCut {
				t.Errorf("one within the budget was cut after %s", took)
			}
		}
	})
}

// TestWriteWithoutDeadlineIsBounded: net/http's last flush has no other bound.
func TestWriteWithoutDeadlineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := newPipeConns()
		defer there.Close()
		c := &countedConn{Conn: here, release: newWeighted(1)}
		defer func() { _ = c.Close() }()
		start := time.Now()
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != writeTimeout {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		go func() { _, _ = io.CopyN(io.Discard, there, 1) }()
		if _, err := c.Write([]byte("y")); err != nil {
			t.Errorf("a later write has no fresh deadline: %v", err)
		}
		// A deadline from above counts, and is not replaced.
		for _, set := range []func(time.Time) error{c.SetWriteDeadline, c.SetDeadline} {
			start = time.Now()
			_ = set(start.Add(time.Second))
			if _, err := c.Write([]byte("z")); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("%v after %s", err, time.Since(start))
			}
			_ = set(time.Time{})
		}
	})
}

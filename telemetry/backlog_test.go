package telemetry

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// heard is what a backlog has told of.
type heard struct {
	mu    sync.Mutex // guards calls
	calls []int
}

func (h *heard) tell(call int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, call)
}

func (h *heard) all() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.calls)
}

func TestBacklogTellsWithin5ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(heard)
		b := NewBacklog(slog.New(slog.DiscardHandler), h.tell)
		for round := range 3 { // the timer is set anew each time
			b.Add(3 * round)
			time.Sleep(3 * time.Millisecond)
			b.Add(3*round + 1)
			b.Add(3*round + 2)
			if got := h.all(); len(got) != 3*round {
				t.Fatalf("after 3 ms: %v", got)
			}
			time.Sleep(2*time.Millisecond + 1)
			synctest.Wait()
			if got := h.all(); len(got) != 3*round+3 || !slices.IsSorted(got) {
				t.Fatalf("after 5 ms: %v", got)
			}
		}
		b.Add(9)
		b.Flush()
		if got := h.all(); len(got) != 10 {
			t.Errorf("after Flush: %v", got)
		}
		time.Sleep(time.Second)
		b.Flush()
		if got := h.all(); len(got) != 10 {
			t.Errorf("a call was told of again: %v", got)
		}
	})
}

// TestBacklogIsBounded: whoever adds one call too many tells of all.
func TestBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(heard)
		b := NewBacklog(slog.New(slog.DiscardHandler), h.tell)
		for i := range backlogSize - 1 {
			b.Add(i)
		}
		if got := h.all(); len(got) != 0 {
			t.Errorf("%d calls were told of at once", len(got))
		}
		b.Add(backlogSize - 1)
		if got := h.all(); len(got) != backlogSize || !slices.IsSorted(got) {
			t.Errorf("%d of %d calls were told of", len(got), backlogSize)
		}
	})
}

// TestBacklogOfMany: from many at once, each call is told of once, and those of one in their order.
func TestBacklogOfMany(t *testing.T) {
	const each, many = 2000, 8
	h := new(heard)
	b := NewBacklog(slog.New(slog.DiscardHandler), h.tell)
	var crew sync.WaitGroup
	for who := range many {
		crew.Go(func() {
			for i := range each {
				b.Add(who*each + i)
				if i%500 == 499 {
					b.Flush()
				}
			}
		})
	}
	crew.Wait()
	b.Flush()
	got := h.all()
	if len(got) != many*each {
		t.Fatalf("%d of %d calls", len(got), many*each)
	}
	var next [many]int
	for _, call := range got {
		if who, i := call/each, call%each; next[who] != i {
			t.Fatalf("call %d of %d came when %d was next", i, who, next[who])
		}
		next[call/each]++
	}
}

// TestBacklogSurvivesAPanic: the others are told of.
func TestBacklogSurvivesAPanic(t *testing.T) {
	h, log := new(heard), new(bytes.Buffer)
	b := NewBacklog(slog.New(slog.NewTextHandler(log, nil)), func(call int) {
		if call%3 == 0 {
			panic("no such thing")
		}
		h.tell(call)
	})
	for i := range 8 {
		b.Add(i)
	}
	b.Flush()
	if got := h.all(); !slices.Equal(got, []int{1, 2, 4, 5, 7}) {
		t.Errorf("told of %v", got)
	}
	if text := log.String(); strings.Count(text, "could not be told of") != 3 || !strings.Contains(text, "no such thing") || !strings.Contains(text, "TestBacklogSurvivesAPanic") {
		t.Errorf("the log says %s", text)
	}
}

// TestBacklogLetsGo: what was told of is not held until as many calls come again.
func TestBacklogLetsGo(t *testing.T) {
	b := NewBacklog(slog.New(slog.DiscardHandler), func(*int) {})
	for range 100 {
		b.Add(new(int))
	}
	b.Flush()
	if slices.ContainsFunc(b.spare[:cap(b.spare)], func(call *int) bool { return call != nil }) {
		t.Error("calls are held")
	}
}

// TestBacklogIsClosed: what comes too late to wait is told of at once.
func TestBacklogIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(heard)
		b := NewBacklog(slog.New(slog.DiscardHandler), h.tell)
		b.Add(1)
		b.Close()
		if got := h.all(); !slices.Equal(got, []int{1}) {
			t.Errorf("told of %v", got)
		}
		b.Add(2)
		if got := h.all(); !slices.Equal(got, []int{1, 2}) {
			t.Errorf("told of %v", got)
		}
	})
}

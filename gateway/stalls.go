package gateway

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/tunnel"
)

const (
	stallLook   = time.Second      // how often the flows are looked at
	stalledFrom = time.Second      // a write this old counts against the budget
	stallCut    = 30 * time.Second // a write this old is cut
)

// stalls watches the answers that are being written to agents. One that makes
// no progress for 30 s is cut; and while more are stalled than the budget of
// buffered bytes allows (each may hold a stream window), the oldest go first.
type stalls struct {
	budget int64 // bytes

	mu    sync.Mutex // guards flows
	flows map[*flow]struct{}
}

// flow is one answer on its way to an agent.
type flow struct {
	since atomic.Int64 // when the write that is under way began, Unix nanoseconds; 0 while none is
	cut   func()       // makes that write fail
}

func (f *flow) begin() { f.since.Store(time.Now().UnixNano()) }
func (f *flow) end()   { f.since.Store(0) }

func newStalls(budget int64) *stalls {
	return &stalls{budget: budget, flows: make(map[*flow]struct{})}
}

func (s *stalls) watch(control *http.ResponseController) *flow {
	f := &flow{cut: func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) }}
	s.mu.Lock()
	s.flows[f] = struct{}{}
	s.mu.Unlock()
	return f
}

func (s *stalls) unwatch(f *flow) {
	s.mu.Lock()
	delete(s.flows, f)
	s.mu.Unlock()
}

// run looks every second until ctx ends.
func (s *stalls) run(ctx context.Context) {
	ticker := time.NewTicker(stallLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			s.look(now)
		}
	}
}

type stalledFlow struct {
	*flow
	since int64
}

// look cuts what has stalled for too long, and the oldest of the rest while
// they are too many. A cut holds the lock, so that no flow that has ended, and
// whose connection serves another request, is ever cut.
func (s *stalls) look(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stalled []stalledFlow
	for f := range s.flows {
		since := f.since.Load()
		if since == 0 {
			continue
		}
		switch age := now.Sub(time.Unix(0, since)); {
		case age >= stallCut:
			f.cut()
		case age >= stalledFrom:
			stalled = append(stalled, stalledFlow{f, since})
		}
	}
	excess := len(stalled) - int(s.budget/tunnel.StreamWindow)
	if excess <= 0 {
		return
	}
	slices.SortFunc(stalled, func(a, b stalledFlow) int { return cmp.Compare(a.since, b.since) })
	for _, f := range stalled[:excess] {
		f.cut()
	}
}

package provider

import (
	"context"
	"sync"
	"time"
)

// taskTimeout is how long one thing that is asked of a provider may take, from the name's resolution to the last byte.
const taskTimeout = 5 * time.Second

// tasks are the things that are under way.
type tasks struct {
	mu      sync.Mutex // guards what follows
	closed  bool
	running map[*context.CancelFunc]struct{}
	crew    sync.WaitGroup
}

// begin gives the context of a task: it ends with parent, after [taskTimeout], and with close, which waits until end is
// called. After close there are no tasks.
func (t *tasks) begin(parent context.Context) (ctx context.Context, end func(), ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, nil, false
	}
	ctx, cancel := context.WithTimeoutCause(parent, taskTimeout, failSlow)
	if t.running == nil {
		t.running = make(map[*context.CancelFunc]struct{})
	}
	t.running[&cancel] = struct{}{}
	t.crew.Add(1)
	return ctx, func() {
		cancel()
		t.mu.Lock()
		delete(t.running, &cancel)
		t.mu.Unlock()
		t.crew.Done()
	}, true
}

func (t *tasks) close() {
	t.mu.Lock()
	t.closed = true
	for cancel := range t.running {
		(*cancel)()
	}
	t.mu.Unlock()
	t.crew.Wait()
}

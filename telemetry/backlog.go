package telemetry

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

const (
	backlogDelay = 5 * time.Millisecond // until a call that has ended is told of
	backlogSize  = 256                  // calls that have ended and are yet to be told of
)

// Backlog holds calls that have ended until they are told of, some at a time: a call's line, measurements and spans take half as much of
// a processor that has just done the same for another. A call waits for 5 ms, or until 256 are there. It is safe for
// concurrent use.
type Backlog[T any] struct {
	log  *slog.Logger
	tell func(T)

	telling sync.Mutex // held while calls are told of, in the order in which they came

	mu     sync.Mutex // guards what follows
	calls  []T
	spare  []T
	timer  *time.Timer
	closed bool
}

// NewBacklog returns an empty backlog of calls that tell tells of, one at a time. If it panics the call is lost, and log says so.
func NewBacklog[T any](log *slog.Logger, tell func(T)) *Backlog[T] {
	return &Backlog[T]{log: log, tell: tell}
}

// Add takes a call, which must not be changed any more. It waits only if there are too many, or none shall wait any more.
func (b *Backlog[T]) Add(call T) {
	if b.add(call) {
		b.Flush()
	}
}

// add reports whether those that wait must be told of now.
func (b *Backlog[T]) add(call T) (now bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
	switch {
	case b.closed || len(b.calls) >= backlogSize:
		return true
	case len(b.calls) > 1: // the first has set the timer
	case b.timer == nil:
		b.timer = time.AfterFunc(backlogDelay, b.Flush)
	default:
		b.timer.Reset(backlogDelay)
	}
	return false
}

// Close tells of all calls that were added, and has those that still come told of at once. Whoever adds calls closes the backlog before
// what they are told to.
func (b *Backlog[T]) Close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.Flush()
}

// Flush tells of all calls that were added before.
func (b *Backlog[T]) Flush() {
	b.telling.Lock()
	defer b.telling.Unlock()
	calls := b.take()
	for done := 0; done < len(calls); done++ {
		b.some(calls, &done)
	}
	clear(calls)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spare = calls
}

// take takes the calls that wait.
func (b *Backlog[T]) take() (calls []T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.timer != nil {
		b.timer.Stop()
	}
	calls, b.calls, b.spare = b.calls, b.spare[:0], nil
	return calls
}

// some tells of calls, until one of them makes it panic: nobody is above who could be told, and other calls must go on.
func (b *Backlog[T]) some(calls []T, done *int) {
	defer func() {
		if cause := recover(); cause != nil {
			b.log.Error("a call that has ended could not be told of", KeyError, fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
	}()
	for ; *done < len(calls); *done++ {
		b.tell(calls[*done])
	}
}

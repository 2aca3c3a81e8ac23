package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// scope names what records, as the instrumentation scope of spans and metrics.
const scope = "sallyport.dev"

// spans gathers those that have ended, as they are sent, and hands them to a client of OTLP, batch by batch. It does what the SDK's
// batch processor does, without an object for each span and attribute, and without waking anybody for each span.
type spans struct {
	client  otlptrace.Client
	queue   *queue
	flush   time.Duration // how long a span waits for others
	timeout time.Duration // of one batch, in all
	about   []byte        // the process, as a field of ResourceSpans
	scope   []byte        // who records, as a field of ScopeSpans, with which all batches begin

	mu     sync.Mutex // guards what follows
	open   batch
	full   []batch // to be sent
	spare  []byte  // of a batch that was sent
	closed bool

	wake  chan struct{} // a batch is full
	stop  chan struct{}
	ended chan struct{}
}

// batch is some spans, as the fields of ScopeSpans.
type batch struct {
	wire []byte
	n    int
}

// newSpans starts to send spans of a process.
func newSpans(client otlptrace.Client, q *queue, flush, timeout time.Duration, about *resource.Resource, version string) *spans {
	var who []byte
	who = appendText(who, scopeName, scope)
	who = appendText(who, scopeVersion, version)
	who = appendAttributes(who, scopeAttributes, []attribute.KeyValue{attribute.String("sallyport.conventions", Conventions)})
	s := &spans{
		client: client, queue: q, flush: flush, timeout: timeout,
		about: appendMessage(nil, resourceSpansResource, appendAttributes(nil, resourceAttributes, about.Attributes())),
		scope: appendMessage(nil, scopeSpansScope, who),
		wake:  make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	s.take()
	go s.send()
	return s
}

// add takes a span, unless there is no room.
func (s *spans) add(fields []byte) {
	if !s.queue.admit() {
		return
	}
	if s.append(fields) {
		select {
		case s.wake <- struct{}{}:
		default: // it has been woken
		}
	}
}

// append reports whether a batch is full.
func (s *spans) append(fields []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		s.queue.lost(1)
		return false
	}
	s.open.wire = appendMessage(s.open.wire, scopeSpansSpans, fields)
	if s.open.n++; s.open.n < batchSize {
		return false
	}
	s.full = append(s.full, s.take())
	return true
}

// take takes the open batch, and opens another. The lock is held.
func (s *spans) take() batch {
	b := s.open
	s.open = batch{wire: append(s.spare[:0], s.scope...)}
	s.spare = nil
	return b
}

// send sends batches as they fill, and what there is every now and then, until the end.
func (s *spans) send() {
	defer close(s.ended)
	tick := time.NewTicker(s.flush)
	defer tick.Stop()
	for over := false; !over; {
		select {
		case <-s.wake:
		case <-tick.C:
			s.cut()
		case <-s.stop:
			s.cut()
			over = true
		}
		for b := s.next(); b.n > 0; b = s.next() {
			s.sendBatch(b)
		}
	}
}

// cut has the open batch sent as it is. What comes while that goes on waits for others again.
func (s *spans) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open.n > 0 {
		s.full = append(s.full, s.take())
	}
}

// next takes a batch that is to be sent. There is none if it is empty.
func (s *spans) next() (b batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.full) > 0 {
		b = s.full[0]
		s.full = s.full[1:]
	}
	return b
}

// sendBatch sends one. It never fails: what was not taken is counted.
func (s *spans) sendBatch(b batch) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	s.queue.send(ctx, b.n, func(ctx context.Context) error {
		scoped := new(tracepb.ScopeSpans)
		scoped.ProtoReflect().SetUnknown(b.wire) // fields as they are on the wire, which the client need not write any more
		all := &tracepb.ResourceSpans{ScopeSpans: []*tracepb.ScopeSpans{scoped}}
		all.ProtoReflect().SetUnknown(s.about)
		return s.client.UploadTraces(ctx, []*tracepb.ResourceSpans{all})
	})
	if cap(b.wire) > maxSpare {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spare = b.wire
}

// maxSpare bounds what is kept for another batch, in bytes.
const maxSpare = 1 << 20

// Shutdown sends what there is. Nothing is taken any more.
func (s *spans) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	stopped := s.closed
	s.closed = true
	s.mu.Unlock()
	if !stopped {
		close(s.stop)
	}
	select {
	case <-s.ended:
		return s.client.Stop(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

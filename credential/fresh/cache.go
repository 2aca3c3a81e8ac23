package fresh

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sallyport.dev/credential/watch"
)

const (
	fetchTimeout = 30 * time.Second // for one fetch, whoever waits for it
	failedFor    = time.Second      // how long a failure stands, so that a source that is down is not asked by each call
	maxFetches   = 64               // fetches at once
	sweepEvery   = time.Minute      // at most; there is no sweep without a new key
	idleFor      = 15 * time.Minute // after which a value that nobody has asked for is dropped
)

// Lifetime says how long a value may be given out, counted from when its fetch began.
type Lifetime struct {
	// Refresh is when the value is fetched again while it is still given out. 0: only when it has expired.
	Refresh time.Duration
	// Expire is when it is given out no more. 0: it is not kept at all, and goes to those alone that waited for it.
	Expire time.Duration
}

// FetchFunc brings the value of a key. old is the value that is kept, valid or not, or V's zero value: whoever can renew
// it instead of making another returns old itself.
type FetchFunc[K, V comparable] func(ctx context.Context, key K, old V) (V, Lifetime, error)

// Cache keeps values by key. Make it with [New]. It is safe for concurrent use. V is mostly a pointer to what does not
// change any more.
type Cache[K, V comparable] struct {
	fetch FetchFunc[K, V]
	most  int
	drop  func(K, V)
	slots chan struct{}
	ended chan struct{} // closed by Close: ends all fetches

	mu      sync.Mutex // guards what follows
	entries map[K]*entry[V]
	crew    sync.WaitGroup
	closed  bool
	swept   time.Time
}

// entry is what is known of one key.
type entry[V any] struct {
	value   V
	set     bool
	refresh time.Time
	expire  time.Time
	used    time.Time

	err     error         // of the last fetch, if that failed
	retry   time.Time     // when a failure does not stand any more
	pending chan struct{} // closed when the fetch that is under way has ended; nil if none is
}

// ErrFull means that the cache keeps as many values as it may, all of them valid.
var ErrFull = errors.New("fresh: too many values are kept")

// ErrLate means that a value was valid for less time than its fetch took.
var ErrLate = errors.New("fresh: the value had expired before it came")

// ErrClosed means that the cache was closed.
var ErrClosed = errors.New("fresh: closed")

// New returns a cache of at most so many values. fetch gets a context that ends after 30 s or with the cache, not with a
// caller's. drop, which may be nil, is called with each value that is given out no more, replaced ones included, without
// locks held.
func New[K, V comparable](most int, fetch FetchFunc[K, V], drop func(K, V)) *Cache[K, V] {
	return &Cache[K, V]{
		fetch: fetch, most: most, drop: drop, slots: make(chan struct{}, maxFetches), ended: make(chan struct{}),
		entries: make(map[K]*entry[V]),
	}
}

// Get returns the value of a key: the one that is kept, or, if there is none that is valid, that of a fetch that this call
// waits for as long as its context allows.
func (c *Cache[K, V]) Get(ctx context.Context, key K) (V, error) {
	var none V
	for {
		c.mu.Lock()
		e, now := c.entries[key], time.Now()
		switch {
		case c.closed:
			c.mu.Unlock()
			return none, ErrClosed
		case e == nil:
			if e = c.admit(key, now); e == nil {
				c.mu.Unlock()
				return none, ErrFull
			}
		case e.set && now.Before(e.expire):
			value := e.value
			e.used = now
			if !e.refresh.IsZero() && !now.Before(e.refresh) && e.pending == nil && !now.Before(e.retry) {
				c.begin(key, e)
			}
			c.mu.Unlock()
			return value, nil
		case e.pending == nil && e.err != nil && now.Before(e.retry):
			err := e.err
			c.mu.Unlock()
			return none, err
		}
		e.used = now
		if e.pending == nil {
			c.begin(key, e)
		}
		pending := e.pending
		c.mu.Unlock()
		watch.Asking(ctx)
		select {
		case <-pending:
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
		if value, err, ok := c.outcome(e); ok {
			return value, err
		}
	}
}

// outcome returns what a fetch has brought, also if that is valid for no time at all: to those that waited for it.
func (c *Cache[K, V]) outcome(e *entry[V]) (value V, err error, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.err != nil {
		return value, e.err, true
	}
	return e.value, nil, e.set
}

// admit makes room for a key, and its entry; nil if there is no room. c.mu is held.
func (c *Cache[K, V]) admit(key K, now time.Time) *entry[V] {
	if len(c.entries) >= c.most || now.Sub(c.swept) > sweepEvery {
		c.sweep(now)
	}
	if len(c.entries) >= c.most {
		return nil
	}
	e := new(entry[V])
	c.entries[key] = e
	return e
}

// sweep forgets what has expired or is not asked for. c.mu is held.
func (c *Cache[K, V]) sweep(now time.Time) {
	c.swept = now
	for key, e := range c.entries {
		valid := now.Before(e.expire) && now.Sub(e.used) < idleFor
		if e.pending == nil && !valid && !now.Before(e.retry) {
			c.forget(key, e)
		}
	}
}

// forget drops an entry. c.mu is held.
func (c *Cache[K, V]) forget(key K, e *entry[V]) {
	delete(c.entries, key)
	if e.set {
		c.dropLater(key, e.value)
	}
}

// dropLater calls drop without the lock. c.mu is held.
func (c *Cache[K, V]) dropLater(key K, value V) {
	if c.drop == nil {
		return
	}
	c.crew.Go(func() { c.drop(key, value) })
}

// begin starts a fetch. c.mu is held.
func (c *Cache[K, V]) begin(key K, e *entry[V]) {
	pending, old := make(chan struct{}), e.value
	e.pending = pending
	c.crew.Go(func() {
		defer close(pending)
		value, lifetime, began, err := c.run(key, old)
		c.mu.Lock()
		defer c.mu.Unlock()
		e.pending = nil
		now := time.Now()
		switch {
		case err != nil:
			e.err, e.retry = err, now.Add(failedFor)
			return
		case c.closed:
			e.err = ErrClosed
			if value != old {
				c.dropLater(key, value)
			}
			return
		}
		c.keep(key, e, value, lifetime, began)
		if lifetime.Expire > 0 && !now.Before(e.expire) {
			e.err, e.retry = ErrLate, now.Add(failedFor)
		}
	})
}

// keep puts a value in the place of the one before it. c.mu is held.
func (c *Cache[K, V]) keep(key K, e *entry[V], value V, lifetime Lifetime, began time.Time) {
	if e.set && value != e.value {
		c.dropLater(key, e.value)
	}
	e.err, e.value, e.set = nil, value, true
	e.expire, e.refresh = began.Add(lifetime.Expire), time.Time{}
	if lifetime.Refresh > 0 {
		e.refresh = began.Add(lifetime.Refresh)
	}
}

// run fetches within its time, and not with too many others.
func (c *Cache[K, V]) run(key K, old V) (value V, lifetime Lifetime, began time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout) // longer than the call that begins it
	defer cancel()
	go func() {
		select {
		case <-c.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return value, lifetime, began, fmt.Errorf("fresh: wait for other fetches: %w", context.Cause(ctx))
	}
	began = time.Now()
	value, lifetime, err = c.fetch(ctx, key, old)
	return value, lifetime, began, err
}

// Peek returns the value that is kept of a key, valid or not, or V's zero value. It fetches nothing.
func (c *Cache[K, V]) Peek(key K) (value V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil {
		value = e.value
	}
	return value
}

// Forget makes the next Get of a key fetch anew if its value is still stale, for whoever has found out that it is not
// accepted any more.
func (c *Cache[K, V]) Forget(key K, stale V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[key]; e != nil && e.set && e.value == stale {
		e.expire, e.refresh = time.Time{}, time.Time{}
	}
}

// Close ends all fetches, drops all values and waits for that. No value is given out any more.
func (c *Cache[K, V]) Close() {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.ended)
		for key, e := range c.entries {
			c.forget(key, e)
		}
	}
	c.mu.Unlock()
	c.crew.Wait()
}

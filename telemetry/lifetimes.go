package telemetry

import (
	"hash/maphash"
	"sync"
	"time"
)

// What [Lifetimes] remembers.
const (
	maxLifetimes = 16384
	idleLifetime = time.Hour   // without a sign of life, after which something has ended when it gave the last one
	sweepEvery   = time.Minute // they are looked through
)

// Lifetimes measures how long things lived that say when they begin, mostly not when they end, and give signs of life in
// between, such as the sessions of a protocol without connections. What is kept beside each is handed to ended with its time.
// It remembers 16,384 at once: for one more, one that has given no sign of life for long is taken for ended. It is safe for concurrent use.
type Lifetimes[V any] struct {
	ended func(V, time.Duration)

	seed maphash.Seed

	mu    sync.Mutex              // guards what follows
	alive map[uint64]*lifetime[V] // by a hash of the name, which may be long
	swept time.Time
}

type lifetime[V any] struct {
	value       V
	began, last time.Time
}

// NewLifetimes has a function called for each thing that has ended. It must not block.
func NewLifetimes[V any](ended func(V, time.Duration)) *Lifetimes[V] {
	return &Lifetimes[V]{ended: ended, seed: maphash.MakeSeed(), alive: make(map[uint64]*lifetime[V])}
}

// Begin notes that something begins now.
func (l *Lifetimes[V]) Begin(name string, value V) {
	now := time.Now()
	for _, gone := range l.begin(maphash.String(l.seed, name), value, now) {
		l.ended(gone.value, gone.last.Sub(gone.began))
	}
}

func (l *Lifetimes[V]) begin(name uint64, value V, now time.Time) (gone []*lifetime[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.swept) >= sweepEvery {
		l.swept = now
		for other, t := range l.alive {
			if now.Sub(t.last) >= idleLifetime {
				gone = append(gone, t)
				delete(l.alive, other)
			}
		}
	}
	if _, known := l.alive[name]; !known && len(l.alive) >= maxLifetimes {
		other := l.idlest()
		gone = append(gone, l.alive[other])
		delete(l.alive, other)
	}
	l.alive[name] = &lifetime[V]{value: value, began: now, last: now}
	return gone
}

// looked is among how many one is chosen to make room. The order of a map is anybody's guess.
const looked = 16

// idlest is, of a few, the one without a sign of life for the longest.
func (l *Lifetimes[V]) idlest() (found uint64) {
	seen := 0
	var last time.Time
	for name, t := range l.alive {
		if seen == 0 || t.last.Before(last) {
			found, last = name, t.last
		}
		if seen++; seen == looked {
			break
		}
	}
	return found
}

// Alive is a sign of life.
func (l *Lifetimes[V]) Alive(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.alive[maphash.String(l.seed, name)]; t != nil {
		t.last = time.Now()
	}
}

// End notes that something ends now. What is not known is not measured.
func (l *Lifetimes[V]) End(name string) {
	key := maphash.String(l.seed, name)
	l.mu.Lock()
	t := l.alive[key]
	delete(l.alive, key)
	l.mu.Unlock()
	if t != nil {
		l.ended(t.value, time.Since(t.began))
	}
}

package dpop

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"time"

	"sallyport.dev/auth"
)

const (
	// keepFor is for how long a proof could be accepted again, by the clock that it was accepted with: one whose iat is a
	// window ahead is good until it is a window behind.
	keepFor = 2 * window
	// generationSpan is for how long a generation takes new proofs. It is forgotten whole, so that forgetting costs nothing.
	generationSpan = 20 * time.Second
	// shares is how many keys it takes, at least, to fill the memory: one caller alone cannot lock the others out.
	shares = 4
)

// mark stands for a proof or a key, by a hash that nobody finds a second preimage of.
type mark [16]byte

// memory knows the proofs that were accepted. It is bounded, and accepts none that it could not remember. Time is that of
// the monotonic clock: only if the wall clock is set back can a proof be accepted again, for as long as that, once it is
// forgotten. It is safe for concurrent use.
type memory struct {
	limit int

	mu          sync.Mutex // guards what follows
	generations []*generation
	held        int
	byKey       map[mark]int // how many of them each key has
}

type generation struct {
	begun time.Time
	used  map[mark]struct{}
	byKey map[mark]int
}

func newMemory(limit int) *memory {
	return &memory{limit: limit, byKey: make(map[mark]int)}
}

// add enters a proof by its key and its ID, if it is not there yet, and still good until last.
func (m *memory) add(thumbprint, id string, last time.Time) error {
	key, proof := markOf(thumbprint, ""), markOf(thumbprint, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if now.After(last) { // meanwhile: what forgets it must not be faster than who checks it
		return fmt.Errorf("%w: it has become too old", auth.ErrProof)
	}
	m.forget(now)
	for _, g := range m.generations {
		if _, used := g.used[proof]; used {
			return fmt.Errorf("%w: it was used before", auth.ErrProof)
		}
	}
	if m.held >= m.limit || m.byKey[key] >= max(m.limit/shares, 1) {
		return fmt.Errorf("%w: too many proofs of the last two minutes are remembered", auth.ErrUnavailable)
	}
	g := m.current(now)
	g.used[proof] = struct{}{}
	g.byKey[key]++
	m.byKey[key]++
	m.held++
	return nil
}

// current gives the generation that takes new proofs. It needs mu held.
func (m *memory) current(now time.Time) *generation {
	if n := len(m.generations); n > 0 && now.Sub(m.generations[n-1].begun) < generationSpan {
		return m.generations[n-1]
	}
	g := &generation{begun: now, used: make(map[mark]struct{}), byKey: make(map[mark]int)}
	m.generations = append(m.generations, g)
	return g
}

// forget drops the generations of which no proof could be accepted again. It needs mu held.
func (m *memory) forget(now time.Time) {
	for len(m.generations) > 0 && now.Sub(m.generations[0].begun) >= generationSpan+keepFor {
		g := m.generations[0]
		m.generations = slices.Delete(m.generations, 0, 1)
		m.held -= len(g.used)
		for key, n := range g.byKey {
			if m.byKey[key] -= n; m.byKey[key] == 0 {
				delete(m.byKey, key)
			}
		}
	}
}

// markOf hashes a key and an ID. A thumbprint has no NUL, so that no two pairs are one.
func markOf(thumbprint, id string) mark {
	digest := sha256.Sum256([]byte(thumbprint + "\x00" + id))
	return mark(digest[:])
}

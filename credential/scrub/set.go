package scrub

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/secret"
)

const (
	activeFor = time.Hour // since a secret was last used
	maxTexts  = 1024      // secrets of one server that are looked for
	maxBytes  = 1 << 20   // and their bytes together
)

// Set holds the active secrets of one server: those that were used within an hour. It is safe for concurrent use. Beyond
// 1024 of them, or 1 MiB, those that have been unused for longest are let go.
type Set struct {
	mu      sync.RWMutex // guards active
	active  map[string]*use
	current atomic.Pointer[Scrubber] // nil: to be made
}

// use is when a secret was last used, in nanoseconds since the epoch.
type use struct{ last atomic.Int64 }

// NewSet returns an empty set.
func NewSet() *Set { return &Set{active: make(map[string]*use)} }

// Use makes a secret active from now.
func (s *Set) Use(v secret.Value) { s.use(v.Reveal()) }

// Pair makes active what Basic authentication makes of a user and a password (RFC 7617, section 2), and the password.
func (s *Set) Pair(user string, password secret.Value) {
	s.Use(password)
	s.use(user + ":" + password.Reveal())
}

func (s *Set) use(text string) {
	if text == "" {
		return
	}
	now := time.Now().UnixNano()
	s.mu.RLock()
	known := s.active[text]
	s.mu.RUnlock()
	if known != nil {
		known.last.Store(now)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known = s.active[text]; known == nil {
		known = new(use)
		s.active[text] = known
		s.current.Store(nil)
	}
	known.last.Store(now)
}

// Current returns what masks the secrets that are active now.
func (s *Set) Current() *Scrubber {
	if made := s.current.Load(); made != nil {
		return made
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if made := s.current.Load(); made != nil {
		return made
	}
	s.forget()
	texts := make([]string, 0, len(s.active))
	for text := range s.active {
		texts = append(texts, text)
	}
	slices.Sort(texts)
	made := newScrubber(texts)
	s.current.Store(made)
	return made
}

// forget lets go of what has not been used for long, and of what is too much. s.mu is held.
func (s *Set) forget() {
	type aged struct {
		text string
		last int64
	}
	oldest, all := time.Now().Add(-activeFor).UnixNano(), make([]aged, 0, len(s.active))
	for text, u := range s.active {
		all = append(all, aged{text, u.last.Load()})
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Compare(b.last, a.last) }) // the newest first
	bytes := 0
	for i, a := range all {
		bytes += len(a.text)
		if a.last < oldest || i >= maxTexts || bytes > maxBytes {
			delete(s.active, a.text)
		}
	}
}

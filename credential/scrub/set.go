package scrub

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/secret"
)

const (
	activeFor = time.Hour // since a secret was last used, if nothing says when it expires
	maxTexts  = 1024      // secrets of one server that are looked for
	maxBytes  = 1 << 20   // and their bytes together
	maxRecent = 32        // new secrets that are looked for beside the others, before all are put together
)

// Set holds the active secrets of one server: those that have not expired and were used within an hour. It is safe for
// concurrent use. Beyond 1024 of them, or 1 MiB, those that end first are let go, when there are 32 new ones.
type Set struct {
	mu      sync.RWMutex // guards what follows, but for the ends of what is active
	active  map[string]*activity
	settled *scanner // of those that are not in recent
	recent  []string
	current atomic.Pointer[Scrubber] // nil: to be made
}

// activity is until when a secret is looked for, in nanoseconds since the epoch.
type activity struct{ until atomic.Int64 }

// NewSet returns an empty set.
func NewSet() *Set { return &Set{active: make(map[string]*activity)} }

// Use makes a secret active for an hour from now.
func (s *Set) Use(v secret.Value) { s.use(v.Reveal(), time.Time{}) }

// UseUntil makes a secret active until it expires, or, if that is zero, for an hour from now.
func (s *Set) UseUntil(v secret.Value, expires time.Time) { s.use(v.Reveal(), expires) }

// Pair makes active what Basic authentication makes of a user and a password (RFC 7617, section 2), and the password.
func (s *Set) Pair(user string, password secret.Value) {
	s.Use(password)
	s.use(user+":"+password.Reveal(), time.Time{})
}

func (s *Set) use(text string, expires time.Time) {
	if text == "" {
		return
	}
	if expires.IsZero() {
		expires = time.Now().Add(activeFor)
	}
	until := expires.UnixNano()
	s.mu.RLock()
	known := s.active[text]
	s.mu.RUnlock()
	if known == nil {
		known = s.add(text)
	}
	if known.until.Load() < until {
		known.until.Store(until)
	}
}

// add takes a new secret in.
func (s *Set) add(text string) *activity {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.active[text]
	if known == nil {
		known = new(activity)
		s.active[text] = known
		s.recent = append(s.recent, text)
		s.current.Store(nil)
	}
	return known
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
	if len(s.recent) > maxRecent {
		s.forget()
		s.settled, s.recent = scannerOf(slices.Sorted(maps.Keys(s.active))), nil
	}
	made := newScrubber(slices.Sorted(maps.Keys(s.active)), s.settled, scannerOf(s.recent))
	s.current.Store(made)
	return made
}

// forget lets go of what has expired, and of what is too much. s.mu is held.
func (s *Set) forget() {
	type lasting struct {
		text  string
		until int64
	}
	now, all := time.Now().UnixNano(), make([]lasting, 0, len(s.active))
	for text, a := range s.active {
		all = append(all, lasting{text, a.until.Load()})
	}
	slices.SortFunc(all, func(a, b lasting) int { return cmp.Compare(b.until, a.until) }) // the longest first
	bytes := 0
	for i, a := range all {
		bytes += len(a.text)
		if a.until != 0 && a.until < now || i >= maxTexts || bytes > maxBytes {
			delete(s.active, a.text)
		}
	}
}

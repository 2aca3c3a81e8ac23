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
	activeFor = 24 * time.Hour // since a secret was last used, if nothing says when it expires
	maxTexts  = 1024           // secrets of one server that are looked for
	maxBytes  = 1 << 20        // and their bytes together
	maxRecent = 32             // new secrets that are looked for beside the others, before all are put together
)

// Set holds the active secrets of one server: those that have not expired, or were used within a day. It is safe for
// concurrent use. Beyond 1024 of them, or 1 MiB, those that end first are let go.
type Set struct {
	began   time.Time
	current atomic.Pointer[Scrubber] // nil: to be made
	making  sync.Mutex               // held while one is made, by one at a time

	mu      sync.RWMutex // guards what follows
	active  map[string]*use
	news    uint64    // how many secrets have become active
	recent  []string  // those that are not in settled
	settled *Scrubber // of all others; nil if there are none
}

// use is until when a secret is active, since the set began.
type use struct{ until atomic.Int64 }

// extend makes it no earlier.
func (u *use) extend(until int64) {
	for {
		now := u.until.Load()
		if now >= until || u.until.CompareAndSwap(now, until) {
			return
		}
	}
}

// NewSet returns an empty set.
func NewSet() *Set { return &Set{began: time.Now(), active: make(map[string]*use)} }

// Use makes a secret active for a day from now. One of more than 64 KiB is not looked for anywhere, and one that [Weak]
// finds fault with in headers and whole texts alone.
func (s *Set) Use(v secret.Value) { s.UseUntil(v, time.Time{}) }

// UseUntil makes a secret active, as [Set.Use] does, until it expires; zero is a day from now.
func (s *Set) UseUntil(v secret.Value, expires time.Time) {
	text, until := v.Reveal(), s.day()
	if !expires.IsZero() {
		until = int64(expires.Sub(s.began))
	}
	if known := s.touch([]byte(text), until); !known {
		s.admit(text, until)
	}
}

// day is a day from now.
func (s *Set) day() int64 { return int64(time.Since(s.began) + activeFor) }

// Pair makes active, as [Set.Use] does, what Basic authentication makes of a user and a password (RFC 7617, section 2), and
// the password.
func (s *Set) Pair(user string, password secret.Value) {
	s.Use(password)
	var memory [256]byte
	pair := append(append(append(memory[:0], user...), ':'), password.Reveal()...)
	if until := s.day(); !s.touch(pair, until) {
		s.admit(string(pair), until)
	}
}

// touch notes that a secret is used, if it is active. The lock is held meanwhile so that it does not expire just then.
func (s *Set) touch(text []byte, until int64) (known bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	u := s.active[string(text)]
	if u == nil {
		return false
	}
	u.extend(until)
	return true
}

// admit makes a secret active.
func (s *Set) admit(text string, until int64) {
	if text == "" || len(text) > maxLength {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.active[text]
	if u == nil {
		u = new(use)
		s.active[text] = u
		s.recent = append(s.recent, text)
		s.news++
		s.current.Store(nil)
	}
	u.extend(until)
	if len(s.active) >= 2*maxTexts {
		s.forget()
	}
}

// Current returns what masks the secrets that are active now.
func (s *Set) Current() *Scrubber {
	if made := s.current.Load(); made != nil {
		return made
	}
	s.making.Lock()
	defer s.making.Unlock()
	if made := s.current.Load(); made != nil {
		return made
	}
	recent, settled, all, news := s.snapshot()
	if all != nil {
		settled = newScrubber(all) // which takes long if there are many, and holds up no Use
	}
	made := newScrubber(recent)
	made.rest = settled
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = settled
	if s.news == news {
		s.current.Store(made)
	}
	return made
}

// snapshot returns the recent secrets and the scrubber of all others, and how many secrets have become active. If the recent
// have become many, they are all settled: the scrubber of all is then to be made.
func (s *Set) snapshot() (recent []string, settled *Scrubber, all []string, news uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if len(s.recent) <= maxRecent {
		return slices.Clone(s.recent), s.settled, nil, s.news
	}
	s.recent = nil
	return nil, nil, slices.Sorted(maps.Keys(s.active)), s.news
}

// forget lets go of what has expired or not been used for long, and of what is too much. s.mu is held.
func (s *Set) forget() {
	type lasting struct {
		text  string
		until int64
	}
	now, all := int64(time.Since(s.began)), make([]lasting, 0, len(s.active))
	for text, u := range s.active {
		all = append(all, lasting{text, u.until.Load()})
	}
	slices.SortFunc(all, func(a, b lasting) int { return cmp.Compare(b.until, a.until) }) // the longest first
	bytes := 0
	for i, a := range all {
		bytes += len(a.text)
		if a.until < now || i >= maxTexts || bytes > maxBytes {
			delete(s.active, a.text)
		}
	}
	s.recent = slices.DeleteFunc(s.recent, func(text string) bool { return s.active[text] == nil })
}

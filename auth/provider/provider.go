package provider

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	renewAfter = time.Minute      // how old a key set is when the next use of it fetches another in the background
	quietAfter = 2 * time.Minute  // how old it is when its next use waits for another, unless the last fetch failed
	staleAfter = time.Hour        // how old it is when it counts no more
	maxWaiting = 64               // calls that may wait for a fetch at once: a provider that hangs holds up no others
	fetchEvery = 30 * time.Second // from the beginning of one fetch to that of the next, whoever wants it
)

// Provider is one identity provider. Make it with [New]. It is safe for concurrent use.
type Provider struct {
	cfg       Config
	documents []string // none with a JWKSURL
	transport *http.Transport
	tasks     tasks
	slots     chan struct{} // for introspection requests
	rate      window        // of introspection requests
	born      time.Time

	known atomic.Pointer[known] // nil before the first good fetch
	next  atomic.Int64          // when the next fetch may begin, in ns since born
	waits atomic.Int64          // calls that wait for a fetch

	mu            sync.Mutex    // guards what follows
	flight        chan struct{} // closed when the fetch that is under way has ended; nil if none is
	told          int           // the number of keys that counted after the last fetch
	fetching      Trouble
	introspecting Trouble
}

// Trouble is what goes wrong. The zero value is that nothing does.
type Trouble struct {
	// Failure is what has gone wrong last, in words of this package: nothing of what was sent or received is in them.
	Failure string
	// Since is when the first failure of an unbroken row of them was met.
	Since time.Time
}

// Status is what an operator sees of a provider.
type Status struct {
	Issuer string
	// Keys is the number of keys that count; 0 before the first good fetch and an hour after the last.
	Keys int
	// Age is how long ago the last good fetch began; 0 if there was none.
	Age time.Duration
	// Fetch and Introspection say what is wrong with either.
	Fetch, Introspection Trouble
}

// Event tells of a change: another key set, or something else that goes wrong than before, or nothing any more.
type Event struct {
	Issuer string
	// Introspection tells events of introspection from those of the key set.
	Introspection bool
	// Keys is the number of keys that count now.
	Keys int
	// Failure is that of [Trouble].
	Failure string
}

// New returns a provider. It asks nobody for anything: what is fetched is fetched by use.
func New(cfg Config) (*Provider, error) {
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("auth/provider: %w", err)
	}
	p := &Provider{cfg: cfg, born: time.Now(), slots: make(chan struct{}, maxIntrospections)}
	if cfg.JWKSURL == "" {
		p.documents = documents(cfg.Issuer)
	}
	if p.cfg.Events == nil {
		p.cfg.Events = func(Event) {}
	}
	p.transport = newTransport(&p.cfg)
	return p, nil
}

// Close ends what is under way, and waits for that. Nothing is fetched any more: calls that would have to wait for it fail,
// the keys that are known count for as long as they would have.
func (p *Provider) Close() {
	p.next.Store(math.MaxInt64) // or who uses what is known would wait for a fetch that cannot begin
	p.tasks.close()
	p.transport.CloseIdleConnections()
}

// Status says how the provider does.
func (p *Provider) Status() Status {
	now := p.now()
	k := p.known.Load()
	s := Status{Issuer: p.cfg.Issuer, Keys: k.count(now)}
	if k != nil {
		s.Age = now - k.at
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s.Fetch, s.Introspection = p.fetching, p.introspecting
	return s
}

// now is the time since the provider was made, by the monotonic clock, which nobody sets back.
func (p *Provider) now() time.Duration { return time.Since(p.born) }

// note remembers how something went, and reports whether that is news.
func (t *Trouble) note(err error) (news bool) {
	before := t.Failure
	switch {
	case err == nil:
		*t = Trouble{}
	case before == "":
		*t = Trouble{err.Error(), time.Now()}
	default:
		t.Failure = err.Error()
	}
	return t.Failure != before
}

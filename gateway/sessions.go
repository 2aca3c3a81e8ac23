package gateway

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport.dev/tunnel"
)

// offlineAfter is how long a call waits for a connector before it is told that
// none is there.
const offlineAfter = 2 * time.Second

// maxSessions bounds the sessions of one connector: it keeps 8 at most, and as
// many again while they are replaced.
const maxSessions = 16

var (
	errOffline    = errors.New("gateway: no connector of the tunnel is attached")
	errNoServer   = errors.New("gateway: no attached connector serves this server")
	errCrowded    = errors.New("gateway: the tunnel has its full number of connectors")
	errSessionUp  = errors.New("gateway: the session is attached already")
	errNoInstance = errors.New("gateway: the connector that holds the MCP session is not attached")
)

// attached is one session whose connector has proved its tunnel.
type attached struct {
	*tunnel.Session
	tunnel   string
	instance string
	servers  map[string]bool
	bound    map[string]bool // servers whose MCP sessions live in this instance alone
	verifies []string        // issuers whose principals it accepts, by their own tokens alone; empty: our word is enough
	inFlight atomic.Int64
}

// leaving reports that the session has ended or is about to.
func (a *attached) leaving() bool {
	select {
	case <-a.Draining():
		return true
	case <-a.Done():
		return true
	default:
		return false
	}
}

// usable reports whether new calls may go to the session.
func (a *attached) usable() bool { return !a.leaving() && !a.Suspect() }

// sessions are the attached sessions by tunnel.
type sessions struct {
	mu       sync.Mutex // guards what follows
	byTunnel map[string][]*attached
	changed  chan struct{} // closed and replaced at every attach
	turn     int           // moves on with every look, so that equals take turns
}

func newSessions() *sessions {
	return &sessions{byTunnel: make(map[string][]*attached), changed: make(chan struct{})}
}

// add attaches a session, unless the tunnel has maxConnectors other instances.
func (s *sessions) add(a *attached, maxConnectors int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	instances := map[string]bool{a.instance: true}
	own := 1
	for _, other := range s.byTunnel[a.tunnel] {
		if other.Session == a.Session {
			return errSessionUp
		}
		if other.instance == a.instance {
			own++
		}
		if !other.leaving() {
			instances[other.instance] = true
		}
	}
	if maxConnectors > 0 && len(instances) > maxConnectors || own > maxSessions {
		return errCrowded
	}
	s.byTunnel[a.tunnel] = append(s.byTunnel[a.tunnel], a)
	close(s.changed)
	s.changed = make(chan struct{})
	return nil
}

// remove forgets a session.
func (s *sessions) remove(a *attached) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(s.byTunnel[a.tunnel], func(other *attached) bool { return other == a })
	if len(left) == 0 {
		delete(s.byTunnel, a.tunnel)
		return
	}
	s.byTunnel[a.tunnel] = left
}

// all returns every attached session.
func (s *sessions) all() []*attached {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*attached
	for _, of := range s.byTunnel {
		all = append(all, of...)
	}
	return all
}

// wanted is what a call needs of a session.
type wanted struct {
	route    route
	instance string // of the connector that is best, if it is there
	only     bool   // no other connector will do; so it is too where the server's MCP sessions are bound
}

// pick returns the usable session with the fewest calls in flight, of the
// wanted connector if it has one, and waits up to 2 s for one to attach.
func (s *sessions) pick(ctx context.Context, want wanted) (*attached, error) {
	a, _, err := s.find(want, nil)
	if err == nil || errors.Is(err, errNoServer) {
		return a, err
	}
	over := time.NewTimer(offlineAfter)
	defer over.Stop()
	tick := time.NewTicker(offlineAfter / 10) // a suspect session may recover without an attach
	defer tick.Stop()
	for {
		a, changed, err := s.find(want, nil)
		if err == nil || errors.Is(err, errNoServer) {
			return a, err
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-over.C:
			return nil, err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// find looks once, past those that except names, if it is not nil. Besides the
// session it returns the channel that tells of the next attach.
func (s *sessions) find(want wanted, except func(*attached) bool) (*attached, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var best *attached
	others, serving, holding, only := 0, 0, 0, want.only
	s.turn++
	all := s.byTunnel[want.route.tunnel]
	for i := range all {
		a := all[(s.turn+i)%len(all)]
		usable := a.usable()
		if usable {
			others++
		}
		if !a.servers[want.route.server] {
			continue
		}
		serving++ // even if it cannot take a call now: the server exists
		if a.instance == want.instance {
			holding++
		} else if want.only || want.instance != "" && a.bound[want.route.server] {
			only = true
			continue
		}
		if usable && (except == nil || !except(a)) && (best == nil || want.prefers(a, best)) {
			best = a
		}
	}
	switch {
	case best != nil:
		return best, s.changed, nil
	case others > 0 && serving == 0:
		return nil, s.changed, errNoServer
	case only && holding == 0:
		return nil, s.changed, errNoInstance
	}
	return nil, s.changed, errOffline
}

// prefers reports whether a suits better than b.
func (w wanted) prefers(a, b *attached) bool {
	if w.instance != "" && a.instance != b.instance && (a.instance == w.instance || b.instance == w.instance) {
		return a.instance == w.instance
	}
	return a.inFlight.Load() < b.inFlight.Load()
}

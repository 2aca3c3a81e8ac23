package postgres

import (
	"context"
	"sync"
	"time"

	"sallyport.dev/mcp/database"
)

const (
	// maxPools is how many logins have connections at once.
	maxPools = 1024
	// maxIdle is how long a connection waits to be used again, and sweepEvery how often that is looked at.
	maxIdle    = time.Minute
	sweepEvery = 15 * time.Second
	// maxWait is how long a call waits for a connection that is in use.
	maxWait = 10 * time.Second
)

// pool is the connections of one login. Whoever holds one of its slots may take a link or make one, so that there are never
// more links than slots.
type pool struct {
	slots chan struct{}
	// users counts the calls that hold it, and used is when the last one left. The driver's lock guards both.
	users int
	used  time.Time

	// mu guards links, of which the last was used last.
	mu    sync.Mutex
	links []*link
}

// acquire waits for a slot.
func (p *pool) acquire(ctx context.Context, limit time.Duration) error {
	select {
	case p.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return database.Busy()
	}
}

func (p *pool) release() { <-p.slots }

// take returns the link that was used last, or nil if there is none that is ready.
func (p *pool) take() *link {
	for {
		p.mu.Lock()
		n := len(p.links)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		l := p.links[n-1]
		p.links[n-1] = nil
		p.links = p.links[:n-1]
		p.mu.Unlock()
		if l.ready() {
			return l
		}
		l.end()
	}
}

func (p *pool) put(l *link) {
	l.parked = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links = append(p.links, l)
}

// drop takes out the links that were put back before a time, and says whether any are left.
func (p *pool) drop(before time.Time) (out []*link, left bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.links) && p.links[n].parked.Before(before) {
		n++
	}
	out, p.links = p.links[:n:n], append([]*link(nil), p.links[n:]...)
	return out, len(p.links) > 0
}

// hold returns the pool of a login. Give it back by leave.
func (d *Driver) hold(as database.Login) (*pool, error) {
	var ended []*link
	defer func() { endAll(ended) }()
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.pools[as.Key]
	if p == nil {
		if len(d.pools) >= maxPools {
			key, oldest := "", (*pool)(nil)
			for k, other := range d.pools {
				if other.users == 0 && (oldest == nil || other.used.Before(oldest.used)) {
					key, oldest = k, other
				}
			}
			if oldest == nil {
				return nil, database.Busy()
			}
			delete(d.pools, key)
			ended = oldest.links // no call has it, and none can get it any more
		}
		p = &pool{slots: make(chan struct{}, d.options.MaxConnections)}
		d.pools[as.Key] = p
	}
	p.users++
	return p, nil
}

func (d *Driver) leave(p *pool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p.users--
	p.used = time.Now()
}

// sweep closes what nobody has used for a while, until the driver is closed.
func (d *Driver) sweep() {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-d.done:
			return
		case <-ticker.C:
			endAll(d.expire(time.Now().Add(-maxIdle)))
		}
	}
}

// expire takes out the links that were last used before a time, and the pools that are empty then.
func (d *Driver) expire(before time.Time) (out []*link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for key, p := range d.pools {
		links, left := p.drop(before)
		out = append(out, links...)
		if p.users == 0 && !left {
			delete(d.pools, key)
		}
	}
	return out
}

func endAll(links []*link) {
	for _, l := range links {
		l.end()
	}
}

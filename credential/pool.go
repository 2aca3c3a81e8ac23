package credential

import (
	"crypto/tls"
	"net/http"
	"sync"
	"time"
)

const (
	maxPools  = 1024        // sets of connections that are kept for one upstream
	poolFor   = time.Minute // how long one is kept without a request
	poolSweep = 10 * time.Second
)

// Pools keep the connections to one upstream apart: a request goes over one that has carried no other principal's, and
// none with other secrets. Make it with [NewPools]. It is safe for concurrent use.
type Pools struct {
	make func(*tls.Certificate) Conns

	mu    sync.Mutex // guards what follows
	pools map[poolKey]*pool
	swept time.Time
}

// Conns are connections to an upstream over which requests go: an *http.Transport.
type Conns interface {
	http.RoundTripper
	CloseIdleConnections()
}

type poolKey struct {
	who     Principal
	version Version
}

type pool struct {
	conns Conns
	used  time.Time
}

// NewPools returns pools of connections that newConns makes. Its argument is the certificate to show to the upstream, nil for
// none.
func NewPools(newConns func(*tls.Certificate) Conns) *Pools {
	return &Pools{make: newConns, pools: make(map[poolKey]*pool)}
}

// of returns the transport for a principal's requests with secrets of a version. certificate is asked when it is new.
func (p *Pools) of(who Principal, version Version, certificate func() (*tls.Certificate, error)) (http.RoundTripper, error) {
	key, now := poolKey{who, version}, time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	found := p.pools[key]
	if found == nil {
		p.sweep(now)
		shown, err := certificate()
		if err != nil {
			return nil, err
		}
		found = &pool{conns: p.make(shown)}
		p.pools[key] = found
	}
	found.used = now
	return found.conns, nil
}

// sweep closes what is not used any more, and, when there are too many, what has been unused for longest. Requests that
// are under way there end by themselves. p.mu is held.
func (p *Pools) sweep(now time.Time) {
	full := len(p.pools) >= maxPools
	if !full && now.Sub(p.swept) < poolSweep {
		return
	}
	p.swept = now
	var oldest poolKey
	for key, pool := range p.pools {
		if now.Sub(pool.used) > poolFor {
			p.drop(key)
			continue
		}
		if last := p.pools[oldest]; last == nil || pool.used.Before(last.used) {
			oldest = key
		}
	}
	if len(p.pools) >= maxPools {
		p.drop(oldest)
	}
}

func (p *Pools) drop(key poolKey) {
	p.pools[key].conns.CloseIdleConnections()
	delete(p.pools, key)
}

// Close closes all connections that carry no request.
func (p *Pools) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key := range p.pools {
		p.drop(key)
	}
}

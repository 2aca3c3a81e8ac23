package connector

import (
	"context"
	"math/rand/v2"
	"time"

	"sallyport.dev/tunnel"
)

const (
	backoffFirst   = 250 * time.Millisecond // the first bound of the delay between attempts, which doubles
	backoffLongest = 30 * time.Second       // its last bound
	healthyAfter   = 30 * time.Second       // a session this old resets the back-off
)

// backoff is a full-jitter exponential back-off: each delay is uniform between
// zero and a bound that doubles from 0.25 s to 30 s.
type backoff struct {
	bound   time.Duration
	hurried bool // the last session ended early, and was replaced without delay
}

// after returns how long to wait after a session that was attached for so
// long has ended with what it asks of us.
func (b *backoff) after(action tunnel.Action, attached time.Duration) time.Duration {
	if attached >= healthyAfter {
		b.reset()
	}
	switch action {
	case tunnel.AttachElsewhere:
		if !b.hurried {
			b.hurried = true // at once, but a gateway that only drains must not spin us
			return 0
		}
	case tunnel.BackOffLongest:
		b.longest()
	}
	return b.next()
}

// next returns how long to wait before the next attempt.
func (b *backoff) next() time.Duration {
	if b.bound == 0 {
		b.bound = backoffFirst
	}
	d := rand.N(b.bound) //nolint:gosec // jitter is no secret
	b.bound = min(2*b.bound, backoffLongest)
	return d
}

// around spreads d evenly over d ± a quarter, so that many connectors do not
// act at once.
func around(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2) } //nolint:gosec // jitter is no secret

// longest makes the following delays as long as they get.
func (b *backoff) longest() { b.bound = backoffLongest }

func (b *backoff) reset() { *b = backoff{} }

// sleep waits for d, and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

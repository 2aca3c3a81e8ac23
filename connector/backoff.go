package connector

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"sallyport.dev/tunnel"
)

const (
	backoffFirst   = 250 * time.Millisecond // the first bound of the delay between attempts, which doubles
	backoffLongest = 30 * time.Second       // its last bound
	healthyAfter   = 30 * time.Second       // a session this old resets the back-off
	drainingRetry  = 2 * time.Second        // the bound of the delay after a gateway said that it drains
	crowdedRetry   = 5 * time.Second        // and after it said that the tunnel has enough connectors
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

// afterFailure returns how long to wait after an attempt that failed. What
// passes by itself in a few seconds is asked again soon, and grows nothing.
func (b *backoff) afterFailure(err error) time.Duration {
	switch {
	case errors.Is(err, errDraining):
		return upTo(drainingRetry)
	case errors.Is(err, errCrowded):
		return upTo(crowdedRetry)
	case errors.Is(err, errRefused), actionOf(err) == tunnel.BackOffLongest:
		b.longest()
	}
	return b.next()
}

// upTo spreads a delay evenly between zero and d.
func upTo(d time.Duration) time.Duration { return rand.N(d) } //nolint:gosec // jitter is no secret

// next returns how long to wait before the next attempt.
func (b *backoff) next() time.Duration {
	if b.bound == 0 {
		b.bound = backoffFirst
	}
	d := upTo(b.bound)
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

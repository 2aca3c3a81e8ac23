package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
)

// Keys returns the keys that a signature may be verified with: those of a key id, or, for the empty one, all that allow the
// algorithm. They are not to be changed.
//
// A key that is not known makes one fetch, if none has begun in the last 30 s, and waits for it as long as ctx allows; one
// that is under way is waited for too. So does one that is known by a set that nobody has used for a while, since it may have
// been withdrawn meanwhile; if that fetch fails, the set counts on. The error wraps [auth.ErrInvalid] if the provider has no such key, by a set that
// counts, and [auth.ErrUnavailable] if there is no such set.
func (p *Provider) Keys(ctx context.Context, id, algorithm string) ([]jwk.Key, error) {
	now := p.now()
	k := p.known.Load()
	if !p.overdue(k, now) {
		p.renew(k, now)
		if found := k.find(id, algorithm, now); len(found) > 0 {
			return found, nil
		}
	}
	if err := p.await(ctx); err != nil {
		return nil, p.unavailable(err)
	}
	now = p.now()
	k = p.known.Load()
	if !k.counts(now) {
		return nil, p.unavailable(p.whyNone())
	}
	found := k.find(id, algorithm, now)
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: its issuer has no such key", auth.ErrInvalid)
	}
	return found, nil
}

// Current reports whether a key that [Provider.Keys] has given is still one of the provider's, by a set that counts. It
// waits for nothing: where a set has to be fetched first it reports false, and Keys waits.
func (p *Provider) Current(key jwk.Key) bool {
	now := p.now()
	k := p.known.Load()
	if p.overdue(k, now) {
		return false
	}
	p.renew(k, now)
	return k.has(key, now)
}

// overdue reports whether a set is so old that another should be there before it is used, and can be: none has failed since.
func (p *Provider) overdue(k *known, now time.Duration) bool {
	if k == nil || now-k.at <= quietAfter {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetching.Failure == "" && (p.flight != nil || now >= time.Duration(p.next.Load()))
}

// renew starts a fetch if it is time, and does not wait for it.
func (p *Provider) renew(k *known, now time.Duration) {
	if !k.due(now) || now < time.Duration(p.next.Load()) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
}

// await waits for the fetch that is under way, or for a new one if there may be one. It is no error if there may not, nor if
// it fails, nor if too many wait already: what is known then decides.
func (p *Provider) await(ctx context.Context) error {
	defer p.waits.Add(-1)
	if p.waits.Add(1) > maxWaiting {
		return nil
	}
	p.mu.Lock()
	p.begin()
	flight := p.flight
	p.mu.Unlock()
	if flight == nil {
		return nil
	}
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin starts a fetch, unless one is under way or it is too early. p.mu is held.
func (p *Provider) begin() {
	now := p.now()
	if p.flight != nil || now < time.Duration(p.next.Load()) {
		return
	}
	ctx, end, ok := p.tasks.begin(context.Background()) // longer than the call that begins it
	if !ok {
		return
	}
	p.next.Store(int64(now + fetchEvery))
	flight := make(chan struct{})
	p.flight = flight
	go func() {
		defer end()
		got, err := p.load(ctx, now)
		event, news := p.landed(got, err)
		close(flight)
		if news {
			p.cfg.Events(event)
		}
	}()
}

// landed keeps what a fetch has brought, and says what is new about it.
func (p *Provider) landed(got *known, err error) (event Event, news bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flight = nil
	if errors.Is(err, context.Canceled) { // by Close: that is nobody's failure
		return Event{}, false
	}
	news = p.fetching.note(err)
	if err == nil {
		news = !got.sameKeys(p.known.Load()) || news
		p.known.Store(got)
	}
	count := p.known.Load().count(p.now())
	news = news || count != p.told
	p.told = count
	return Event{Issuer: p.cfg.Issuer, Keys: count, Failure: p.fetching.Failure}, news
}

// whyNone says why there is no set that counts.
func (p *Provider) whyNone() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fetching.Failure == "" {
		return failClosed
	}
	return failure(p.fetching.Failure)
}

func (p *Provider) unavailable(err error) error {
	return fmt.Errorf("%w: fetch the keys of %s: %w", auth.ErrUnavailable, p.cfg.Issuer, err)
}

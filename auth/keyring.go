package auth

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxAssertionKeys is how many keys a gateway may have at once.
	maxAssertionKeys = 8
	// renewEvery is how often a gateway is asked for its keys again in the long run, and renewBurst how often at once.
	renewEvery = time.Second
	renewBurst = 5
)

// keyRing holds the assertion keys of one gateway, as it has given them over its session.
type keyRing struct {
	renew func(ctx context.Context) ([]ed25519.PublicKey, error)
	keys  atomic.Pointer[map[string]ringKey] // by name

	mu     sync.Mutex // held while the gateway is asked: who waits gets the same answer
	seldom *rate.Limiter
}

// ringKey is a key, and until when it counts: the one that signs has no end.
type ringKey struct {
	key   ed25519.PublicKey
	until time.Time
}

// known gives a key that counts.
func (r *keyRing) known(id string) (ed25519.PublicKey, bool) {
	k, ok := (*r.keys.Load())[id]
	return k.key, ok && (k.until.IsZero() || time.Now().Before(k.until))
}

func newKeyRing(keys []ed25519.PublicKey, renew func(ctx context.Context) ([]ed25519.PublicKey, error)) (*keyRing, error) {
	r := &keyRing{renew: renew, seldom: rate.NewLimiter(rate.Every(renewEvery), renewBurst)}
	return r, r.take(keys)
}

// take replaces the keys. The first one signs; the others were rotated out, and count for as long as the gateway gives them out,
// whether it is asked again or not.
func (r *keyRing) take(keys []ed25519.PublicKey) error {
	if len(keys) == 0 || len(keys) > maxAssertionKeys {
		return fmt.Errorf("auth: the gateway has given %d assertion keys: 1 to %d are allowed", len(keys), maxAssertionKeys)
	}
	named := make(map[string]ringKey, len(keys))
	for i, key := range keys {
		if len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("auth: the gateway's assertion key has %d bytes and needs %d", len(key), ed25519.PublicKeySize)
		}
		k := ringKey{key: slices.Clone(key)}
		if i > 0 {
			k.until = time.Now().Add(keyOverlap)
		}
		if _, twice := named[KeyID(key)]; !twice {
			named[KeyID(key)] = k
		}
	}
	r.keys.Store(&named)
	return nil
}

var errUnknownKey = fmt.Errorf("%w: the gateway has no key of that name", ErrInvalid)

// find gives the key of a name. The gateway is asked for one that is not known: it has a new one.
func (r *keyRing) find(ctx context.Context, id string) (ed25519.PublicKey, error) {
	if len(id) != keyIDBytes {
		return nil, errUnknownKey
	}
	if key, ok := r.known(id); ok {
		return key, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if key, ok := r.known(id); ok { // somebody else has asked meanwhile
		return key, nil
	}
	if r.renew == nil || ctx.Err() != nil || !r.seldom.Allow() {
		return nil, errUnknownKey
	}
	keys, err := r.renew(ctx)
	if err != nil {
		return nil, errors.Join(ErrInvalid, fmt.Errorf("ask the gateway for its keys: %w", err))
	}
	if err := r.take(keys); err != nil {
		return nil, errors.Join(ErrInvalid, err)
	}
	if key, ok := r.known(id); ok {
		return key, nil
	}
	return nil, errUnknownKey
}

package attack

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sallyport.dev/auth/providertest"
)

const (
	// keysAge is for how long keys are used before they are fetched anew (a minute), and what that takes.
	keysAge = 65 * time.Second
	// keysPause is the time between two fetches, whatever is asked for (half a minute), and what one takes.
	keysPause = 35 * time.Second
)

// turnings name the providers that change their keys.
func turnings() (names []string) {
	for _, p := range []proto{h1, h2} {
		names = append(names, "old "+string(p), "both "+string(p))
	}
	return names
}

// turningAttacks use a token whose key its provider has rotated out.
func turningAttacks() []attack {
	refused := want{status: 401, code: -32000, reason: "unauthenticated", hits: 1, check: checkChallenge}
	return []attack{
		{id: "23", what: "a token of a key that was rotated out, while no other token is seen: refused within 65 s", do: turn("old", keysAge), want: refused},
		{id: "23", what: "the same, while tokens of the new key are seen: refused within 35 s, and those are taken", do: turn("both", keysPause), want: refused},
	}
}

// turn rotates the keys of a provider, and calls once a second until the old token is refused.
func turn(name string, limit time.Duration) func(*testing.T, *rig, proto) (answer, error) {
	return func(_ *testing.T, r *rig, p proto) (a answer, err error) {
		provider := r.idp.turning[name+" "+string(p)]
		old := provider.Issue(r.claims(nil))
		if a, err = r.bearer(p, old); err != nil || a.status != 200 {
			return a, fmt.Errorf("the token before the rotation: status %d, %w", a.status, err)
		}
		provider.Rotate(false)
		fresh := provider.Issue(r.claims(nil))
		for begun := time.Now(); ; time.Sleep(time.Second) {
			if name == "both" {
				if _, err := r.bearer(p, fresh); err != nil {
					return a, err
				}
			}
			if a, err = r.bearer(p, old); err != nil || a.status == 401 {
				break
			}
			if time.Since(begun) > limit {
				return a, fmt.Errorf("after %s the old token has status %d", limit, a.status)
			}
		}
		if good, err := r.bearer(p, fresh); err != nil || good.status != 200 {
			return a, fmt.Errorf("the token of the new key: status %d, %w", good.status, err)
		}
		if n := provider.Count(providertest.JWKS); n != 2 {
			return a, fmt.Errorf("the keys were asked for %d times", n)
		}
		return a, err
	}
}

// bearer makes an honest call with a token.
func (r *rig) bearer(p proto, token string) (answer, error) {
	q := request{fields: []field{{"Authorization", "Bearer " + token}}}
	if p == h2 {
		return r.sendH2(context.Background(), q)
	}
	return r.sendH1(context.Background(), q)
}

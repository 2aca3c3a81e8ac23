package provider

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"slices"
	"time"

	"sallyport.dev/auth/jwk"
)

// known is what one fetch has brought. It does not change any more. All methods take a nil for nothing.
type known struct {
	keys          []jwk.Key
	byID          map[string][]jwk.Key
	introspection string        // the endpoint that the document names, if it was looked for
	at            time.Duration // when the fetch began, since the provider was made
}

// newKnown takes the keys that were there before as they were, so that [identical] finds them.
func newKnown(keys []jwk.Key, introspection string, at time.Duration, before *known) *known {
	k := &known{keys: keys, byID: make(map[string][]jwk.Key, len(keys)), introspection: introspection, at: at}
	for i := range keys {
		if same := before.like(keys[i]); same >= 0 {
			keys[i] = before.byID[keys[i].ID][same]
		}
		k.byID[keys[i].ID] = append(k.byID[keys[i].ID], keys[i])
	}
	return k
}

// counts reports whether it is young enough.
func (k *known) counts(now time.Duration) bool { return k != nil && now-k.at <= staleAfter }

// due reports whether it is time for another.
func (k *known) due(now time.Duration) bool { return k == nil || now-k.at > renewAfter }

// count is the number of keys that count.
func (k *known) count(now time.Duration) int {
	if !k.counts(now) {
		return 0
	}
	return len(k.keys)
}

// find returns the keys of an id, or all for the empty one, that an algorithm may be verified with.
func (k *known) find(id, algorithm string, now time.Duration) []jwk.Key {
	if !k.counts(now) {
		return nil
	}
	from := k.keys
	if id != "" {
		from = k.byID[id]
	}
	if len(from) == 1 && slices.Contains(from[0].Algorithms, algorithm) {
		return from[:1:1]
	}
	var found []jwk.Key
	for _, key := range from {
		if slices.Contains(key.Algorithms, algorithm) {
			found = append(found, key)
		}
	}
	return found
}

// has reports whether this very key is there, for the same algorithms.
func (k *known) has(key jwk.Key, now time.Duration) bool { return k.counts(now) && k.like(key) >= 0 }

// like is the index of a key among those of its id; -1 if it is not there.
func (k *known) like(key jwk.Key) int {
	if k == nil {
		return -1
	}
	return slices.IndexFunc(k.byID[key.ID], func(other jwk.Key) bool { return sameKey(key, other) })
}

// sameKeys reports whether a fetch has brought the same keys as the one before it, in whatever order.
func (k *known) sameKeys(before *known) bool {
	if before == nil || len(k.keys) != len(before.keys) {
		return false
	}
	return !slices.ContainsFunc(k.keys, func(key jwk.Key) bool { return before.like(key) < 0 })
}

func sameKey(a, b jwk.Key) bool {
	if a.ID != b.ID || !slices.Equal(a.Algorithms, b.Algorithms) {
		return false
	}
	public, ok := a.Public.(interface {
		Equal(other crypto.PublicKey) bool
	})
	return ok && (identical(a.Public, b.Public) || public.Equal(b.Public))
}

// identical is a quick look at whether two keys are one: comparing RSA keys takes longer than all else that is done for a
// request whose token is known.
func identical(a, b crypto.PublicKey) bool {
	switch a := a.(type) {
	case *rsa.PublicKey:
		b, ok := b.(*rsa.PublicKey)
		return ok && a == b
	case *ecdsa.PublicKey:
		b, ok := b.(*ecdsa.PublicKey)
		return ok && a == b
	}
	return false
}

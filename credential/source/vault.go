package source

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/secret"
)

const (
	maxSegment  = 128              // bytes of a principal's name in a path
	maxRevoking = 16               // leases that are given back at once
	leaseGrace  = 30 * time.Second // for calls that still use a lease, before it is given back
	revokeWaits = 3 * time.Second  // for Vault to take a lease back; the login comes after that, see Keeper.Close
	noLease     = 0
)

// vaultSource is fields of one path of Vault.
type vaultSource struct {
	keeper  *Keeper
	issuers map[string]string // their names
	ref     secret.Ref        // to the path, for errors and the log
	path    []string
	fields  []string
	known   int // how many segments do not depend on the principal
}

func newVaultSource(k *Keeper, ref secret.Ref) *vaultSource {
	path, field, _ := ref.Vault()
	s := &vaultSource{keeper: k, path: path, fields: []string{field}, known: len(path)}
	s.ref, s.issuers = k.nameOf(ref)
	if i := slices.IndexFunc(path, func(segment string) bool {
		return segment == secret.PrincipalIssuer || segment == secret.PrincipalSubject
	}); i >= 0 {
		s.known = i
	}
	return s
}

// nameOf returns the reference that stands for all to the same path, and the names of issuers.
func (k *Keeper) nameOf(ref secret.Ref) (first secret.Ref, issuers map[string]string) {
	segments, _, _ := ref.Vault()
	path := strings.Join(segments, "/")
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.named[path]; !ok {
		k.named[path] = ref
	}
	return k.named[path], k.issuers
}

// place is a path that is read for somebody, or for everybody.
type place struct {
	path  string
	known int
	ref   secret.Ref           // as it is configured
	who   credential.Principal // nobody where the path is everybody's
}

// reading is what was read at a place.
type reading struct {
	*vault.Reading
	version credential.Version
	granted time.Duration // when the lease was new
	stale   atomic.Bool   // it could not be replaced in time, which has been told
}

// Fetch implements credential.Source.
func (s *vaultSource) Fetch(ctx context.Context, who credential.Principal) (credential.Fetched, error) {
	at, err := s.place(who)
	if err != nil {
		return credential.Fetched{}, err
	}
	readings := s.keeper.shared
	if !at.who.IsZero() {
		readings = s.keeper.personal
	}
	r, err := readings.Get(ctx, at)
	if err != nil {
		return credential.Fetched{}, unavailable(fmt.Errorf("%s: %w", s.ref, err))
	}
	got := credential.Fetched{Version: r.version}
	for _, field := range s.fields {
		value := r.Data[field]
		if value.IsZero() {
			return credential.Fetched{}, unavailable(fmt.Errorf("%s: there is no field %s, or it is empty, or no text", s.ref, field))
		}
		if err := checkSize(s.ref, value); err != nil {
			return credential.Fetched{}, unavailable(err)
		}
		got.Values = append(got.Values, value)
	}
	return got, nil
}

// place puts the principal's names into the path. What could lead elsewhere, or mean something else to Vault or to whoever
// reads its log, is refused, and not changed: two names must never become one.
func (s *vaultSource) place(who credential.Principal) (place, error) {
	at := place{path: strings.Join(s.path, "/"), known: s.known, ref: s.ref}
	if s.known == len(s.path) {
		return at, nil
	}
	if who.IsZero() {
		return at, unavailable(fmt.Errorf("%s: it is a principal's own, and there is none", s.ref))
	}
	at.who = who
	path := slices.Clone(s.path)
	for i, segment := range path {
		switch segment {
		case secret.PrincipalIssuer:
			if path[i] = s.issuers[who.Issuer]; path[i] == "" { // what it is called itself could be another's name
				return at, unavailable(fmt.Errorf("%s: the principal's issuer has no name here; write issuers: with a name for it", s.ref))
			}
		case secret.PrincipalSubject:
			path[i] = who.Subject
			if !isSegment(who.Subject) {
				return at, unavailable(fmt.Errorf("%s: the principal's subject cannot stand in a path: it is empty, longer than %d bytes, begins or ends with a space, or holds a slash or another character with a meaning", s.ref, maxSegment))
			}
		}
	}
	at.path = strings.Join(path, "/")
	return at, nil
}

// isSegment reports whether a principal's name may stand as a segment of a path. Whatever somebody on the way could trim
// is refused too.
func isSegment(text string) bool {
	return text != "" && text != "." && text != ".." && len(text) <= maxSegment && utf8.ValidString(text) &&
		strings.TrimSpace(text) == text && !strings.ContainsAny(text, `/\#?%{}`) && !strings.ContainsFunc(text, unicode.IsControl)
}

// read is a fresh.FetchFunc: it renews the lease that there is, or reads anew.
func (k *Keeper) read(ctx context.Context, at place, old *reading) (*reading, fresh.Lifetime, error) {
	if old != nil && old.Lease != "" && old.Renewable {
		if left, ok := k.renew(ctx, at, old); ok {
			old.stale.Store(false)
			return old, leaseLifetime(left, old.Login), nil
		}
	}
	path := strings.Split(at.path, "/")
	got, err := k.vault.Read(ctx, path[:at.known], path)
	if err != nil {
		if old != nil {
			k.tellOnce(&old.stale, at.ref, err)
		}
		return nil, fresh.Lifetime{}, err
	}
	r := &reading{Reading: got, granted: got.Duration, version: versionOf(got)}
	if got.Lease == "" || got.Duration == noLease {
		ttl := k.cfg.Vault.TTL
		return r, fresh.Lifetime{Refresh: ttl * 4 / 5, Expire: ttl}, nil
	}
	return r, leaseLifetime(got.Duration, got.Login), nil
}

// renew renews a lease, as long as its login is the one of now, with which it ends, and as long as renewing it is worth it:
// near its longest life it is granted for less and less.
func (k *Keeper) renew(ctx context.Context, at place, r *reading) (left time.Duration, ok bool) {
	login, err := k.vault.Current(ctx)
	if err != nil || login != r.Login {
		return 0, false
	}
	left, err = k.vault.Renew(ctx, r.Reading)
	if err != nil {
		k.tell("a lease could not be renewed: another is taken", at.ref, err)
	}
	return left, err == nil && left > r.granted/3
}

// leaseLifetime renews at two thirds, and ends before the login does. One that has ended on its way is late for everybody.
func leaseLifetime(d time.Duration, login *vault.Login) fresh.Lifetime {
	d = max(1, min(d, time.Until(login.Expires())))
	return fresh.Lifetime{Refresh: d * 2 / 3, Expire: d}
}

// versionOf is that of all fields together.
func versionOf(r *vault.Reading) credential.Version {
	names := make([]string, 0, len(r.Data))
	for name := range r.Data {
		names = append(names, name)
	}
	slices.Sort(names)
	values := make([]secret.Value, 0, 2*len(names))
	for _, name := range names {
		values = append(values, secret.New(name), r.Data[name])
	}
	return credential.VersionOf(values...)
}

// giveBack returns a lease that is given out no more, when the calls that may still use it have had their time.
func (k *Keeper) giveBack(at place, r *reading) {
	if r.Lease == "" {
		return
	}
	timer := time.NewTimer(leaseGrace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-k.closing:
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeWaits)
	defer cancel()
	if err := k.revoke(ctx, r); err != nil {
		k.tell("a lease could not be given back: it ends by itself", at.ref, err)
	}
}

func (k *Keeper) revoke(ctx context.Context, r *reading) error {
	select {
	case k.revoking <- struct{}{}:
		defer func() { <-k.revoking }()
	case <-ctx.Done():
		return fmt.Errorf("wait for others: %w", ctx.Err())
	}
	return k.vault.Revoke(ctx, r.Reading)
}

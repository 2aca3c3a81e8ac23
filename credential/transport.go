package credential

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sallyport.dev/credential/watch"
	"sallyport.dev/secret"
)

// Transport puts the credentials of one upstream into requests on their way to it. It is an http.RoundTripper: one
// request, one response, no redirect is followed. For whom a request is made is in its context ([WithPrincipal]). Make it
// with [NewTransport]; it is safe for concurrent use.
type Transport struct {
	places [][]*held // those of one place together, in the order in which they are tried
	all    []*held   // in the order in which they were given
	pools  *Pools
	seen   func(v secret.Value, expires time.Time)
}

var _ http.RoundTripper = (*Transport)(nil)

// NewTransport returns a transport that sends over pools, which dial: so they see to it that the dialled address is
// allowed and that the certificate is valid for the host; they must not be proxies. Of several bindings for one place the
// first that covers the principal counts. seen, which may be nil, is called with each secret value before it leaves, and with when it expires if that is known.
func NewTransport(pools *Pools, bindings []Binding, seen func(v secret.Value, expires time.Time)) (*Transport, error) {
	t := &Transport{pools: pools, seen: seen}
	if t.seen == nil {
		t.seen = func(secret.Value, time.Time) {}
	}
	byPlace := make(map[string]int)
	for _, b := range bindings {
		if err := b.Validate(); err != nil {
			return nil, err
		}
		place := b.Injector.Place()
		i, known := byPlace[place]
		if !known {
			if err := t.checkNested(b.Injector); err != nil {
				return nil, err
			}
			i = len(t.places)
			byPlace[place] = i
			t.places = append(t.places, nil)
		}
		if known && isForAll(t.places[i][len(t.places[i])-1].Who) {
			return nil, fmt.Errorf("%w: two credentials for %s, and the first is for everybody; keep one, or write for: at the first", ErrConfig, place)
		}
		h := &held{Binding: b, number: len(t.all)}
		t.places[i], t.all = append(t.places[i], h), append(t.all, h)
	}
	slices.SortStableFunc(t.places, func(a, b []*held) int { return cmp.Compare(a[0].Injector.Order(), b[0].Injector.Order()) })
	return t, nil
}

// checkNested refuses a place in another one, and one that another is in: the two would overwrite each other.
func (t *Transport) checkNested(added Injector) error {
	for _, bindings := range t.places {
		if other := bindings[0].Injector; holds(other, added) || holds(added, other) {
			return fmt.Errorf("%w: two credentials, for %s and for %s, and one place is in the other; put them next to each other", ErrConfig, other.Place(), added.Place())
		}
	}
	return nil
}

func holds(outer, inner Injector) bool {
	n, ok := outer.(Nester)
	return ok && n.Holds(inner)
}

func isForAll(w Who) bool { return len(w.Issuers) == 0 }

// held is a binding with what is remembered of its values.
type held struct {
	Binding
	number int                 // among all
	age    atomic.Pointer[age] // nil before the first
}

// age is since when a version has been in use.
type age struct {
	version Version
	since   time.Time
}

// saw notes which version is in use.
func (h *held) saw(v Version) {
	if last := h.age.Load(); last == nil || last.version != v {
		h.age.Store(&age{v, time.Now()})
	}
}

// Since returns for each binding, in the order in which they were given, since when the values have been in use that were
// used last; the zero time if none have been. Where each principal has his own it says little.
func (t *Transport) Since() []time.Time {
	since := make([]time.Time, len(t.all))
	for i, h := range t.all {
		if last := h.age.Load(); last != nil {
			since[i] = last.since
		}
	}
	return since
}

// use is a binding that a request needs, with its values.
type use struct {
	*held
	got Fetched
}

// secrets are the values that nobody is to see.
func (u use) secrets() []secret.Value {
	if _, ok := u.Injector.(Presenter); ok {
		return u.got.Values[min(1, len(u.got.Values)):]
	}
	return u.got.Values
}

// RoundTrip implements http.RoundTripper. All destinations are checked and all secrets fetched before anything is put in;
// then each place is stripped and set on a clone, as the last change to it. When any of that fails the request is not
// sent, and the error matches [ErrDestination], [ErrUnavailable], [ErrUnusable] or [ErrChanged]. The request of the
// response is the caller's own, without credentials.
//
// An upstream that says that it refused an access token before it did anything (RFC 6750, section 3.1) gets the request
// once more, with another token.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	who := PrincipalFrom(r.Context())
	uses, err := t.collect(r, who)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	response, err := t.send(r, who, uses)
	if err != nil || !refusedToken(response) || !replayable(r) || !renew(uses, who) {
		return response, err
	}
	again, err := t.collect(r, who)
	if err != nil || sameValues(uses, again) {
		return response, nil //nolint:nilerr // the refusal is the answer then
	}
	repeated := r.Clone(r.Context())
	if r.GetBody != nil {
		if repeated.Body, err = r.GetBody(); err != nil {
			return response, nil //nolint:nilerr // as above
		}
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 4<<10)) // so that its connection can be used again
	_ = response.Body.Close()
	return t.send(repeated, who, again)
}

// collect finds what the request needs, checks where it goes and only then reads the secrets.
func (t *Transport) collect(r *http.Request, who Principal) ([]use, error) {
	uses, err := t.choose(who)
	if err != nil {
		return nil, err
	}
	for _, u := range uses {
		if err := u.Destination.Check(r); err != nil {
			return nil, err
		}
	}
	if err := fetch(r.Context(), who, uses); err != nil {
		return nil, err
	}
	return uses, checkVersion(r.Context(), uses)
}

// choose finds the binding for each place.
func (t *Transport) choose(who Principal) ([]use, error) {
	uses := make([]use, 0, len(t.places))
	for _, bindings := range t.places {
		i := slices.IndexFunc(bindings, func(h *held) bool { return h.Who.Covers(who) })
		if i < 0 {
			return nil, fmt.Errorf("%w: %s: none of its credentials is for this principal", ErrUnavailable, bindings[0].Injector.Place())
		}
		uses = append(uses, use{held: bindings[i]})
	}
	return uses, nil
}

// fetch reads the secrets.
func fetch(ctx context.Context, who Principal, uses []use) error {
	for i := range uses {
		got, err := watch.Over(ctx, uses[i].number, func() (Fetched, error) { return uses[i].Source.Fetch(ctx, who) })
		if err == nil && slices.ContainsFunc(got.Values, secret.Value.IsZero) {
			err = errors.New("it is empty")
		}
		if err != nil {
			if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrUnusable) {
				err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			return fmt.Errorf("%s: %w", uses[i].Injector.Place(), err)
		}
		uses[i].saw(got.Version)
		uses[i].got = got
	}
	return nil
}

// Version returns that of the credentials which requests for a principal carry now.
func (t *Transport) Version(ctx context.Context, who Principal) (Version, error) {
	uses, err := t.choose(who)
	if err != nil {
		return 0, err
	}
	if err := fetch(ctx, who, uses); err != nil {
		return 0, err
	}
	return versionOf(uses), nil
}

func versionOf(uses []use) (version Version) {
	for _, u := range uses {
		version = version.Join(u.got.Version)
	}
	return version
}

// send puts the values into a clone and sends that.
func (t *Transport) send(r *http.Request, who Principal, uses []use) (*http.Response, error) {
	armed := r
	if len(uses) > 0 {
		armed = r.Clone(r.Context())
		// A Connection field could name a credential's field, and the next hop would then delete what is put in here.
		deleteConnection(armed.Header)
	}
	for _, u := range uses {
		for _, value := range u.secrets() {
			t.seen(value, u.got.Expires)
		}
		if err := u.Injector.Inject(armed, u.got.Values); err != nil {
			closeBody(r)
			return nil, err
		}
	}
	next, err := t.pools.of(who, versionOf(uses), func() (*tls.Certificate, error) { return certificate(uses) })
	if err != nil {
		closeBody(r)
		return nil, err
	}
	response, err := next.RoundTrip(armed)
	if response != nil {
		response.Request = r
	}
	return response, err
}

// certificate makes the one that the upstream is to be shown; nil if there is none.
func certificate(uses []use) (*tls.Certificate, error) {
	for _, u := range uses {
		if p, ok := u.Injector.(Presenter); ok {
			return p.Certificate(u.got.Values)
		}
	}
	return nil, nil
}

func deleteConnection(h http.Header) {
	for name := range h {
		if strings.EqualFold(name, "Connection") {
			delete(h, name)
		}
	}
}

// refusedToken reports whether the upstream says that the access token was not accepted, and nothing done.
func refusedToken(response *http.Response) bool {
	if response.StatusCode != http.StatusUnauthorized {
		return false
	}
	return slices.ContainsFunc(response.Header["Www-Authenticate"], func(challenge string) bool {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(challenge), " ")
		return strings.EqualFold(scheme, "Bearer") && (strings.Contains(rest, `error="invalid_token"`) || strings.Contains(rest, "error=invalid_token"))
	})
}

// replayable reports whether the request can be made again, byte for byte.
func replayable(r *http.Request) bool {
	return r.Body == nil || r.Body == http.NoBody || r.GetBody != nil
}

// renew lets sources know that their values were refused, and reports whether one of them may have others.
func renew(uses []use, who Principal) (any bool) {
	for _, u := range uses {
		if source, ok := u.Source.(Renewer); ok {
			source.Renew(who, u.got)
			any = true
		}
	}
	return any
}

// sameValues reports whether two lists of the same bindings hold the same secrets.
func sameValues(a, b []use) bool {
	return slices.EqualFunc(a, b, func(a, b use) bool {
		return slices.EqualFunc(a.got.Values, b.got.Values, secret.Value.Equal)
	})
}

// closeBody keeps the promise of http.RoundTripper for a request that is not sent.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // nobody is left to tell
	}
}

package connector

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/scrub"
	"sallyport.dev/mcp"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

// What happens to a server that has sent a secret of its own back.
const (
	reflectionLog        = "log"
	reflectionQuarantine = "quarantine"
)

var errQuarantined = errors.New("connector: the server has sent a credential back and gets no more calls: find out why, then restart the connector or change the server's configuration")

// guard keeps the secrets of one server out of what its upstream answers.
type guard struct {
	log        *slog.Logger
	secrets    *scrub.Set
	users      []string // whose passwords are put in by Basic authentication
	quarantine bool
	hits       atomic.Int64 // secrets that were masked
	shut       atomic.Bool  // no more calls
	reflected  func()       // counts them
}

func newGuard(name string, cfg Server, log *slog.Logger) *guard {
	g := &guard{log: log.With(telemetry.KeyServer, name), secrets: scrub.NewSet(), quarantine: cfg.OnReflection == reflectionQuarantine, reflected: func() {}}
	for i := range cfg.Credentials {
		if basic := cfg.Credentials[i].Basic; basic != nil {
			g.users = append(g.users, basic.User)
		}
	}
	return g
}

// successor is the guard of a server that has another configuration now. The secrets that were in use may still come back,
// so it goes on to look for them, and those that calls under way use are looked for in both. If the server is the same
// itself, only not what it needs, the guard is too.
func (g *guard) successor(next *guard, same bool) *guard {
	if same {
		return g
	}
	next.secrets = g.secrets
	return next
}

// use makes a secret one to look for, until it expires if that is known.
func (g *guard) use(v secret.Value, expires time.Time) {
	g.secrets.UseUntil(v, expires)
	for _, user := range g.users {
		g.secrets.Pair(user, v)
	}
}

// closed reports whether the server gets no more calls.
func (g *guard) closed() bool { return g.shut.Load() }

// watch masks the secrets in an answer: in its head now, in its body as it is read. Weak secrets
// do not count: they stand in a header by chance, as 2026 does in a date. Trailers are not passed on at all. also is called with each hit.
func (g *guard) watch(ctx context.Context, resp *http.Response, also func()) {
	hit := func() {
		g.hit(ctx)
		also()
	}
	scrubber := g.secrets.Current()
	for range scrubber.Header(resp.Header) {
		hit()
	}
	resp.Body = scrub.NewReader(resp.Body, g.secrets, hit)
}

// hit counts a strong secret that was masked.
func (g *guard) hit(ctx context.Context) {
	g.reflected()
	total := g.hits.Add(1)
	if total&(total-1) == 0 { // the 1st, 2nd, 4th, 8th and so on
		g.log.WarnContext(ctx, "the server has sent a credential back, which was masked", "masked", total, "quarantined", g.quarantine,
			telemetry.KeyHint, "see what the server echoes; whoever can read its answers elsewhere may have the credential")
	}
	if g.quarantine {
		g.shut.Store(true)
	}
}

// mask masks a whole text, such as a line of a log.
func (g *guard) mask(text string) (masked string, hits int) { return g.secrets.Current().Text(text) }

// clean returns an error whose text and chain hold no secret. That the context ended stays testable, and so does what is
// ours: of an *mcp.Error only the cause is masked, since its other texts are fixed, and a gap in them would tell the secret.
// An error counts as no reflection: our own texts may hold a weak secret by chance.
func (g *guard) clean(err error) error {
	masked, hits := g.mask(err.Error())
	if hits == 0 {
		return err
	}
	if known, ok := errors.AsType[*mcp.Error](err); ok {
		cleaned := *known
		if known.Err != nil {
			cleaned.Err = g.clean(known.Err)
		}
		return &cleaned
	}
	cleaned := &maskedError{text: masked}
	for _, kept := range []error{context.Canceled, context.DeadlineExceeded, credential.ErrUnavailable, credential.ErrUnusable, credential.ErrDestination} {
		if errors.Is(err, kept) {
			cleaned.kept = append(cleaned.kept, kept)
		}
	}
	return cleaned
}

// maskedError is what is left of an error that held a secret.
type maskedError struct {
	text string
	kept []error
}

func (e *maskedError) Error() string { return e.text }

func (e *maskedError) Unwrap() []error { return e.kept }

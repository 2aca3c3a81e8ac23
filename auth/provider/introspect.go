package provider

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"sallyport.dev/auth"
)

const (
	maxIntrospections   = 16          // requests at once
	introspectionWindow = time.Second // and in any time as long as this
	introspectionRate   = 50          // there are at most so many
)

// Introspect asks the provider about a token (RFC 7662, section 2.1) and returns the body of its answer, at most 64 KiB of
// whatever: nothing of it has been looked at. There are at most 16 requests at once, and 50 in any second; no call waits
// for its turn. The error wraps [auth.ErrUnavailable].
func (p *Provider) Introspect(ctx context.Context, token string) ([]byte, error) {
	body, err := p.introspect(ctx, token)
	if err != nil {
		return nil, fmt.Errorf("%w: ask %s about a token: %w", auth.ErrUnavailable, p.cfg.Issuer, err)
	}
	return body, nil
}

func (p *Provider) introspect(parent context.Context, token string) ([]byte, error) {
	if p.cfg.Introspection == nil {
		return nil, errors.New("introspection is not configured")
	}
	ctx, end, ok := p.tasks.begin(parent)
	if !ok {
		return nil, failClosed
	}
	defer end()
	at, err := p.introspectionURL(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		return nil, failBusy
	}
	if !p.rate.admit(p.now()) {
		return nil, failBusy
	}
	body, err := p.post(ctx, at, token)
	if errors.Is(err, context.Canceled) || context.Cause(parent) != nil { // by the caller, or by Close: nobody's failure
		return body, err
	}
	p.answered(err)
	return body, err
}

// introspectionURL is what the configuration says, or else the document.
func (p *Provider) introspectionURL(ctx context.Context) (string, error) {
	if !p.asksDocument() {
		return p.cfg.Introspection.URL, nil
	}
	k := p.known.Load()
	p.renew(k, p.now())
	if !k.counts(p.now()) {
		if err := p.await(ctx); err != nil {
			return "", err
		}
		if k = p.known.Load(); !k.counts(p.now()) {
			return "", p.whyNone()
		}
	}
	if k.introspection == "" {
		return "", failNoIntrospection
	}
	return k.introspection, nil
}

// asksDocument reports whether the document has to name the endpoint.
func (p *Provider) asksDocument() bool {
	return p.cfg.Introspection != nil && p.cfg.Introspection.URL == ""
}

func (p *Provider) post(ctx context.Context, at, token string) ([]byte, error) {
	form := url.Values{"token": {token}, "token_type_hint": {"access_token"}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, failURL
	}
	client := p.cfg.Introspection
	shown := url.QueryEscape(client.ClientID) + ":" + url.QueryEscape(client.Secret.Reveal())
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(shown)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header["Idempotency-Key"] = []string{} // not sent: it lets net/http try again if a kept connection has ended
	body, err := p.ask(r)
	if errors.Is(err, statusError(http.StatusUnauthorized)) {
		return nil, failClient
	}
	return body, err
}

// answered remembers how a request went.
func (p *Provider) answered(err error) {
	p.mu.Lock()
	news := p.introspecting.note(err)
	event := Event{Issuer: p.cfg.Issuer, Introspection: true, Keys: p.known.Load().count(p.now()), Failure: p.introspecting.Failure}
	p.mu.Unlock()
	if news {
		p.cfg.Events(event)
	}
}

// window admits a number of requests in any time of a length.
type window struct {
	mu    sync.Mutex                       // guards what follows
	until [introspectionRate]time.Duration // when each of the last requests counts no more
	next  int                              // the oldest of them
}

// admit reports whether there may be a request now, and counts it if so.
func (w *window) admit(now time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now < w.until[w.next] {
		return false
	}
	w.until[w.next] = now + introspectionWindow
	w.next = (w.next + 1) % len(w.until)
	return true
}

package oidc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport.dev/auth"
)

const (
	// opaqueGood is for how long an issuer's yes to an opaque token counts, and so how long a revoked one still passes.
	opaqueGood = 60 * time.Second
	// opaqueBad is for how long its no counts.
	opaqueBad = 10 * time.Second
)

// refusal is an issuer's no.
type refusal struct {
	err   error
	until time.Time
}

// flight is a question about an opaque token that is under way. What it has brought is set before done is closed.
type flight struct {
	done    chan struct{}
	verdict *verdict
	err     error
	// abandoned says that who asked has left, so that the answer is nobody's.
	abandoned bool
}

// ask gives the verdict on an opaque token. Calls with the same token ask once.
func (v *Verifier) ask(ctx context.Context, token string, hash digest) (*verdict, error) {
	for {
		now := time.Now()
		if refused, ok := v.refused.Get(hash); ok && now.Before(refused.until) {
			return nil, refused.err
		}
		if known, ok := v.verdicts.Get(hash); ok && known.holds(now) { // since the caller looked
			return known, nil
		}
		mine, theirs := v.board(hash)
		if mine != nil {
			mine.verdict, mine.err = v.introspect(ctx, token, hash)
			mine.abandoned = ctx.Err() != nil
			v.land(hash, mine)
			return mine.verdict, mine.err
		}
		select {
		case <-theirs.done:
			if !theirs.abandoned {
				return theirs.verdict, theirs.err
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: the call ended before the answer about its token", auth.ErrUnavailable)
		}
	}
}

// board gives a new flight, or the one that is under way.
func (v *Verifier) board(hash digest) (mine, theirs *flight) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if f, ok := v.flights[hash]; ok {
		return nil, f
	}
	f := &flight{done: make(chan struct{})}
	v.flights[hash] = f
	return f, nil
}

func (v *Verifier) land(hash digest, f *flight) {
	v.mu.Lock()
	delete(v.flights, hash)
	v.mu.Unlock()
	close(f.done)
}

// introspect asks, and remembers a verdict or a refusal.
func (v *Verifier) introspect(ctx context.Context, token string, hash digest) (*verdict, error) {
	asked := time.Now()
	raw, err := v.asking.provider.Introspect(ctx, token)
	if err != nil {
		return nil, err
	}
	c, err := parseClaims(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s answers about a token what RFC 7662 does not know: %w", auth.ErrUnavailable, v.asking.name, err)
	}
	active, isBool := c.all["active"].(bool)
	if !isBool {
		return nil, fmt.Errorf("%w: %s answers about a token without saying whether it is active", auth.ErrUnavailable, v.asking.name)
	}
	delete(c.all, "active")
	verdict, err := v.asking.believe(c, active)
	if err != nil {
		v.refused.Put(hash, refusal{err, asked.Add(opaqueBad)})
		return nil, err
	}
	verdict.until = asked.Add(opaqueGood)
	v.verdicts.Put(hash, verdict)
	return verdict, nil
}

// believe judges an issuer's answer (RFC 7662 section 2.2). A token without sub is the client's own.
func (i *issuer) believe(c *claims, active bool) (*verdict, error) {
	switch {
	case !active:
		return nil, fmt.Errorf("%w: its issuer says that it is not active", auth.ErrInvalid)
	case c.issuer != "" && c.issuer != i.name:
		return nil, fmt.Errorf("%w: it is of another issuer", auth.ErrInvalid)
	case !isAccess(c.all["token_type"], "bearer", "dpop", "access_token"), !isAccess(c.all["token_use"], "access", "access_token"):
		return nil, fmt.Errorf("%w: its issuer says that it is no access token", auth.ErrInvalid)
	case c.subject == "":
		return i.judge(c, c.client)
	}
	return i.judge(c, c.subject)
}

// isAccess reports whether a member of the answer that says what a token is for, if it is there, has one of these values.
// Issuers answer about refresh tokens too (RFC 7662 section 2.1).
func isAccess(member any, values ...string) bool {
	text, ok := member.(string)
	return member == nil || ok && slices.Contains(values, strings.ToLower(text))
}

package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/credential/fresh"
	"sallyport.dev/secret"
)

const (
	keepForever = time.Hour       // how long a token that does not expire is used before it is looked up again
	keepUnknown = 5 * time.Minute // the same for one that may not look itself up
)

// Login is one token, and what hangs on it: when it ends, so do the leases that were taken with it.
type Login struct {
	token     secret.Value
	ours      bool          // we have logged in for it
	renewable bool          // of logIn alone, and so is the next
	granted   time.Duration // how long it was good when it was new

	expires  atomic.Int64 // in nanoseconds since the epoch
	leases   atomic.Int64 // that were taken with it and not given back
	refused  atomic.Bool  // it was forgotten, because it was refused
	replaced atomic.Bool  // nobody asks with it any more
}

// Expires is when the login ends, and all that hangs on it.
func (l *Login) Expires() time.Time { return time.Unix(0, l.expires.Load()) }

// life is how long the login is still good.
func (l *Login) life() time.Duration { return max(0, time.Until(l.Expires())) }

// last makes the login good for some time, and says when to think of it again.
func (l *Login) last(from time.Time, life time.Duration) fresh.Lifetime {
	l.expires.Store(from.Add(life).UnixNano())
	l.refused.Store(false)
	return lifetime(life)
}

// again forgets a login that was refused, and reports whether it is worth asking with the next. A policy that says no looks
// the same as a token that was revoked: whoever may call must not be able to make many logins.
func (c *Client) again(login *Login) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if login.refused.Load() {
		return true
	}
	now := time.Now()
	if !c.forced.IsZero() && now.Sub(c.forced) < againAfter {
		return c.logins.Peek(struct{}{}) != login
	}
	c.forced = now
	login.refused.Store(true)
	c.logins.Forget(struct{}{}, login)
	return true
}

// giveBack returns a login that was replaced, when the requests that may still use it have had their time. It waits for its
// last lease, see Revoke.
func (c *Client) giveBack(_ struct{}, l *Login) {
	if !l.ours {
		return
	}
	closing := false
	timer := time.NewTimer(loginGrace)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.closing:
		closing = true
	}
	l.replaced.Store(true)
	if !closing && l.leases.Load() > 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), revokeWaits)
	defer cancel()
	c.revoke(ctx, l)
}

// revoke returns a login. If that fails, it expires by itself.
func (c *Client) revoke(ctx context.Context, l *Login) {
	if l.ours && l.life() > 0 {
		_, _ = c.ask(ctx, l, http.MethodPost, "auth/token/revoke-self", struct{}{})
	}
}

// logIn is a fresh.FetchFunc: it renews the login that there is, or makes another.
func (c *Client) logIn(ctx context.Context, _ struct{}, old *Login) (*Login, fresh.Lifetime, error) {
	began := time.Now()
	if old != nil && old.renewable && old.life() > 0 {
		a, err := c.ask(ctx, old, http.MethodPost, "auth/token/renew-self", struct{}{})
		switch {
		case err == nil && a.Auth != nil && seconds(a.Auth.LeaseDuration) > old.granted/3: // near its longest life it gets less and less
			return old, old.last(began, seconds(a.Auth.LeaseDuration)), nil
		case err != nil && !isAnswered(err):
			return nil, fresh.Lifetime{}, err // what cannot be reached now cannot be logged in to either
		}
	}
	if !c.cfg.Auth.Token.IsZero() {
		return c.useToken(ctx, began, old)
	}
	mount, body, err := c.cfg.Auth.request()
	if err != nil {
		return nil, fresh.Lifetime{}, err
	}
	a, err := c.ask(ctx, nil, http.MethodPost, "auth/"+mount+"/login", body)
	switch {
	case isAnswered(err):
		return nil, fresh.Lifetime{}, fmt.Errorf("log in by %s: %w; see that the method is enabled there, and that role and secret are those that it knows", mount, err)
	case err != nil:
		return nil, fresh.Lifetime{}, fmt.Errorf("log in by %s: %w", mount, err)
	case a.Auth == nil || a.Auth.ClientToken == "":
		return nil, fresh.Lifetime{}, fmt.Errorf("log in by %s: %w: it has no token", mount, errAnswer)
	}
	life := seconds(a.Auth.LeaseDuration)
	if life == 0 {
		life = keepForever
	}
	l := &Login{token: secret.New(a.Auth.ClientToken), ours: true, renewable: a.Auth.Renewable, granted: life}
	return l, l.last(began, life), nil
}

// isAnswered reports whether an error is Vault's answer, and not that it could not be reached.
func isAnswered(err error) bool {
	return errors.Is(err, ErrRefused) || errors.Is(err, errNotFound) || errors.Is(err, errAnswer)
}

// useToken looks the configured token up. While that is the same it stays the same login: leases hang on it.
func (c *Client) useToken(ctx context.Context, began time.Time, old *Login) (*Login, fresh.Lifetime, error) {
	token, err := c.cfg.Auth.Token.Resolve()
	if err != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("vault: auth.token: %w", err)
	}
	l := old
	if old == nil || !old.token.Equal(token) {
		l = &Login{token: token}
	}
	a, err := c.ask(ctx, l, http.MethodGet, "auth/token/lookup-self", nil)
	if errors.Is(err, ErrRefused) { // it is not good, or may not do this: what it is used for will show
		l.renewable = false
		return l, l.last(began, keepUnknown), nil
	}
	if err != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("look the token up: %w", err)
	}
	var data struct {
		TTL       int64   `json:"ttl"` // 0 also for a token that does not expire
		Expires   *string `json:"expire_time"`
		Renewable bool    `json:"renewable"`
	}
	if json.Unmarshal(a.Data, &data) != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("look the token up: %w", errAnswer)
	}
	life := seconds(data.TTL)
	switch {
	case life == 0 && data.Expires != nil:
		return nil, fresh.Lifetime{}, fmt.Errorf("look the token up: %w: it has expired", errAnswer)
	case life == 0:
		life = keepForever
	}
	l.renewable = data.Renewable && data.TTL > 0
	l.granted = life
	return l, l.last(began, life), nil
}

// request is what a method wants to see.
func (a *Auth) request() (mount string, body map[string]string, err error) {
	resolve := func(ref secret.Ref) string {
		value, failed := ref.Resolve()
		if failed != nil {
			err = fmt.Errorf("vault: auth: %w", failed)
		}
		return value.Reveal()
	}
	switch {
	case a.AppRole != nil:
		mount, body = a.AppRole.Mount, map[string]string{"role_id": resolve(a.AppRole.RoleID), "secret_id": resolve(a.AppRole.SecretID)}
	case a.Kubernetes != nil:
		mount, body = a.Kubernetes.Mount, map[string]string{"role": a.Kubernetes.Role, "jwt": resolve(a.Kubernetes.JWT)}
	default:
		mount, body = a.JWT.Mount, map[string]string{"role": a.JWT.Role, "jwt": resolve(a.JWT.JWT)}
	}
	return mount, body, err
}

// lifetime renews at two thirds, and not more often than each second.
func lifetime(d time.Duration) fresh.Lifetime {
	return fresh.Lifetime{Refresh: max(time.Second, d*2/3), Expire: d}
}

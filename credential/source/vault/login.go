package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"

	"sallyport.dev/credential/fresh"
	"sallyport.dev/secret"
)

// keepForever is for how long a token is used that does not expire, before it is looked up again.
const keepForever = time.Hour

// Expires is when the login ends, and all that hangs on it.
func (l *Login) Expires() time.Time { return time.Unix(0, l.expires.Load()) }

// logIn is a fresh.FetchFunc: it renews the login that there is, or makes another.
func (c *Client) logIn(ctx context.Context, _ struct{}, old *Login) (*Login, fresh.Lifetime, error) {
	began := time.Now()
	if old != nil && old.renewable && old.life() > 0 {
		a, err := c.ask(ctx, old, http.MethodPost, "auth/token/renew-self", struct{}{})
		if err == nil && a.Auth != nil && seconds(a.Auth.LeaseDuration) > old.life()/3 {
			old.expires.Store(began.Add(seconds(a.Auth.LeaseDuration)).UnixNano()) // the same login, for longer
			return old, lifetime(seconds(a.Auth.LeaseDuration)), nil
		}
		if err != nil && !errors.Is(err, ErrRefused) {
			return nil, fresh.Lifetime{}, err // what cannot be reached now cannot be logged in to either
		}
	}
	if !c.cfg.Auth.Token.IsZero() {
		return c.useToken(ctx, began)
	}
	mount, body, err := c.cfg.Auth.request()
	if err != nil {
		return nil, fresh.Lifetime{}, err
	}
	a, err := c.ask(ctx, nil, http.MethodPost, "auth/"+mount+"/login", body)
	switch {
	case errors.Is(err, ErrRefused), errors.Is(err, errNotFound), errors.Is(err, errAnswer):
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
	l := &Login{token: secret.New(a.Auth.ClientToken), renewable: a.Auth.Renewable, ours: true}
	l.expires.Store(began.Add(life).UnixNano())
	return l, lifetime(life), nil
}

// life is how long the login is still good.
func (l *Login) life() time.Duration { return max(0, time.Until(l.Expires())) }

// useToken looks the configured token up.
func (c *Client) useToken(ctx context.Context, began time.Time) (*Login, fresh.Lifetime, error) {
	token, err := c.cfg.Auth.Token.Resolve()
	if err != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("vault: auth.token: %w", err)
	}
	l := &Login{token: token}
	a, err := c.ask(ctx, l, http.MethodGet, "auth/token/lookup-self", nil)
	if err != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("look the token up: %w", err)
	}
	var data struct {
		TTL       int64 `json:"ttl"`
		Renewable bool  `json:"renewable"`
	}
	if json.Unmarshal(a.Data, &data) != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("look the token up: %w", errAnswer)
	}
	life := seconds(data.TTL)
	if life == 0 {
		life = keepForever
	}
	l.renewable = data.Renewable && data.TTL > 0
	l.expires.Store(began.Add(life).UnixNano())
	return l, lifetime(life), nil
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

// lifetime renews at two thirds.
func lifetime(d time.Duration) fresh.Lifetime { return fresh.Lifetime{Refresh: d * 2 / 3, Expire: d} }

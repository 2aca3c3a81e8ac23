package oauth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"sallyport.dev/credential/fresh"
	"sallyport.dev/secret"
)

const (
	requestTimeout = 10 * time.Second
	maxAnswer      = 64 << 10         // bytes
	maxToken       = 16 << 10         // bytes; those that list a person's groups are long
	margin         = 10 * time.Second // a token is given out no more when it has less left
	unsaid         = 5 * time.Minute  // how long a token is kept that does not say when it expires
)

// answer is what a token endpoint has given.
type answer struct {
	access  secret.Value
	refresh secret.Value // unset if it gave none, or the same
	life    time.Duration
	said    bool // that it expires after life
}

// lifetime says how long the token is kept, counted from before it was asked for, elapsed ago.
func (a answer) lifetime(elapsed time.Duration) (fresh.Lifetime, error) {
	if !a.said {
		return fresh.Lifetime{Refresh: unsaid * 4 / 5, Expire: unsaid}, nil
	}
	expire := a.life - margin
	if expire <= elapsed {
		return fresh.Lifetime{}, fmt.Errorf("%w: the token expires within %s; let the authorization server issue longer ones", ErrAnswer, margin)
	}
	refresh := a.life / 5 * 4
	if refresh >= expire {
		refresh = expire / 5 * 4
	}
	return fresh.Lifetime{Refresh: refresh, Expire: expire}, nil
}

// ask makes one token request. params are the grant's own; what all grants have in common is added.
func (s *Source) ask(ctx context.Context, r roots, params url.Values) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	for _, value := range []secret.Value{r.clientSecret, r.refreshToken, r.subjectToken} {
		if !value.IsZero() {
			s.seen(value)
		}
	}
	for name, value := range s.cfg.Params {
		params.Set(name, value)
	}
	if s.cfg.Audience != "" {
		params.Set("audience", s.cfg.Audience)
	}
	if s.cfg.Resource != "" {
		params.Set("resource", s.cfg.Resource)
	}
	// The grant of clientcredentials is only its default: with another grant_type it makes that grant's request.
	request := clientcredentials.Config{
		ClientID: s.cfg.ClientID, ClientSecret: r.clientSecret.Reveal(), AuthStyle: oauth2.AuthStyleInParams,
		TokenURL: s.cfg.TokenURL, Scopes: s.cfg.Scopes, EndpointParams: params,
	}
	if s.cfg.Auth == authBasic {
		request.AuthStyle = oauth2.AuthStyleInHeader
	}
	guard := &guard{next: s.transport}
	client := &http.Client{Transport: guard, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	got, err := request.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	var refused *oauth2.RetrieveError
	switch {
	case guard.failure != nil:
		return answer{}, guard.failure
	case errors.As(err, &refused):
		return answer{}, refusal(refused)
	case err != nil: // its text may quote the answer
		return answer{}, fmt.Errorf("%w: it is not the JSON of RFC 6749, section 5.1, with an access_token", ErrAnswer)
	}
	return s.examine(got, params.Get("refresh_token"))
}

// examine checks a token that has come. sent is the refresh token that it was got with, if any.
func (s *Source) examine(got *oauth2.Token, sent string) (a answer, err error) {
	a.access = secret.New(got.AccessToken)
	if got.RefreshToken != sent {
		a.refresh = secret.New(got.RefreshToken)
	}
	id, _ := got.Extra("id_token").(string)
	for _, value := range []secret.Value{a.access, a.refresh, secret.New(id)} {
		if !value.IsZero() {
			s.seen(value)
		}
	}
	a.said = got.Extra("expires_in") != nil
	if !got.Expiry.IsZero() {
		a.life = time.Until(got.Expiry)
	}
	issued, _ := got.Extra("issued_token_type").(string)
	switch {
	case !strings.EqualFold(got.TokenType, "Bearer"):
		return a, fmt.Errorf("%w: token_type is not Bearer; let the authorization server issue bearer tokens to this client", ErrAnswer)
	case issued == typeRefreshToken || issued == typeSAML1 || issued == typeSAML2:
		return a, fmt.Errorf("%w: issued_token_type is not that of a bearer token; check requested_token_type", ErrAnswer)
	case len(got.AccessToken) > maxToken || !every([]byte(got.AccessToken), func(c byte) bool { return c > 0x20 && c < 0x7f }):
		return a, fmt.Errorf("%w: access_token is longer than %d KiB, or not visible ASCII", ErrAnswer, maxToken>>10)
	case len(got.RefreshToken) > maxToken || !every([]byte(got.RefreshToken), func(c byte) bool { return c >= 0x20 && c < 0x7f }):
		return a, fmt.Errorf("%w: refresh_token is longer than %d KiB, or not printable ASCII", ErrAnswer, maxToken>>10)
	}
	return a, nil
}

// guard lets nothing but a whole, bounded answer in JSON through, for the code above it accepts more. It serves one request.
type guard struct {
	next    http.RoundTripper
	failure error // why there is no answer
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := r.Clone(r.Context())
	asked.Header.Set("Accept", "application/json")
	asked.Header.Set("Accept-Encoding", "identity") // so that the bound is that of what is read
	response, err := g.next.RoundTrip(asked)
	if err != nil {
		return g.fail(broken(err))
	}
	defer func() { _ = response.Body.Close() }() // it has been read, or is not wanted
	if err := checkHead(response); err != nil {
		return g.fail(err)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return g.fail(broken(err))
	}
	if len(body) > maxAnswer {
		return g.fail(misread(response, fmt.Sprintf("it is longer than %d KiB; check token_url", maxAnswer>>10)))
	}
	whole := *response
	whole.Body = io.NopCloser(bytes.NewReader(body))
	return &whole, nil
}

func (g *guard) fail(err error) (*http.Response, error) {
	g.failure = err
	return nil, err
}

func checkHead(response *http.Response) error {
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	status := response.StatusCode
	switch {
	case status >= 300 && status < 400:
		return misread(response, "it is a redirect, which is not followed; write the address that the token endpoint really has")
	case status >= 500:
		return misread(response, "look at the authorization server")
	case response.Header.Get("Content-Encoding") != "" && !strings.EqualFold(response.Header.Get("Content-Encoding"), "identity"):
		return misread(response, "it is compressed, which was not asked for")
	case kind != "application/json" && (status < 200 || status > 299):
		return fmt.Errorf("%w: status %d, and no error in JSON; check token_url and auth", ErrRefused, status)
	case kind != "application/json":
		return misread(response, "it is not application/json; check token_url")
	}
	return nil
}

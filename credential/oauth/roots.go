package oauth

import (
	"context"
	"errors"
	"fmt"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// roots are the operator's secrets that a token stands on.
type roots struct {
	clientSecret, refreshToken, subjectToken secret.Value
	version                                  credential.Version
}

// part is the source of one of them.
type part struct {
	key    string // of the configuration
	source credential.Source
	set    func(*roots, secret.Value)
}

// parts are the sources that are used.
func (o *Options) parts() (used []part) {
	for _, p := range []part{
		{"client_secret", o.ClientSecret, func(r *roots, v secret.Value) { r.clientSecret = v }},
		{"refresh_token", o.RefreshToken, func(r *roots, v secret.Value) { r.refreshToken = v }},
		{"subject_token", o.SubjectToken, func(r *roots, v secret.Value) { r.subjectToken = v }},
		{"key", o.Key, func(*roots, secret.Value) {}}, // the minter reads it
	} {
		if p.source != nil {
			used = append(used, p)
		}
	}
	return used
}

// roots reads the secrets.
func (s *Source) roots(ctx context.Context, who credential.Principal) (r roots, err error) {
	for i := range s.parts {
		got, err := s.parts[i].fetch(ctx, who)
		if err != nil {
			return roots{}, err
		}
		s.parts[i].set(&r, got.Values[0])
		r.version = r.version.Join(got.Version)
	}
	return r, nil
}

// version reads them for their version alone: each Fetch does that.
func (s *Source) version(ctx context.Context, who credential.Principal) (v credential.Version, err error) {
	for i := range s.parts {
		got, err := s.parts[i].fetch(ctx, who)
		if err != nil {
			return 0, err
		}
		v = v.Join(got.Version)
	}
	return v, nil
}

func (p *part) fetch(ctx context.Context, who credential.Principal) (credential.Fetched, error) {
	got, err := p.source.Fetch(ctx, who)
	if err == nil && (len(got.Values) != 1 || got.Values[0].IsZero()) {
		err = errors.New("it is empty, or more than one value")
	}
	if err != nil {
		return credential.Fetched{}, fmt.Errorf("%s: %w", p.key, err)
	}
	return got, nil
}

package oauth

import (
	"context"
	"errors"
	"net/url"

	"sallyport.dev/credential"
)

// Kinds of tokens (RFC 8693, section 3).
const (
	typeAccessToken  = "urn:ietf:params:oauth:token-type:access_token"  //nolint:gosec // a name of RFC 8693, no credential
	typeRefreshToken = "urn:ietf:params:oauth:token-type:refresh_token" //nolint:gosec // the same
	typeJWT          = "urn:ietf:params:oauth:token-type:jwt"
	typeSAML1        = "urn:ietf:params:oauth:token-type:saml1"
	typeSAML2        = "urn:ietf:params:oauth:token-type:saml2"
)

// checkTokenExchange is for the grant of RFC 8693: a token that stands for the principal is given for another.
func (c *Config) checkTokenExchange() error {
	errs := []error{c.only("key", "subject_token", "subject_token_type", "requested_token_type")}
	if c.Key.IsZero() == c.SubjectToken.IsZero() {
		errs = append(errs, wrong("token_exchange: write one of key, to sign a JWT for each caller, and subject_token, a reference to the caller's own token"))
	}
	switch c.RequestedTokenType {
	case typeRefreshToken, typeSAML1, typeSAML2:
		errs = append(errs, wrong("requested_token_type: such a token cannot be put into a request as a bearer token; ask for %s", typeAccessToken))
	}
	return errors.Join(errs...)
}

func (s *Source) tokenExchange(ctx context.Context, r roots, who credential.Principal) (answer, error) {
	subject := r.subjectToken
	if s.cfg.SubjectToken.IsZero() {
		var err error
		if subject, err = s.signed(ctx, who); err != nil {
			return answer{}, err
		}
	}
	params := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {subject.Reveal()},
		"subject_token_type": {s.cfg.SubjectTokenType},
	}
	if s.cfg.RequestedTokenType != "" {
		params.Set("requested_token_type", s.cfg.RequestedTokenType)
	}
	return s.ask(ctx, r, params)
}

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// checkJWTBearer is for the grant of RFC 7523, section 2.1: a JWT that we sign says for whom the token is.
func (c *Config) checkJWTBearer() error {
	errs := []error{c.only("key", "subject")}
	if c.Key.IsZero() {
		errs = append(errs, wrong("key: jwt_bearer needs a reference to the private key that signs the assertion"))
	}
	if c.Subject != subjectPrincipal && c.Subject != subjectClient {
		errs = append(errs, wrong("subject: principal or client is allowed"))
	}
	return errors.Join(errs...)
}

// jwtBearer asks for the principal, or, with subject: client, for nobody: then the minter names the client.
func (s *Source) jwtBearer(ctx context.Context, r roots, who credential.Principal) (answer, error) {
	assertion, err := s.signed(ctx, who)
	if err != nil {
		return answer{}, err
	}
	return s.ask(ctx, r, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"},
		"assertion":  {assertion.Reveal()},
	})
}

// signed makes a JWT for a principal.
func (s *Source) signed(ctx context.Context, who credential.Principal) (secret.Value, error) {
	jwt, expires, err := s.minter.Token(ctx, who)
	if err != nil {
		return secret.Value{}, fmt.Errorf("key: %w", err)
	}
	if jwt.IsZero() || !expires.IsZero() && !time.Now().Before(expires) {
		return secret.Value{}, errors.New("key: the JWT that was signed is empty or has expired; look at the clock")
	}
	s.seen(jwt)
	return jwt, nil
}

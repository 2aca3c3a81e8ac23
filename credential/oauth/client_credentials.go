package oauth

import (
	"context"
	"errors"
	"net/url"
)

// checkClientCredentials is for the grant of RFC 6749, section 4.4: the client acts for itself.
func (c *Config) checkClientCredentials() error {
	var errs []error
	if c.Auth == authNone {
		errs = append(errs, wrong("auth: client_credentials is for clients that have a secret (RFC 6749, section 4.4); write client_secret and auth: basic or post"))
	}
	return errors.Join(append(errs, c.only())...)
}

func (s *Source) clientCredentials(ctx context.Context, r roots) (answer, error) {
	return s.ask(ctx, r, url.Values{"grant_type": {"client_credentials"}})
}

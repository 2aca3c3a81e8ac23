package connector

import (
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
	"sallyport.dev/secret"
)

// Credential says for whom it is, what is put in, and how.
type Credential struct {
	// For says for whose requests it is. Of several credentials for the same place the first that is for the caller counts;
	// if none is, the call fails. Default everybody.
	For credential.Who `yaml:"for"`
	// Header puts it into a header: its name, and a value that contains {secret} once.
	Header *inject.Header `yaml:"header"`
	// Secret refers to the value.
	Secret secret.Ref `yaml:"secret"`
}

// check says what is wrong with a credential of a server.
func (c *Credential) check(s *Server) error {
	injector, err := c.injector()
	if err != nil {
		return err
	}
	if err := injector.Validate(); err != nil {
		return err
	}
	if c.Secret.IsZero() {
		return errors.New("secret is required: env:NAME or file:/path")
	}
	if err := c.For.Validate(); err != nil {
		return err
	}
	for _, ref := range c.refs() {
		if err := checkPrincipal(ref, s.Issuer != "" || c.For.OneIssuer()); err != nil {
			return err
		}
	}
	return nil
}

// namesPrincipal reports whether its values depend on who calls.
func (c *Credential) namesPrincipal() bool { return namesPrincipal(c.refs()) }

// isPersonal reports whether which values are put in, or whether any are, depends on who calls.
func (c *Credential) isPersonal() bool { return len(c.For.Issuers) > 0 || c.namesPrincipal() }

// bind makes the binding of a credential of an upstream.
func (c *Connector) bind(u *upstream, cred *Credential, r *routes) (b credential.Binding, err error) {
	b.Who = cred.For
	b.Destination = credential.Destination{URL: u.origin(), AllowPlaintext: u.cfg.AllowPlaintext}
	if b.Injector, err = cred.injector(); err != nil {
		return b, err
	}
	b.Source, err = c.keeper.Source(cred.Secret)
	return b, err
}

// injector is how the credential is put in.
func (c *Credential) injector() (credential.Injector, error) {
	var ways []credential.Injector
	if c.Header != nil {
		ways = append(ways, c.Header)
	}
	if len(ways) != 1 {
		return nil, errors.New("write one of header, basic, query, cookie, body, mtls and sigv4")
	}
	return ways[0], nil
}

// refs are all references that a credential stands on.
func (c *Credential) refs() []secret.Ref {
	return slices.DeleteFunc([]secret.Ref{c.Secret}, secret.Ref.IsZero)
}

// checkCredentials says what is wrong with the credentials of a server over HTTP.
func (s *Server) checkCredentials(plain bool) error {
	if plain && len(s.Credentials) > 0 && !s.AllowPlaintext {
		return errors.New("credentials over plain http need allow_plaintext: true; prefer https")
	}
	for i := range s.Credentials {
		if err := s.Credentials[i].check(s); err != nil {
			return fmt.Errorf("credentials: number %d: %w", i+1, err)
		}
	}
	return nil
}

package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/mint"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

// Credential says for whom it is, what is put in, and how.
type Credential struct {
	// For says for whose requests it is. Of several credentials for the same place the first that is for the caller counts;
	// if none is, the call fails. Default everybody.
	For credential.Who `yaml:"for"`

	// Secret refers to what is put in: env:NAME, file:/path, exec:/program, systemd:NAME or vault:MOUNT/PATH#FIELD. With
	// basic it is the password, with sigv4 the secret access key, with jwt the private key in PEM. Required, unless oauth
	// or mtls is set.
	Secret secret.Ref `yaml:"secret"`
	// OAuth puts in an access token, fetched and renewed from a token endpoint. Optional.
	OAuth *oauth.Config `yaml:"oauth"`
	// JWT puts in a short-lived token that the connector signs and that names the caller. Optional.
	JWT *mint.Config `yaml:"jwt"`

	// Header puts it into a header. Default for oauth and jwt: Authorization, "Bearer {secret}".
	Header *inject.Header `yaml:"header"`
	// Basic puts it into Authorization as the password of a user (RFC 7617). Optional.
	Basic *inject.Basic `yaml:"basic"`
	// Query puts it into a parameter of the URL. Servers log URLs: prefer a header. Optional.
	Query *inject.Query `yaml:"query"`
	// Cookie puts it into a cookie. Optional.
	Cookie *inject.Cookie `yaml:"cookie"`
	// Body puts it into one member of the JSON body, or one field of a form. Optional.
	Body *inject.Body `yaml:"body"`
	// MTLS shows a client certificate in the TLS handshake. Optional.
	MTLS *MTLS `yaml:"mtls"`
	// SigV4 signs the request for AWS (Signature Version 4). Optional.
	SigV4 *SigV4 `yaml:"sigv4"`
}

// MTLS is a client certificate.
type MTLS struct {
	// Certificate refers to the certificate with its chain, in PEM. Required.
	Certificate secret.Ref `yaml:"certificate"`
	// Key refers to its private key, in PEM. Required.
	Key secret.Ref `yaml:"key"`
}

// SigV4 is an access key of AWS.
type SigV4 struct {
	// Region is the service's, such as eu-central-1. Required.
	Region string `yaml:"region"`
	// Service is its name in signatures, such as execute-api. Required.
	Service string `yaml:"service"`
	// AccessKey refers to the access key's id. Required.
	AccessKey secret.Ref `yaml:"access_key"`
	// SessionToken refers to the session token of temporary keys. Optional.
	SessionToken secret.Ref `yaml:"session_token"`
}

// bearer is how access tokens are put in (RFC 6750, section 2.1).
func bearer() inject.Header {
	return inject.Header{Name: "Authorization", Template: "Bearer {secret}"}
}

// injector is how the credential is put in.
func (c *Credential) injector() (credential.Injector, error) {
	var ways []credential.Injector
	if c.Header != nil {
		ways = append(ways, *c.Header)
	}
	if c.Basic != nil {
		ways = append(ways, *c.Basic)
	}
	if c.Query != nil {
		ways = append(ways, *c.Query)
	}
	if c.Cookie != nil {
		ways = append(ways, *c.Cookie)
	}
	if c.Body != nil {
		ways = append(ways, *c.Body)
	}
	if c.MTLS != nil {
		ways = append(ways, inject.Certificate{})
	}
	if c.SigV4 != nil {
		ways = append(ways, inject.SigV4{Region: c.SigV4.Region, Service: c.SigV4.Service})
	}
	if len(ways) == 0 && (c.OAuth != nil || c.JWT != nil) {
		ways = append(ways, bearer())
	}
	if len(ways) != 1 {
		return nil, errors.New(`write one of header, basic, query, cookie, body, mtls and sigv4, such as header: { name: Authorization, value: "Bearer {secret}" }`)
	}
	return ways[0], nil
}

// check says what is wrong with a credential of a server.
func (c *Credential) check(s *Server, plain bool, stateDir string) error {
	injector, err := c.injector()
	if err != nil {
		return err
	}
	if err := errors.Join(injector.Validate(), c.For.Validate(), c.checkWhat(plain, stateDir)); err != nil {
		return err
	}
	for _, ref := range c.refs() {
		if err := checkPrincipal(ref, s.Issuer != "" || c.For.OneIssuer()); err != nil {
			return err
		}
	}
	return nil
}

// checkWhat checks what is put in.
func (c *Credential) checkWhat(plain bool, stateDir string) error {
	switch {
	case c.MTLS != nil:
		if !c.Secret.IsZero() || c.OAuth != nil || c.JWT != nil || c.MTLS.Certificate.IsZero() || c.MTLS.Key.IsZero() {
			return errors.New("mtls: it needs certificate: and key:, and no secret beside them")
		}
		if plain {
			return errors.New("mtls: a certificate is shown over https only")
		}
		return nil
	case c.OAuth != nil && (c.JWT != nil || !c.Secret.IsZero()):
		return errors.New("oauth: what it needs stands in it: write no secret or jwt beside it")
	case c.OAuth != nil:
		return c.checkOAuth(stateDir)
	case c.Secret.IsZero():
		return errors.New("secret: a reference is required: env:NAME, file:/path, exec:/program, systemd:NAME or vault:MOUNT/PATH#FIELD")
	case c.JWT != nil && namesPrincipal([]secret.Ref{c.Secret}):
		return errors.New("jwt: secret: one key signs for all callers: take {principal.…} out of it")
	case c.JWT != nil:
		return c.JWT.Validate()
	case c.SigV4 != nil && c.SigV4.AccessKey.IsZero():
		return errors.New("sigv4: access_key: a reference is required; secret: is the secret access key")
	}
	return nil
}

// checkOAuth checks what an access token is got by.
func (c *Credential) checkOAuth(stateDir string) error {
	if err := c.OAuth.Validate(); err != nil {
		return fmt.Errorf("oauth: %w", err)
	}
	if !c.OAuth.RefreshToken.IsZero() && stateDir == "" {
		return errors.New("oauth: refresh_token: set state_dir, where those are kept that replace the first")
	}
	if namesPrincipal([]secret.Ref{c.OAuth.Key}) {
		return errors.New("oauth: key: one key signs for all callers: take {principal.…} out of it")
	}
	if token := c.OAuth.SubjectToken; !token.IsZero() && !namesPrincipal([]secret.Ref{token}) {
		return errors.New("oauth: subject_token: all callers would act as one: write one for each of them, vault:users/{principal.issuer}/{principal.subject}/…#…, or let key sign it")
	}
	return nil
}

// refs are all references that a credential stands on, in the order in which its injector wants the values of its own.
func (c *Credential) refs() (refs []secret.Ref) {
	switch {
	case c.MTLS != nil:
		refs = []secret.Ref{c.MTLS.Certificate, c.MTLS.Key}
	case c.SigV4 != nil:
		refs = []secret.Ref{c.SigV4.AccessKey, c.Secret, c.SigV4.SessionToken}
	case c.OAuth != nil:
		refs = c.OAuth.Refs()
	default:
		refs = []secret.Ref{c.Secret}
	}
	return slices.DeleteFunc(refs, secret.Ref.IsZero)
}

// namesPrincipal reports whether its values depend on who calls.
func (c *Credential) namesPrincipal() bool {
	return c.JWT != nil || c.OAuth != nil && c.OAuth.NamesPrincipal() || namesPrincipal(c.refs())
}

// isPersonal reports whether which values are put in, or whether any are, depends on who calls.
func (c *Credential) isPersonal() bool { return len(c.For.Issuers) > 0 || c.namesPrincipal() }

// bind makes the binding of a credential of an upstream.
func (c *Connector) bind(u *upstream, cred *Credential, r *routes) (b credential.Binding, err error) {
	b.Who = cred.For
	b.Destination = credential.Destination{URL: u.origin(), AllowPlaintext: u.cfg.AllowPlaintext}
	if b.Injector, err = cred.injector(); err != nil {
		return b, err
	}
	switch {
	case cred.OAuth != nil:
		b.Source, err = c.accessTokens(u, cred.OAuth, r)
	case cred.JWT != nil:
		b.Source, err = c.minted(u, *cred.JWT, cred.Secret)
	default:
		b.Source, err = c.keeper.Source(cred.refs()...)
	}
	return b, err
}

// minted is a source of tokens that the connector signs.
func (c *Connector) minted(u *upstream, cfg mint.Config, key secret.Ref) (*mint.Minter, error) {
	from, err := c.keeper.Source(key)
	if err != nil {
		return nil, err
	}
	minter, err := mint.New(cfg, from)
	if err != nil {
		return nil, err
	}
	u.closers = append(u.closers, minter.Close)
	u.minters = append(u.minters, minter)
	return minter, nil
}

// assertion is what a minter for a token endpoint signs (RFC 7523, section 3): the client vouches.
func assertion(cfg *oauth.Config) mint.Config {
	return mint.Config{Issuer: cfg.ClientID, Audience: cfg.TokenURL, Client: cfg.ForClient()}
}

// checkShared says why that cannot be had now which a credential needs whoever calls, such as the key that signs its tokens.
func (c *Connector) checkShared(ctx context.Context, cred *Credential) error {
	for _, ref := range cred.refs() {
		if namesPrincipal([]secret.Ref{ref}) {
			continue
		}
		from, err := c.keeper.Source(ref)
		if err != nil {
			return err
		}
		if _, err := from.Fetch(ctx, credential.Principal{}); err != nil {
			return err
		}
	}
	switch {
	case cred.JWT != nil:
		return c.checkKey(ctx, *cred.JWT, cred.Secret)
	case cred.OAuth != nil && !cred.OAuth.Key.IsZero():
		return c.checkKey(ctx, assertion(cred.OAuth), cred.OAuth.Key)
	}
	return nil
}

// checkKey says why a key cannot sign.
func (c *Connector) checkKey(ctx context.Context, cfg mint.Config, key secret.Ref) error {
	minter, err := c.minted(new(upstream), cfg, key)
	if err != nil {
		return err
	}
	defer minter.Close()
	_, err = minter.JWK(ctx)
	return err
}

// checkCredentials says what is wrong with the credentials of a server over HTTP.
func (s *Server) checkCredentials(plain bool, stateDir string) error {
	if plain && len(s.Credentials) > 0 && !s.AllowPlaintext {
		return errors.New("credentials over plain http need allow_plaintext: true; prefer https")
	}
	for i := range s.Credentials {
		if err := s.Credentials[i].check(s, plain, stateDir); err != nil {
			return fmt.Errorf("credentials: number %d: %w", i+1, err)
		}
	}
	return nil
}

// accessTokens is a source of access tokens. The token endpoint is dialled under the same rules as an upstream.
func (c *Connector) accessTokens(u *upstream, cfg *oauth.Config, r *routes) (credential.Source, error) {
	roots, err := loadRoots(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("oauth: ca_file: %w", err)
	}
	o := oauth.Options{
		Transport: newConns(r.addresses, roots, nil),
		Personal:  namesPrincipal(cfg.Refs()),
		Store:     c.grants,
		Seen:      func(v secret.Value) { u.guard.use(v, time.Time{}) },
		Log: func(event string, err error) {
			c.log.Warn("access tokens: something went wrong while nobody waited", "event", event, telemetry.KeyServer, u.name, telemetry.KeyError, u.guard.clean(err))
		},
	}
	for _, part := range []struct {
		ref  secret.Ref
		into *credential.Source
	}{{cfg.ClientSecret, &o.ClientSecret}, {cfg.RefreshToken, &o.RefreshToken}, {cfg.SubjectToken, &o.SubjectToken}, {cfg.Key, &o.Key}} {
		if part.ref.IsZero() {
			continue
		}
		if *part.into, err = c.keeper.Source(part.ref); err != nil {
			return nil, err
		}
	}
	if !cfg.Key.IsZero() {
		minter, err := c.minted(u, assertion(cfg), cfg.Key)
		if err != nil {
			return nil, err
		}
		o.Minter = minter
	}
	tokens, err := oauth.New(*cfg, o)
	if err != nil {
		return nil, err
	}
	u.closers = append(u.closers, tokens.Close)
	return tokens, nil
}

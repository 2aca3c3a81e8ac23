package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"sallyport.dev/auth"
	"sallyport.dev/auth/clientcert"
	"sallyport.dev/auth/dpop"
	"sallyport.dev/auth/issued"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/provider"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// callers finds out who calls, by whatever the caller presents.
type callers struct {
	static       *auth.Static
	issued       *issued.Verifier
	issuers      *oidc.Verifier       // nil without identity providers
	certificates *clientcert.Verifier // nil without principals by certificate
	proofs       *dpop.Checker
}

// Verify implements [auth.Verifier]. Which of the verifiers is asked depends on the token's form alone, never on where the
// request goes.
func (c *callers) Verify(ctx context.Context, p auth.Presented) (auth.Principal, error) {
	principal, err := c.verify(ctx, p)
	if errors.Is(err, auth.ErrMalformed) { // the request is in order, the token is not: invalid_token (RFC 6750 section 3.1)
		err = fmt.Errorf("%w: %v", auth.ErrInvalid, err) //nolint:errorlint // its kind is what changes
	}
	return principal, err
}

func (c *callers) verify(ctx context.Context, p auth.Presented) (auth.Principal, error) {
	switch {
	case p.Token == "" && c.certificates != nil:
		return c.certificates.Verify(ctx, p)
	case p.Token == "":
		return auth.Principal{}, auth.ErrNoToken
	case strings.HasPrefix(p.Token, issued.Prefix):
		return c.issued.Verify(ctx, p)
	}
	principal, err := c.static.Verify(ctx, p)
	if c.issuers != nil && errors.Is(err, auth.ErrInvalid) {
		return c.issuers.Verify(ctx, p)
	}
	return principal, err
}

// close ends what runs in the background.
func (c *callers) close() {
	if c.issuers != nil {
		c.issuers.Close()
	}
}

// loadCallers makes the verifiers.
func (g *Gateway) loadCallers(static *auth.Static) (err error) {
	a := &g.cfg.Agents
	c := &callers{static: static}
	if c.proofs, err = dpop.New(dpop.Config{Key: g.nonceKey, Nonce: a.Proofs.Nonce}); err != nil {
		return err
	}
	if c.issued, err = issued.New(issued.Config{Dir: g.cfg.IssuedDir(), Issuer: g.cfg.PublicURL, Events: g.logIssued}); err != nil {
		return fmt.Errorf("agents.issued: %w", err)
	}
	if a.Certificates != nil {
		if c.certificates, err = clientcert.New(g.cfg.PublicURL, *a.Certificates); err != nil {
			return fmt.Errorf("agents.certificates: %w", err)
		}
	}
	if len(a.Issuers) > 0 {
		if c.issuers, err = oidc.New(a.Issuers, oidc.Options{Proofs: c.proofs, Events: g.logIssuer}); err != nil {
			return fmt.Errorf("agents.issuers: %w", err)
		}
	}
	g.callers = c
	return nil
}

// checkCallers checks who may call by other means than a static token.
func (c *Config) checkCallers() error {
	a := &c.Agents
	var errs []error
	if len(a.Issuers) > 0 {
		if err := oidc.Validate(a.Issuers, false); err != nil {
			errs = append(errs, fmt.Errorf("agents.%w", err))
		}
	}
	for i := range a.Issuers {
		issuer := &a.Issuers[i]
		if issuer.Issuer == c.PublicURL {
			errs = append(errs, fmt.Errorf("agents.issuers: %q is this gateway's own public_url, which stands for its own tokens", issuer.Issuer))
		}
		errs = append(errs, c.checkTunnels("agents.issuers", issuer.Issuer, issuer.Tunnels))
	}
	names := make(map[string]bool)
	for _, t := range a.Tokens {
		names[t.Name] = true
	}
	if a.Certificates != nil {
		if err := a.Certificates.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("agents.%w", err))
		}
		for _, p := range a.Certificates.Principals {
			if names[p.Name] {
				errs = append(errs, fmt.Errorf("agents.certificates: %q is the name of a token too: one name is one principal", p.Name))
			}
			names[p.Name] = true
			errs = append(errs, c.checkTunnels("agents.certificates", p.Name, p.Tunnels))
		}
	}
	if dir := a.Issued.Dir; dir != "" && !filepath.IsAbs(dir) {
		errs = append(errs, errors.New("agents.issued.dir: write an absolute path"))
	}
	return errors.Join(errs...)
}

// forwarded are the issuers whose tokens a connector of a tunnel gets if it asks for them. It is no friend of other tunnels:
// it gets none of the gateway's own, and none that could be used for another tunnel.
func (g *Gateway) forwarded(tunnel string, asked []string) (issuers []string) {
	for _, name := range asked {
		i := slices.IndexFunc(g.cfg.Agents.Issuers, func(c oidc.Config) bool { return c.Issuer == name })
		if i >= 0 && confined(&g.cfg.Agents.Issuers[i], tunnel) {
			issuers = append(issuers, name)
			continue
		}
		g.log.Warn("a connector wants tokens that it does not get, and will refuse their callers", telemetry.KeyTunnel, tunnel, telemetry.KeyIssuer, telemetry.Short(name),
			telemetry.KeyHint, "name the issuer in agents.issuers for this tunnel; with audiences or extra_audiences, for this tunnel alone")
	}
	return issuers
}

// confined reports whether an issuer's tokens for calls to a tunnel are of no use for another one: they are for one URL each, or
// the issuer speaks for no other tunnel.
func confined(c *oidc.Config, tunnel string) bool {
	if slices.Equal(c.Tunnels, []string{tunnel}) {
		return true
	}
	return (slices.Contains(c.Tunnels, tunnel) || slices.Contains(c.Tunnels, "*")) && len(c.Audiences) == 0 && !c.ExtraAudiences
}

// logIssuer tells of changes at an identity provider.
func (g *Gateway) logIssuer(e provider.Event) {
	fields := []any{telemetry.KeyIssuer, e.Issuer, "keys", e.Keys, "introspection", e.Introspection}
	if e.Failure != "" {
		g.log.Warn("an identity provider gives no answer that can be used", append(fields, telemetry.KeyError, e.Failure)...)
		return
	}
	g.log.Info("keys of an identity provider", fields...)
}

// logIssued tells of changes of the directory of the gateway's own tokens.
func (g *Gateway) logIssued(e issued.Event) {
	fields := []any{telemetry.KeyReason, e.Text, telemetry.KeyPath, g.cfg.IssuedDir()}
	if e.Err != nil {
		g.log.Error("tokens of the gateway's own", append(fields, telemetry.KeyError, e.Err)...)
		return
	}
	g.log.Info("tokens of the gateway's own", fields...)
}

// targetOf says where a request goes, for whoever verifies its token.
func (g *Gateway) targetOf(r *http.Request) auth.Target {
	name := routeFrom(r.Context())
	return auth.Target{
		Tunnel: name.tunnel, Server: name.server, Resource: g.cfg.PublicURL + name.canonical(),
		Method: r.Method, URL: g.cfg.PublicURL + name.path(),
	}
}

// certificatesOf gives the TLS client's certificates.
func certificatesOf(r *http.Request) []*x509.Certificate {
	return connInfoFrom(r.Context()).certificates
}

// asksForCertificates reports whether TLS clients are asked for a certificate: nobody is who cannot use one.
func (a *Agents) asksForCertificates() bool {
	return a.Certificates != nil || slices.ContainsFunc(a.Issuers, func(c oidc.Config) bool { return c.Proof == oidc.ProofCertificate })
}

// advertised is what clients are told of who issues tokens for a tunnel. A tunnel that does not exist has the answer of one
// that does, always the same one, so that the answers tell nobody which exist. Which one is found out in any case, so that the
// time for it tells nobody either.
func (g *Gateway) advertised(tunnel string) oidc.Advertised {
	if g.callers.issuers == nil {
		return oidc.Advertised{}
	}
	mac := hmac.New(sha256.New, g.decoyKey)
	mac.Write([]byte(tunnel))
	stands := g.tunnels.sorted[binary.BigEndian.Uint64(mac.Sum(nil))%uint64(len(g.tunnels.sorted))]
	if !g.tunnels.has(tunnel) {
		tunnel = stands
	}
	return g.callers.issuers.Advertise(tunnel)
}

// metadata is the document of a server's URL (RFC 9728).
func (g *Gateway) metadata(resource route) auth.Metadata {
	ad := g.advertised(resource.tunnel)
	m := auth.Metadata{
		Resource: g.cfg.PublicURL + resource.path(), AuthorizationServers: ad.Issuers, Scopes: ad.Scopes,
		ProofRequired: ad.ProofRequired, CertificateBound: g.cfg.Agents.asksForCertificates(),
	}
	if len(ad.Issuers) > 0 {
		m.Proofs = g.callers.proofs.Algorithms()
	}
	return m
}

// challenge answers a caller who has not proved to be somebody, or whose token does not reach for the server. What it says
// is made from the name alone, so that it is the same whether the server exists or not.
func (g *Gateway) challenge(w http.ResponseWriter, r *http.Request, err error) {
	name := routeFrom(r.Context())
	ad := g.advertised(name.tunnel)
	challenge := auth.Challenge{MetadataURL: g.cfg.PublicURL + metadataPrefix + name.canonical(), Scopes: ad.BaseScopes}
	if len(ad.Issuers) > 0 {
		challenge.Proofs = g.callers.proofs.Algorithms()
	}
	var nonce *auth.NonceError
	if errors.As(err, &nonce) {
		w.Header().Set("DPoP-Nonce", nonce.Nonce)
	}
	e := mcp.Unauthenticated(challenge.Fields(err)...)
	switch {
	case errors.Is(err, auth.ErrMalformed):
		e.Status = http.StatusBadRequest
	case errors.Is(err, auth.ErrInsufficient):
		e = mcp.InsufficientScope(challenge.Fields(err)...)
	case isRefusal(err):
	default:
		e = mcp.IssuerUnavailable(err)
	}
	e.Err = err
	g.refuse(w, r, e)
}

// isRefusal tells a verdict on a token from one that could not be reached.
func isRefusal(err error) bool {
	for _, verdict := range []error{auth.ErrNoToken, auth.ErrMalformed, auth.ErrInvalid, auth.ErrExpired, auth.ErrProof} {
		if errors.Is(err, verdict) {
			return true
		}
	}
	return false
}

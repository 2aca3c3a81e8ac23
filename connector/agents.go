package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"sallyport.dev/auth"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/provider"
	"sallyport.dev/mcp"
	"sallyport.dev/telemetry"
)

// Auth is whose tokens the connector verifies itself, so that it need not believe the gateway who calls.
type Auth struct {
	// URL is where this tunnel's servers are for agents, such as https://tunnel.example.com/t/acme: the audience of a token
	// is this, the server's name and /mcp. It is not taken from the gateway. Required, unless all issuers have audiences.
	URL string `yaml:"url"`
	// Issuers are the identity providers, one at least, with the keys that they have in gateway.yaml, but for tunnels.
	Issuers []oidc.Config `yaml:"issuers"`
}

// errNoOwnToken says why the gateway's word is not enough here.
var errNoOwnToken = errors.New("the caller has no token of an issuer of verify_agents: tokens that the gateway issues, and certificates that it checks, are not accepted here")

// checkAuth checks what concerns callers' own tokens, and has verify_agents name all issuers if it names none.
func (c *Config) checkAuth() error {
	if len(c.Auth.Issuers) == 0 {
		if len(c.VerifyAgents) > 0 || c.Auth.URL != "" {
			return errors.New("auth.issuers: required with auth.url and verify_agents: the identity providers whose tokens are verified here")
		}
		return nil
	}
	var errs []error
	names := make([]string, 0, len(c.Auth.Issuers))
	c.Auth.Issuers = slices.Clone(c.Auth.Issuers) // the caller's may be another connector's too
	withURL := false
	for i := range c.Auth.Issuers {
		issuer := &c.Auth.Issuers[i]
		names = append(names, issuer.Issuer)
		withURL = withURL || len(issuer.Audiences) == 0
	}
	if err := oidc.Validate(c.Auth.Issuers, true); err != nil {
		errs = append(errs, fmt.Errorf("auth.%w", err))
	}
	if c.Auth.URL != "" || withURL {
		errs = append(errs, checkAuthURL(c.Auth.URL))
	}
	for _, issuer := range c.Auth.Issuers {
		for _, key := range slices.Sorted(maps.Keys(issuer.Require)) {
			if tunnel, _, both := strings.Cut(key, "/"); both && tunnel != c.Auth.tunnel() {
				errs = append(errs, fmt.Errorf("auth.issuers: %q: require: %q is of another tunnel than auth.url: write the name of the server alone", issuer.Issuer, key))
			}
		}
	}
	if c.VerifyAgents != nil && len(c.VerifyAgents) == 0 {
		errs = append(errs, errors.New("verify_agents: it is empty: leave it out for all of auth.issuers, or leave auth.issuers out"))
	}
	for _, issuer := range c.VerifyAgents {
		if !slices.Contains(names, issuer) {
			errs = append(errs, fmt.Errorf("verify_agents: %q is none of auth.issuers", issuer))
		}
	}
	if c.VerifyAgents == nil {
		c.VerifyAgents = names
	}
	return errors.Join(errs...)
}

// tunnel is the tunnel of the URL, or "" without one.
func (a *Auth) tunnel() string { return a.URL[strings.LastIndexByte(a.URL, '/')+1:] }

func checkAuthURL(text string) error {
	u, err := url.Parse(text)
	if err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" {
		if tunnel, ok := strings.CutPrefix(u.EscapedPath(), "/t/"); ok && validName(tunnel) && text == u.Scheme+"://"+strings.ToLower(u.Host)+u.Path {
			return nil
		}
	}
	return errors.New("auth.url: write the tunnel's URL at the gateway, such as https://tunnel.example.com/t/acme")
}

// newAgents makes the verifier of callers' own tokens; nil if the gateway's word is enough.
func (c *Connector) newAgents() error {
	if len(c.cfg.VerifyAgents) == 0 {
		return nil
	}
	verifier, err := oidc.New(c.cfg.verified(), oidc.Options{Forwarded: true, Events: c.logIssuer})
	if err != nil {
		return fmt.Errorf("auth.%w", err)
	}
	c.agents = verifier
	return nil
}

// logIssuer tells of changes at an identity provider.
func (c *Connector) logIssuer(e provider.Event) {
	fields := []any{telemetry.KeyIssuer, e.Issuer, "keys", e.Keys, "introspection", e.Introspection}
	if e.Failure != "" {
		c.log.Warn("an identity provider gives no answer that can be used", append(fields, telemetry.KeyError, e.Failure)...)
		return
	}
	c.log.Info("keys of an identity provider", fields...)
}

// verified are the issuers whose principals are accepted.
func (c *Config) verified() (issuers []oidc.Config) {
	for _, issuer := range c.Auth.Issuers {
		if slices.Contains(c.VerifyAgents, issuer.Issuer) {
			issuers = append(issuers, issuer)
		}
	}
	return issuers
}

// resource is the canonical URL of a server by our own configuration, or "" if that does not say.
func (c *Connector) resource(server string) string {
	if c.cfg.Auth.URL == "" {
		return ""
	}
	return c.cfg.Auth.URL + "/" + server + "/" + string(mcp.EndpointMCP)
}

// verifyAgent has the caller's own token prove the principal that the gateway asserts, and takes the principal, with its
// claims, from the token.
func (c *Connector) verifyAgent(ctx context.Context, n *note) *mcp.Error {
	asserted := n.principal
	n.principal = auth.Principal{} // until it is proved
	if len(n.tokens) != 1 {
		return mcp.CallerNotVerified(errNoOwnToken)
	}
	own, err := c.agents.Verify(ctx, auth.Presented{Token: n.tokens[0], Target: auth.Target{
		Tunnel: cmp.Or(c.cfg.Auth.tunnel(), asserted.Grant.Tunnels[0]), Server: n.server, Resource: c.resource(n.server),
	}})
	switch {
	case errors.Is(err, auth.ErrUnavailable):
		return mcp.IssuerUnavailable(err)
	case errors.Is(err, auth.ErrInsufficient):
		e := mcp.InsufficientScope()
		e.Err = err
		return e
	case err != nil:
		return mcp.CallerNotVerified(err)
	case own.Issuer != asserted.Issuer || own.Subject != asserted.Subject:
		return mcp.CallerNotVerified(fmt.Errorf("%w: the gateway asserts another principal than the token's", auth.ErrInvalid))
	}
	own.Grant = asserted.Grant
	n.principal = own
	return nil
}

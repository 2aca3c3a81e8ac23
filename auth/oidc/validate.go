package oidc

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"sallyport.dev/address"
)

// Validate applies the defaults and reports everything that is wrong at once, with the names of keys below issuers. At a
// connector, where tokens come forwarded, tunnels is left out and becomes ["*"]. It reads no file: [New] does.
func Validate(issuers []Config, forwarded bool) error {
	var errs []error
	seen := make(map[string]bool)
	asking := 0
	for i := range issuers {
		c := &issuers[i]
		if err := c.checkIssuer(); err != nil {
			errs = append(errs, fmt.Errorf("issuers: number %d: issuer: %w", i+1, err))
			continue // the others could not be named
		}
		complain := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("issuers: %q: "+format, append([]any{c.Issuer}, args...)...))
		}
		if seen[c.Issuer] {
			complain("it is listed twice: write one entry with all of its tunnels")
		}
		seen[c.Issuer] = true
		if c.Introspection != nil {
			asking++
		}
		c.applyDefaults(forwarded)
		c.check(forwarded, complain)
	}
	if asking > 1 {
		errs = append(errs, errors.New("issuers: several have introspection: an opaque token does not say whom to ask, so one alone can have it"))
	}
	return errors.Join(errs...)
}

func (c *Config) applyDefaults(forwarded bool) {
	if forwarded && len(c.Tunnels) == 0 {
		c.Tunnels = []string{anyName}
	}
	if len(c.Servers) == 0 {
		c.Servers = []string{anyName}
	}
	if len(c.Types) == 0 {
		c.Types = []string{defaultType}
	}
	if len(c.Algorithms) == 0 {
		c.Algorithms = algorithms()
	}
	if c.Leeway == 0 {
		c.Leeway = defaultLeeway
	}
	if c.Proof == "" {
		c.Proof = ProofOptional
	}
}

// complaint takes what is wrong with one issuer.
type complaint func(format string, args ...any)

func (c *Config) check(forwarded bool, complain complaint) {
	switch {
	case len(c.Tunnels) == 0:
		complain(`tunnels: name the tunnels that it may speak for; all is ["*"]`)
	case forwarded && c.TrustTrace:
		complain("trust_trace: it is the gateway that reads trace contexts")
	case forwarded && !slices.Equal(c.Tunnels, []string{anyName}):
		complain("tunnels: leave it out: a connector has one tunnel")
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"tunnels", c.Tunnels}, {"servers", c.Servers}} {
		if slices.ContainsFunc(list.names, func(name string) bool { return !isPlace(name) }) {
			complain(`%s: one is no name: write names as in URLs, or ["*"]`, list.key)
		}
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"audiences", c.Audiences}, {"clients", c.Clients}, {"types", c.Types}} {
		if slices.ContainsFunc(list.names, func(name string) bool { return !isVisible(name) }) {
			complain("%s: one is empty, or has spaces or characters that do not show", list.key)
		}
	}
	if len(c.Audiences) > maxAudiences {
		complain("audiences: at most %d are allowed", maxAudiences)
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(algorithms(), alg) {
			complain("algorithms: one is not among %s", strings.Join(algorithms(), ", "))
			break
		}
	}
	if c.Leeway < 0 || c.Leeway > maxLeeway {
		complain("leeway: more than 0s and at most %s are allowed", maxLeeway)
	}
	if !slices.Contains([]string{ProofOptional, ProofDPoP, ProofCertificate}, c.Proof) {
		complain("proof: write %s, %s or %s", ProofOptional, ProofDPoP, ProofCertificate)
	}
	c.checkRequirements(complain)
	c.checkReach(complain)
}

// checkRequirements also finds the servers whose tokens would be good for each other and ask for nothing else.
func (c *Config) checkRequirements(complain complaint) {
	for name, r := range c.Require {
		at, ok := parsePlace(name)
		switch {
		case !ok:
			complain(`require: %q is no place: write the name of a server, tunnel/server or "*"`, name)
			continue
		case at.tunnel != "" && !covers(c.Tunnels, at.tunnel):
			complain("require: %q: its tunnel is not among tunnels", name)
		case at.server != "" && !covers(c.Servers, at.server):
			complain("require: %q: its server is not among servers", name)
		case len(r.Scopes)+len(r.Claims) == 0:
			complain("require: %q: it requires nothing: write scopes or claims", name)
		}
		if slices.ContainsFunc(r.Scopes, func(scope string) bool { return !isScope(scope) }) {
			complain("require: %q: scopes: one has characters that a scope cannot have (RFC 6749, section 3.3)", name)
		}
		for claim := range r.Claims {
			if slices.Contains([]string{"exp", "nbf", "iat", "cnf"}, claim) || claim == "" {
				complain("require: %q: claims: %q cannot be required by value", name, claim)
			}
		}
	}
	if len(c.Audiences) == 0 {
		return
	}
	for _, server := range c.Servers {
		if !c.requires(server) {
			complain("require: with audiences a token for one server is good for all, so each must require a scope or a claim of its own: %q does not", server)
		}
	}
}

// requires says whether something is required of every call to a server of whatever tunnel.
func (c *Config) requires(server string) bool {
	there := func(name string) bool { _, there := c.Require[name]; return there }
	if there(anyName) || there(server) {
		return true
	}
	for _, tunnel := range c.Tunnels {
		if tunnel == anyName || !there(tunnel+"/"+server) && !there(tunnel+"/"+anyName) {
			return false
		}
	}
	return len(c.Tunnels) > 0
}

// checkReach judges where the provider is. Package provider has the last word.
func (c *Config) checkReach(complain complaint) {
	allowed, err := address.ParsePublic(c.AllowedIPs)
	if err != nil {
		complain("%w", err)
	} else if u, err := url.Parse(c.Issuer); err == nil {
		if ip, err := netip.ParseAddr(u.Hostname()); err == nil && allowed.Check(ip) != nil {
			complain("issuer: its address is not public: add it to allowed_ips if it is meant to be there")
		}
	}
	if c.JWKSURL != "" && checkURL(c.JWKSURL) != nil {
		complain("jwks_url: %w", checkURL(c.JWKSURL))
	}
	i := c.Introspection
	if i == nil {
		return
	}
	if i.ClientID == "" || i.ClientSecret.IsZero() {
		complain("introspection: client_id and client_secret are both required")
	}
	switch {
	case i.URL != "" && checkURL(i.URL) != nil:
		complain("introspection: url: %w", checkURL(i.URL))
	case i.URL == "" && c.JWKSURL != "":
		complain("introspection: url: it is required with jwks_url, which leaves out discovery")
	}
}

func (c *Config) checkIssuer() error {
	if c.Issuer == "" {
		return errors.New("write the provider's URL, such as https://idp.example.com")
	}
	if strings.ContainsAny(c.Issuer, "?#") {
		return errors.New("a URL of an issuer has no query and no fragment (RFC 8414, section 2)")
	}
	return checkURL(c.Issuer)
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || !isVisible(text):
		return errors.New("write an absolute URL, such as https://idp.example.com")
	case u.User != nil || u.Fragment != "":
		return errors.New("take the user or the fragment out of the URL")
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		return errors.New("http is for loopback only: anyone on the way could put in keys of their own")
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("the scheme must be https")
	}
	return nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.IsLoopback()
}

// isPlace says whether a text can be the name of a tunnel or a server, or stand for all.
func isPlace(name string) bool {
	return name == anyName || isVisible(name) && !strings.ContainsAny(name, "*/")
}

func isVisible(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) })
}

// isScope checks the grammar of RFC 6749 section 3.3.
func isScope(scope string) bool {
	return scope != "" && !strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

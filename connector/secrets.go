package connector

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"

	"sallyport.dev/address"
	"sallyport.dev/credential"
	"sallyport.dev/credential/source"
	"sallyport.dev/secret"
	"sallyport.dev/telemetry"
)

// newKeeper makes what reads secrets for a configuration, at addresses that allowed holds at the time.
func newKeeper(cfg Config, allowed *atomic.Pointer[address.Allowed], log *slog.Logger) (*source.Keeper, error) {
	from := cfg.Sources
	from.Issuers = cfg.issuerNames()
	from.Control = func(network, address string, c syscall.RawConn) error {
		return allowed.Load().Control(network, address, c)
	}
	from.Log = func(event string, ref secret.Ref, err error) {
		log.Warn("secrets: something went wrong while nobody waited", "event", event, "secret", ref.String(), telemetry.KeyError, err)
	}
	keeper, err := source.New(from)
	if err != nil {
		return nil, fmt.Errorf("sources: %w", err)
	}
	if cfg.File != "" && slices.ContainsFunc(cfg.allRefs(), func(r secret.Ref) bool { return r.Scheme() == "exec" }) {
		if err := source.CheckTrusted(cfg.File); err != nil {
			return nil, fmt.Errorf("exec: runs what this file names: %w", err)
		}
	}
	return keeper, nil
}

// issuerNames are the names of issuers, by issuer.
func (c *Config) issuerNames() map[string]string {
	names := make(map[string]string, len(c.Issuers))
	for name, issuer := range c.Issuers {
		names[issuer] = name
	}
	return names
}

// checkIssuers checks the names of issuers.
func (c *Config) checkIssuers() error {
	seen := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(c.Issuers)) {
		issuer := c.Issuers[name]
		switch {
		case !validName(name):
			return fmt.Errorf("issuers.%s: the name must be 1 to 40 of a-z, 0-9 and -, without --", name)
		case issuer == "" || strings.TrimSpace(issuer) != issuer:
			return fmt.Errorf("issuers.%s: write the issuer exactly as it stands in a principal, such as https://idp.example.com", name)
		case seen[issuer] != "":
			return fmt.Errorf("issuers.%s: it is the same issuer as %s: two names would lead to two secrets", name, seen[issuer])
		}
		seen[issuer] = name
	}
	return nil
}

// refs are all references of a server.
func (s *Server) refs() (refs []secret.Ref) {
	for i := range s.Credentials {
		refs = append(refs, s.Credentials[i].refs()...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if ref := s.Env[name].Secret; !ref.IsZero() {
			refs = append(refs, ref)
		}
	}
	if kind := s.database(); kind != nil {
		for _, l := range kind.access().all() {
			refs = append(refs, l.refs()...)
		}
	}
	return refs
}

// allRefs are the references of all servers.
func (c *Config) allRefs() (refs []secret.Ref) {
	for _, name := range slices.Sorted(maps.Keys(c.Servers)) {
		s := c.Servers[name]
		refs = append(refs, s.refs()...)
	}
	return refs
}

// checkPrincipal says what is wrong with a reference to a principal's own secret: a subject means nothing without its
// issuer, so that one of another issuer would get the same secret.
func checkPrincipal(ref secret.Ref, oneIssuer bool) error {
	if issuer, subject := ref.NamesPrincipal(); subject && !issuer && !oneIssuer {
		return errors.New("secret: {principal.subject} alone is the same for the users of every issuer: put {principal.issuer} before it, or write issuer: at the server")
	}
	return nil
}

// namesPrincipal reports whether any of the references depends on who calls.
func namesPrincipal(refs []secret.Ref) bool {
	return slices.ContainsFunc(refs, func(r secret.Ref) bool {
		issuer, subject := r.NamesPrincipal()
		return issuer || subject
	})
}

// admits says no to principals whose issuer is not the server's, if it has one.
func (s *Server) admits(who credential.Principal) error {
	if s.Issuer != "" && s.Issuer != who.Issuer {
		return fmt.Errorf("%w: the server's secrets are for principals of one issuer, and this one is of another", credential.ErrUnavailable)
	}
	return nil
}

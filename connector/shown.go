package connector

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sallyport.dev/credential"
	"sallyport.dev/credential/mint"
	"sallyport.dev/credential/scrub"
	"sallyport.dev/secret"
)

// ShownCredential is one credential as an operator may see it: without a value.
type ShownCredential struct {
	// Name says which it is: its server, and its number or its variable there.
	Name string
	// For, To, As and From say who may use it, where it may go, how it is put in and where it comes from.
	For, To, As, From string
	// State says what is known of its value.
	State string
	// Notes are what an operator should know of it.
	Notes []string
	// Err is why it cannot be had now. It names no value.
	Err error
}

// Credentials fetches every credential that does not depend on who calls, and of the others what they need whoever calls, and
// shows all of them.
func (c *Connector) Credentials(ctx context.Context) (shown []ShownCredential) {
	now := c.current()
	for _, name := range now.names {
		u := now.servers[name]
		if u.command != nil {
			shown = append(shown, u.command.credentials(ctx)...)
			continue
		}
		if u.database != nil {
			shown = append(shown, u.database.credentials(ctx)...)
			continue
		}
		for i, b := range u.bindings {
			cred := &u.cfg.Credentials[i]
			s := ShownCredential{
				Name: fmt.Sprintf("servers.%s, credential %d", name, i+1),
				For:  forWhom(cred.For, u.cfg.Issuer),
				To:   u.origin().Scheme + "://" + u.origin().Host,
				As:   b.Injector.Place(),
				From: cred.from(),
			}
			if s.State = "not fetched: it depends on who calls"; !cred.namesPrincipal() {
				s.State = "resolved"
				s.look(ctx, b.Source)
			} else {
				s.Err = c.checkShared(ctx, cred)
			}
			shown = append(shown, s)
		}
	}
	return shown
}

// credentials shows what a command is given.
func (c *command) credentials(ctx context.Context) (shown []ShownCredential) {
	for _, v := range c.env {
		if v.source == nil {
			continue
		}
		ref := c.cfg.Env[v.name].Secret
		s := ShownCredential{
			Name:  fmt.Sprintf("servers.%s, env %s", c.name, v.name),
			For:   forWhom(credential.Who{}, c.cfg.Issuer),
			To:    fmt.Sprintf("the local command %q, which can read it", c.cfg.Command[0]),
			As:    "variable of its environment",
			From:  ref.String(),
			State: "resolved",
		}
		if namesPrincipal([]secret.Ref{ref}) {
			s.State = "not fetched: it depends on who calls"
		} else {
			s.look(ctx, v.source)
		}
		shown = append(shown, s)
	}
	return shown
}

// look fetches the values and says what an operator should know of them.
func (s *ShownCredential) look(ctx context.Context, from credential.Source) {
	got, err := from.Fetch(ctx, credential.Principal{})
	if s.Err = err; err != nil {
		return
	}
	for _, value := range got.Values {
		if why := scrub.Weak(value); why != "" {
			s.Notes = append(s.Notes, "NOT masked in the bodies of answers: "+why)
		}
	}
}

// forWhom says who may use a credential.
func forWhom(who credential.Who, issuer string) string {
	switch {
	case len(who.Subjects) > 0:
		return fmt.Sprintf("%s of %s", strings.Join(who.Subjects, ", "), who.Issuers[0])
	case len(who.Issuers) > 0:
		return "principals of " + strings.Join(who.Issuers, ", ")
	case issuer != "":
		return "principals of " + issuer
	}
	return "everybody whom policy lets call"
}

// from says where a credential comes from.
func (c *Credential) from() string {
	names := make([]string, 0, 3)
	for _, ref := range c.refs() {
		names = append(names, ref.String())
	}
	from := strings.Join(names, ", ")
	switch {
	case c.OAuth != nil:
		return strings.TrimSuffix(fmt.Sprintf("%s at %s, with %s", c.OAuth.Grant, c.OAuth.TokenURL, from), ", with ")
	case c.JWT != nil:
		return "signed with " + from
	}
	return from
}

// JWKS returns the public halves of the keys with which tokens are signed, as a JWK Set (RFC 7517, section 5).
func (c *Connector) JWKS(ctx context.Context) ([]byte, error) {
	now := c.current()
	var keys []mint.JWK
	for _, name := range now.names {
		for _, m := range now.servers[name].minters {
			key, err := m.JWK(ctx)
			if err != nil {
				return nil, fmt.Errorf("servers.%s: %w", name, err)
			}
			if !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	return mint.JWKS(keys...)
}

package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/secret"
)

// StaticToken is one agent token of the configuration.
type StaticToken struct {
	// Name becomes the principal's subject. Visible ASCII, 1 to 64 characters, unique.
	Name string
	// Token is the value that the agent presents: at least 32 characters of the bearer grammar, unique.
	Token secret.Value
	// Grant is what its holder may reach.
	Grant Grant
}

// Static verifies agent tokens that are listed in the configuration. It is safe for concurrent use.
type Static struct {
	table      tokenTable
	principals []Principal
}

var _ Verifier = (*Static)(nil)

// NewStatic checks the tokens and gives their verifier. The issuer, the gateway's public URL, becomes the issuer of each
// principal. An error names the offending token by its name, never by its value. No tokens at all is allowed, and then
// every call is refused.
func NewStatic(issuer string, tokens []StaticToken) (*Static, error) {
	if issuer == "" {
		return nil, errors.New("auth: static tokens need an issuer: set it to the gateway's public URL")
	}
	s := &Static{}
	seen := make(map[string]bool, len(tokens))
	for i, t := range tokens {
		if err := checkName(t.Name); err != nil {
			return nil, fmt.Errorf("auth: static token number %d: %w", i+1, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("auth: static token %q is listed twice: rename one", t.Name)
		}
		seen[t.Name] = true
		if err := s.table.add(t.Token); err != nil {
			return nil, fmt.Errorf("auth: static token %q %w", t.Name, err)
		}
		s.principals = append(s.principals, Principal{
			Issuer:  issuer,
			Subject: t.Name,
			Grant:   Grant{Tunnels: slices.Clone(t.Grant.Tunnels), Servers: slices.Clone(t.Grant.Servers)},
		})
	}
	return s, nil
}

// Verify gives the principal whose configured token this is: issuer and name, no claims, no expiry. It compares with all
// of them whichever matches, so its cost tells nothing about them but their number.
func (s *Static) Verify(_ context.Context, p Presented) (Principal, error) {
	i, err := s.table.find(p.Token)
	if err != nil {
		return Principal{}, err
	}
	if p.DPoP {
		return Principal{}, fmt.Errorf("%w: it is bound to no key, and came by the scheme DPoP", ErrProof)
	}
	return s.principals[i], nil
}

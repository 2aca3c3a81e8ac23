package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
)

// issuer is one identity provider, and what its tokens must be like.
type issuer struct {
	provider Provider
	name     string
	grant    auth.Grant
	leeway   time.Duration
	// types are compared with header.typ, which is empty for a token without.
	types   []string
	clients []string
	// audiences take the place of the server's URL, if there are any.
	audiences      []string
	extraAudiences bool
	require        requirements
	proof          string
	// parsers verify signatures, each with one algorithm. There is none for an algorithm that is not accepted.
	parsers map[string]*jwt.Parser
}

// newIssuer takes a configuration that [Validate] has found good.
func newIssuer(c Config, p Provider) *issuer {
	i := &issuer{
		provider: p, name: c.Issuer, leeway: c.Leeway,
		grant:   auth.Grant{Tunnels: slices.Clone(c.Tunnels), Servers: slices.Clone(c.Servers)},
		clients: slices.Clone(c.Clients), audiences: slices.Clone(c.Audiences), extraAudiences: c.ExtraAudiences,
		require: make(requirements), proof: c.Proof, parsers: make(map[string]*jwt.Parser),
	}
	for _, typ := range c.Types {
		typ = mediaType(typ)
		i.types = append(i.types, typ)
		if typ == plainType {
			i.types = append(i.types, "")
		}
	}
	for name, required := range c.Require {
		if at, ok := parsePlace(name); ok {
			i.require[at] = required
		}
	}
	for _, alg := range c.Algorithms {
		i.parsers[alg] = jwt.NewParser(jwt.WithValidMethods([]string{alg}), jwt.WithIssuer(c.Issuer), jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(), jwt.WithLeeway(c.Leeway), jwt.WithStrictDecoding())
	}
	return i
}

// verify judges all of a JWT that has nothing to do with the call. Its iss is this issuer's name.
func (i *issuer) verify(ctx context.Context, t compact, c *claims) (*verdict, error) {
	h, err := parseHeader(t.header)
	if err != nil {
		return nil, invalid(err)
	}
	parser := i.parsers[h.alg]
	switch {
	case !slices.Contains(i.types, h.typ):
		return nil, fmt.Errorf("%w: its typ is not one of the issuer's types", auth.ErrInvalid)
	case parser == nil:
		return nil, fmt.Errorf("%w: its alg is not one of the issuer's algorithms", auth.ErrInvalid)
	}
	verdict, err := i.judge(c, c.subject)
	if err != nil {
		return nil, err
	}
	verdict.key, err = i.verifyingKey(ctx, t, h, c)
	if err != nil {
		return nil, err
	}
	return verdict, nil
}

// verifyingKey gives the key that the token is signed with. It is one of the issuer's, for the token's kid if it has one,
// and for its algorithm: the key says which those are, never the token.
func (i *issuer) verifyingKey(ctx context.Context, t compact, h header, c *claims) (jwk.Key, error) {
	keys, err := i.provider.Keys(ctx, h.kid, h.alg)
	if err != nil {
		return jwk.Key{}, err
	}
	for _, key := range keys {
		if h.kid != "" && key.ID != h.kid || !slices.Contains(key.Algorithms, h.alg) {
			continue
		}
		_, err := i.parsers[h.alg].ParseWithClaims(t.token, c, func(*jwt.Token) (any, error) { return key.Public, nil })
		switch {
		case err == nil:
			return key, nil
		case errors.Is(err, jwt.ErrTokenExpired):
			return jwk.Key{}, fmt.Errorf("%w: its exp is past", auth.ErrExpired)
		case !errors.Is(err, jwt.ErrTokenSignatureInvalid):
			return jwk.Key{}, fmt.Errorf("%w: its times are missing or not yet due", auth.ErrInvalid)
		}
	}
	return jwk.Key{}, fmt.Errorf("%w: it is not signed with the issuer's key", auth.ErrInvalid)
}

// judge is what tokens of both kinds have in common.
func (i *issuer) judge(c *claims, subject string) (*verdict, error) {
	switch {
	case subject == "":
		return nil, fmt.Errorf("%w: it has no sub", auth.ErrInvalid)
	case !c.expires.there:
		return nil, fmt.Errorf("%w: it has no exp", auth.ErrInvalid)
	case !i.allowsClient(c):
		return nil, fmt.Errorf("%w: its client is not one of the issuer's clients", auth.ErrInvalid)
	}
	if err := c.fit(); err != nil {
		return nil, invalid(err)
	}
	begins := max(c.begins.seconds, c.created.seconds)
	return &verdict{
		issuer: i, claims: c, begins: time.Unix(begins, 0).Add(-i.leeway),
		principal: auth.Principal{
			Issuer: i.name, Subject: subject, Claims: c.all, Expiry: c.expires.time().Add(i.leeway), Grant: i.grant,
		},
	}, nil
}

// allowsClient looks for whom the token was issued to: azp, client_id, or both.
func (i *issuer) allowsClient(c *claims) bool {
	if len(i.clients) == 0 {
		return true
	}
	listed := func(client string) bool { return client == "" || slices.Contains(i.clients, client) }
	return c.party+c.client != "" && listed(c.party) && listed(c.client)
}

// checkAudience judges aud by the server that is called.
func (i *issuer) checkAudience(audience []string, resource string) error {
	meant, foreign := false, false
	for _, entry := range audience {
		isResource := entry == resource && resource != ""
		switch {
		case len(i.audiences) > 0 && slices.Contains(i.audiences, entry), len(i.audiences) == 0 && isResource:
			meant = true
		case !isResource:
			foreign = true
		}
	}
	if !meant {
		return fmt.Errorf("%w: it is not meant for this server", auth.ErrInvalid)
	}
	if foreign && !i.extraAudiences {
		return fmt.Errorf("%w: it is meant for others too, and extra_audiences is not set", auth.ErrInvalid)
	}
	return nil
}

// invalid wraps what is wrong with a token.
func invalid(why error) error { return fmt.Errorf("%w: %w", auth.ErrInvalid, why) }

// looksSigned says whether a token has the form of a JWT: two dots, and a first segment that begins as a JSON object does.
// A JWT of which anything is changed but its signature is not the issuer's any more, so no other spelling has to be known.
func looksSigned(token string) bool {
	return strings.Count(token, ".") == 2 && len(token) > 1 && token[0] == 'e' && (token[1] >= 'w' && token[1] <= 'z' ||
		token[1] >= '0' && token[1] <= '9' || token[1] == '-' || token[1] == '_')
}

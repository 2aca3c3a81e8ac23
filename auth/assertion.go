package auth

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth/internal/date"
)

// An assertion is the gateway's word to one connector that a principal was verified for one server of one tunnel. It is a
// JWS in compact form (RFC 7515) with exactly this header,
//
//	{"alg":"EdDSA","typ":"sallyport-assertion+jwt","kid":…}
//
// whose kid is that of [KeyID], and exactly these claims, all required but principal.exp and principal.claims:
//
//	iss        the gateway's public URL
//	aud        the connector's instance id, one string
//	iat nbf    when it was signed, whole seconds since 1970
//	exp        at most 30 s after iat, and never after principal.exp
//	tunnel     the tunnel's name
//	server     the server's name
//	principal  {"iss","sub","exp","claims"} of the verified agent
//
// Anything else is refused rather than ignored: a member that this connector does not know could be a restriction.
const (
	assertionType = "sallyport-assertion+jwt"
	assertionAlg  = "EdDSA"

	// assertionLife is how long an assertion is valid, in whole seconds.
	assertionLife = 30 * time.Second
	// assertionSpare is the life that an assertion must have left to be handed out again, so that it survives its way.
	assertionSpare = 10 * time.Second
	// maxClaimsBytes bounds the principal's claims, encoded as JSON.
	maxClaimsBytes = 4 << 10
	// maxCached is the size of one generation of the caches of [Signer] and [Checker].
	maxCached = 2048
)

// Assertion is what a gateway asserts to a connector about one call.
type Assertion struct {
	// Tunnel and Server name where the call goes.
	Tunnel, Server string
	// Connector is the instance id of the connector that shall accept it.
	Connector string
	// Principal is who calls. Its grant stays behind: only this tunnel and server are asserted.
	Principal Principal
}

// assertionClaims are the claims as they travel. Pointers tell an absent time from a zero one.
type assertionClaims struct {
	Issuer    string        `json:"iss"`
	Audience  string        `json:"aud"`
	IssuedAt  *int64        `json:"iat"`
	NotBefore *int64        `json:"nbf"`
	Expires   *int64        `json:"exp"`
	Tunnel    string        `json:"tunnel"`
	Server    string        `json:"server"`
	Principal wirePrincipal `json:"principal"`
}

type wirePrincipal struct {
	Issuer  string         `json:"iss"`
	Subject string         `json:"sub"`
	Expires int64          `json:"exp,omitzero"`
	Claims  map[string]any `json:"claims,omitempty"`
}

var _ jwt.Claims = (*assertionClaims)(nil)

// errAssertionClaims replaces the decoder's own errors, which quote what they read.
var errAssertionClaims = errors.New("auth: the claims are not those of an assertion")

// UnmarshalJSON decodes strictly: no member twice at any depth, none in another case, none unknown, no invalid UTF-8.
// The JWT library calls it in place of its own decoding, which would fold case and let the last of two members win.
func (c *assertionClaims) UnmarshalJSON(b []byte) error {
	type plain assertionClaims // without this method
	if err := json.Unmarshal(b, (*plain)(c), json.RejectUnknownMembers(true)); err != nil {
		return errAssertionClaims
	}
	return nil
}

// GetExpirationTime implements [jwt.Claims].
func (c *assertionClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	return date.Numeric(c.Expires)
}

// GetIssuedAt implements [jwt.Claims].
func (c *assertionClaims) GetIssuedAt() (*jwt.NumericDate, error) { return date.Numeric(c.IssuedAt) }

// GetNotBefore implements [jwt.Claims].
func (c *assertionClaims) GetNotBefore() (*jwt.NumericDate, error) { return date.Numeric(c.NotBefore) }

// GetIssuer implements [jwt.Claims].
func (c *assertionClaims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject implements [jwt.Claims].
func (c *assertionClaims) GetSubject() (string, error) { return c.Principal.Subject, nil }

// GetAudience implements [jwt.Claims].
func (c *assertionClaims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{c.Audience}, nil
}

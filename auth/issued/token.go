package issued

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/internal/date"
)

// A token is
//
//	spt_ JWS _ CHECKSUM
//
// without the spaces. CHECKSUM is the CRC-32 (IEEE 802.3) of all that stands before it, the prefix and both "_" included, as
// six digits of base 62 (0-9 A-Z a-z, the most significant first). JWS is one in compact form (RFC 7515) with exactly this
// header, in this order and without spaces,
//
//	{"alg":"EdDSA","typ":"sallyport-token+jwt","kid":…}
//
// whose kid is that of [auth.KeyID], and exactly these claims, all required but claims:
//
//	iss aud    the gateway's public URL, one string
//	sub        the name of its holder
//	jti        the token's id, by which it is revoked: 26 characters of base 32
//	iat nbf    when it was made, whole seconds since 1970
//	exp        1 min to 366 days after iat
//	tunnels    the names of the tunnels that it may use, or "*"
//	servers    the names of the servers of those, or "*"
//	claims     an object for the rules of policy, of at most 4 KiB
//
// Anything else is refused rather than ignored, so that a token has one spelling.
const (
	// Prefix begins every token, and no token of another kind.
	Prefix = "spt_"
	// Pattern is a regular expression (RE2, and every common dialect) that finds tokens in a text, for scanners of secrets.
	// [Read] then tells a token from what only looks like one, without asking anybody.
	Pattern = `spt_eyJ[0-9A-Za-z_-]{88}\.eyJ[0-9A-Za-z_-]+\.[0-9A-Za-z_-]{86}_[0-9A-Za-z]{6}`

	// MinTTL is the shortest life of a token.
	MinTTL = time.Minute
	// MaxTTL is the longest life of a token.
	MaxTTL = 366 * 24 * time.Hour

	tokenType = "sallyport-token+jwt"
	alg       = "EdDSA"

	maxTokenBytes  = 8 << 10
	maxClaimsBytes = 4 << 10 // as in an assertion, which carries them on
	maxNames       = 64      // of tunnels, and of servers
	maxNameBytes   = 64      // of a holder, as of a static token

	keyIDBytes    = 16 // of [auth.KeyID]
	idBytes       = 26 // of [rand.Text]
	checksumBytes = 6
	base62        = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	// leeway is what is forgiven between the clocks of who makes a token and of the gateway.
	leeway = 5 * time.Second
)

// Contents is what a token says.
type Contents struct {
	// ID is by what it is revoked.
	ID string
	// Key is the id of the key that signed it.
	Key string
	// Issuer is the gateway's public URL.
	Issuer string
	// Name is the holder's, and the principal's subject.
	Name string
	// Grant is what the token may reach.
	Grant auth.Grant
	// Claims are for the rules of policy. Nil if there are none.
	Claims map[string]any
	// Created and Expires are whole seconds.
	Created, Expires time.Time
}

// Read gives what a token says, without a look at its signature: only its form and checksum are judged. An error wraps
// [auth.ErrMalformed] or [auth.ErrInvalid].
func Read(token string) (Contents, error) {
	compact, key, err := open(token)
	if err != nil {
		return Contents{}, err
	}
	var claims tokenClaims
	_, payload, _ := strings.Cut(compact, ".")
	payload, _, _ = strings.Cut(payload, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(payload)
	if err != nil || claims.UnmarshalJSON(raw) != nil {
		return Contents{}, errClaims
	}
	return claims.contents(key)
}

var (
	errClaims = fmt.Errorf("%w: its claims are not those of a token of the gateway's own", auth.ErrInvalid)
	// errTokenClaims replaces the decoder's own errors, which quote what they read.
	errTokenClaims = errors.New("the claims are not those of a token")
)

// open takes the wrapping off a token: what is left is a JWS with the header of this key.
func open(token string) (compact, key string, err error) {
	switch {
	case token == "":
		return "", "", auth.ErrNoToken
	case len(token) > maxTokenBytes:
		return "", "", fmt.Errorf("%w: longer than %d bytes", auth.ErrMalformed, maxTokenBytes)
	case !strings.HasPrefix(token, Prefix) || len(token) < len(Prefix)+1+checksumBytes:
		return "", "", fmt.Errorf("%w: not one of the gateway's own", auth.ErrInvalid)
	}
	rest, sum := token[:len(token)-checksumBytes], token[len(token)-checksumBytes:]
	if checksum(rest) != sum {
		return "", "", fmt.Errorf("%w: its checksum is wrong: it was cut or changed on its way", auth.ErrInvalid)
	}
	compact, ok := strings.CutSuffix(rest[len(Prefix):], "_")
	if !ok {
		return "", "", fmt.Errorf("%w: not one of the gateway's own", auth.ErrInvalid)
	}
	if key, ok = signer(compact, tokenType); !ok {
		return "", "", fmt.Errorf("%w: its header is not that of a token of the gateway's own", auth.ErrInvalid)
	}
	return compact, key, nil
}

// wrap is the opposite of open.
func wrap(compact string) string {
	token := Prefix + compact + "_"
	return token + checksum(token)
}

func checksum(text string) string {
	var digits [checksumBytes]byte
	sum := crc32.ChecksumIEEE([]byte(text))
	for i := range digits {
		digits[checksumBytes-1-i] = base62[sum%uint32(len(base62))]
		sum /= uint32(len(base62))
	}
	return string(digits[:])
}

// tokenClaims are the claims as they travel. Pointers tell an absent time from a zero one.
type tokenClaims struct {
	Issuer    string         `json:"iss"`
	Audience  string         `json:"aud"`
	Subject   string         `json:"sub"`
	ID        string         `json:"jti"`
	IssuedAt  *int64         `json:"iat"`
	NotBefore *int64         `json:"nbf"`
	Expires   *int64         `json:"exp"`
	Tunnels   []string       `json:"tunnels"`
	Servers   []string       `json:"servers"`
	Claims    map[string]any `json:"claims,omitempty"`
}

var _ jwt.Claims = (*tokenClaims)(nil)

// UnmarshalJSON decodes strictly: no member twice at any depth, none in another case, none unknown, no invalid UTF-8.
// The JWT library calls it in place of its own decoding, which would fold case and let the last of two members win.
func (c *tokenClaims) UnmarshalJSON(b []byte) error {
	type plain tokenClaims // without this method
	if err := json.Unmarshal(b, (*plain)(c), json.RejectUnknownMembers(true)); err != nil {
		return errTokenClaims
	}
	return nil
}

// contents judges what depends neither on a clock nor on a signature.
func (c *tokenClaims) contents(key string) (Contents, error) {
	if c.Issuer == "" || c.Audience != c.Issuer || !validID(c.ID) || checkName(c.Subject) != nil ||
		checkNames("", c.Tunnels) != nil || checkNames("", c.Servers) != nil {
		return Contents{}, errClaims
	}
	for _, t := range []*int64{c.IssuedAt, c.NotBefore, c.Expires} {
		if t == nil || *t <= 0 || *t > date.Max {
			return Contents{}, errClaims
		}
	}
	if life := *c.Expires - *c.IssuedAt; *c.NotBefore != *c.IssuedAt || life < int64(MinTTL/time.Second) || life > int64(MaxTTL/time.Second) {
		return Contents{}, errClaims
	}
	if encoded, err := json.Marshal(c.Claims); err != nil || len(encoded) > maxClaimsBytes {
		return Contents{}, errClaims
	}
	return Contents{
		ID: c.ID, Key: key, Issuer: c.Issuer, Name: c.Subject,
		Grant: auth.Grant{Tunnels: c.Tunnels, Servers: c.Servers}, Claims: c.Claims,
		Created: time.Unix(*c.IssuedAt, 0), Expires: time.Unix(*c.Expires, 0),
	}, nil
}

// GetExpirationTime implements [jwt.Claims].
func (c *tokenClaims) GetExpirationTime() (*jwt.NumericDate, error) { return date.Numeric(c.Expires) }

// GetIssuedAt implements [jwt.Claims].
func (c *tokenClaims) GetIssuedAt() (*jwt.NumericDate, error) { return date.Numeric(c.IssuedAt) }

// GetNotBefore implements [jwt.Claims].
func (c *tokenClaims) GetNotBefore() (*jwt.NumericDate, error) { return date.Numeric(c.NotBefore) }

// GetIssuer implements [jwt.Claims].
func (c *tokenClaims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject implements [jwt.Claims].
func (c *tokenClaims) GetSubject() (string, error) { return c.Subject, nil }

// GetAudience implements [jwt.Claims].
func (c *tokenClaims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{c.Audience}, nil
}

// validID recognises what can be the id of a token.
func validID(id string) bool {
	return len(id) == idBytes && strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// checkName accepts the names that static tokens may have: visible ASCII, bounded.
func checkName(name string) error {
	if name == "" || len(name) > maxNameBytes {
		return fmt.Errorf("a name has 1 to %d characters", maxNameBytes)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == '|' {
			return errors.New("a name is visible ASCII without spaces and without |")
		}
	}
	return nil
}

// checkNames accepts a list of tunnels or of servers.
func checkNames(kind string, names []string) error {
	if len(names) == 0 || len(names) > maxNames {
		return fmt.Errorf(`1 to %d %ss are required; all is "*"`, maxNames, kind)
	}
	for i, name := range names {
		if name != "*" && !validSlug(name) {
			return fmt.Errorf(`%q is no name of a %s: write 1 to 40 of a-z, 0-9 and "-", without "--", or "*" for all`, name, kind)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("the %s %q is named twice", kind, name)
		}
	}
	return nil
}

// validSlug holds names to those that can stand in a URL of a gateway.
func validSlug(s string) bool {
	return s != "" && len(s) <= 40 && !strings.Contains(s, "--") && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

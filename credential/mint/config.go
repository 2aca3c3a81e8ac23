package mint

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

const (
	defaultType    = "JWT"
	defaultSubject = secret.PrincipalSubject
	maxType        = 64 // bytes

	defaultTTL = time.Minute
	minTTL     = 10 * time.Second
	maxTTL     = 10 * time.Minute
	maxText    = 1024 // bytes of one claim
	maxClaims  = 16
)

// Config says what a token states.
type Config struct {
	// Issuer is who vouches for the token, as the server knows this connector. Required.
	Issuer string `yaml:"issuer"`
	// Audience is the server that the token is for. Required.
	Audience string `yaml:"audience"`
	// TTL is how long a token is valid, 10s to 10m. Default 1m.
	TTL time.Duration `yaml:"ttl"`
	// Subject is whom the token names: a text with {principal.subject} in it, and {principal.issuer} where the server wants
	// both in one. Default {principal.subject}.
	Subject string `yaml:"subject"`
	// Type is what kind of token it says it is, such as at+jwt. Default JWT.
	Type string `yaml:"type"`
	// KeyID is the key's name in the token and in the JWK Set. Default the key's thumbprint (RFC 7638).
	KeyID string `yaml:"key_id"`
	// Claims are further claims, each a text. Optional.
	Claims map[string]string `yaml:"claims"`

	// Client makes tokens that name the issuer itself as their subject, and no principal.
	Client bool `yaml:"-"`
}

// registered are the claims that are set here.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", claimIssuer}

// claimIssuer says at which issuer the subject is: it means nothing elsewhere.
const claimIssuer = "principal_issuer"

// Validate applies the defaults, and says what to write instead.
func (c *Config) Validate() error {
	if c.TTL == 0 {
		c.TTL = defaultTTL
	}
	c.Subject, c.Type = cmp.Or(c.Subject, defaultSubject), cmp.Or(c.Type, defaultType)
	switch {
	case !isText(c.Issuer):
		return fmt.Errorf("%w: jwt: issuer is required, such as https://connector.example.com", credential.ErrConfig)
	case !isText(c.Audience):
		return fmt.Errorf("%w: jwt: audience is required: the name by which the server knows itself", credential.ErrConfig)
	case c.TTL < minTTL || c.TTL > maxTTL:
		return fmt.Errorf("%w: jwt: ttl: %s to %s are allowed", credential.ErrConfig, minTTL, maxTTL)
	case !isSubject(c.Subject):
		return fmt.Errorf("%w: jwt: subject: it needs %s once, may have %s once, and no other braces", credential.ErrConfig, secret.PrincipalSubject, secret.PrincipalIssuer)
	case !isType(c.Type):
		return fmt.Errorf("%w: jwt: type is none; write one such as at+jwt", credential.ErrConfig)
	case c.KeyID != "" && !isText(c.KeyID):
		return fmt.Errorf("%w: jwt: key_id is no plain text", credential.ErrConfig)
	case len(c.Claims) > maxClaims:
		return fmt.Errorf("%w: jwt: claims: at most %d are allowed", credential.ErrConfig, maxClaims)
	}
	for name, value := range c.Claims {
		if !isText(name) || !isText(value) || slices.Contains(registered, name) {
			return fmt.Errorf("%w: jwt: claims: plain texts are allowed, and none of %s", credential.ErrConfig, strings.Join(registered, ", "))
		}
	}
	return nil
}

// subject is whom a token names.
func (c *Config) subject(who credential.Principal) string {
	if c.Client {
		return who.Subject
	}
	// In one pass: braces in a principal's name stand for nothing.
	return strings.NewReplacer(secret.PrincipalSubject, who.Subject, secret.PrincipalIssuer, who.Issuer).Replace(c.Subject)
}

// isSubject reports whether a text names a principal by his subject, and holds nothing else in braces.
func isSubject(text string) bool {
	rest := strings.Replace(strings.Replace(text, secret.PrincipalSubject, " ", 1), secret.PrincipalIssuer, " ", 1)
	return isText(text) && strings.Contains(text, secret.PrincipalSubject) && !strings.ContainsAny(rest, "{}")
}

// isType reports whether a text may be a token's type (RFC 7515, section 4.1.9): a media type, mostly without application/.
func isType(text string) bool {
	const more = "!#$&-^_.+/"
	return len(text) <= maxType && text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(more, r)
	})
}

// isText reports whether a text may stand in a claim.
func isText(text string) bool {
	return text != "" && len(text) <= maxText && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

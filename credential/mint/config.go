package mint

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"sallyport.dev/credential"
)

const (
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
	switch {
	case !isText(c.Issuer):
		return fmt.Errorf("%w: jwt: issuer is required, such as https://connector.example.com", credential.ErrConfig)
	case !isText(c.Audience):
		return fmt.Errorf("%w: jwt: audience is required: the name by which the server knows itself", credential.ErrConfig)
	case c.TTL < minTTL || c.TTL > maxTTL:
		return fmt.Errorf("%w: jwt: ttl: %s to %s are allowed", credential.ErrConfig, minTTL, maxTTL)
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

// isText reports whether a text may stand in a claim.
func isText(text string) bool {
	return text != "" && len(text) <= maxText && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

package oidc

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// maxName bounds sub, and the names of clients, in bytes.
	maxName = 255
	// maxAudiences is how many entries aud may have.
	maxAudiences = 16
	// maxDate bounds times, to the year 36812; beyond it arithmetic on times is not to be trusted.
	maxDate = 1 << 40
	// maxFraction is how many decimals a time may have. They are dropped.
	maxFraction = 9
	// maxClaims is the length in bytes, as JSON, of the claims that the principal keeps: an assertion holds no more.
	maxClaims = 4 << 10
)

var (
	errClaim     = errors.New("a registered claim is in another case or of the wrong kind")
	errTooMany   = errors.New("its claims are larger than 4 KiB: have the issuer put less into it")
	errNotParsed = errors.New("not the claims that were parsed")
)

// registered are the claims that decide, or are treated in a way of their own (RFC 7519, 7662, 7800, 8693, 9068).
func registered() []string {
	return []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "azp", "client_id", "scope", "scp", "cnf"}
}

// claims are those of a token, or of an issuer's answer about one. They are what the token says and no more.
type claims struct {
	raw                      []byte // without space around it
	issuer, subject          string
	party, client            string // azp and client_id
	audience, scopes         []string
	expires, begins, created date
	binding                  binding
	// all are the claims as JSON values, without those about time and cnf.
	all map[string]any
}

// date is a time in seconds since 1970, if it is there.
type date struct {
	seconds int64
	there   bool
}

var _ jwt.Claims = (*claims)(nil)

// parseClaims decodes strictly. Who needs a claim checks that it is there.
func parseClaims(raw []byte) (*claims, error) {
	c := &claims{raw: bytes.Trim(raw, " \t\r\n"), all: make(map[string]any)}
	if err := eachMember(c.raw, c.take); err != nil {
		return nil, err
	}
	if scp, there := c.all["scp"]; there && c.scopes == nil { // what Microsoft and Okta have in place of scope
		if err := c.takeList(scp); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// take is called with each claim.
func (c *claims) take(name string, value jsontext.Value) error {
	switch name {
	case "exp":
		return c.expires.parse(value)
	case "nbf":
		return c.begins.parse(value)
	case "iat":
		return c.created.parse(value)
	case "cnf":
		return c.binding.parse(value)
	}
	var decoded any
	if json.Unmarshal(value, &decoded) != nil { // such as a number that no float64 holds
		return errObject
	}
	c.all[name] = decoded
	switch name {
	case "iss":
		return takeName(&c.issuer, decoded)
	case "sub":
		return takeName(&c.subject, decoded)
	case "jti":
		return takeName(new(string), decoded)
	case "azp":
		return takeName(&c.party, decoded)
	case "client_id":
		return takeName(&c.client, decoded)
	case "aud":
		return c.takeAudience(decoded)
	case "scope":
		text, ok := decoded.(string)
		if !ok {
			return errClaim
		}
		c.scopes = splitScopes(text)
		return nil
	case "scp":
		return nil // scope counts, if both are there
	}
	if isOneOf(name, registered()) {
		return errClaim
	}
	return nil
}

// takeList takes scp, a text as scope is or a list of scopes.
func (c *claims) takeList(scp any) error {
	if text, ok := scp.(string); ok {
		c.scopes = splitScopes(text)
		return nil
	}
	list, ok := scp.([]any)
	if !ok {
		return errClaim
	}
	for _, entry := range list {
		text, ok := entry.(string)
		if !ok {
			return errClaim
		}
		c.scopes = append(c.scopes, text)
	}
	return nil
}

// splitScopes splits at spaces and at nothing else (RFC 6749 section 3.3).
func splitScopes(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ' ' })
}

func (c *claims) takeAudience(decoded any) error {
	list, isList := decoded.([]any)
	if !isList {
		list = []any{decoded}
	}
	if len(list) == 0 || len(list) > maxAudiences {
		return errClaim
	}
	for _, entry := range list {
		text, ok := entry.(string)
		if !ok || text == "" {
			return errClaim
		}
		c.audience = append(c.audience, text)
	}
	return nil
}

// takeName takes a text that names somebody or something: not empty, not long, and nothing in it that does not show.
func takeName(into *string, decoded any) error {
	text, ok := decoded.(string)
	if !ok || text == "" || len(text) > maxName || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return errClaim
	}
	*into = text
	return nil
}

// parse reads a number of seconds: digits and at most nine decimals, no sign and no exponent.
func (d *date) parse(value jsontext.Value) error {
	whole, fraction, _ := strings.Cut(string(value), ".")
	seconds, err := strconv.ParseUint(whole, 10, 64)
	if err != nil || seconds >= maxDate || len(fraction) > maxFraction || strings.ContainsAny(fraction, "eE+-") {
		return errClaim
	}
	d.seconds, d.there = int64(seconds), true
	return nil
}

func (d date) time() time.Time { return time.Unix(d.seconds, 0) }

// numeric is the date as the JWT library has it.
func (d date) numeric() (*jwt.NumericDate, error) {
	if !d.there {
		return nil, nil
	}
	return jwt.NewNumericDate(d.time()), nil
}

// fit says whether the principal can carry the claims.
func (c *claims) fit() error {
	if len(c.raw) <= maxClaims/6 { // nothing grows more than 1e20, which becomes 21 digits
		return nil
	}
	if encoded, err := json.Marshal(c.all); err != nil || len(encoded) > maxClaims {
		return errTooMany
	}
	return nil
}

// binding is a confirmation claim (RFC 7800): to which key the token is bound. The zero binding is none.
type binding struct {
	key         string // jkt, the thumbprint of a key for DPoP (RFC 9449 section 6.1)
	certificate string // x5t#S256, the thumbprint of a certificate (RFC 8705 section 3.1)
	other       bool   // something that nobody here can check
}

func (b *binding) parse(value jsontext.Value) error {
	members := 0
	err := eachMember(value, func(name string, value jsontext.Value) error {
		members++
		var into *string
		switch name {
		case "jkt":
			into = &b.key
		case "x5t#S256":
			into = &b.certificate
		default:
			b.other = true
			return nil
		}
		if value.Kind() != '"' || json.Unmarshal(value, into) != nil || !isThumbprint(*into) {
			return errClaim
		}
		return nil
	})
	b.other = b.other || members == 0
	return err
}

// isThumbprint says whether a text is a SHA-256 in base64url.
func isThumbprint(text string) bool {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(text)
	return err == nil && len(sum) == 32 && len(text) == 43
}

// UnmarshalJSON takes nothing over: the JWT library calls it with the payload, which was parsed before, in place of its own
// decoding, which would fold case and let the last of two members win. Another payload than that is an error.
func (c *claims) UnmarshalJSON(raw []byte) error {
	if !bytes.Equal(raw, c.raw) {
		return errNotParsed
	}
	return nil
}

// GetExpirationTime implements [jwt.Claims].
func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires.numeric() }

// GetIssuedAt implements [jwt.Claims].
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.created.numeric() }

// GetNotBefore implements [jwt.Claims].
func (c *claims) GetNotBefore() (*jwt.NumericDate, error) { return c.begins.numeric() }

// GetIssuer implements [jwt.Claims].
func (c *claims) GetIssuer() (string, error) { return c.issuer, nil }

// GetSubject implements [jwt.Claims].
func (c *claims) GetSubject() (string, error) { return c.subject, nil }

// GetAudience implements [jwt.Claims].
func (c *claims) GetAudience() (jwt.ClaimStrings, error) { return c.audience, nil }

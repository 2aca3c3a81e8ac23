package dpop

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
)

const (
	// maxProof is the longest proof, in bytes: with an RSA key of 8192 bits it has 3.5 KiB.
	maxProof = 4 << 10
	// maxID is the longest jti, in bytes.
	maxID = 256
	// dateBits bounds times in claims, to year 36812; beyond it arithmetic on times is not to be trusted.
	dateBits = 40

	proofType = "dpop+jwt" // RFC 9449 section 4.2
)

// proofHeader is all that the header may hold, and all of it is required. A crit, kid, jku or x5u is refused for being there
// at all.
type proofHeader struct {
	Type      string         `json:"typ"`
	Algorithm string         `json:"alg"`
	Key       jsontext.Value `json:"jwk"`
}

// readHeader refuses everything but three segments of the base64url alphabet with the header of a proof, and gives what that
// says. The alphabet is checked here because Go's decoder skips line breaks, which would let one proof have many spellings.
func readHeader(proof string) (alg string, key jwk.Key, err error) {
	if len(proof) > maxProof {
		return "", jwk.Key{}, fmt.Errorf("%w: a proof longer than %d bytes", auth.ErrMalformed, maxProof)
	}
	for i := range len(proof) {
		if c := proof[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return "", jwk.Key{}, fmt.Errorf("%w: a proof that is not base64url", auth.ErrMalformed)
		}
	}
	if strings.Count(proof, ".") != 2 {
		return "", jwk.Key{}, fmt.Errorf("%w: a proof of other than three segments", auth.ErrMalformed)
	}
	segment, _, _ := strings.Cut(proof, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return "", jwk.Key{}, fmt.Errorf("%w: a proof that is not base64url", auth.ErrMalformed)
	}
	var header proofHeader
	if json.Unmarshal(raw, &header, json.RejectUnknownMembers(true)) != nil { // its text would quote the header
		return "", jwk.Key{}, fmt.Errorf("%w: the header is not that of a proof: typ, alg and jwk", auth.ErrMalformed)
	}
	if header.Type != proofType {
		return "", jwk.Key{}, fmt.Errorf("%w: another typ than %s", auth.ErrProof, proofType)
	}
	if key, err = jwk.ParseKey(header.Key); err != nil {
		return "", jwk.Key{}, fmt.Errorf("%w: its key cannot be used: %w", auth.ErrProof, err)
	}
	return header.Algorithm, key, nil
}

// proofClaims are the claims of RFC 9449 section 4.2, and the times of RFC 7519. Others are allowed, and say nothing here.
type proofClaims struct {
	ID        string                    `json:"jti"`
	Method    string                    `json:"htm"`
	Target    string                    `json:"htu"`
	TokenHash string                    `json:"ath"`
	Nonce     string                    `json:"nonce"`
	IssuedAt  jsontext.Value            `json:"iat"`
	Expires   jsontext.Value            `json:"exp"`
	NotBefore jsontext.Value            `json:"nbf"`
	Others    map[string]jsontext.Value `json:",embed"`
}

var _ jwt.Claims = (*proofClaims)(nil)

// errClaims replaces the decoder's own errors, which quote what they read.
var errClaims = errors.New("dpop: the claims are not those of a proof")

// UnmarshalJSON decodes strictly: no member twice at any depth, none of ours in another case, no invalid UTF-8. The JWT
// library calls it in place of its own decoding, which would fold case and let the last of two members win.
func (c *proofClaims) UnmarshalJSON(b []byte) error {
	type plain proofClaims // without this method
	if json.Unmarshal(b, (*plain)(c)) != nil {
		return errClaims
	}
	for name := range c.Others {
		for _, ours := range []string{"jti", "htm", "htu", "ath", "nonce", "iat", "exp", "nbf"} {
			if strings.EqualFold(name, ours) {
				return errClaims
			}
		}
	}
	return nil
}

// GetExpirationTime implements [jwt.Claims].
func (c *proofClaims) GetExpirationTime() (*jwt.NumericDate, error) { return numericDate(c.Expires) }

// GetIssuedAt implements [jwt.Claims].
func (c *proofClaims) GetIssuedAt() (*jwt.NumericDate, error) { return numericDate(c.IssuedAt) }

// GetNotBefore implements [jwt.Claims].
func (c *proofClaims) GetNotBefore() (*jwt.NumericDate, error) { return numericDate(c.NotBefore) }

// GetIssuer implements [jwt.Claims].
func (c *proofClaims) GetIssuer() (string, error) { return "", nil }

// GetSubject implements [jwt.Claims].
func (c *proofClaims) GetSubject() (string, error) { return "", nil }

// GetAudience implements [jwt.Claims].
func (c *proofClaims) GetAudience() (jwt.ClaimStrings, error) { return nil, nil }

// judge compares the claims with the request that they came with, and gives the last moment at which they are good.
func (c *proofClaims) judge(p *auth.Presented) (last time.Time, err error) {
	issued, err := c.GetIssuedAt()
	if err != nil || issued == nil {
		return time.Time{}, fmt.Errorf("%w: it has no iat", auth.ErrProof)
	}
	return issued.Add(window), c.compare(p, time.Since(issued.Time))
}

func (c *proofClaims) compare(p *auth.Presented, age time.Duration) error {
	switch {
	case age > window || age < -window:
		return fmt.Errorf("%w: it was not made within %s of now, compare the clocks of caller and gateway", auth.ErrProof, window)
	case !validID(c.ID):
		return fmt.Errorf("%w: its jti is missing, longer than %d bytes or not visible ASCII", auth.ErrProof, maxID)
	case p.Method == "" || c.Method != p.Method:
		return fmt.Errorf("%w: it is for another method", auth.ErrProof)
	case !sameTarget(c.Target, p.URL):
		return fmt.Errorf("%w: it is for another URL", auth.ErrProof)
	case !equal(c.TokenHash, hashOf(p.Token)):
		return fmt.Errorf("%w: it is for another token, or for none", auth.ErrProof)
	}
	return nil
}

// numericDate reads a time (RFC 7519 section 2), in seconds with at most nine decimals and no exponent.
func numericDate(raw jsontext.Value) (*jwt.NumericDate, error) {
	if raw == nil {
		return nil, nil
	}
	whole, decimals, _ := strings.Cut(string(raw), ".")
	seconds, err := strconv.ParseUint(whole, 10, dateBits)
	if err != nil || len(decimals) > 9 {
		return nil, errClaims
	}
	nanos, err := strconv.ParseUint((decimals + "000000000")[:9], 10, 32)
	if err != nil {
		return nil, errClaims
	}
	return &jwt.NumericDate{Time: time.Unix(int64(seconds), int64(nanos))}, nil
}

func validID(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxID
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

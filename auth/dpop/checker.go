package dpop

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
)

const (
	// window is how far the time of a proof may be from ours, in the past and in the future (RFC 9449 section 11.1).
	window = 60 * time.Second
	// keyBytes is the length of the key of the nonces.
	keyBytes = 32
	// defaultLimit is how many proofs are remembered at once unless configured.
	defaultLimit = 1 << 20
	// maxLimit is the most that may be remembered, about half a gigabyte.
	maxLimit = 1 << 24
)

// Config configures a [Checker].
type Config struct {
	// Key is for making nonces, 32 random bytes. Gateways that share it accept each other's nonces. Required.
	Key []byte
	// Nonce says that a proof needs a nonce of ours (RFC 9449 section 9). Without it no nonce is given out, and one that a
	// proof has all the same, which then is somebody else's, is not looked at: section 4.3 compares what the server has
	// provided.
	Nonce bool
	// Limit is how many proofs are remembered at once, so that none is used twice. Each is for about two minutes, and takes
	// some 30 bytes; one key may have a quarter of them. Optional; default 1048576, at most 16777216.
	Limit int
}

// Checker checks proofs of possession, and accepts each of them once. It is safe for concurrent use and starts no goroutine.
type Checker struct {
	nonces  *nonces // nil if proofs need none
	parsers map[string]*jwt.Parser
	used    *memory
}

// algorithms are those that a proof may be signed with: none that is symmetric, and none that is weak.
func algorithms() []string { return []string{"ES256", "ES384", "EdDSA", "PS256", "RS256"} }

// New gives a checker that has seen no proof yet.
func New(cfg Config) (*Checker, error) {
	if len(cfg.Key) != keyBytes || bytes.Count(cfg.Key, cfg.Key[:1]) == keyBytes {
		return nil, fmt.Errorf("dpop: the key of the nonces must be %d random bytes", keyBytes)
	}
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.Limit < 1 || cfg.Limit > maxLimit {
		return nil, fmt.Errorf("dpop: 1 to %d proofs can be remembered", maxLimit)
	}
	c := &Checker{parsers: make(map[string]*jwt.Parser), used: newMemory(cfg.Limit)}
	if cfg.Nonce {
		c.nonces = &nonces{key: slices.Clone(cfg.Key)}
	}
	for _, alg := range algorithms() {
		c.parsers[alg] = jwt.NewParser(
			jwt.WithValidMethods([]string{alg}),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(window),
			jwt.WithStrictDecoding(),
		)
	}
	return c, nil
}

// Algorithms are the JWS algorithms that a proof may be signed with, for metadata and challenges.
func (c *Checker) Algorithms() []string { return algorithms() }

// Nonce gives the nonce for the next proof, good for at least five minutes. It is empty if proofs need none.
func (c *Checker) Nonce() string {
	if c.nonces == nil {
		return ""
	}
	return c.nonces.current()
}

// Check finds out whether the request proves to have the key whose thumbprint (RFC 7638) is given, which its token must be
// bound to, as RFC 9449 section 4.3 says. It accepts a proof once: a request that is sent again needs a new one. The error
// wraps [auth.ErrProof], being an [*auth.NonceError] if all that is wrong is the nonce; [auth.ErrMalformed] if the proof
// cannot be read; or [auth.ErrUnavailable] if there is no room to remember it.
func (c *Checker) Check(p auth.Presented, thumbprint string) error {
	if err := c.check(&p, thumbprint); err != nil {
		return fmt.Errorf("check a proof of possession: %w", err)
	}
	return nil
}

func (c *Checker) check(p *auth.Presented, thumbprint string) error {
	switch {
	case !p.DPoP:
		return fmt.Errorf("%w: the token is bound to a key, and came by another scheme than DPoP", auth.ErrProof)
	case p.Token == "" || thumbprint == "":
		return fmt.Errorf("%w: there is no token that is bound to a key", auth.ErrProof)
	case p.Proof == "":
		return fmt.Errorf("%w: there is no DPoP field", auth.ErrProof)
	}
	alg, key, err := readHeader(p.Proof)
	if err != nil {
		return err
	}
	parser := c.parsers[alg]
	if parser == nil || !slices.Contains(key.Algorithms, alg) {
		return fmt.Errorf("%w: its algorithm is not accepted, or not one of its key", auth.ErrProof)
	}
	if !equal(key.Thumbprint(), thumbprint) { // before the signature, so that a stranger's key costs no work
		return fmt.Errorf("%w: it has another key than the one that the token is bound to", auth.ErrProof)
	}
	var claims proofClaims
	_, err = parser.ParseWithClaims(p.Proof, &claims, func(*jwt.Token) (any, error) { return key.Public, nil })
	if err != nil {
		return refusal(err)
	}
	last, err := claims.judge(p)
	if err != nil {
		return err
	}
	if c.nonces != nil && !c.nonces.good(claims.Nonce) {
		return &auth.NonceError{Nonce: c.nonces.current()}
	}
	return c.used.add(thumbprint, claims.ID, last)
}

// refusal maps the library's errors to ours and leaves their texts behind, for those may quote the proof.
func refusal(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed), errors.Is(err, errClaims):
		return fmt.Errorf("%w: segments or claims are not those of a proof", auth.ErrMalformed)
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return fmt.Errorf("%w: its key did not sign it", auth.ErrProof)
	default:
		return fmt.Errorf("%w: it is not valid now, compare the clocks of caller and gateway", auth.ErrProof)
	}
}

// hashOf gives a token's hash, as the claim ath has it (RFC 9449 section 4.2).
func hashOf(token string) string {
	digest := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

// equal compares in a time that tells of no more than the lengths.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

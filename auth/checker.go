package auth

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth/internal/cache"
	"sallyport.dev/auth/internal/date"
)

const (
	// defaultLeeway is the difference between the two clocks that is forgiven unless configured.
	defaultLeeway = 5 * time.Second
	// maxLeeway is the most that may be forgiven.
	maxLeeway = 60 * time.Second
)

// CheckerConfig configures a [Checker].
type CheckerConfig struct {
	// Keys are the gateway's public assertion keys, from its answer to attach.
	Keys []ed25519.PublicKey
	// Renew asks the gateway for its keys again, when an assertion names one that is not known. Optional; without it such
	// an assertion is refused.
	Renew func(ctx context.Context) ([]ed25519.PublicKey, error)
	// Issuer is the gateway's public URL.
	Issuer string
	// Tunnel is the tunnel that this connector serves.
	Tunnel string
	// Connector is this connector's instance id.
	Connector string
	// Leeway is how far the gateway's clock may be off. Optional; default 5 s, at most 60 s.
	Leeway time.Duration
}

// Checker checks the assertions that a gateway sends to one connector. An assertion that was found good is remembered
// until it expires, so that its signature is verified once and not for each call. It is safe for concurrent use.
type Checker struct {
	keys   *keyRing
	tunnel string
	leeway time.Duration
	parser *jwt.Parser
	good   *cache.Cache[string, goodAssertion] // by the assertion itself: hashing one costs more than all the rest of a check
}

type goodAssertion struct {
	principal Principal
	server    string
	until     time.Time
}

// NewChecker gives the checker of a connector. All of the configuration but the leeway is required.
func NewChecker(cfg CheckerConfig) (*Checker, error) {
	keys, err := newKeyRing(cfg.Keys, cfg.Renew)
	if err != nil {
		return nil, err
	}
	if cfg.Issuer == "" || cfg.Tunnel == "" || cfg.Connector == "" {
		return nil, errors.New("auth: checking assertions needs an issuer, a tunnel and a connector")
	}
	if cfg.Leeway == 0 {
		cfg.Leeway = defaultLeeway
	}
	if cfg.Leeway < 0 || cfg.Leeway > maxLeeway {
		return nil, fmt.Errorf("auth: the leeway for the gateway's clock must be between 0 and %s", maxLeeway)
	}
	return &Checker{
		keys:   keys,
		tunnel: cfg.Tunnel,
		leeway: cfg.Leeway,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{assertionAlg}),
			jwt.WithIssuer(cfg.Issuer),
			jwt.WithAudience(cfg.Connector),
			jwt.WithExpirationRequired(),
			jwt.WithNotBeforeRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(cfg.Leeway),
			jwt.WithStrictDecoding(),
		),
		good: cache.New[string, goodAssertion](maxCached),
	}, nil
}

// Check verifies an assertion for a call to this server and gives the principal it proves, whose grant is this tunnel
// and server and no more. The error wraps [ErrNoToken], [ErrMalformed], [ErrInvalid] or [ErrExpired].
func (c *Checker) Check(ctx context.Context, token, server string) (Principal, error) {
	if token == "" {
		return Principal{}, ErrNoToken
	}
	if len(token) > maxTokenBytes {
		return Principal{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxTokenBytes)
	}
	known, ok := c.good.Get(token)
	if !ok {
		var err error
		if known, err = c.verify(ctx, token); err != nil {
			return Principal{}, fmt.Errorf("check an assertion: %w", err)
		}
		c.good.Put(strings.Clone(token), known)
	}
	if !time.Now().Before(known.until) {
		return Principal{}, fmt.Errorf("check an assertion: %w", ErrExpired)
	}
	if server == "" || known.server != server {
		return Principal{}, fmt.Errorf("check an assertion: %w: it is for another server", ErrInvalid)
	}
	return known.principal, nil
}

// verify checks all but the server, in the order: shape, header, then signature and claims by the library, then ours.
func (c *Checker) verify(ctx context.Context, token string) (goodAssertion, error) {
	id, err := checkShape(token)
	if err != nil {
		return goodAssertion{}, err
	}
	key, err := c.keys.find(ctx, id)
	if err != nil {
		return goodAssertion{}, err
	}
	var claims assertionClaims
	_, err = c.parser.ParseWithClaims(token, &claims, func(*jwt.Token) (any, error) { return key, nil })
	if err != nil {
		return goodAssertion{}, refusal(err)
	}
	return c.accept(&claims)
}

// accept judges claims whose signature, issuer, audience and times the library found good.
func (c *Checker) accept(claims *assertionClaims) (goodAssertion, error) {
	if claims.IssuedAt == nil || claims.Expires == nil {
		return goodAssertion{}, fmt.Errorf("%w: a time is missing", ErrInvalid)
	}
	life := *claims.Expires - *claims.IssuedAt // seconds; as a Duration a far expiry would overflow
	if life < 0 || life > int64(assertionLife/time.Second) {
		return goodAssertion{}, fmt.Errorf("%w: it lives longer than %s", ErrInvalid, assertionLife)
	}
	p := claims.Principal
	if p.Issuer == "" || p.Subject == "" || p.Expires < 0 || p.Expires > date.Max {
		return goodAssertion{}, fmt.Errorf("%w: it names no principal", ErrInvalid)
	}
	if p.Expires != 0 && *claims.Expires > p.Expires {
		return goodAssertion{}, fmt.Errorf("%w: it outlives its principal", ErrInvalid)
	}
	if claims.Tunnel != c.tunnel {
		return goodAssertion{}, fmt.Errorf("%w: it is for another tunnel", ErrInvalid)
	}
	good := goodAssertion{
		principal: Principal{
			Issuer: p.Issuer, Subject: p.Subject, Claims: p.Claims,
			Grant: Grant{Tunnels: []string{claims.Tunnel}, Servers: []string{claims.Server}},
		},
		server: claims.Server,
		until:  time.Unix(*claims.Expires, 0).Add(c.leeway),
	}
	if p.Expires != 0 {
		good.principal.Expiry = time.Unix(p.Expires, 0)
	}
	return good, nil
}

// assertionHeader is all that the header may hold. A crit, jwk, jku or x5u is refused for being there at all, and the kid is
// only ever compared with the names of the keys that the gateway has given over its session, so the header can bring no key
// (RFC 8725 sections 3.1, 3.10 and 3.11).
type assertionHeader struct {
	Alg string `json:"alg"`
	Typ string `json:"typ"`
	Kid string `json:"kid"`
}

// checkShape refuses everything but three segments of the base64url alphabet with the one header of an assertion, and gives
// the name of the key that it says. The
// alphabet is checked here because Go's decoder skips line breaks, which would let one token have many spellings.
func checkShape(token string) (keyID string, err error) {
	for i := range len(token) {
		if c := token[i]; !alphanumeric(c) && c != '-' && c != '_' && c != '.' {
			return "", fmt.Errorf("%w: not base64url", ErrMalformed)
		}
	}
	if strings.Count(token, ".") != 2 {
		return "", fmt.Errorf("%w: not three segments", ErrMalformed)
	}
	segment, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return "", fmt.Errorf("%w: not base64url", ErrMalformed)
	}
	var header assertionHeader
	if err := json.Unmarshal(raw, &header, json.RejectUnknownMembers(true)); err != nil {
		return "", fmt.Errorf("%w: the header is not that of an assertion", ErrMalformed)
	}
	if header.Alg != assertionAlg || header.Typ != assertionType {
		return "", fmt.Errorf("%w: another algorithm or type than an assertion's", ErrInvalid)
	}
	return header.Kid, nil
}

// refusal maps the library's errors to ours and leaves their texts behind, for those may quote the token. Expiry counts
// only if nothing else is wrong: who sends a forged token learns nothing about time.
func refusal(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return fmt.Errorf("%w: segments or claims are not those of an assertion", ErrMalformed)
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return fmt.Errorf("%w: the gateway did not sign it", ErrInvalid)
	case errors.Is(err, jwt.ErrTokenInvalidIssuer):
		return fmt.Errorf("%w: from another gateway", ErrInvalid)
	case errors.Is(err, jwt.ErrTokenInvalidAudience):
		return fmt.Errorf("%w: for another connector", ErrInvalid)
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return fmt.Errorf("%w: a claim is missing", ErrInvalid)
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return fmt.Errorf("%w: signed in the future, compare the clocks of gateway and connector", ErrInvalid)
	case errors.Is(err, jwt.ErrTokenExpired):
		return fmt.Errorf("%w: if all calls fail so, compare the clocks of gateway and connector", ErrExpired)
	default:
		return fmt.Errorf("%w: its claims were refused", ErrInvalid)
	}
}

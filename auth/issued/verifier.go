package issued

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth"
	"sallyport.dev/auth/internal/cache"
)

// maxCached is the size of one generation of the cache of verified tokens.
const maxCached = 2048

// Config configures a [Verifier].
type Config struct {
	// Dir is the directory of keys, register and list, as an absolute path. It need not exist yet.
	Dir string
	// Issuer is the gateway's public URL, which tokens are from and for.
	Issuer string
	// Events is told what the log should have, from the goroutine of [Verifier.Run]. Optional.
	Events func(Event)
}

// Verifier verifies the gateway's own tokens. It is safe for concurrent use.
type Verifier struct {
	events  func(Event)
	parser  *jwt.Parser
	good    *cache.Cache[[sha256.Size]byte, Contents] // by the token's hash: a dump of memory gives no token away
	current atomic.Pointer[view]
	watch   watcher // used by New, then by Run
}

var _ auth.Verifier = (*Verifier)(nil)

// New reads the directory. One that does not exist is no error: then no token is good, and [Verifier.Run] looks for it. One
// that is not as [Store] leaves it is an error that says what to do.
func New(cfg Config) (*Verifier, error) {
	if cfg.Issuer == "" {
		return nil, errors.New("issued: verifying tokens needs an issuer: set it to the gateway's public URL")
	}
	if !filepath.IsAbs(cfg.Dir) {
		return nil, errors.New("issued: the directory of tokens is not an absolute path")
	}
	v := &Verifier{
		events: cfg.Events,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{alg}),
			jwt.WithIssuer(cfg.Issuer),
			jwt.WithAudience(cfg.Issuer),
			jwt.WithExpirationRequired(),
			jwt.WithNotBeforeRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(leeway),
			jwt.WithStrictDecoding(),
		),
		good:  cache.New[[sha256.Size]byte, Contents](maxCached),
		watch: watcher{dir: directory(filepath.Clean(cfg.Dir))},
	}
	if err := errors.Join(v.watch.look()); err != nil {
		return nil, fmt.Errorf("issued: %w", err)
	}
	first, err := v.watch.view(time.Now())
	if err != nil {
		return nil, fmt.Errorf("issued: %w", err)
	}
	v.current.Store(first)
	return v, nil
}

// Any reports whether there is a key, so that a token can be good.
func (v *Verifier) Any() bool { return len(v.current.Load().keys) > 0 }

// JWKS is the public halves of the keys as a JWK Set (RFC 7517), the newest first. Treat it as read-only.
func (v *Verifier) JWKS() []byte { return v.current.Load().set }

// Verify gives the principal of a token: the gateway's public URL and the holder's name, with the token's claims, expiry and
// grant. The error wraps [auth.ErrNoToken], [auth.ErrMalformed] if the token is too long, [auth.ErrExpired],
// [auth.ErrUnavailable] if what is revoked is not known, [auth.ErrProof] if the token came by the scheme DPoP, and
// [auth.ErrInvalid] for whatever else is wrong.
//
// A token that was found good is remembered. That it has not expired, was not revoked, and is signed by a key that is still
// there, is looked at for every call.
func (v *Verifier) Verify(_ context.Context, p auth.Presented) (auth.Principal, error) {
	c, err := v.check(p.Token)
	if err != nil {
		return auth.Principal{}, fmt.Errorf("check a token of the gateway's own: %w", err)
	}
	if p.DPoP {
		return auth.Principal{}, fmt.Errorf("check a token of the gateway's own: %w: it is bound to no key, and came by the scheme DPoP", auth.ErrProof)
	}
	return auth.Principal{Issuer: c.Issuer, Subject: c.Name, Claims: c.Claims, Expiry: c.Expires, Grant: c.Grant}, nil
}

func (v *Verifier) check(token string) (Contents, error) {
	if token == "" {
		return Contents{}, auth.ErrNoToken
	}
	if len(token) > maxTokenBytes {
		return Contents{}, fmt.Errorf("%w: longer than %d bytes", auth.ErrMalformed, maxTokenBytes)
	}
	now := v.current.Load()
	if now.late() {
		return Contents{}, fmt.Errorf("%w: for a minute it could not be known which tokens are revoked", auth.ErrUnavailable)
	}
	hash := sha256.Sum256([]byte(token))
	c, known := v.good.Get(hash)
	if !known {
		var err error
		if c, err = v.verify(now, token); err != nil {
			return Contents{}, err
		}
		v.good.Put(hash, c)
	}
	switch _, revoked := now.revoked[c.ID]; {
	case now.keys[c.Key] == nil:
		return Contents{}, errUnknownKey
	case !time.Now().Before(c.Expires):
		return Contents{}, auth.ErrExpired
	case revoked:
		return Contents{}, fmt.Errorf("%w: it was revoked", auth.ErrInvalid)
	}
	return c, nil
}

var errUnknownKey = fmt.Errorf("%w: the key that has signed it is not there, or no more", auth.ErrInvalid)

// verify checks all that does not change, in the order: checksum, header, then signature and claims by the library, then ours.
func (v *Verifier) verify(now *view, token string) (Contents, error) {
	compact, id, err := open(token)
	if err != nil {
		return Contents{}, err
	}
	key, ok := now.keys[id]
	if !ok {
		return Contents{}, errUnknownKey
	}
	var claims tokenClaims
	if _, err := v.parser.ParseWithClaims(compact, &claims, func(*jwt.Token) (any, error) { return key, nil }); err != nil {
		return Contents{}, refusal(err)
	}
	return claims.contents(id)
}

// refusal maps the library's errors to ours and leaves their texts behind, for those may quote the token. Expiry counts
// only if nothing else is wrong: who sends a forged token learns nothing about time.
func refusal(err error) error {
	switch {
	case errors.Is(err, jwt.ErrTokenMalformed):
		return errClaims
	case errors.Is(err, jwt.ErrTokenSignatureInvalid), errors.Is(err, jwt.ErrTokenUnverifiable):
		return fmt.Errorf("%w: its signature is wrong", auth.ErrInvalid)
	case errors.Is(err, jwt.ErrTokenInvalidIssuer), errors.Is(err, jwt.ErrTokenInvalidAudience):
		return fmt.Errorf("%w: it is for another gateway, or public_url has changed", auth.ErrInvalid)
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return errClaims
	case errors.Is(err, jwt.ErrTokenNotValidYet), errors.Is(err, jwt.ErrTokenUsedBeforeIssued):
		return fmt.Errorf("%w: it was made in the future: compare the clocks of the gateway and of whoever makes tokens", auth.ErrInvalid)
	case errors.Is(err, jwt.ErrTokenExpired):
		return auth.ErrExpired
	}
	return errClaims
}

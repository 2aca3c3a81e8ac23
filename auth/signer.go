package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth/internal/cache"
)

// keyOverlap is for how long after a rotation the key before is still given out: twice what an assertion lives.
const keyOverlap = 2 * assertionLife

// Signer signs the gateway's assertions and hands out the same one again while at least 10 s of its 30 s are left. It is
// safe for concurrent use and starts no goroutine.
type Signer struct {
	issuer  string
	current atomic.Pointer[signingKey]

	mu      sync.Mutex // guards what follows
	before  ed25519.PublicKey
	rotated time.Time
}

// signingKey is one key, and what has been signed with it.
type signingKey struct {
	key    ed25519.PrivateKey
	header string
	signed *cache.Cache[signKey, signedAssertion]
}

// KeyID names an assertion key in the header of what it has signed: the first 16 characters of the base64url SHA-256 of its
// public half.
func KeyID(key ed25519.PublicKey) string {
	digest := sha256.Sum256(key)
	return base64.RawURLEncoding.EncodeToString(digest[:])[:keyIDBytes]
}

// keyIDBytes is the length of a key's name, of 96 bits.
const keyIDBytes = 16

// signKey is all that tells two assertions apart but their times. The claims and the expiry belong to it: two tokens of
// one subject may carry different rights, and neither may borrow the other's.
type signKey struct {
	tunnel, server, connector, issuer, subject string

	expiry int64
	claims [sha256.Size]byte
}

type signedAssertion struct {
	token string
	until time.Time
}

// NewSigner gives a signer for a gateway. The issuer is its public URL, which connectors expect as "iss".
func NewSigner(issuer string, key ed25519.PrivateKey) (*Signer, error) {
	if issuer == "" {
		return nil, errors.New("auth: assertions need an issuer: set it to the gateway's public URL")
	}
	s := &Signer{issuer: issuer}
	return s, s.Rotate(key)
}

// Rotate signs with another key from now on. The one before is given out by [Signer.PublicKeys] for a minute more, until
// what it has signed has expired.
func (s *Signer) Rotate(key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("auth: the assertion key has %d bytes and needs %d", len(key), ed25519.PrivateKeySize)
	}
	public := key.Public().(ed25519.PublicKey)
	header := `{"alg":"` + assertionAlg + `","typ":"` + assertionType + `","kid":"` + KeyID(public) + `"}`
	next := &signingKey{
		key:    slices.Clone(key),
		header: base64.RawURLEncoding.EncodeToString([]byte(header)),
		signed: cache.New[signKey, signedAssertion](maxCached),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.current.Load(); before != nil {
		if before.key.Equal(key) {
			return nil
		}
		s.before, s.rotated = before.key.Public().(ed25519.PublicKey), time.Now()
	}
	s.current.Store(next)
	return nil
}

// PublicKeys gives the halves of the keys that connectors check assertions with: of the one that signs, and of the one
// before.
func (s *Signer) PublicKeys() []ed25519.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := []ed25519.PublicKey{slices.Clone(s.current.Load().key.Public().(ed25519.PublicKey))}
	if s.before != nil && time.Since(s.rotated) < keyOverlap {
		keys = append(keys, slices.Clone(s.before))
	}
	return keys
}

// Sign gives an assertion of a, fresh or cached. It refuses what a connector would refuse: an empty name, a principal
// past its expiry ([ErrExpired]), claims above 4 KiB. An assertion never outlives its principal.
func (s *Signer) Sign(a Assertion) (string, error) {
	p := a.Principal
	if a.Tunnel == "" || a.Server == "" || a.Connector == "" || p.Issuer == "" || p.Subject == "" {
		return "", errors.New("auth: sign an assertion: tunnel, server, connector, issuer and subject are all required")
	}
	now := time.Now()
	if !p.Expiry.IsZero() && !now.Before(p.Expiry) {
		return "", fmt.Errorf("sign an assertion: %w", ErrExpired)
	}
	key := signKey{tunnel: a.Tunnel, server: a.Server, connector: a.Connector, issuer: p.Issuer, subject: p.Subject}
	if !p.Expiry.IsZero() {
		key.expiry = p.Expiry.Unix()
	}
	if len(p.Claims) > 0 {
		encoded, err := json.Marshal(p.Claims, json.Deterministic(true))
		if err != nil {
			return "", errors.New("auth: sign an assertion: the principal's claims are not JSON")
		}
		if len(encoded) > maxClaimsBytes {
			return "", fmt.Errorf("auth: sign an assertion: the principal's claims have %d bytes, above %d", len(encoded), maxClaimsBytes)
		}
		key.claims = sha256.Sum256(encoded)
	}
	with := s.current.Load()
	if known, ok := with.signed.Get(key); ok && now.Before(known.until) {
		return known.token, nil
	}
	fresh, err := s.sign(with, a, key.expiry, now)
	if err != nil {
		return "", err
	}
	with.signed.Put(key, fresh)
	return fresh.token, nil
}

// sign makes a new assertion; expiry is the principal's in seconds, or 0.
func (s *Signer) sign(with *signingKey, a Assertion, expiry int64, now time.Time) (signedAssertion, error) {
	issued := now.Unix()
	expires := issued + int64(assertionLife/time.Second)
	until := time.Unix(expires, 0).Add(-assertionSpare)
	if expiry != 0 && expiry < expires {
		// The principal ends with it, so a fresher assertion would not live longer: use this one to its end.
		expires = expiry
		until = time.Unix(expires, 0)
	}
	claims, err := json.Marshal(assertionClaims{
		Issuer: s.issuer, Audience: a.Connector,
		IssuedAt: &issued, NotBefore: &issued, Expires: &expires,
		Tunnel: a.Tunnel, Server: a.Server,
		Principal: wirePrincipal{Issuer: a.Principal.Issuer, Subject: a.Principal.Subject, Expires: expiry, Claims: a.Principal.Claims},
	})
	if err != nil {
		return signedAssertion{}, errors.New("auth: sign an assertion: a name or a claim is not valid UTF-8")
	}
	signing := with.header + "." + base64.RawURLEncoding.EncodeToString(claims)
	signature, err := jwt.SigningMethodEdDSA.Sign(signing, with.key)
	if err != nil {
		return signedAssertion{}, fmt.Errorf("auth: sign an assertion: %w", err)
	}
	token := signing + "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(token) > maxTokenBytes {
		return signedAssertion{}, fmt.Errorf("auth: sign an assertion: it has %d bytes, above %d", len(token), maxTokenBytes)
	}
	return signedAssertion{token: token, until: until}, nil
}

package auth

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"
)

// Signer signs the gateway's assertions and hands out the same one again while at least 10 s of its 30 s are left. It is
// safe for concurrent use and starts no goroutine.
type Signer struct {
	issuer string
	key    ed25519.PrivateKey
	header string
	signed *cache[signKey, signedAssertion]
}

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
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("auth: the assertion key has %d bytes and needs %d", len(key), ed25519.PrivateKeySize)
	}
	header := `{"alg":"` + assertionAlg + `","typ":"` + assertionType + `"}`
	return &Signer{
		issuer: issuer,
		key:    slices.Clone(key),
		header: base64.RawURLEncoding.EncodeToString([]byte(header)),
		signed: newCache[signKey, signedAssertion](maxCached),
	}, nil
}

// PublicKey gives the half of the key that connectors check assertions with.
func (s *Signer) PublicKey() ed25519.PublicKey {
	return slices.Clone(s.key.Public().(ed25519.PublicKey))
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
	if known, ok := s.signed.get(key); ok && now.Before(known.until) {
		return known.token, nil
	}
	fresh, err := s.sign(a, key.expiry, now)
	if err != nil {
		return "", err
	}
	s.signed.put(key, fresh)
	return fresh.token, nil
}

// sign makes a new assertion; expiry is the principal's in seconds, or 0.
func (s *Signer) sign(a Assertion, expiry int64, now time.Time) (signedAssertion, error) {
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
	signing := s.header + "." + base64.RawURLEncoding.EncodeToString(claims)
	signature, err := jwt.SigningMethodEdDSA.Sign(signing, s.key)
	if err != nil {
		return signedAssertion{}, fmt.Errorf("auth: sign an assertion: %w", err)
	}
	token := signing + "." + base64.RawURLEncoding.EncodeToString(signature)
	if len(token) > maxTokenBytes {
		return signedAssertion{}, fmt.Errorf("auth: sign an assertion: it has %d bytes, above %d", len(token), maxTokenBytes)
	}
	return signedAssertion{token: token, until: until}, nil
}

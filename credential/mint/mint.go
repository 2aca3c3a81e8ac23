package mint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/secret"
)

const (
	maxTokens = 1024            // principals whose tokens are kept
	backdated = 5 * time.Second // for servers whose clocks are late
)

// Minter signs tokens. It is a credential.Source of one value, the token of the principal. Make it with [New].
type Minter struct {
	cfg    Config
	key    credential.Source
	tokens *fresh.Cache[tokenKey, *token]
	signer *fresh.Cache[credential.Version, *signer]
}

var _ credential.Source = (*Minter)(nil)

// tokenKey is whose token it is, and with which key it is signed.
type tokenKey struct {
	who     credential.Principal
	version credential.Version
}

type token struct {
	got     credential.Fetched
	expires time.Time
}

// New returns a minter that signs with the key of a source: a private key in PEM, Ed25519, ECDSA on P-256 or P-384, or RSA of
// at least 2048 bits.
func New(cfg Config, key credential.Source) (*Minter, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m := &Minter{cfg: cfg, key: key}
	m.tokens = fresh.New(maxTokens, m.mint, nil)
	m.signer = fresh.New(2, m.parse, nil) // the current key, and the one before
	return m, nil
}

// Close forgets all tokens. None is given any more.
func (m *Minter) Close() {
	m.tokens.Close()
	m.signer.Close()
}

// Fetch implements credential.Source.
func (m *Minter) Fetch(ctx context.Context, who credential.Principal) (credential.Fetched, error) {
	t, err := m.current(ctx, who)
	if err != nil {
		return credential.Fetched{}, err
	}
	return t.got, nil
}

// Token returns the token of a principal, and when it expires. It is valid for half of its time at least.
func (m *Minter) Token(ctx context.Context, who credential.Principal) (secret.Value, time.Time, error) {
	t, err := m.current(ctx, who)
	if err != nil {
		return secret.Value{}, time.Time{}, err
	}
	return t.got.Values[0], t.expires, nil
}

func (m *Minter) current(ctx context.Context, who credential.Principal) (*token, error) {
	switch {
	case m.cfg.Client:
		who = credential.Principal{Subject: m.cfg.Issuer}
	case who.IsZero():
		return nil, fmt.Errorf("%w: jwt: it names a principal, and there is none", credential.ErrUnavailable)
	case !isText(who.Issuer) || !isText(who.Subject):
		return nil, fmt.Errorf("%w: jwt: the principal's name cannot stand in a token: it is empty, longer than %d bytes, or holds control characters", credential.ErrUnavailable, maxText)
	}
	s, err := m.signerOf(ctx)
	if err != nil {
		return nil, err
	}
	t, err := m.tokens.Get(ctx, tokenKey{who, s.version})
	if err != nil && !errors.Is(err, credential.ErrUnavailable) {
		err = fmt.Errorf("%w: jwt: %w", credential.ErrUnavailable, err)
	}
	return t, err
}

// mint is a fresh.FetchFunc.
func (m *Minter) mint(ctx context.Context, key tokenKey, _ *token) (*token, fresh.Lifetime, error) {
	s, err := m.signerOf(ctx)
	if err != nil {
		return nil, fresh.Lifetime{}, err
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": m.cfg.Issuer, "sub": key.who.Subject, "aud": m.cfg.Audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-backdated).Unix(), "exp": now.Add(m.cfg.TTL).Unix(),
	}
	if !m.cfg.Client {
		claims[claimIssuer] = key.who.Issuer
	}
	for name, value := range m.cfg.Claims {
		claims[name] = value
	}
	unsigned := jwt.NewWithClaims(s.method, claims)
	unsigned.Header["kid"] = s.jwk.KeyID
	text, err := unsigned.SignedString(s.private)
	if err != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("%w: jwt: it cannot be signed", credential.ErrUnavailable)
	}
	expires := now.Add(m.cfg.TTL)
	made := &token{credential.Fetched{Values: []secret.Value{secret.New(text)}, Version: s.version, Expires: expires}, expires}
	return made, fresh.Lifetime{Refresh: m.cfg.TTL / 3, Expire: m.cfg.TTL / 2}, nil
}

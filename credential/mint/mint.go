package mint

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
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
	signer atomic.Pointer[signer] // of the last key that was seen
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
	return m, nil
}

// Close forgets all tokens. None is given any more.
func (m *Minter) Close() {
	m.tokens.Close()
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
	t, err := m.kept(ctx, who)
	if errors.Is(err, errReplaced) { // between the two looks at the key
		t, err = m.kept(ctx, who)
	}
	if err != nil && !errors.Is(err, credential.ErrUnavailable) && !errors.Is(err, credential.ErrUnusable) {
		err = fmt.Errorf("%w: jwt: %w", credential.ErrUnavailable, err)
	}
	return t, err
}

// errReplaced means that the key was replaced before a token was signed with it.
var errReplaced = fmt.Errorf("%w: jwt: key: it has just been replaced", credential.ErrUnavailable)

// kept returns the token that is kept, or a new one.
func (m *Minter) kept(ctx context.Context, who credential.Principal) (*token, error) {
	s, err := m.signerOf(ctx)
	if err != nil {
		return nil, err
	}
	key := tokenKey{who, s.version}
	t, err := m.tokens.Get(ctx, key)
	if errors.Is(err, fresh.ErrFull) { // one more principal waits for nobody: the token is made for this call alone
		t, _, err = m.mint(ctx, key, nil)
	}
	return t, err
}

// mint is a fresh.FetchFunc.
func (m *Minter) mint(ctx context.Context, key tokenKey, _ *token) (*token, fresh.Lifetime, error) {
	s, err := m.signerOf(ctx)
	if err != nil {
		return nil, fresh.Lifetime{}, err
	}
	if s.version != key.version {
		return nil, fresh.Lifetime{}, errReplaced
	}
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": m.cfg.Issuer, "sub": m.cfg.subject(key.who), "aud": m.cfg.Audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-backdated).Unix(), "exp": now.Add(m.cfg.TTL).Unix(),
	}
	if !m.cfg.Client {
		claims[claimIssuer] = key.who.Issuer
	}
	for name, value := range m.cfg.Claims {
		claims[name] = value
	}
	unsigned := jwt.NewWithClaims(s.method, claims)
	unsigned.Header["kid"], unsigned.Header["typ"] = s.jwk.KeyID, m.cfg.Type
	text, err := unsigned.SignedString(s.private)
	if err != nil {
		return nil, fresh.Lifetime{}, fmt.Errorf("%w: jwt: it cannot be signed", credential.ErrUnavailable)
	}
	expires := time.Unix(now.Add(m.cfg.TTL).Unix(), 0) // as the token says it
	made := &token{credential.Fetched{Values: []secret.Value{secret.New(text)}, Version: s.version, Expires: expires}, expires}
	return made, fresh.Lifetime{Refresh: m.cfg.TTL / 3, Expire: m.cfg.TTL / 2}, nil
}

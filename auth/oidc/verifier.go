package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"sallyport.dev/address"
	"sallyport.dev/auth"
	"sallyport.dev/auth/internal/cache"
	"sallyport.dev/auth/jwk"
	"sallyport.dev/auth/provider"
)

const (
	// maxVerdicts is the size of one generation of the cache of genuine tokens.
	maxVerdicts = 4096
	// maxRefused is that of opaque tokens that were refused.
	maxRefused = 4096
	// typicalToken is the length in bytes up to which hashing a token allocates nothing.
	typicalToken = 2048
)

// Options are what a verifier has besides its issuers.
type Options struct {
	// Forwarded says that a gateway has let the tokens through, as at a connector: that they are bound to a key was proved
	// there. An issuer's tunnels are then all, and a token that is not granted the server that is called is refused here,
	// since nobody behind looks at it.
	Forwarded bool
	// Proofs checks the proofs of DPoP. Without it tokens that need one are refused.
	Proofs Proofs
	// Events is told of changes at an issuer, from several goroutines at once. Optional.
	Events func(provider.Event)
}

// Proofs checks that a request proves to have a key.
type Proofs interface {
	// Check says whether p.Proof is a proof, for this request and this token, of the key with this thumbprint (RFC 9449
	// section 4.3). It may be called concurrently. Its errors wrap [auth.ErrProof] or [auth.ErrMalformed].
	Check(p auth.Presented, thumbprint string) error
}

// Provider is one issuer, as it is reached. It may be called concurrently.
type Provider interface {
	// Keys gives the keys that could have signed a token with this kid, or with any if it is empty, and this alg. An error
	// wraps [auth.ErrInvalid] if there is none, and [auth.ErrUnavailable] if that is not known.
	Keys(ctx context.Context, kid, alg string) ([]jwk.Key, error)
	// Current says, without waiting, whether the issuer still has a key.
	Current(key jwk.Key) bool
	// Introspect gives the issuer's answer about an opaque token, of a bounded length and not looked at. Its error wraps
	// [auth.ErrUnavailable].
	Introspect(ctx context.Context, token string) ([]byte, error)
	// Status says how the issuer is.
	Status() provider.Status
	// Close ends what is under way and waits for it.
	Close()
}

// Verifier verifies the tokens of its issuers. Make one with [New]. It is safe for concurrent use.
type Verifier struct {
	o       Options
	issuers []*issuer // as configured
	byName  map[string]*issuer
	// asking is the issuer that is asked about opaque tokens. Nil if none is.
	asking *issuer

	verdicts *cache.Cache[digest, *verdict]
	refused  *cache.Cache[digest, refusal]

	mu      sync.Mutex // guards flights
	flights map[digest]*flight
}

// digest is the SHA-256 of a token. Tokens themselves are not kept.
type digest [sha256.Size]byte

var (
	_ auth.Verifier = (*Verifier)(nil)
	_ Provider      = (*provider.Provider)(nil)
)

// New checks the configuration with [Validate], reads the files that it names, and gives the verifier. It asks no issuer for
// anything: that is done when a token is there. Close it.
func New(issuers []Config, o Options) (*Verifier, error) {
	return newVerifier(issuers, o, func(c Config) (Provider, error) { return reach(c, o.Events) })
}

// newVerifier lets tests put in providers of their own.
func newVerifier(issuers []Config, o Options, reach func(Config) (Provider, error)) (*Verifier, error) {
	issuers = slices.Clone(issuers)
	if err := Validate(issuers, o.Forwarded); err != nil {
		return nil, err
	}
	v := &Verifier{
		o: o, byName: make(map[string]*issuer),
		verdicts: cache.New[digest, *verdict](maxVerdicts), refused: cache.New[digest, refusal](maxRefused),
		flights: make(map[digest]*flight),
	}
	for _, c := range issuers {
		p, err := reach(c)
		if err != nil {
			v.Close()
			return nil, fmt.Errorf("issuers: %q: %w", c.Issuer, err)
		}
		i := newIssuer(c, p)
		v.issuers = append(v.issuers, i)
		v.byName[c.Issuer] = i
		if c.Introspection != nil {
			v.asking = i
		}
	}
	return v, nil
}

// reach makes the provider of an issuer.
func reach(c Config, events func(provider.Event)) (Provider, error) {
	allowed, err := address.ParsePublic(c.AllowedIPs)
	if err != nil {
		return nil, err
	}
	made := provider.Config{Issuer: c.Issuer, JWKSURL: c.JWKSURL, Allowed: allowed, Events: events}
	if c.CAFile != "" {
		if made.Roots, err = loadRoots(c.CAFile); err != nil {
			return nil, err
		}
	}
	if i := c.Introspection; i != nil {
		made.Introspection = &provider.Introspection{URL: i.URL, ClientID: i.ClientID}
		if made.Introspection.Secret, err = i.ClientSecret.Resolve(); err != nil {
			return nil, fmt.Errorf("introspection: client_secret: %w", err)
		}
	}
	return provider.New(made)
}

func loadRoots(path string) (*x509.CertPool, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, errors.New("ca_file: it holds no certificate in PEM")
	}
	return roots, nil
}

// Verify gives the principal of a token: issuer and sub, or client_id for an opaque token without; all claims but cnf and
// those about time; exp with the leeway as expiry; and what the issuer may speak for as grant. A call outside the grant is
// not refused for what is required there, unless [Options] has Forwarded: then it is refused at once.
func (v *Verifier) Verify(ctx context.Context, p auth.Presented) (auth.Principal, error) {
	switch {
	case p.Token == "":
		return auth.Principal{}, auth.ErrNoToken
	case len(p.Token) > maxToken:
		return auth.Principal{}, fmt.Errorf("%w: longer than %d bytes", auth.ErrMalformed, maxToken)
	}
	hash, now := hashToken(p.Token), time.Now()
	verdict, ok := v.verdicts.Get(hash)
	if !ok || !verdict.holds(now) {
		var err error
		if verdict, err = v.look(ctx, p.Token, hash); err != nil {
			return auth.Principal{}, err
		}
		now = time.Now() // the issuer may have been slow
	}
	return verdict.judge(p, &v.o, now)
}

// look gives the verdict on a token that is not known.
func (v *Verifier) look(ctx context.Context, token string, hash digest) (*verdict, error) {
	if looksSigned(token) {
		t, c, err := read(token)
		if err != nil {
			return nil, invalid(err)
		}
		if i := v.byName[c.issuer]; i != nil {
			verdict, err := i.verify(ctx, t, c)
			if err != nil {
				return nil, err
			}
			v.verdicts.Put(hash, verdict)
			return verdict, nil
		}
		return nil, fmt.Errorf("%w: it is a JWT of another issuer", auth.ErrInvalid) // and nobody is asked about it
	}
	if v.asking == nil {
		return nil, fmt.Errorf("%w: it is not a JWT of a configured issuer", auth.ErrInvalid)
	}
	return v.ask(ctx, token, hash)
}

// read decodes a JWT, and verifies nothing.
func read(token string) (compact, *claims, error) {
	t, err := split(token)
	if err != nil {
		return compact{}, nil, err
	}
	c, err := parseClaims(t.payload)
	return t, c, err
}

// hashToken keeps a token of usual length off the heap.
func hashToken(token string) digest {
	var buffer [typicalToken]byte
	return sha256.Sum256(append(buffer[:0], token...))
}

// Close ends what is under way at the issuers and waits for it.
func (v *Verifier) Close() {
	for _, i := range v.issuers {
		i.provider.Close()
	}
}

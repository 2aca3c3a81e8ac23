package oidc

import "sallyport.dev/auth/internal/cache"

// NewReaching makes a verifier with providers of the test's own.
func NewReaching(issuers []Config, o Options, reach func(Config) (Provider, error)) (*Verifier, error) {
	return newVerifier(issuers, o, reach)
}

// Forget empties the cache of genuine tokens.
func (v *Verifier) Forget() { v.verdicts = cache.New[digest, *verdict](maxVerdicts) }

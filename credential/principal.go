package credential

import "context"

// Principal is for whom a request is made, as far as a credential may depend on it: the two names that identify a caller.
// The zero Principal is nobody, who has no credential of his own.
type Principal struct {
	Issuer  string
	Subject string
}

// IsZero reports whether it is nobody.
func (p Principal) IsZero() bool { return p == Principal{} }

type principalKey struct{}

// WithPrincipal returns a context whose requests are made for p.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns for whom a context's requests are made; nobody if that was not said.
func PrincipalFrom(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

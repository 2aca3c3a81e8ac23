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

type (
	principalKey struct{}
	versionKey   struct{}
)

// WithPrincipal returns a context whose requests are made for p.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalFrom returns for whom a context's requests are made; nobody if that was not said.
func PrincipalFrom(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// WithVersion returns a context whose requests are sent with credentials of that version, or not at all.
func WithVersion(ctx context.Context, v Version) context.Context {
	return context.WithValue(ctx, versionKey{}, v)
}

// checkVersion says no to credentials of another version than was asked for.
func checkVersion(ctx context.Context, uses []use) error {
	if want, ok := ctx.Value(versionKey{}).(Version); ok && versionOf(uses) != want {
		return ErrChanged
	}
	return nil
}

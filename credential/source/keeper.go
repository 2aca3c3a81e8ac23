package source

import (
	"context"
	"fmt"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// Keeper resolves references, and keeps what takes time to get. Make it with [New].
type Keeper struct{}

// New returns a keeper. It asks nobody for anything.
func New() (*Keeper, error) { return new(Keeper), nil }

// Close gives back what was lent. No source of the keeper gives a value any more.
func (k *Keeper) Close() {}

// Source returns the source of a credential that the references name together, in their order.
func (k *Keeper) Source(refs ...secret.Ref) (credential.Source, error) {
	parts := make(joined, 0, len(refs))
	for _, ref := range refs {
		if path, ok := ref.File(); ok {
			parts = append(parts, &fileSource{ref: ref, path: path})
			continue
		}
		parts = append(parts, &envSource{ref: ref})
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return parts, nil
}

// joined is a credential of several parts.
type joined []credential.Source

// Fetch implements credential.Source.
func (j joined) Fetch(ctx context.Context, who credential.Principal) (all credential.Fetched, err error) {
	for _, part := range j {
		got, err := part.Fetch(ctx, who)
		if err != nil {
			return credential.Fetched{}, err
		}
		all.Values = append(all.Values, got.Values...)
		all.Version = all.Version.Join(got.Version)
	}
	return all, nil
}

// one is what a source of a single value gives.
func one(value secret.Value) credential.Fetched {
	return credential.Fetched{Values: []secret.Value{value}, Version: credential.VersionOf(value)}
}

func unavailable(err error) error { return fmt.Errorf("%w: %w", credential.ErrUnavailable, err) }

package source

import (
	"context"
	"errors"
	"fmt"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/secret"
)

const (
	maxPrograms = 256  // references to programs
	maxReadings = 4096 // paths of Vault, those of principals included
)

// Keeper resolves references, and keeps what takes time to get. Make it with [New]. It is safe for concurrent use.
type Keeper struct {
	cfg      Config
	programs *fresh.Cache[secret.Ref, *credential.Fetched]
	vault    *vault.Client // nil if none is configured
	readings *fresh.Cache[place, *reading]
	closing  chan struct{}
}

// New returns a keeper. It asks nobody for anything.
func New(cfg Config) (*Keeper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	k := &Keeper{cfg: cfg, closing: make(chan struct{})}
	if !cfg.Vault.IsZero() {
		var err error
		if k.vault, err = vault.New(cfg.Vault, cfg.Control); err != nil {
			return nil, err
		}
	}
	k.programs = fresh.New(maxPrograms, k.run, nil)
	k.readings = fresh.New(maxReadings, k.read, k.giveBack)
	return k, nil
}

// Close gives back what was lent, within seconds. No source of the keeper gives a value any more, but those of files and
// variables. It is called once.
func (k *Keeper) Close() {
	close(k.closing)
	k.programs.Close()
	k.readings.Close()
	if k.vault != nil {
		k.vault.Close()
	}
}

// Source returns the source of a credential that the references name together, in their order. References to one path of
// Vault are read together, so that the parts of a lease belong to each other.
func (k *Keeper) Source(refs ...secret.Ref) (credential.Source, error) {
	parts := make(joined, 0, len(refs))
	for _, ref := range refs {
		part, err := k.source(ref)
		if err != nil {
			return nil, err
		}
		if last, ok := lastOf[*vaultSource](parts); ok {
			if next, ok := part.(*vaultSource); ok && next.same(last) {
				last.fields = append(last.fields, next.fields...)
				continue
			}
		}
		parts = append(parts, part)
	}
	if len(parts) == 1 {
		return parts[0], nil
	}
	return parts, nil
}

func lastOf[T credential.Source](parts joined) (last T, ok bool) {
	if len(parts) > 0 {
		last, ok = parts[len(parts)-1].(T)
	}
	return last, ok
}

func (k *Keeper) source(ref secret.Ref) (credential.Source, error) {
	switch ref.Scheme() {
	case "env":
		return &envSource{ref: ref}, nil
	case "file", "systemd":
		return &fileSource{ref: ref}, nil
	case "exec":
		return execSource{k, ref}, nil
	case "vault":
		if k.vault == nil {
			return nil, fmt.Errorf("%w: %s: write where Vault is: sources: { vault: { address: …, auth: … } }", credential.ErrConfig, ref)
		}
		return newVaultSource(k, ref), nil
	}
	return nil, fmt.Errorf("%w: a reference is missing", credential.ErrConfig)
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

// unavailable says of an error that there is no secret.
func unavailable(err error) error {
	if errors.Is(err, credential.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", credential.ErrUnavailable, err)
}

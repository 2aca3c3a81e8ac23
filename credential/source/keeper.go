package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/secret"
)

const (
	maxPrograms = 256      // references to programs
	maxShared   = 1024     // paths of Vault
	maxPersonal = 1024     // paths of Vault that are read for one principal each
	maxValue    = 64 << 10 // bytes of a value, as of a file
)

// Keeper resolves references, and keeps what takes time to get. Make it with [New]. It is safe for concurrent use.
type Keeper struct {
	cfg      Config
	programs *fresh.Cache[secret.Ref, *printed]
	vault    *vault.Client // nil if none is configured
	shared   *fresh.Cache[place, *reading]
	personal *fresh.Cache[place, *reading] // apart, so that however many principals come, what is everybody's has room
	revoking chan struct{}                 // bounds what is given back at once
	closing  chan struct{}
	close    sync.Once

	mu      sync.Mutex // guards what follows
	issuers map[string]string
	named   map[string]secret.Ref // by path as configured, the first reference to it, which stands for all of them in the log
}

// New returns a keeper. It asks nobody for anything.
func New(cfg Config) (*Keeper, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	k := &Keeper{cfg: cfg, issuers: cfg.Issuers, revoking: make(chan struct{}, maxRevoking), closing: make(chan struct{}), named: make(map[string]secret.Ref)}
	if !cfg.Vault.IsZero() {
		var err error
		if k.vault, err = vault.New(cfg.Vault, cfg.Control); err != nil {
			return nil, err
		}
	}
	k.programs = fresh.New(maxPrograms, k.run, nil)
	k.shared = fresh.New(maxShared, k.read, k.giveBack)
	k.personal = fresh.New(maxPersonal, k.read, k.giveBack)
	return k, nil
}

// SetIssuers has the sources that are made from now on use other names of issuers, by issuer. Each is checked already. Those
// made before keep theirs.
func (k *Keeper) SetIssuers(names map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.issuers = names
}

// Close gives back what was lent, leases first and then the login, within 5 s. No source of the keeper gives a value any
// more, but those of files and variables.
func (k *Keeper) Close() {
	k.close.Do(func() {
		close(k.closing)
		var crew sync.WaitGroup
		crew.Go(k.programs.Close)
		crew.Go(k.shared.Close)
		crew.Go(k.personal.Close)
		crew.Wait()
		if k.vault != nil {
			k.vault.Close()
		}
	})
}

// Source returns the source of a credential that the references name together, in their order. References to one path of
// Vault are read together, so that the parts of a lease belong to each other.
func (k *Keeper) Source(refs ...secret.Ref) (credential.Source, error) {
	var all joined
	paths := make(map[string]int) // where in all.parts a path of Vault is read
	for _, ref := range refs {
		source, err := k.source(ref)
		if err != nil {
			return nil, err
		}
		from, ok := source.(*vaultSource)
		if !ok {
			all.add(source)
			continue
		}
		path := strings.Join(from.path, "/")
		part, known := paths[path]
		if !known {
			paths[path] = all.add(source)
			continue
		}
		first, _ := all.parts[part].(*vaultSource)
		all.values = append(all.values, valueOf{part, len(first.fields)})
		first.fields = append(first.fields, from.fields...)
	}
	if len(all.parts) == 1 {
		return all.parts[0], nil
	}
	return all, nil
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
type joined struct {
	parts  []credential.Source
	values []valueOf
}

// valueOf is the place of a value: which of what a part gives.
type valueOf struct{ part, value int }

// add adds a part of one value, and returns the how-manieth it is.
func (j *joined) add(part credential.Source) int {
	j.parts = append(j.parts, part)
	j.values = append(j.values, valueOf{len(j.parts) - 1, 0})
	return len(j.parts) - 1
}

// Fetch implements credential.Source.
func (j joined) Fetch(ctx context.Context, who credential.Principal) (all credential.Fetched, err error) {
	parts := make([]credential.Fetched, len(j.parts))
	for i, part := range j.parts {
		if parts[i], err = part.Fetch(ctx, who); err != nil {
			return credential.Fetched{}, err
		}
		all.Version = all.Version.Join(parts[i].Version)
	}
	for _, v := range j.values {
		all.Values = append(all.Values, parts[v.part].Values[v.value])
	}
	return all, nil
}

// one is what a source of a single value gives.
func one(value secret.Value) credential.Fetched {
	return credential.Fetched{Values: []secret.Value{value}, Version: credential.VersionOf(value)}
}

// checkSize says no to what is too long for a secret.
func checkSize(ref secret.Ref, value secret.Value) error {
	if value.Len() > maxValue {
		return fmt.Errorf("%s: it is longer than %d KiB", ref, maxValue>>10)
	}
	return nil
}

// tell says what went wrong while nobody waited for it.
func (k *Keeper) tell(event string, ref secret.Ref, err error) {
	if k.cfg.Log != nil {
		k.cfg.Log(event, ref, err)
	}
}

// tellOnce says of a value that it could not be replaced, once however often that is tried.
func (k *Keeper) tellOnce(told *atomic.Bool, ref secret.Ref, err error) {
	select {
	case <-k.closing:
		return // nobody wants another
	default:
	}
	if !told.Swap(true) {
		k.tell("a secret could not be read again: the one that is kept is used until it expires", ref, err)
	}
}

// unavailable says of an error that there is no secret.
func unavailable(err error) error {
	if errors.Is(err, credential.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", credential.ErrUnavailable, err)
}

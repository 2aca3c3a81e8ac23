package credential

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"sallyport.dev/secret"
)

// Source gives the current value of one secret. Fetch is called for each request, by many goroutines at once; it
// returns a value that is set or an error that matches ErrUnavailable, never an old value in place of an error.
type Source interface {
	Fetch(ctx context.Context) (secret.Value, error)
}

// NewSource returns the source for a reference. A file is read again when it has changed; a variable of the
// environment is looked up each time.
func NewSource(ref secret.Ref) Source {
	if path, ok := ref.File(); ok {
		return &fileSource{ref: ref, path: path}
	}
	return envSource{ref: ref}
}

type envSource struct{ ref secret.Ref }

// Fetch implements Source.
func (s envSource) Fetch(ctx context.Context) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	value, err := s.ref.Resolve()
	if err != nil {
		return secret.Value{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return value, nil
}

// settled is how long a file must have been unchanged when it was read before its value is kept. File times are no
// finer than the kernel's clock tick: a second write within the same tick, with the same length, would go unseen.
const settled = time.Second

// fileSource keeps the last value with the identity of the file that it came from.
type fileSource struct {
	ref  secret.Ref
	path string
	last atomic.Pointer[reading]
}

type reading struct {
	info  fs.FileInfo // as it was before the read, so that a change during the read shows next time
	value secret.Value
}

// Fetch implements Source. A file that is gone, or that others may write to, is an error at once.
func (s *fileSource) Fetch(ctx context.Context) (secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return secret.Value{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	info, missing := os.Stat(s.path)
	last := s.last.Load()
	if missing == nil && last != nil && unchanged(last.info, info) {
		return last.value, nil
	}
	began := time.Now()
	value, err := s.ref.Resolve()
	if err != nil {
		s.last.Store(nil)
		return secret.Value{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if missing == nil && began.Sub(info.ModTime()) > settled {
		s.last.Store(&reading{info: info, value: value})
	}
	return value, nil
}

// unchanged compares device and inode, time of change, size and permissions.
func unchanged(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

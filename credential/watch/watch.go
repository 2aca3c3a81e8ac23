package watch

import (
	"context"
	"sync/atomic"
	"time"
)

// Watch is told of what the calls of a context wait for. It is for one call at a time.
type Watch struct {
	// Fetched is told of each fetch that has ended. Required.
	Fetched func(Fetch)

	asked atomic.Bool // a source, during the fetch that is under way
}

// Fetch is one fetch of the values of a credential.
type Fetch struct {
	// Number is which of the credentials of an upstream it was, from 0.
	Number int
	// Began is when it began, and Took how long it took.
	Began time.Time
	Took  time.Duration
	// Asked says that the values were not at hand: their source was asked while the call waited.
	Asked bool
	// Err is why there are no values.
	Err error
}

type watchKey struct{}

// With returns a context whose fetches are told to w, or to nobody if that is nil.
func With(ctx context.Context, w *Watch) context.Context {
	return context.WithValue(ctx, watchKey{}, w)
}

// Asking notes that a source is about to be asked, for the watch of the context if there is one. It is for sources that mostly
// have their values at hand.
func Asking(ctx context.Context) {
	if w, _ := ctx.Value(watchKey{}).(*Watch); w != nil {
		w.asked.Store(true)
	}
}

// Over runs the fetch of the credential with a number, and tells the watch of the context if there is one.
func Over[V any](ctx context.Context, number int, fetch func() (V, error)) (V, error) {
	w, _ := ctx.Value(watchKey{}).(*Watch)
	if w == nil {
		return fetch()
	}
	w.asked.Store(false)
	began := time.Now()
	got, err := fetch()
	w.Fetched(Fetch{Number: number, Began: began, Took: time.Since(began), Asked: w.asked.Load(), Err: err})
	return got, err
}

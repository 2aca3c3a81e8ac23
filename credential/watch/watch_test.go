package watch_test

import (
	"errors"
	"testing"

	"sallyport.dev/credential/watch"
)

func TestWatch(t *testing.T) {
	broken := errors.New("broken")
	var seen []watch.Fetch
	ctx := watch.With(t.Context(), &watch.Watch{Fetched: func(f watch.Fetch) { seen = append(seen, f) }})
	for i, source := range []struct {
		asks bool
		err  error
	}{{true, nil}, {false, nil}, {true, broken}} {
		got, err := watch.Over(ctx, i, func() (string, error) {
			if source.asks {
				watch.Asking(ctx)
			}
			return "value", source.err
		})
		if got != "value" || !errors.Is(err, source.err) {
			t.Errorf("fetch %d: %q, %v", i, got, err)
		}
		if f := seen[i]; f.Number != i || f.Asked != source.asks || !errors.Is(f.Err, source.err) || f.Began.IsZero() {
			t.Errorf("told %+v", f)
		}
	}
	watch.Asking(t.Context())
	if _, err := watch.Over(t.Context(), 0, func() (int, error) { return 1, nil }); err != nil || len(seen) != 3 {
		t.Errorf("without a watch: %v, %d told", err, len(seen))
	}
}

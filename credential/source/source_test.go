package source_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/source"
)

// settle waits until the value of a file that has just been written is kept.
func settle() { time.Sleep(1100 * time.Millisecond) }

// look waits until the files of kept values are looked at again.
func look() { time.Sleep(60 * time.Millisecond) }

func TestAFileIsReadAgainWhenItChanges(t *testing.T) {
	path, ref := writeSecret(t, "first")
	source := of(t, keep(t, source.Config{}), ref)
	settle()
	if got := get(t, source); got != "first" {
		t.Fatalf("got %q", got)
	}

	replace(t, path, "longer than it was", time.Now().Add(-30*time.Minute))
	look()
	if got := get(t, source); got != "longer than it was" {
		t.Errorf("in place, another length: got %q", got)
	}
	settle()
	get(t, source)

	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(path), "next")
	replace(t, other, "LONGER THAN IT WAS", info.ModTime())
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	look()
	if got := get(t, source); got != "LONGER THAN IT WAS" {
		t.Errorf("renamed over it, same length and time: got %q", got)
	}
}

func TestAnUnchangedFileIsNotReadAgain(t *testing.T) {
	_, ref := writeSecret(t, "first")
	source := of(t, keep(t, source.Config{}), ref)
	settle()
	fetch := func() credential.Fetched {
		got, err := source.Fetch(t.Context(), credential.Principal{})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	before := fetch()
	look()
	if after := fetch(); &after.Values[0] != &before.Values[0] {
		t.Error("it was read again")
	}
}

func TestAFileThatHasJustChangedIsNotKept(t *testing.T) {
	path, ref := writeSecret(t, "old")
	source := of(t, keep(t, source.Config{}), ref)
	now := time.Now()
	replace(t, path, "one", now)
	if got := get(t, source); got != "one" {
		t.Fatalf("got %q", got)
	}
	replace(t, path, "two", now) // within the same tick of the clock
	if got := get(t, source); got != "two" {
		t.Errorf("a second change in the same tick went unseen: got %q", got)
	}
}

func TestASourceFailsClosed(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"gone":      os.Remove,
		"empty":     func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"writable":  func(path string) error { return os.Chmod(path, 0o666) },
		"too large": func(path string) error { return os.WriteFile(path, make([]byte, 65<<10), 0o600) },
		"directory": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, ref := writeSecret(t, canary)
			source := of(t, keep(t, source.Config{}), ref)
			settle()
			get(t, source)
			if err := spoil(path); err != nil {
				t.Fatal(err)
			}
			look()
			got, err := source.Fetch(t.Context(), credential.Principal{})
			if !errors.Is(err, credential.ErrUnavailable) || got.Values != nil {
				t.Fatalf("an old value is used, or the error is %v", err)
			}
			leaks(t, "the error", err.Error())
		})
	}
}

func TestASourceComesBack(t *testing.T) {
	path, ref := writeSecret(t, "first")
	source := of(t, keep(t, source.Config{}), ref)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Fetch(t.Context(), credential.Principal{}); !errors.Is(err, credential.ErrUnavailable) {
		t.Fatal(err)
	}
	replace(t, path, "second", time.Now())
	if got := get(t, source); got != "second" {
		t.Errorf("got %q", got)
	}
}

func TestAVariableIsLookedUpEachTime(t *testing.T) {
	source := of(t, keep(t, source.Config{}), "env:SALLYPORT_TEST_CREDENTIAL")
	for _, want := range []string{"one", "two"} {
		t.Setenv("SALLYPORT_TEST_CREDENTIAL", want)
		if got := get(t, source); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	t.Setenv("SALLYPORT_TEST_CREDENTIAL", "")
	if _, err := source.Fetch(t.Context(), credential.Principal{}); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("an unset variable gives %v", err)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Setenv("SALLYPORT_TEST_CREDENTIAL", canary)
	_, file := writeSecret(t, canary)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, ref := range []string{"env:SALLYPORT_TEST_CREDENTIAL", file} {
		_, err := of(t, keep(t, source.Config{}), ref).Fetch(ctx, credential.Principal{})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s gives %v", ref, err)
		}
	}
}

func TestFetchWhileTheFileIsReplaced(t *testing.T) {
	path, ref := writeSecret(t, "value-000")
	source := of(t, keep(t, source.Config{}), ref)
	var readers sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got, err := source.Fetch(context.Background(), credential.Principal{}); err != nil || got.Values[0].Len() != len("value-000") {
					t.Errorf("got %v", err)
					return
				}
			}
		})
	}
	for i := range 200 {
		next := path + ".next"
		replace(t, next, "value-"+string([]byte{'0' + byte(i/100), '0' + byte(i/10%10), '0' + byte(i%10)}), time.Now())
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	readers.Wait()
	if got := get(t, source); got != "value-199" {
		t.Errorf("the last value is %q", got)
	}
}

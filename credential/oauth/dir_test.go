package oauth_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/oauth"
)

// stored makes a store in which one thing stands, and returns its file.
func stored(t *testing.T, data string) (store *oauth.Dir, path, file string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "oauth")
	store, err := oauth.NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Save("a key of alice", []byte(data)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	return store, path, filepath.Join(path, entries[0].Name())
}

func TestDir(t *testing.T) {
	store, path, file := stored(t, "first")
	for name, want := range map[string]os.FileMode{path: os.ModeDir | 0o700, file: 0o600} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
	if name := filepath.Base(file); len(name) != 64 || strings.Trim(name, "0123456789abcdef") != "" {
		t.Errorf("the file is named %s", name)
	}
	if err := store.Save("a key of alice", []byte("second")); err != nil {
		t.Fatal(err)
	}
	again, err := oauth.NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := again.Load("a key of alice"); err != nil || string(data) != "second" {
		t.Errorf("%q, %v", data, err)
	}
	if data, err := again.Load("a key of bob"); err != nil || data != nil {
		t.Errorf("what was never saved is %q, %v", data, err)
	}
	if err := store.Save("empty", nil); err != nil {
		t.Fatal(err)
	}
	if data, err := store.Load("empty"); err != nil || data == nil || len(data) != 0 {
		t.Errorf("nothing that was saved is %q, %v", data, err)
	}
	if store.Save("long", make([]byte, 33<<10)) == nil {
		t.Error("33 KiB were taken")
	}
	if _, err := oauth.NewDir("state"); !errors.Is(err, credential.ErrConfig) {
		t.Errorf("a relative path gives %v", err)
	}
}

// Whatever is wrong with a file is said, with its path, and is never the same as there being none.
func TestDirFailsClosed(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, path, file string) error{
		"empty":            func(_ *testing.T, _, file string) error { return os.WriteFile(file, nil, 0o600) },
		"cut":              func(_ *testing.T, _, file string) error { return os.Truncate(file, 70) },
		"cut to the sum":   func(_ *testing.T, _, file string) error { return os.Truncate(file, 65) },
		"longer":           func(_ *testing.T, _, file string) error { return appendTo(file, "x") },
		"far too long":     func(_ *testing.T, _, file string) error { return appendTo(file, strings.Repeat("x", 1<<20)) },
		"zeros":            func(_ *testing.T, _, file string) error { return os.WriteFile(file, make([]byte, 100), 0o600) },
		"open to others":   func(_ *testing.T, _, file string) error { return os.Chmod(file, 0o640) },
		"written by all":   func(_ *testing.T, _, file string) error { return os.Chmod(file, 0o602) },
		"a directory":      func(_ *testing.T, _, file string) error { return errors.Join(os.Remove(file), os.Mkdir(file, 0o700)) },
		"directory opened": func(_ *testing.T, path, _ string) error { return os.Chmod(path, 0o711) },
		"a link": func(_ *testing.T, path, file string) error {
			return errors.Join(os.Rename(file, path+".moved"), os.Symlink(path+".moved", file))
		},
		"directory is a link": func(_ *testing.T, path, _ string) error {
			return errors.Join(os.Rename(path, path+".moved"), os.Symlink(path+".moved", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			store, path, file := stored(t, "c4n4ry-refresh-1")
			if err := damage(t, path, file); err != nil {
				t.Fatal(err)
			}
			data, err := store.Load("a key of alice")
			if err == nil || data != nil || !strings.Contains(err.Error(), path) {
				t.Fatalf("%q, %v", data, err)
			}
			leaks(t, "the error", err.Error())
		})
	}
}

func appendTo(path, text string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, text...), 0o600)
}

// A crash while a file is written leaves the old one, and what it leaves behind is in nobody's way.
func TestDirAfterACrash(t *testing.T) {
	store, _, file := stored(t, "old")
	if err := os.WriteFile(file+".new", []byte("half of the n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if data, err := store.Load("a key of alice"); err != nil || string(data) != "old" {
		t.Errorf("%q, %v", data, err)
	}
	if err := store.Save("a key of alice", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if data, err := store.Load("a key of alice"); err != nil || string(data) != "new" {
		t.Errorf("%q, %v", data, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := os.Lstat(file + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what the crash left: %v", err)
	}
}

// A directory that cannot be used is said at Save; the old content stays until the new can be written, and is not given out.
func TestDirThatCannotBeWritten(t *testing.T) {
	store, path, file := stored(t, "old")
	if err := os.Mkdir(file+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(file+".new", "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.Save("a key of alice", []byte("new")); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
	if data, err := store.Load("a key of alice"); err == nil || data != nil {
		t.Errorf("what was replaced gives %q, %v", data, err)
	}
	again, err := oauth.NewDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := again.Load("a key of alice"); err != nil || string(data) != "old" {
		t.Errorf("%q, %v", data, err)
	}
	if err := os.RemoveAll(file + ".new"); err != nil {
		t.Fatal(err)
	}
	if data, err := store.Load("a key of alice"); err != nil || string(data) != "new" {
		t.Errorf("%q, %v", data, err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := store.Save("a key of bob", []byte("new")); err == nil || !strings.Contains(err.Error(), "chmod go-rwx "+path) {
		t.Errorf("a directory open to others gives %v", err)
	}
	blocked, err := oauth.NewDir(filepath.Join(file, "below"))
	if err != nil {
		t.Fatal(err)
	}
	if err := blocked.Save("a key", nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a directory below a file gives %v", err)
	}
	if data, err := blocked.Load("a key"); err == nil || data != nil || !strings.Contains(err.Error(), file) {
		t.Errorf("reading there gives %q, %v", data, err)
	}
}

func TestDirLock(t *testing.T) {
	store := dir(t)
	unlock, err := store.Lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := store.Lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a key that is taken gives %v", err)
	}
	other, err := store.Lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	unlock()
	var crew sync.WaitGroup
	inside := 0
	for range 50 {
		crew.Go(func() {
			unlock, err := store.Lock(t.Context(), "a")
			if err != nil {
				t.Error(err)
				return
			}
			defer unlock()
			inside++ // the race detector looks on
		})
	}
	crew.Wait()
	if inside != 50 {
		t.Errorf("%d", inside)
	}
}

// Whatever stands in a file: what was saved, or an error.
func FuzzDir(f *testing.F) {
	f.Add([]byte("c4n4ry"))
	f.Add([]byte(strings.Repeat("0", 64) + "\n{}"))
	f.Fuzz(func(t *testing.T, content []byte) {
		store, _, file := stored(t, "what was saved")
		saved, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := store.Load("a key of alice"); err == nil && !bytes.HasSuffix(content, data) {
			t.Errorf("%q gives %q", content, data)
		}
		if err := os.WriteFile(file, append(saved, content...), 0o600); err != nil {
			t.Fatal(err)
		}
		if data, err := store.Load("a key of alice"); err == nil && len(content) > 0 {
			t.Errorf("what was added to a file gives %q", data)
		}
	})
}

package source_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/source"
)

// script writes a program that only this user may change.
func script(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func quick() source.Config {
	return source.Config{Exec: source.Exec{Timeout: 500 * time.Millisecond}}
}

func TestExec(t *testing.T) {
	t.Setenv("SALLYPORT_TEST_CREDENTIAL", canary)
	for name, test := range map[string]struct{ text, want string }{
		"what it prints":          {"echo " + canary, canary},
		"its arguments":           {`printf '%s|' "$@"`, "a|b:c|"},
		"an empty environment":    {"/usr/bin/env | grep -v '^PWD=\\|^_=\\|^SHLVL=' ; echo end", "end"},
		"the root directory":      {"pwd", "/"},
		"nothing to read":         {"cat; echo end", "end"},
		"a lone CR stays":         {"printf 'a\\r'", "a\r"},
		"CRLF":                    {"printf 'a\\r\\n'", "a"},
		"several lines":           {"printf 'a\\nb\\n'", "a\nb"},
		"its error output is not": {"echo noise >&2; echo " + canary, canary},
		"the largest":             {"head -c 65536 /dev/zero | tr '\\0' k", strings.Repeat("k", 64<<10)},
	} {
		k := keep(t, source.Config{})
		if got := get(t, of(t, k, "exec:"+script(t, test.text)+" a b:c")); got != test.want {
			t.Errorf("%s: got %.80q", name, got)
		}
	}
}

func TestExecFailsClosed(t *testing.T) {
	for name, test := range map[string]struct{ text, says string }{
		"hangs":               {"sleep 60", "takes longer than 500ms"},
		"hangs in a child":    {"sleep 60 & wait", "takes longer than 500ms"},
		"prints for ever":     {"yes " + canary, "prints more than 64 KiB"},
		"10 MiB":              {"head -c 10485760 /dev/zero", "prints more than 64 KiB"},
		"exits with an error": {"echo " + canary + "; echo " + canary + " >&2; exit 3", "ends with exit status 3"},
		"leaves a holder":     {"sleep 60 & echo " + canary, "holds its output"},
		"kills itself":        {"kill -9 $$", "signal: killed"},
		"prints nothing":      {"true", "prints nothing"},
		"prints a line end":   {"echo", "prints nothing"},
	} {
		s := of(t, keep(t, quick()), "exec:"+script(t, test.text))
		began := time.Now()
		got, err := s.Fetch(t.Context(), credential.Principal{})
		if !errors.Is(err, credential.ErrUnavailable) || got.Values != nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		leaks(t, name, err.Error())
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("%s takes %s", name, took)
		}
	}
}

// A program that leaves something behind leaves nothing.
func TestExecEndsTheWholeGroup(t *testing.T) {
	left := filepath.Join(t.TempDir(), "pid")
	s := of(t, keep(t, quick()), "exec:"+script(t, fmt.Sprintf("sleep 60 >/dev/null 2>&1 & echo $! > %s; echo %s", left, canary)))
	if got := get(t, s); got != canary {
		t.Fatalf("got %q", got)
	}
	text, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error("a process is left")
}

func TestExecTrustsNobodyElse(t *testing.T) {
	good := script(t, "echo "+canary)
	if err := source.CheckTrusted(good); err != nil {
		t.Errorf("a program of our own: %v", err)
	}
	if err := source.CheckTrusted("/bin/sh"); err != nil {
		t.Errorf("a program of the system: %v", err)
	}
	for name, spoil := range map[string]func(path string) error{
		"writable by the group":   func(path string) error { return os.Chmod(path, 0o720) },
		"writable by others":      func(path string) error { return os.Chmod(path, 0o702) },
		"in a directory of all":   func(path string) error { return os.Chmod(filepath.Dir(path), 0o777) },
		"gone":                    os.Remove,
		"a link to what is loose": func(path string) error { return loose(t, path) },
		"over a loose directory":  func(path string) error { return detour(t, path) },
		"a link to itself":        func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path, path)) },
	} {
		path := script(t, "echo "+canary)
		if err := spoil(path); err != nil {
			t.Fatal(err)
		}
		_, err := of(t, keep(t, quick()), "exec:"+path).Fetch(t.Context(), credential.Principal{})
		if !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	path := script(t, "echo "+canary)
	if err := syscall.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := source.CheckTrusted(path); err == nil || !strings.Contains(err.Error(), "belongs to another user") {
		t.Errorf("another's program: %v", err)
	}
}

// loose puts a link to a program that others may write in the place of the program.
func loose(t *testing.T, path string) error {
	t.Helper()
	target := script(t, "echo "+canary)
	return errors.Join(os.Chmod(target, 0o777), os.Remove(path), os.Symlink(target, path))
}

// detour leads to a good program, by a link in a directory in which all may put another link.
func detour(t *testing.T, path string) error {
	t.Helper()
	way := filepath.Join(t.TempDir(), "way")
	good := script(t, "echo "+canary)
	return errors.Join(os.Mkdir(way, 0o700), os.Symlink(good, filepath.Join(way, "next")), os.Chmod(way, 0o777),
		os.Remove(path), os.Symlink(filepath.Join(way, "next"), path))
}

// A path counts as the system follows it: over links of directories, with .. behind them, and from the working directory.
func TestTrustFollowsPaths(t *testing.T) {
	root := t.TempDir()
	if err := errors.Join(
		os.MkdirAll(filepath.Join(root, "a", "b"), 0o700),
		os.MkdirAll(filepath.Join(root, "open", "dir"), 0o700),
		os.WriteFile(filepath.Join(root, "a", "file"), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(root, "open", "file"), []byte("x"), 0o600),
		os.Symlink("b", filepath.Join(root, "a", "relative")),
		os.Symlink("../open/dir", filepath.Join(root, "a", "away")),
		os.Chmod(filepath.Join(root, "open"), 0o777),
	); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(root, "a"))
	for path, says := range map[string]string{
		"file":                        "",
		"./b/../file":                 "",
		"relative/../file":            "",
		root + "//a/./file":           "",
		"away/../file":                "open is writable by group or others; run: chmod go-w " + root + "/open",
		"none":                        "no such file",
		"file/none":                   "not a directory",
		root + "/a/away/../../a/file": "open is writable",
	} {
		err := source.CheckTrusted(path)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", path, err)
		}
	}
	t.Chdir(filepath.Join(root, "open", "dir"))
	if err := os.WriteFile("connector.yaml", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := source.CheckTrusted("connector.yaml"); err == nil {
		t.Error("the directory above the working directory is open to all")
	}
}

// What a program printed is kept, and it runs once however many ask.
func TestExecRunsOnce(t *testing.T) {
	count := filepath.Join(t.TempDir(), "count")
	s := of(t, keep(t, source.Config{}), "exec:"+script(t, "echo x >> "+count+"; sleep 0.1; echo "+canary))
	var crew sync.WaitGroup
	for range 50 {
		crew.Go(func() {
			if got, err := s.Fetch(context.Background(), credential.Principal{}); err != nil || got.Values[0].Reveal() != canary {
				t.Errorf("%v", err)
			}
		})
	}
	crew.Wait()
	if text, err := os.ReadFile(count); err != nil || string(text) != "x\n" {
		t.Errorf("it ran %d times, %v", len(text)/2, err)
	}
}

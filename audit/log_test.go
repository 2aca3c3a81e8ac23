package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// event is one of many that differ.
func event(i int) Event {
	return Event{
		Time: time.Now(), RequestID: fmt.Sprintf("r%d", i), Issuer: "https://idp.example.com", Subject: "ann", Server: "orders", Method: "tools/call", Tool: "query",
		Arguments: ArgumentsHash([]byte(`{"n":1}`)), Rule: "ops", Decision: "allow", Outcome: "upstream", Delivered: "yes", Status: 200, Duration: 1234 * time.Microsecond,
	}
}

func mustOpen(t testing.TB, cfg Config, dir string) *Log {
	t.Helper()
	l, err := Open(cfg, Options{StateDir: dir, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustClose(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// verify verifies what is in a state_dir.
func verify(t testing.TB, dir string, checkpoints ...Checkpoint) Report {
	t.Helper()
	key, err := ReadPublicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Files(Config{}.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(context.Background(), files, VerifyOptions{Key: key, Checkpoints: checkpoints})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestLogIsAChain(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, Config{Mode: BestEffort}, dir)
	var crew sync.WaitGroup
	for i := range 8 {
		crew.Go(func() {
			for j := range 50 {
				if err := l.End(event(i*100 + j)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	crew.Wait()
	mustClose(t, l)
	for range 2 { // and on over restarts
		l := mustOpen(t, Config{Mode: Strict}, dir)
		if err := errors.Join(l.Begin(event(1)), l.End(event(1))); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
	}
	r := verify(t, dir)
	if len(r.Problems) > 0 || r.Events != 402 || r.First != 1 || r.Last != uint64(r.Records) || r.Signed != r.Last || r.Checkpoints != 3 {
		t.Errorf("%+v", r)
	}
	text, err := os.ReadFile(Config{}.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !json.Valid([]byte(line)) || strings.Contains(line, `"n":1`) {
			t.Fatalf("%s", line)
		}
	}
	if info, err := os.Stat(Config{}.Path(dir)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	var published []Checkpoint
	l, err := Open(Config{Mode: BestEffort, MaxSize: leastMaxSize, Keep: 3}, Options{StateDir: dir, Publish: func(c Checkpoint) { published = append(published, c) }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if err := l.End(event(i)); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, l)
	files, err := Files(l.path)
	if err != nil || len(files) != 4 {
		t.Fatalf("%q, %v", files, err)
	}
	r := verify(t, dir)
	if len(r.Problems) > 0 || r.First == 1 || r.Files != 4 || r.Signed != r.Last {
		t.Errorf("%+v", r)
	}
	inLog := 0
	for _, c := range published {
		if c.Seq >= r.First {
			inLog++
		}
	}
	if kept := verify(t, dir, published...); len(kept.Problems) > 0 || kept.Kept != inLog || inLog < 3 {
		t.Errorf("%+v, %d checkpoints are in the log", kept, inLog)
	}
	again := mustOpen(t, Config{Mode: BestEffort, MaxSize: leastMaxSize, Keep: 3}, dir)
	mustClose(t, again)
	if r := verify(t, dir); len(r.Problems) > 0 {
		t.Errorf("after a restart: %+v", r)
	}
}

// A crash may cut the last line anywhere: nothing that was whole is lost, and what was cut is told.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, Config{Mode: BestEffort}, dir)
	_ = l.End(event(1))
	_ = l.End(event(2))
	mustClose(t, l)
	path := Config{}.Path(dir)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(path + checkpointSuffix) // it was cut before the checkpoint
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last + 1; cut < len(whole); cut += 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := mustOpen(t, Config{Mode: BestEffort}, dir)
		_ = l.End(event(3))
		mustClose(t, l)
		_ = os.Remove(path + checkpointSuffix)
		r := verify(t, dir)
		if len(r.Problems) > 0 || r.Recovered != 1 || r.Events != 3 {
			t.Fatalf("cut at %d: %+v", cut, r)
		}
		text, _ := os.ReadFile(path)
		if !bytes.HasPrefix(text, whole[:cut]) {
			t.Fatalf("cut at %d: what was there has changed", cut)
		}
	}
}

// On a full disk strict refuses and best effort counts; both go on when there is room again, and say what is missing.
func TestFullDisk(t *testing.T) {
	for _, mode := range []Mode{Strict, BestEffort} {
		dir := t.TempDir()
		l := mustOpen(t, Config{Mode: mode}, dir)
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		l.mu.Lock()
		good := l.file
		l.file = full
		l.mu.Unlock()
		begin, end := l.Begin(event(1)), l.End(event(1))
		if strict := mode == Strict; strict != errors.Is(begin, syscall.ENOSPC) || strict != errors.Is(end, syscall.ENOSPC) {
			t.Errorf("%s: %v, %v", mode, begin, end)
		}
		if l.Err() == nil || l.Lost() != 1 {
			t.Errorf("%s: %v, %d lost", mode, l.Err(), l.Lost())
		}
		l.mu.Lock()
		l.file = good
		l.mu.Unlock()
		_ = full.Close()
		if err := errors.Join(l.Begin(event(2)), l.End(event(2))); err != nil || l.Err() != nil {
			t.Errorf("%s: %v", mode, err)
		}
		mustClose(t, l)
		if r := verify(t, dir); len(r.Problems) > 0 || r.Lost != 1 || r.Events != 1 {
			t.Errorf("%s: %+v", mode, r)
		}
	}
}

// A write that the disk takes in part leaves no torn line.
func TestShortWrite(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, Config{Mode: Strict}, dir)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	tight := limit
	tight.Cur = uint64(l.size) + 100
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &tight); err != nil {
		t.Fatal(err)
	}
	err := l.Begin(event(1))
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(err, syscall.EFBIG) && err == nil {
		t.Errorf("%v", err)
	}
	if err := errors.Join(l.Begin(event(2)), l.End(event(2))); err != nil {
		t.Error(err)
	}
	mustClose(t, l)
	if r := verify(t, dir); len(r.Problems) > 0 || r.Recovered != 0 || r.Events != 1 {
		t.Errorf("%+v", r)
	}
}

// A file that somebody moves away, as logrotate does, is followed by another that continues the chain.
func TestFileIsMovedAway(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, Config{Mode: BestEffort}, dir)
	_ = l.End(event(1))
	moved := filepath.Join(dir, "moved.jsonl")
	if err := os.Rename(l.path, moved); err != nil {
		t.Fatal(err)
	}
	if err := l.look(); err != nil {
		t.Fatal(err)
	}
	_ = l.End(event(2))
	mustClose(t, l)
	key, err := ReadPublicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Verify(context.Background(), []string{moved, l.path}, VerifyOptions{Key: key})
	if err != nil || len(r.Problems) > 0 || r.Events != 2 {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, Config{Mode: Strict}, dir)
	if _, err := Open(Config{Mode: BestEffort}, Options{StateDir: dir}); !errors.Is(err, errBusy) {
		t.Errorf("a second writer: %v", err)
	}
	mustClose(t, l)
	for name, spoil := range map[string]func(dir string) error{
		"another file": func(dir string) error {
			return os.WriteFile(Config{}.Path(dir), bytes.Repeat([]byte("x\n"), 300<<10), 0o600)
		},
		"writable by others":   func(dir string) error { return os.Chmod(Config{}.Path(dir), 0o666) },
		"a key for others too": func(dir string) error { return os.Chmod(filepath.Join(dir, keyFile), 0o644) },
		"no key":               func(dir string) error { return os.WriteFile(filepath.Join(dir, keyFile), []byte("x"), 0o600) },
		"a folder in its place": func(dir string) error {
			return errors.Join(os.Remove(Config{}.Path(dir)), os.Mkdir(Config{}.Path(dir), 0o700))
		},
	} {
		dir := t.TempDir()
		mustClose(t, mustOpen(t, Config{Mode: Strict}, dir))
		if err := spoil(dir); err != nil {
			t.Fatal(err)
		}
		if l, err := Open(Config{Mode: Strict}, Options{StateDir: dir}); err == nil {
			mustClose(t, l)
			t.Errorf("%s is written to", name)
		}
	}
}

func BenchmarkEnd(b *testing.B) {
	for _, mode := range []Mode{BestEffort, Strict} {
		b.Run(string(mode), func(b *testing.B) {
			l := mustOpen(b, Config{Mode: mode}, b.TempDir())
			defer mustClose(b, l)
			e := event(1)
			b.ReportAllocs()
			for b.Loop() {
				if err := errors.Join(l.Begin(e), l.End(e)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestChain(t *testing.T) {
	dir := t.TempDir()
	var kept []Checkpoint
	l := open(t, Config{Mode: Strict}, Options{StateDir: dir, Version: "v1.2.3", OnCheckpoint: func(c Checkpoint) { kept = append(kept, c) }})
	if err := l.Begin(sample()); err != nil {
		t.Fatal(err)
	}
	end(t, l, 3)
	closeLog(t, l)

	path := filepath.Join(dir, "audit", "audit.jsonl")
	found := records(t, path)
	if got := types(found); got != "SCbeeeC" {
		t.Fatalf("the lines are %s", got)
	}
	for i, r := range found {
		if r.Seq != uint64(i+1) {
			t.Errorf("line %d has number %d", i+1, r.Seq)
		}
	}
	if first := found[0]; first.Prev != noPrev || first.Version != "v1.2.3" || first.Key != l.PublicKey().String() || first.Log != l.PublicKey().LogID() || first.Reason != reasonOpened {
		t.Errorf("the first line is %+v", first)
	}
	if got, want := fmt.Sprint(found[4].Event), fmt.Sprint(sample()); got != want {
		t.Errorf("an event came back as\n%s, not\n%s", got, want)
	}
	report := verified(t, l.PublicKey(), path, kept...)
	if report.Records != 7 || report.Events != 3 || report.Begins != 1 || report.Checkpoints != 2 || report.First != 1 || report.Last != 7 || report.Signed != 7 || report.Matched != int64(len(kept)) {
		t.Errorf("%+v", report)
	}
	if last := kept[len(kept)-1]; last.Seq != 7 || last.String()+"\n" != string(read(t, path+checkpointSuffix)) {
		t.Errorf("the last checkpoint is %s, beside the log %s", last, read(t, path+checkpointSuffix))
	}
	for name, mode := range map[string]os.FileMode{path: 0o600, path + checkpointSuffix: 0o600, filepath.Join(dir, keyFile): 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := l.End(sample()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := l.Begin(sample()); !errors.Is(err, ErrClosed) || !errors.Is(l.Err(), ErrClosed) || l.Close() != nil {
		t.Errorf("after Close: %v, %v", err, l.Err())
	}
}

func TestBestEffortHasNoBegin(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Mode: BestEffort}, Options{StateDir: dir})
	if err := l.Begin(sample()); err != nil {
		t.Fatal(err)
	}
	end(t, l, 1)
	closeLog(t, l)
	if got := types(records(t, filepath.Join(dir, "audit", "audit.jsonl"))); got != "SCeC" {
		t.Errorf("the lines are %s", got)
	}
	if err := l.End(sample()); err != nil || l.Lost() != 1 {
		t.Errorf("after Close: %v, %d lost", err, l.Lost())
	}
}

func TestRestartGoesOn(t *testing.T) {
	dir := t.TempDir()
	var key PublicKey
	for range 3 {
		l := open(t, strict(dir), Options{StateDir: dir})
		end(t, l, 2)
		closeLog(t, l)
		key = l.PublicKey()
	}
	path := strict(dir).File
	if got := types(records(t, path)); got != "SCeeCSCeeCSCeeC" {
		t.Errorf("the lines are %s", got)
	}
	verified(t, key, path)
	if read, err := ReadPublicKey(dir); err != nil || read.String() != key.String() {
		t.Errorf("the key in state_dir: %v, %v", read, err)
	}
}

func TestSecondWriterIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, strict(dir), Options{StateDir: dir})
	if _, err := Open(strict(dir), Options{StateDir: dir}); !errors.Is(err, errLocked) {
		t.Errorf("a second writer: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	open := make(map[string]string)
	for name, prepare := range map[string]func(state string){
		"others may use it": func(state string) {
			write(t, filepath.Join(state, keyFile), nil)
			_ = os.Chmod(filepath.Join(state, keyFile), 0o640)
		},
		"no Ed25519 key": func(state string) { write(t, filepath.Join(state, keyFile), []byte("nothing")) },
		"not a regular":  func(state string) { _ = os.Mkdir(filepath.Join(state, "log.jsonl"), 0o700) },
		"state_dir":      func(string) {},
		"no such file":   func(string) {},
	} {
		state := filepath.Join(dir, fmt.Sprint(len(open)))
		open[state] = name
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		prepare(state)
		cfg, opts := strict(state), Options{StateDir: state}
		if name == "state_dir" {
			opts.StateDir = ""
		}
		switch name {
		case "not a regular":
			name = "is a directory"
		case "no such file": // a folder that somebody has named is there, or it is a mistake
			cfg.File = filepath.Join(state, "none", "log.jsonl")
		}
		if _, err := Open(cfg, opts); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	cfg.MaxSize, cfg.Keep = leastMaxSize, 3
	l := open(t, cfg, Options{StateDir: dir})
	end(t, l, 100)
	eventually(t, "the first checkpoint is published", func() bool { _, ok := published(cfg.File+checkpointSuffix, l.PublicKey()); return ok })
	early, _ := published(cfg.File+checkpointSuffix, l.PublicKey())
	end(t, l, 1000)
	closeLog(t, l)
	eventually(t, "old files are deleted", func() bool { return len(files(t, cfg.File)) == 4 })
	for _, name := range files(t, cfg.File)[:3] {
		if info, err := os.Stat(name); err != nil || info.Size() < leastMaxSize || info.Size() > leastMaxSize+4096 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	report := verified(t, l.PublicKey(), cfg.File)
	if report.First == 1 || report.Files != 4 || report.Last != report.First+uint64(report.Records)-1 {
		t.Errorf("%+v", report)
	}
	if byFolder := verified(t, l.PublicKey(), dir); byFolder.Records != report.Records {
		t.Errorf("by folder: %+v", byFolder)
	}
	// Rotated files stand alone.
	one := verified(t, l.PublicKey(), files(t, cfg.File)[1])
	if one.Files != 1 || one.Signed != one.Last {
		t.Errorf("one file: %+v", one)
	}
	// A checkpoint from before what is left proves nothing of it, and that is said.
	got, err := Verify(t.Context(), []string{cfg.File}, VerifyOptions{PublicKey: l.PublicKey(), Checkpoints: []Checkpoint{early}})
	if err != nil || got.Earlier != 1 || len(got.Problems) != 1 || got.Problems[0].Kind != kindMissing {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRotationThatFailsStopsNothing(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	cfg.MaxSize = leastMaxSize
	write(t, rotatedName(cfg.File, 1), []byte("in the way"))
	l := open(t, cfg, Options{StateDir: dir})
	end(t, l, 300)
	closeLog(t, l)
	if err := os.Remove(rotatedName(cfg.File, 1)); err != nil {
		t.Fatal(err)
	}
	if report := verified(t, l.PublicKey(), cfg.File); report.Files != 1 || report.Events != 300 {
		t.Errorf("%+v", report)
	}
}

func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	cfg.MaxSize = leastMaxSize
	l := open(t, cfg, Options{StateDir: dir})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				if err := l.Begin(sample()); err != nil {
					t.Error(err)
				}
				if err := l.End(sample()); err != nil {
					t.Error(err)
				}
				_, _ = l.Err(), l.Lost()
			}
		})
	}
	all.Wait()
	closeLog(t, l)
	if report := verified(t, l.PublicKey(), cfg.File); report.Begins != 800 || report.Events != 800 || report.Files < 3 {
		t.Errorf("%+v", report)
	}
}

// TestCheckpointEveryMinute runs in a bubble, whose clock passes by itself.
func TestCheckpointEveryMinute(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var kept []Checkpoint
		l := open(t, strict(dir), Options{StateDir: dir, OnCheckpoint: func(c Checkpoint) { kept = append(kept, c) }})
		synctest.Wait()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(kept) != 1 {
			t.Errorf("%d checkpoints of an idle log, want that of its start", len(kept))
		}
		for range 30 {
			end(t, l, 1)
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		if len(kept) < 1+4 || len(kept) > 1+5 {
			t.Errorf("%d checkpoints in 5 minutes", len(kept))
		}
		closeLog(t, l)
		verified(t, l.PublicKey(), strict(dir).File, kept...)
	})
}

// TestClockThatJumps is a machine that slept: what was written before it did is signed before what is written after.
func TestClockThatJumps(t *testing.T) {
	dir, now := t.TempDir(), newClock()
	l := open(t, strict(dir), Options{StateDir: dir, Now: now.Now})
	end(t, l, 2)
	now.add(8 * time.Hour)
	end(t, l, 2)
	now.add(-9 * time.Hour)
	end(t, l, 2)
	now.add(20 * time.Hour)
	end(t, l, 1)
	closeLog(t, l)
	if got := types(records(t, strict(dir).File)); got != "SCeeCeeeeCeC" {
		t.Errorf("the lines are %s", got)
	}
	verified(t, l.PublicKey(), strict(dir).File)
}

func BenchmarkEnd(b *testing.B) {
	dir := b.TempDir()
	cfg := strict(dir)
	cfg.Keep = 2
	l := open(b, cfg, Options{StateDir: dir})
	e := sample()
	b.ReportAllocs()
	for b.Loop() {
		if err := l.End(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBeginAndEnd(b *testing.B) {
	dir := b.TempDir()
	cfg := strict(dir)
	cfg.Keep = 2
	l := open(b, cfg, Options{StateDir: dir})
	e := sample()
	b.ReportAllocs()
	for b.Loop() {
		if err := errors.Join(l.Begin(e), l.End(e)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEndParallel(b *testing.B) {
	dir := b.TempDir()
	cfg := strict(dir)
	cfg.Keep = 2
	l := open(b, cfg, Options{StateDir: dir})
	e := sample()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if err := l.End(e); err != nil {
				b.Error(err)
			}
		}
	})
}

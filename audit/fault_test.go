package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// faults is what goes wrong with a disk.
type faults struct {
	mu sync.Mutex // guards what follows
	// write is the error of the next writes, after part bytes, or all but -part; truncate, sync and open those of theirs.
	write, truncate, sync, open error
	part                        int
}

func (f *faults) set(to func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to(f)
}

func (f *faults) get() (copied faults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return faults{write: f.write, truncate: f.truncate, sync: f.sync, open: f.open, part: f.part}
}

type faultyFile struct {
	file
	faults *faults
}

func (f *faults) openFile(path string) (file, error) {
	if err := f.get().open; err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	opened, err := openFile(path)
	return faultyFile{opened, f}, err
}

func (f faultyFile) Write(b []byte) (int, error) {
	now := f.faults.get()
	if now.write == nil {
		return f.file.Write(b)
	}
	part := min(now.part, len(b))
	if part < 0 {
		part = max(0, len(b)+part)
	}
	n, err := f.file.Write(b[:part])
	return n, errors.Join(err, now.write)
}

func (f faultyFile) Truncate(size int64) error {
	if err := f.faults.get().truncate; err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f faultyFile) Sync() error {
	if err := f.faults.get().sync; err != nil {
		return err
	}
	return f.file.Sync()
}

// TestWritesThatFail: strict refuses and best_effort counts; either way the log is whole afterwards, and says what it lost.
func TestWritesThatFail(t *testing.T) {
	for _, mode := range []Mode{Strict, BestEffort} {
		for _, truncate := range []error{nil, syscall.EPERM} {
			for _, part := range []int{0, 1, 40, -2, -1} {
				t.Run(fmt.Sprint(mode, " ", part, " ", truncate), func(t *testing.T) {
					dir := t.TempDir()
					cfg := strict(dir)
					cfg.Mode = mode
					disk := &faults{}
					l := open(t, cfg, Options{StateDir: dir, open: disk.openFile})
					end(t, l, 2)
					disk.set(func(f *faults) { f.write, f.part, f.truncate = syscall.ENOSPC, part, truncate })
					for range 3 {
						err := l.End(sample())
						if mode == Strict && (!errors.Is(err, ErrNotWritten) || !errors.Is(err, syscall.ENOSPC)) || mode == BestEffort && err != nil {
							t.Fatalf("End: %v", err)
						}
						if err := l.Begin(sample()); (mode == Strict) != errors.Is(err, ErrNotWritten) {
							t.Fatalf("Begin: %v", err)
						}
					}
					if !errors.Is(l.Err(), syscall.ENOSPC) {
						t.Errorf("%v", l.Err())
					}
					disk.set(func(f *faults) { f.write = nil })
					end(t, l, 2)
					if l.Err() != nil {
						t.Errorf("afterwards: %v", l.Err())
					}
					closeLog(t, l)
					report := verified(t, l.PublicKey(), cfg.File)
					// An event that lacks but its newline, and cannot be cut off, is in the log after all.
					whole := truncate != nil && part == -1
					if report.Lost != l.Lost() || report.Events+report.Lost != 7 || !whole && report.Lost != 3 || (truncate == nil || part == 0) && report.Recovered != 0 {
						t.Errorf("%+v", report)
					}
					if truncate != nil && part != 0 && !whole && report.Recovered == 0 {
						t.Errorf("nothing tells of the bytes that could not be cut off: %+v", report)
					}
				})
			}
		}
	}
}

// TestFailedOpening: the file was removed, and the next one cannot be made.
func TestFailedOpening(t *testing.T) {
	for _, cause := range []error{syscall.EROFS, syscall.EACCES, syscall.ENOSPC} {
		dir := t.TempDir()
		disk := &faults{}
		l := open(t, strict(dir), Options{StateDir: dir, open: disk.openFile})
		end(t, l, 2)
		disk.set(func(f *faults) { f.open = cause })
		if err := os.Remove(strict(dir).File); err != nil {
			t.Fatal(err)
		}
		if err := l.Begin(sample()); !errors.Is(err, ErrNotWritten) || !errors.Is(err, cause) {
			t.Errorf("%v: %v", cause, err)
		}
		disk.set(func(f *faults) { f.open = nil })
		end(t, l, 1)
		closeLog(t, l)
		found := records(t, strict(dir).File)
		if types(found) != "SCeC" || found[0].Seq != 5 || found[0].Reason != reasonReplaced {
			t.Errorf("the next file has %s, and begins with %+v", types(found), found[0])
		}
		if report, kinds := problems(t, l.PublicKey(), strict(dir).File); kinds != kindMissing {
			t.Errorf("that a file was removed does not show: %+v", report)
		}
	}
}

// TestReadOnlyAtTheStart is a disk that takes nothing when a process begins: it does, and says so until it can write.
func TestReadOnlyAtTheStart(t *testing.T) {
	dir := t.TempDir()
	disk := &faults{write: syscall.EROFS}
	l := open(t, strict(dir), Options{StateDir: dir, open: disk.openFile})
	if err := l.Begin(sample()); !errors.Is(err, syscall.EROFS) || !errors.Is(l.Err(), ErrNotWritten) {
		t.Errorf("%v, %v", err, l.Err())
	}
	disk.set(func(f *faults) { f.write = nil })
	eventually(t, "it is written again without a call", func() bool { return l.Err() == nil })
	end(t, l, 1)
	closeLog(t, l)
	verified(t, l.PublicKey(), strict(dir).File)
}

// TestFlushThatFails: lines that may not be on the disk stop the next call under strict.
func TestFlushThatFails(t *testing.T) {
	dir := t.TempDir()
	disk := &faults{}
	l := open(t, strict(dir), Options{StateDir: dir, open: disk.openFile})
	disk.set(func(f *faults) { f.sync = syscall.EIO })
	end(t, l, 1)
	eventually(t, "the failed flush is known", func() bool { return errors.Is(l.Err(), syscall.EIO) })
	if err := l.Begin(sample()); !errors.Is(err, ErrNotWritten) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Begin: %v", err)
	}
	disk.set(func(f *faults) { f.sync = nil })
	eventually(t, "the next flush is known", func() bool { return l.Err() == nil })
	if err := l.Begin(sample()); err != nil {
		t.Error(err)
	}
	closeLog(t, l)
	verified(t, l.PublicKey(), strict(dir).File)
}

// TestRemovedAndMovedFiles: whatever is done to the file, the chain goes on where the name is.
func TestRemovedAndMovedFiles(t *testing.T) {
	for name, c := range map[string]struct {
		act   func(path string) error
		first uint64 // of what is left
		want  string
	}{
		"removed": {os.Remove, 5, kindMissing},
		"moved":   {func(path string) error { return os.Rename(path, rotatedName(path, 1)) }, 1, ""},
		"moved, made new": {func(path string) error {
			return errors.Join(os.Rename(path, rotatedName(path, 1)), os.WriteFile(path, nil, 0o600))
		}, 1, ""},
		"emptied": {func(path string) error { return os.Truncate(path, 0) }, 5, kindMissing},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := strict(dir).File
			l := open(t, strict(dir), Options{StateDir: dir})
			end(t, l, 2)
			if err := c.act(path); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(name, "moved") {
				eventually(t, "the next file is begun", func() bool { info, err := os.Stat(path); return err == nil && info.Size() > 0 })
			}
			end(t, l, 2)
			closeLog(t, l)
			report, kinds := problems(t, l.PublicKey(), dir)
			if report.First != c.first || report.Last != 9 || kinds != c.want {
				t.Errorf("%q, want %q: %+v", kinds, c.want, report)
			}
			if found, err := ParseRecord(linesOf(read(t, path))[0]); err != nil || found.Reason != reasonReplaced {
				t.Errorf("the file begins with %+v, %v", found, err)
			}
		})
	}
}

// TestForgedWhileRunning: a line that somebody appends to a log that is being written is not taken up into the chain.
func TestForgedWhileRunning(t *testing.T) {
	dir := t.TempDir()
	path := strict(dir).File
	l := open(t, strict(dir), Options{StateDir: dir})
	end(t, l, 2)
	found := records(t, path)
	forged := chain(append(linesOf(read(t, path)), appendRecord(nil, &found[2])), len(found))
	write(t, path, join(forged))
	end(t, l, 2)
	closeLog(t, l)
	report, err := Verify(t.Context(), []string{path}, VerifyOptions{PublicKey: l.PublicKey()})
	if err != nil || len(report.Problems) == 0 || report.Problems[0].Line != len(found)+2 && report.Problems[0].Line != len(found)+1 {
		t.Errorf("%+v, %v", report, err)
	}
}

func linesOf(content []byte) (lines [][]byte) {
	for line := range strings.Lines(string(content)) {
		lines = append(lines, []byte(strings.TrimSuffix(line, "\n")))
	}
	return lines
}

// TestFullDisk is a real limit of the kernel on the size of files, in a process of its own: it cuts writes short as a
// full disk does.
func TestFullDisk(t *testing.T) {
	const variable = "SALLYPORT_AUDIT_TEST_DIR"
	if dir := os.Getenv(variable); dir != "" {
		fillDisk(t, dir)
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestFullDisk") {
		t.Errorf("%v\n%s", err, out)
	}
}

func fillDisk(t *testing.T, dir string) {
	setLimit := func(bytes uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: math.MaxUint64}); err != nil {
			t.Fatal(err)
		}
	}
	l := open(t, strict(dir), Options{StateDir: dir})
	const limit = 20_000
	setLimit(limit)
	var err error
	written := 0
	for err == nil {
		if err = l.End(sample()); err == nil {
			written++
		}
	}
	if !errors.Is(err, ErrNotWritten) || !errors.Is(err, syscall.EFBIG) || written < 10 {
		t.Fatalf("after %d events: %v", written, err)
	}
	if err := l.Begin(sample()); !errors.Is(err, ErrNotWritten) {
		t.Errorf("a call may begin: %v", err)
	}
	content := read(t, strict(dir).File)
	if len(content) > limit || content[len(content)-1] != '\n' {
		t.Errorf("%d bytes are left, the last is %q", len(content), content[len(content)-1])
	}
	setLimit(math.MaxUint64)
	end(t, l, 1)
	closeLog(t, l)
	if report := verified(t, l.PublicKey(), strict(dir).File); report.Lost != 1 || report.Recovered != 0 || report.Events != int64(written)+1 {
		t.Errorf("%+v", report)
	}
}

// TestFollow sees lines as they come, over a rotation.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	cfg.MaxSize = leastMaxSize
	l := open(t, cfg, Options{StateDir: dir})
	end(t, l, 10)
	var mu sync.Mutex
	var seen []uint64
	done := make(chan error)
	stop := errors.New("stop")
	go func() {
		done <- Tail(t.Context(), cfg.File, 3, true, func(line []byte) error {
			r, err := ParseRecord(line)
			mu.Lock()
			defer mu.Unlock()
			if seen = append(seen, r.Seq); r.Event.RequestID == "last" {
				return stop
			}
			return err
		})
	}()
	eventually(t, "the last three", func() bool { mu.Lock(); defer mu.Unlock(); return len(seen) == 3 })
	for range 3 {
		end(t, l, 100)
		time.Sleep(followEvery * 3 / 2)
	}
	last := sample()
	last.RequestID = "last"
	if err := l.End(last); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, stop) {
		t.Fatal(err)
	}
	for i, seq := range seen {
		if seq != seen[0]+uint64(i) {
			t.Fatalf("number %d follows %d", seq, seen[i-1])
		}
	}
	if len(files(t, cfg.File)) < 3 {
		t.Error("nothing was rotated")
	}
	closeLog(t, l)

	// Without follow, over several files.
	n := 0
	if err := Tail(t.Context(), cfg.File, 250, false, func([]byte) error { n++; return nil }); err != nil || n != 250 {
		t.Errorf("%d lines, %v", n, err)
	}
	if err := Tail(t.Context(), filepath.Join(dir, "none.jsonl"), 1, false, func([]byte) error { return nil }); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no log: %v", err)
	}
}

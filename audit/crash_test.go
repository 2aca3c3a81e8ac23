package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quick is a disk file that is not flushed, for tests that open thousands.
type quick struct{ file }

func (quick) Sync() error { return nil }

func openQuick(path string) (file, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return quick{f}, nil
}

// crashed is a log whose process was killed: its file, and the key beside it.
func crashed(t *testing.T) (dir string, content []byte) {
	t.Helper()
	dir = t.TempDir()
	l := open(t, strict(dir), Options{StateDir: dir, open: openQuick})
	for i := range 3 {
		if err := l.End(Event{Server: "wiki", RequestID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	content = read(t, strict(dir).File)
	closeLog(t, l)
	return dir, content
}

// reopened writes on behind content, and checks that the log says what happened. Nothing that was there may be gone.
func reopened(t *testing.T, stateDir, dir string, content []byte) (after []byte, report Report) {
	t.Helper()
	cfg := strict(dir)
	write(t, cfg.File, content)
	if err := os.Remove(cfg.File + checkpointSuffix); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	l := open(t, cfg, Options{StateDir: stateDir, open: openQuick})
	end(t, l, 1)
	after = read(t, cfg.File)
	closeLog(t, l)
	if !bytes.HasPrefix(after, content) {
		t.Fatalf("%d bytes of a crashed log were changed", len(content))
	}
	return after, verified(t, l.PublicKey(), cfg.File)
}

// TestCrashAtEveryByte cuts a log at every byte of its first and of its last line, and once more within the line that
// tells of the cut.
func TestCrashAtEveryByte(t *testing.T) {
	stateDir, content := crashed(t)
	first := bytes.IndexByte(content, '\n')
	last := bytes.LastIndexByte(content[:len(content)-1], '\n')
	const parts = 8
	for part := range parts {
		t.Run(fmt.Sprintf("part %d", part), func(t *testing.T) {
			t.Parallel()
			dir := memoryDir(t)
			for cut := part; cut <= len(content); cut += parts {
				if cut <= first+1 || cut >= last {
					cutOnce(t, stateDir, dir, content, cut)
				}
			}
		})
	}
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		dir := memoryDir(t)
		cut := last + 60
		after, _ := reopened(t, stateDir, dir, content[:cut])
		next := bytes.IndexByte(after[cut+1:], '\n') // the end of the line behind the one that was cut short
		for second := cut; second <= cut+1+next+2; second++ {
			if _, report := reopened(t, stateDir, dir, after[:second]); report.Recovered < 1 || report.Recovered > 2 {
				t.Fatalf("cut at %d and %d: %+v", cut, second, report)
			}
		}
	})
}

// memoryDir is a directory whose files need no disk, where the system has one: a thousand logs wait for the disk most of the time else.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sallyport-audit-test-") //nolint:usetesting // t.TempDir is on the disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// cutOnce writes on behind the first bytes of a log.
func cutOnce(t *testing.T, stateDir, dir string, content []byte, cut int) {
	t.Helper()
	_, report := reopened(t, stateDir, dir, content[:cut])
	torn := content[:cut]
	whole := bytes.Count(torn, []byte("\n"))
	torn = torn[bytes.LastIndexByte(torn, '\n')+1:]
	want := int64(0)
	switch {
	case len(torn) > 0 && content[cut] == '\n':
		whole++ // all of the line but its newline
	case len(torn) > 0:
		want = 1
	}
	if report.Recovered != want || report.Records != int64(whole)+want+4 || report.Unfinished != 0 {
		t.Fatalf("cut at %d: %+v", cut, report)
	}
}

// TestCrashDuringRotation: the file has its own name, and the next one is not there or has nothing in it.
func TestCrashDuringRotation(t *testing.T) {
	stateDir, content := crashed(t)
	for name, empty := range map[string]bool{"no file": false, "an empty file": true} {
		t.Run(name, func(t *testing.T) {
			cfg := strict(t.TempDir())
			write(t, rotatedName(cfg.File, 1), content)
			if empty {
				write(t, cfg.File, nil)
			}
			l := open(t, cfg, Options{StateDir: stateDir})
			end(t, l, 1)
			closeLog(t, l)
			if report := verified(t, l.PublicKey(), cfg.File); report.Files != 2 || report.First != 1 || report.Events != 4 {
				t.Errorf("%+v", report)
			}
		})
	}
}

// TestCrashWithinTheStartOfTheNextFile: a part of it is there, and the file before may be deleted later.
func TestCrashWithinTheStartOfTheNextFile(t *testing.T) {
	stateDir, content := crashed(t)
	cfg := strict(t.TempDir())
	before := rotatedName(cfg.File, 1)
	write(t, before, append(content, checkpointBehind(t, stateDir, content)...))
	write(t, cfg.File, []byte(`{"seq":`))
	l := open(t, cfg, Options{StateDir: stateDir})
	end(t, l, 1)
	closeLog(t, l)
	if report := verified(t, l.PublicKey(), cfg.File); report.Files != 2 || report.First != 1 || report.Events != 4 || report.Recovered != 1 {
		t.Errorf("%+v", report)
	}
	if err := os.Remove(before); err != nil {
		t.Fatal(err)
	}
	if report := verified(t, l.PublicKey(), cfg.File); report.Files != 1 || report.First == 1 || report.Recovered != 1 {
		t.Errorf("%+v", report)
	}
}

// checkpointBehind is the line that signs a log.
func checkpointBehind(t *testing.T, stateDir string, content []byte) []byte {
	t.Helper()
	key, err := loadOrCreateKey(filepath.Join(stateDir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	end, err := readEnding(bytes.NewReader(content), 0, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	c := Checkpoint{Seq: end.last.Seq + 1, Prev: end.hash, Time: end.last.Time, Log: publicHalf(key).LogID(), Key: publicHalf(key).String()}
	c.sign(key)
	return append(c.line(), '\n')
}

// TestCutWhileStoppedBehindARotation: who empties the file and leaves the rotated ones until the connector has begun a new one does not get a
// start that calls what was cut off rotated away.
func TestCutWhileStoppedBehindARotation(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	cfg.MaxSize = leastMaxSize
	l := open(t, cfg, Options{StateDir: dir})
	for len(files(t, cfg.File)) < 2 {
		end(t, l, 1)
	}
	closeLog(t, l)
	write(t, cfg.File, nil)
	l = open(t, cfg, Options{StateDir: dir})
	end(t, l, 1)
	closeLog(t, l)
	if err := os.Remove(files(t, cfg.File)[0]); err != nil {
		t.Fatal(err)
	}
	if report, kinds := problems(t, l.PublicKey(), cfg.File); kinds != kindMissing {
		t.Errorf("%q %+v", kinds, report)
	}
}

// TestMovedAway is a log whose file was put elsewhere while nothing ran: the chain goes on from its checkpoint.
func TestMovedAway(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	moved := []string{cfg.File + ".1", cfg.File + ".2"}
	for _, to := range moved {
		l := open(t, cfg, Options{StateDir: dir})
		end(t, l, 2)
		closeLog(t, l)
		if err := os.Rename(cfg.File, to); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ReadPublicKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Verify(t.Context(), moved, VerifyOptions{PublicKey: key})
	if err != nil || !report.Intact() || report.Records != 10 || report.First != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

// TestCutWhileStopped leaves a gap that shows without any checkpoint that was kept elsewhere.
func TestCutWhileStopped(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	l := open(t, cfg, Options{StateDir: dir})
	end(t, l, 5)
	closeLog(t, l)
	content := read(t, cfg.File)
	lines := strings.SplitAfter(string(content), "\n")
	write(t, cfg.File, []byte(strings.Join(lines[:5], "")))
	l = open(t, cfg, Options{StateDir: dir})
	end(t, l, 1)
	closeLog(t, l)
	report, err := Verify(t.Context(), []string{cfg.File}, VerifyOptions{PublicKey: l.PublicKey()})
	if err != nil || len(report.Problems) != 1 || report.Problems[0].Kind != kindMissing || report.Problems[0].Line != 6 {
		t.Errorf("%+v, %v", report, err)
	}
}

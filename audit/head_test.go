package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"testing"
	"time"
)

// behead writes a log as somebody can leave it who may write the file and has no key: with bytes put in that are no line, behind which
// the writer puts a recovered, and without all that stood before them.
func (w *written) behead(t testing.TB) {
	t.Helper()
	cfg, now := strict(t.TempDir()), newClock()
	l := open(t, cfg, Options{StateDir: w.dir, Now: now.Now})
	end(t, l, 5)
	now.add(3 * time.Minute)
	end(t, l, 5)
	write(t, cfg.File, append(read(t, cfg.File), "x\n"...))
	end(t, l, 5)
	now.add(3 * time.Minute)
	end(t, l, 5)
	closeLog(t, l)
	all := read(t, cfg.File)
	for _, line := range linesOf(all) {
		if c, err := ParseCheckpoint(line); err == nil {
			w.beheadedKept = append(w.beheadedKept, c)
		}
	}
	w.beheaded = all[bytes.Index(all, []byte("\nx\n"))+1:]
}

func firstLines(content []byte, n int) []byte { return join(linesOf(content)[:n]) }

// headed puts a line before others, with the number before theirs, and makes them a chain anew as whoever has no key can.
func headed(lines [][]byte, head Record) [][]byte {
	first, err := ParseRecord(lines[0])
	if err != nil {
		panic(err)
	}
	head.Seq, head.Prev, head.Time = first.Seq-1, first.Prev, first.Time
	made := [][]byte{appendRecord(nil, &head)}
	for _, line := range lines {
		r, err := ParseRecord(line)
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(made[len(made)-1])
		r.Prev = hex.EncodeToString(sum[:])
		made = append(made, appendRecord(nil, &r))
	}
	return made
}

// TestHeadOfARotatedLog: what rotation has deleted is no problem, and what was kept of it still binds the first line that is there.
func TestHeadOfARotatedLog(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	cfg.MaxSize = leastMaxSize
	l := open(t, cfg, Options{StateDir: dir})
	var kept []Checkpoint
	for len(files(t, cfg.File)) < 3 {
		end(t, l, 1)
	}
	closeLog(t, l)
	found := files(t, cfg.File)
	for _, name := range found {
		for _, line := range linesOf(read(t, name)) {
			if c, err := ParseCheckpoint(line); err == nil {
				kept = append(kept, c)
			}
		}
	}
	if err := os.Remove(found[0]); err != nil {
		t.Fatal(err)
	}
	report := verified(t, l.PublicKey(), cfg.File, kept...)
	if report.Earlier == 0 || report.Matched == 0 || report.Earlier+report.Matched != int64(len(kept)) || report.First == 1 {
		t.Errorf("%+v of %d", report, len(kept))
	}

	// The checkpoint that the first line is chained to is another one, signed with the key as well.
	i := slices.IndexFunc(kept, func(c Checkpoint) bool { return c.Seq+1 == report.First })
	if i < 0 {
		t.Fatal("no checkpoint stands before the rotated start")
	}
	kept[i].Prev = noPrev
	kept[i].sign(l.key)
	got, err := Verify(t.Context(), []string{cfg.File}, VerifyOptions{PublicKey: l.PublicKey(), Checkpoints: kept})
	if err != nil || len(got.Problems) != 1 || got.Problems[0].Kind != kindRewritten {
		t.Errorf("%+v, %v", got.Problems, err)
	}

	// Within the file that is the first now, only its start may be.
	content := read(t, found[1])
	write(t, found[1], content[bytes.IndexByte(content, '\n')+1:])
	if report, kinds := problems(t, l.PublicKey(), cfg.File); kinds != kindMissing {
		t.Errorf("%q %+v", kinds, report)
	}
}

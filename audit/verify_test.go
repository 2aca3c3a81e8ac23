package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// written is a log that was written and closed: its lines, its checkpoints, and its key.
type written struct {
	dir   string
	lines [][]byte
	kept  []Checkpoint
	key   ed25519.PrivateKey
	// beheaded is another log of that key, from bytes on that somebody put in while it was written, and beheadedKept are the checkpoints of
	// the whole of it.
	beheaded     []byte
	beheadedKept []Checkpoint
}

// writeLog writes SCeeeeeCeeeeeC, the two halves three minutes apart.
func writeLog(t testing.TB) written {
	t.Helper()
	w := written{dir: t.TempDir()}
	now := newClock()
	l := open(t, strict(w.dir), Options{StateDir: w.dir, Now: now.Now})
	for i := range 10 {
		if i == 5 {
			now.add(3 * time.Minute)
		}
		now.add(time.Second)
		e := sample()
		e.Subject = string(rune('a'+i)) + "@example.com"
		if err := l.End(e); err != nil {
			t.Fatal(err)
		}
	}
	closeLog(t, l)
	w.key = l.key
	w.lines = bytes.Split(bytes.TrimSuffix(read(t, strict(w.dir).File), []byte("\n")), []byte("\n"))
	for _, line := range w.lines {
		if c, err := ParseCheckpoint(line); err == nil {
			w.kept = append(w.kept, c)
		}
	}
	if len(w.lines) != 14 || len(w.kept) != 3 {
		t.Fatalf("the log has %d lines and %d checkpoints", len(w.lines), len(w.kept))
	}
	return w
}

// chain makes lines a chain anew from index on, as whoever has no key can: numbers and hashes, and no signatures.
func chain(lines [][]byte, from int) [][]byte {
	return chainAndSign(lines, from, nil)
}

// chainAndSign does it with signatures of key, and with its name, if there is one.
func chainAndSign(lines [][]byte, from int, key ed25519.PrivateKey) [][]byte {
	lines = slices.Clone(lines)
	for i := from; i < len(lines); i++ {
		r, err := ParseRecord(lines[i])
		if err != nil {
			panic(err)
		}
		r.Seq, r.Prev = uint64(i+1), noPrev
		if i > 0 {
			sum := sha256.Sum256(lines[i-1])
			r.Prev = hex.EncodeToString(sum[:])
		}
		if key != nil && r.Key != "" {
			r.Log, r.Key = publicHalf(key).LogID(), publicHalf(key).String()
		}
		if key != nil && r.Type == typeCheckpoint {
			c := checkpointOf(&r)
			c.sign(key)
			r = c.record()
		}
		lines[i] = appendRecord(nil, &r)
	}
	return lines
}

func edited(lines [][]byte, i int) [][]byte {
	lines = slices.Clone(lines)
	lines[i] = bytes.Replace(lines[i], []byte("@example.com"), []byte("@example.net"), 1)
	return lines
}

func without(lines [][]byte, drop func(i int) bool) [][]byte {
	var kept [][]byte
	for i, line := range lines {
		if !drop(i) {
			kept = append(kept, line)
		}
	}
	return kept
}

func join(lines [][]byte) []byte { return append(bytes.Join(lines, []byte("\n")), '\n') }

// TestTampering is every way to change a log that we know of, with what it must be called.
func TestTampering(t *testing.T) {
	w := writeLog(t)
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.behead(t)
	isCheckpoint := func(i int) bool { return i == 1 || i == 7 || i == 13 }
	foreign := w.kept[0]
	foreign.Key, foreign.Log = publicHalf(other).String(), publicHalf(other).LogID()
	foreign.sign(other)

	for name, c := range map[string]struct {
		change func([][]byte) [][]byte
		raw    func([]byte) []byte
		kept   []Checkpoint
		want   string // kinds, in order
	}{
		"nothing":                              {kept: w.kept, want: ""},
		"edited line":                          {change: func(l [][]byte) [][]byte { return edited(l, 4) }, want: "edited"},
		"edited last line before a checkpoint": {change: func(l [][]byte) [][]byte { return edited(l, 6) }, want: "edited"},
		"edited and re-chained":                {change: func(l [][]byte) [][]byte { return chain(edited(l, 4), 5) }, want: "signature signature"},
		"re-chained, a line taken out":         {change: func(l [][]byte) [][]byte { return chain(slices.Delete(slices.Clone(l), 4, 5), 4) }, want: "signature signature"},
		"re-chained, a line put in":            {change: func(l [][]byte) [][]byte { return chain(slices.Insert(slices.Clone(l), 4, l[9]), 4) }, want: "signature signature"},
		"re-chained without its checkpoints":   {change: func(l [][]byte) [][]byte { return chain(without(edited(l, 4), isCheckpoint), 0) }, want: "unsigned"},
		"re-chained without later checkpoints": {change: func(l [][]byte) [][]byte {
			return chain(without(late(edited(l, 4)), func(i int) bool { return i == 7 || i == 13 }), 2)
		}, want: "unsigned"},
		"re-chained and signed by somebody":     {change: func(l [][]byte) [][]byte { return chainAndSign(edited(l, 4), 0, other) }, want: "other_key other_key other_key other_key"},
		"signed by somebody from the middle on": {change: func(l [][]byte) [][]byte { return chainAndSign(edited(l, 9), 10, other) }, want: "other_key"},
		"signature of another place":            {change: func(l [][]byte) [][]byte { return withSignature(l, 7, 13) }, want: "signature edited"},
		"checkpoint with more in it":            {change: func(l [][]byte) [][]byte { return replaced(l, 13, `,"sig"`, `,"count":1,"sig"`) }, want: "edited"},
		"line taken out":                        {change: func(l [][]byte) [][]byte { return slices.Delete(slices.Clone(l), 4, 5) }, want: "missing"},
		"lines taken off the beginning":         {change: func(l [][]byte) [][]byte { return l[3:] }, want: "missing"},
		"lines reordered":                       {change: func(l [][]byte) [][]byte { l = slices.Clone(l); l[4], l[5] = l[5], l[4]; return l }, want: "missing reordered"},
		"line repeated":                         {change: func(l [][]byte) [][]byte { return slices.Insert(slices.Clone(l), 4, l[3]) }, want: "reordered"},
		"line moved to the end":                 {change: func(l [][]byte) [][]byte { return append(slices.Delete(slices.Clone(l), 4, 5), l[4]) }, want: "missing reordered"},
		"line forged": {change: func(l [][]byte) [][]byte {
			return slices.Insert(slices.Clone(l), 5, chain(slices.Concat(l[:4], l[9:10]), 4)[4])
		}, want: "reordered"},
		"junk put in":    {change: func(l [][]byte) [][]byte { return slices.Insert(slices.Clone(l), 5, []byte("junk")) }, want: "edited"},
		"line made junk": {change: func(l [][]byte) [][]byte { return replaced(l, 4, `"seq"`, `"qes"`) }, want: "edited missing"},
		"line far too long": {change: func(l [][]byte) [][]byte {
			return slices.Insert(slices.Clone(l), 5, bytes.Repeat([]byte("x"), 3*maxLine))
		}, want: "edited"},
		"junk at the end":                   {raw: func(b []byte) []byte { return append(b, "junk\n"...) }, want: "edited"},
		"lines taken off up to a recovered": {raw: func(b []byte) []byte { return w.beheaded }, want: "missing"},
		"the same, with all that was kept":  {raw: func(b []byte) []byte { return w.beheaded }, kept: w.beheadedKept, want: "missing"},
		"lines taken off, a recovered left": {raw: func(b []byte) []byte { return firstLines(w.beheaded, 2) }, want: "missing"},
		"lines taken off, a start of rotation put before them": {change: func(l [][]byte) [][]byte {
			return headed(l[4:], Record{Type: typeStart, Reason: reasonRotated, Log: publicHalf(w.key).LogID(), Key: publicHalf(w.key).String()})
		}, want: "unsigned signature signature"},
		"recovered made up":             {change: madeUpRecovered, want: "missing signature signature"},
		"first line with a line before": {change: func(l [][]byte) [][]byte { return replaced(l, 0, "0000000000", "1000000000") }, want: "edited edited"},

		// A cut end shows against a checkpoint that was kept, and against nothing else.
		"truncated":                             {change: func(l [][]byte) [][]byte { return l[:10] }, want: ""},
		"truncated, checkpoint kept":            {change: func(l [][]byte) [][]byte { return l[:10] }, kept: w.kept, want: "truncated"},
		"cut within a line":                     {raw: func(b []byte) []byte { return b[:len(b)-10] }, want: ""},
		"cut within a line, checkpoint kept":    {raw: func(b []byte) []byte { return b[:len(b)-10] }, kept: w.kept, want: "truncated"},
		"emptied, checkpoint kept":              {raw: func([]byte) []byte { return nil }, kept: w.kept[:1], want: "truncated"},
		"rewritten with the key":                {change: func(l [][]byte) [][]byte { return chainAndSign(edited(l, 4), 5, w.key) }, want: ""},
		"rewritten with the key, kept":          {change: func(l [][]byte) [][]byte { return chainAndSign(edited(l, 4), 5, w.key) }, kept: w.kept, want: "rewritten rewritten"},
		"end rewritten with the key, early one": {change: func(l [][]byte) [][]byte { return chainAndSign(edited(l, 9), 10, w.key) }, kept: w.kept[:2], want: ""},
		"a checkpoint of another log":           {kept: []Checkpoint{foreign}, want: "other_key"},
	} {
		t.Run(name, func(t *testing.T) {
			lines := w.lines
			if c.change != nil {
				lines = c.change(lines)
			}
			raw := join(lines)
			if c.raw != nil {
				raw = c.raw(raw)
			}
			path := filepath.Join(t.TempDir(), "log.jsonl")
			write(t, path, raw)
			report, err := Verify(t.Context(), []string{path}, VerifyOptions{PublicKey: publicHalf(w.key), Checkpoints: c.kept})
			if err != nil {
				t.Fatal(err)
			}
			var kinds []string
			for _, p := range report.Problems {
				kinds = append(kinds, p.Kind)
				if p.File != path || p.What == "" || p.Means == "" || !strings.HasPrefix(p.String(), path+":") {
					t.Errorf("a problem says too little: %+v", p)
				}
			}
			if got := strings.Join(kinds, " "); got != c.want || report.Intact() != (c.want == "") {
				t.Errorf("%q, want %q", got, c.want)
				for _, p := range report.Problems {
					t.Log(p)
				}
			}
		})
	}
}

// late moves the second half far away in time, as it is in a log of hours.
func late(lines [][]byte) [][]byte {
	lines = slices.Clone(lines)
	for i := 8; i < len(lines); i++ {
		lines[i] = bytes.ReplaceAll(lines[i], []byte(`"time":"2026-03-04T05:`), []byte(`"time":"2026-03-04T07:`))
	}
	return lines
}

func replaced(lines [][]byte, i int, from, to string) [][]byte {
	lines = slices.Clone(lines)
	lines[i] = bytes.Replace(lines[i], []byte(from), []byte(to), 1)
	return lines
}

// withSignature puts the signature of one checkpoint behind another.
func withSignature(lines [][]byte, i, from int) [][]byte {
	lines = slices.Clone(lines)
	r, _ := ParseRecord(lines[i])
	donor, _ := ParseRecord(lines[from])
	r.Signature = donor.Signature
	lines[i] = appendRecord(nil, &r)
	return lines
}

// madeUpRecovered says that bytes were there which never were.
func madeUpRecovered(lines [][]byte) [][]byte {
	r := Record{Type: typeRecovered, Bytes: 9, SHA256: strings.Repeat("a", 64), Time: time.Now()}
	lines = slices.Insert(slices.Clone(lines), 4, appendRecord(nil, &Record{Seq: 1, Prev: noPrev, Type: r.Type, Time: r.Time, Bytes: r.Bytes, SHA256: r.SHA256}))
	return chain(lines, 4)
}

// TestProblemsNameTheirPlace so that somebody can look.
func TestProblemsNameTheirPlace(t *testing.T) {
	w := writeLog(t)
	path := filepath.Join(t.TempDir(), "log.jsonl")
	write(t, path, join(edited(w.lines, 4)))
	report, err := Verify(t.Context(), []string{path}, VerifyOptions{PublicKey: publicHalf(w.key)})
	if err != nil || len(report.Problems) != 1 || report.Problems[0].Line != 5 {
		t.Errorf("%+v, %v", report.Problems, err)
	}
	if report.Signed != 14 || report.First != 1 || report.Last != 14 || !report.FirstTime.Equal(newClock().Now()) {
		t.Errorf("%+v", report)
	}
}

func TestVerifyBoundsItsProblems(t *testing.T) {
	w := writeLog(t)
	var lines [][]byte
	for range 300 {
		lines = append(lines, w.lines[2], []byte("junk"))
	}
	path := filepath.Join(t.TempDir(), "log.jsonl")
	write(t, path, join(lines))
	report, err := Verify(t.Context(), []string{path}, VerifyOptions{PublicKey: publicHalf(w.key)})
	if err != nil || len(report.Problems) != maxProblems || report.More == 0 {
		t.Errorf("%d problems and %d more, %v", len(report.Problems), report.More, err)
	}
}

func TestVerifyNeedsAKeyAndALog(t *testing.T) {
	w := writeLog(t)
	if _, err := Verify(t.Context(), []string{strict(w.dir).File}, VerifyOptions{}); err == nil {
		t.Error("it verifies without a key")
	}
	for _, path := range []string{filepath.Join(w.dir, "none.jsonl"), t.TempDir()} {
		if _, err := Verify(t.Context(), []string{path}, VerifyOptions{PublicKey: publicHalf(w.key)}); err == nil {
			t.Errorf("%s is a log", path)
		}
	}
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	w := writeLog(t)
	path := filepath.Join(t.TempDir(), "log.jsonl")
	var lines [][]byte
	for range 1000 {
		lines = append(lines, w.lines...)
	}
	write(t, path, join(lines))
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, err := Verify(ctx, []string{path}, VerifyOptions{PublicKey: publicHalf(w.key), Progress: func(*Report) { calls++; cancel() }})
	if !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestCheckpoints(t *testing.T) {
	w := writeLog(t)
	var text []byte
	for _, c := range w.kept {
		text = append(text, c.String()+"\n\n"...)
	}
	found, err := ReadCheckpoints(bytes.NewReader(text))
	if err != nil || len(found) != len(w.kept) || found[0] != w.kept[0] {
		t.Errorf("%v, %v", found, err)
	}
	if _, err := ReadCheckpoints(bytes.NewReader(append(text, "{}\n"...))); err == nil || !strings.Contains(err.Error(), "line ") {
		t.Errorf("something else: %v", err)
	}
	key := publicHalf(w.key)
	for name, change := range map[string]func(*Checkpoint){
		"seq": func(c *Checkpoint) { c.Seq++ }, "prev": func(c *Checkpoint) { c.Prev = noPrev }, "time": func(c *Checkpoint) { c.Time = c.Time.Add(time.Microsecond) },
		"log": func(c *Checkpoint) { c.Log = "x" }, "signature": func(c *Checkpoint) { c.Signature = "AAAA" + c.Signature[4:] }, "padding": func(c *Checkpoint) { c.Signature += "=" },
	} {
		c := w.kept[0]
		if !c.SignedBy(key) {
			t.Fatal("not signed")
		}
		if change(&c); c.SignedBy(key) {
			t.Errorf("another %s has the same signature", name)
		}
	}
	if w.kept[0].SignedBy(PublicKey{}) {
		t.Error("no key has signed it")
	}
}

func TestPublicKeyAsText(t *testing.T) {
	w := writeLog(t)
	key := publicHalf(w.key)
	again, err := ParsePublicKey(key.String() + "\n")
	if err != nil || again.String() != key.String() || !strings.HasPrefix(key.String(), "sallyport-audit-ed25519:") || len(key.LogID()) != 32 {
		t.Errorf("%s, %s, %v", key, again, err)
	}
	for _, text := range []string{"", key.String()[24:], key.String() + "AA", key.String()[:40], "sallyport-audit-ed25519:" + strings.Repeat("!", 43)} {
		if _, err := ParsePublicKey(text); err == nil {
			t.Errorf("%q is a key", text)
		}
	}
}

// TestVerifyWhileItIsWritten and rotated: what is there is intact, whenever one looks.
func TestVerifyWhileItIsWritten(t *testing.T) {
	dir := t.TempDir()
	cfg := strict(dir)
	cfg.MaxSize = leastMaxSize
	l := open(t, cfg, Options{StateDir: dir})
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := l.End(sample()); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Microsecond) // or there are hundreds of files, and a list of them is no list of one moment
		}
	}()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		if report, err := Verify(t.Context(), []string{cfg.File}, VerifyOptions{PublicKey: l.PublicKey()}); err == nil && !report.Intact() {
			t.Errorf("%s", report.Problems[0])
		} else if err != nil && !errors.Is(err, os.ErrNotExist) { // an old file may be deleted meanwhile
			t.Error(err)
		}
	}
	close(stop)
	<-done
	closeLog(t, l)
}

// growing is a file to which the rest of a line is added between two reads.
type growing struct{ pieces []string }

func (g *growing) Read(b []byte) (int, error) {
	if len(g.pieces) == 0 || g.pieces[0] == "" {
		g.pieces = g.pieces[min(1, len(g.pieces)):]
		return 0, io.EOF
	}
	n := copy(b, g.pieces[0])
	g.pieces[0] = g.pieces[0][n:]
	return n, nil
}

func TestTheEndIsTheEnd(t *testing.T) {
	var got []string
	if err := Scan(&growing{pieces: []string{"one\ntw", "o\nthree\n"}}, func(line []byte) error { got = append(got, string(line)); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1] != "tw" {
		t.Errorf("%q", got)
	}
}

// FuzzVerify: whatever a file holds, Verify ends, does not panic, and never vouches for lines that the key did not sign.
func FuzzVerify(f *testing.F) {
	w := writeLog(f)
	good := join(w.lines)
	f.Add(good)
	f.Add(join(edited(w.lines, 4)))
	f.Add(good[:len(good)-7])
	f.Add([]byte("junk\n\n" + strings.Repeat("x", 300) + "\n"))
	f.Add(join(madeUpRecovered(w.lines)))
	f.Fuzz(func(t *testing.T, content []byte) {
		v := newVerifier(VerifyOptions{PublicKey: publicHalf(w.key), Checkpoints: w.kept})
		v.here, v.atStart = place{file: "log.jsonl"}, true
		if err := v.read(context.Background(), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
		v.finish()
		if v.report.Intact() && !bytes.HasPrefix(content, good[:len(good)-1]) {
			t.Errorf("taken for what was written: %q", content)
		}
	})
}

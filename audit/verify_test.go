package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// rechain gives lines numbers and hashes anew, as somebody would who has no key. sign, if not nil, signs checkpoints.
func rechain(t *testing.T, lines []string, sign ed25519.PrivateKey) []string {
	t.Helper()
	var out []string
	prev := noPrev
	for i, line := range lines {
		r, err := ParseRecord([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		r.Seq, r.Prev = uint64(i+1), prev
		if r.Type == typeCheckpoint && sign != nil {
			c := checkpointOf(&r)
			c.Log, c.Key = publicHalf(sign).LogID(), publicHalf(sign).String()
			c.sign(sign)
			r = c.record()
		}
		text := appendRecord(nil, &r)
		sum := sha256.Sum256(text)
		prev = hex.EncodeToString(sum[:])
		out = append(out, string(text))
	}
	return out
}

// Whatever is done to a log shows, the cutting off of its end against a checkpoint that was kept elsewhere.
func TestTampering(t *testing.T) {
	dir := t.TempDir()
	var kept []Checkpoint
	l, err := Open(Config{Mode: BestEffort}, Options{StateDir: dir, Publish: func(c Checkpoint) { kept = append(kept, c) }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		if err := l.End(event(i)); err != nil {
			t.Fatal(err)
		}
		if i%4 == 3 {
			l.mu.Lock()
			if err := l.checkpoint(); err != nil {
				t.Fatal(err)
			}
			l.mu.Unlock()
		}
	}
	mustClose(t, l)
	text, err := os.ReadFile(l.path)
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	whole := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") // start, 4 events, checkpoint, …
	edit := func(i int, from, to string) []string {
		lines := slices.Clone(whole)
		lines[i] = strings.Replace(lines[i], from, to, 1)
		return lines
	}
	without := func(drop func(line string) bool) []string {
		return slices.DeleteFunc(slices.Clone(whole), drop)
	}
	isCheckpoint := func(line string) bool { return strings.Contains(line, `"type":"checkpoint"`) }
	swapped := slices.Clone(whole)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	late := without(isCheckpoint)
	for i := range late {
		r, _ := ParseRecord([]byte(late[i]))
		r.Time = r.Time.Add(time.Duration(i) * time.Minute)
		late[i] = string(appendRecord(nil, &r))
	}
	for name, test := range map[string]struct {
		lines     []string
		elsewhere bool // checkpoints were kept
		says      string
	}{
		"nothing":                             {whole, true, ""},
		"a value":                             {edit(2, `"subject":"ann"`, `"subject":"bob"`), false, "it was altered"},
		"a value of the last line":            {edit(len(whole)-1, `"key":"`, `"key":"x`), false, "is not signed by the key"},
		"a line taken out":                    {slices.Delete(slices.Clone(whole), 3, 4), false, "lines 4 to 4 are missing"},
		"a line twice":                        {slices.Insert(slices.Clone(whole), 3, whole[2]), false, "moved or repeated"},
		"two lines swapped":                   {swapped, false, "are missing"},
		"a line that is none":                 {slices.Insert(slices.Clone(whole), 3, "x"), false, "it is no line of an audit log"},
		"chained anew":                        {rechain(t, slices.Delete(slices.Clone(whole), 3, 4), nil), false, "is not signed by the key"},
		"chained anew with another key":       {rechain(t, slices.Delete(slices.Clone(whole), 3, 4), foreign), false, "is not signed by the key"},
		"chained anew without checkpoints":    {rechain(t, without(isCheckpoint), nil), false, "nothing vouches for it"},
		"the same, over some minutes":         {rechain(t, late, nil), false, "checkpoints were taken out"},
		"the same, with the first one left":   {rechain(t, without(func(line string) bool { return isCheckpoint(line) && line != whole[5] }), nil), true, "vouches for line 16: its end was cut off"},
		"the end cut off, and nothing kept":   {whole[:8], false, ""},
		"the end cut off":                     {whole[:8], true, "its end was cut off"},
		"the end cut off within a line":       {append(slices.Clone(whole[:8]), whole[8][:20]), true, "its end was cut off"},
		"chained anew, and checkpoints kept":  {rechain(t, edit(2, `"subject":"ann"`, `"subject":"bob"`), nil), true, "the log was rebuilt"},
		"everything":                          {nil, true, "there is no line"},
		"the beginning, against a checkpoint": {whole[6:], true, ""},
	} {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, []byte(strings.Join(test.lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		o := VerifyOptions{Key: l.PublicKey()}
		if test.elsewhere {
			o.Checkpoints = kept
		}
		r, err := Verify(context.Background(), []string{path}, o)
		if err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, p := range r.Problems {
			said = append(said, p.String())
		}
		if all := strings.Join(said, "\n"); (test.says == "") != (all == "") || !strings.Contains(all, test.says) {
			t.Errorf("%s: it says %q, want %q", name, all, test.says)
		}
	}
	forged := kept[0]
	forged.Seq = 1000
	if r := verify(t, dir, forged); len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Text, "is not signed by the key") {
		t.Errorf("a forged checkpoint: %+v", r.Problems)
	}
}

// FuzzVerify: no log makes it fail otherwise than by telling.
func FuzzVerify(f *testing.F) {
	dir := f.TempDir()
	l := mustOpen(f, Config{Mode: BestEffort}, dir)
	_ = l.End(event(1))
	mustClose(f, l)
	text, err := os.ReadFile(l.path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(bytes.Replace(text, []byte("ann"), []byte("bob"), 1))
	f.Fuzz(func(t *testing.T, log []byte) {
		path := filepath.Join(t.TempDir(), "audit.jsonl")
		if err := os.WriteFile(path, log, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Verify(context.Background(), []string{path}, VerifyOptions{Key: l.PublicKey()})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Problems) == 0 && !bytes.HasPrefix(text, bytes.TrimSuffix(log, []byte("\n"))) && !bytes.HasSuffix(text, log) {
			t.Errorf("%q is taken for a log of the key's", log)
		}
	})
}

// FuzzEncode: whatever an event says is one line, and reads back.
func FuzzEncode(f *testing.F) {
	f.Add("tool", "a\nb", 200)
	f.Add("\xff\u202e\U000e0041", strings.Repeat("é", 300), -1)
	f.Fuzz(func(t *testing.T, tool, subject string, status int) {
		r := Record{Seq: 1, Prev: noPrev, Type: typeEvent, Time: time.Now(), Event: Event{Tool: tool, Subject: subject, Status: status, WouldDeny: []string{tool, subject}}}
		line := appendRecord(nil, &r)
		if bytes.ContainsAny(line, "\n\r\x1b") || len(line) > maxLine {
			t.Fatalf("%q", line)
		}
		back, err := ParseRecord(line)
		if err != nil || back.Event.Status != status {
			t.Fatalf("%q: %v", line, err)
		}
		if len(tool) < 200 && strings.ToValidUTF8(tool, "\ufffd") == tool && back.Event.Tool != tool {
			t.Errorf("%q reads back as %q", tool, back.Event.Tool)
		}
	})
}

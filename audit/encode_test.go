package audit

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// TestLine pins how lines look: who reads them with other tools relies on it.
func TestLine(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 89_000, time.FixedZone("x", 3600))
	head := func(kind string) string {
		return `{"seq":7,"prev":"` + noPrev + `","type":"` + kind + `","time":"2026-03-04T04:06:07.000089Z"`
	}
	for kind, want := range map[string]string{
		typeEvent: `,"began":"2026-03-04T05:06:07.000000Z","request_id":"7f3a","issuer":"https://idp.example.com","subject":"alice@example.com","server":"wiki","method":"tools/call","tool":"search","arguments":"b3628d2b1b09f7a2e0a0b9f4d9e4b0f3b0a7f3b5b1ecb0a4b1c6a7d3a5f1b2c3",` +
			`"rule":"rule 2","decision":"allow","would_deny":["rule 5"],"credentials":["header authorization","file:/etc/sallyport/wiki.key"],"outcome":"answered","delivered":"yes","status":200,"duration_us":1234,"alike":3}`,
		typeStart:      `,"version":"v1","log":"id","key":"k","reason":"opened"}`,
		typeCheckpoint: `,"log":"id","key":"k","sig":"s"}`,
		typeLost:       `,"count":3,"since":"2026-03-04T04:06:07.000089Z"}`,
		typeRecovered:  `,"bytes":9,"sha256":"x"}`,
	} {
		e := sample()
		want = strings.Replace(want, "b3628d2b1b09f7a2e0a0b9f4d9e4b0f3b0a7f3b5b1ecb0a4b1c6a7d3a5f1b2c3", e.Arguments, 1)
		r := Record{Seq: 7, Prev: noPrev, Type: kind, Time: at, Event: e, Version: "v1", Log: "id", Key: "k", Reason: "opened", Signature: "s", Count: 3, Since: at, Bytes: 9, SHA256: "x"}
		if got := string(appendRecord(nil, &r)); got != head(kind)+want {
			t.Errorf("a line is\n%s, not\n%s", got, head(kind)+want)
		}
	}
	if got := string(appendRecord(nil, &Record{Seq: 7, Prev: noPrev, Type: typeEvent, Time: at})); got != head(typeEvent)+"}" {
		t.Errorf("an empty event is %s", got)
	}
}

func TestTextsAreBounded(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("a", 256):         strings.Repeat("a", 256),
		strings.Repeat("a", 257):         strings.Repeat("a", 253) + "…",
		strings.Repeat("é", 200):         strings.Repeat("é", 126) + "…",
		"x" + strings.Repeat("😀", 100):   "x" + strings.Repeat("😀", 63) + "…",
		strings.Repeat("\x80", 300):      strings.Repeat("�", 250) + "…",
		"a\"b\\c\n\t\x00\x1b[31m\x7f":    `a\"b\\c\u000a\u0009\u0000\u001b[31m\u007f`,
		"\u0085\u200e\u202e\ufeff\u00a0": `\u0085\u200e\u202e\ufeff\u00a0`,
		"\U000e0041":                     `\udb40\udc41`,
	} {
		if got := string(appendText(nil, text)); got != `"`+want+`"` {
			t.Errorf("%q became %s", text, got)
		}
	}
	e := Event{Credentials: strings.Split(strings.Repeat("c,", 40), ",")}
	var worst Event
	bad := strings.Repeat("\x01", 300)
	worst = Event{time.Now(), bad, bad, bad, bad, bad, bad, bad, bad, bad, make([]string, 40), make([]string, 40), bad, bad, -1 << 63, -1 << 63, -1 << 63}
	for i := range 40 {
		worst.WouldDeny[i], worst.Credentials[i] = bad, bad
	}
	if n := len(appendRecord(nil, &Record{Type: typeEvent, Event: worst})); n > 80<<10 {
		t.Errorf("a line can have %d bytes", n)
	}
	if got := string(appendRecord(nil, &Record{Type: typeEvent, Event: e})); strings.Count(got, `"c"`) != 15 || !strings.HasSuffix(got, `"c","…"]}`) {
		t.Errorf("a long list is %s", got)
	}
}

func TestParseRecordRefuses(t *testing.T) {
	good := string(appendRecord(nil, &Record{Seq: 1, Prev: noPrev, Type: typeEvent, Time: time.Now()}))
	if _, err := ParseRecord([]byte(strings.Replace(good, "}", `,"from":"later"}`, 1))); err != nil {
		t.Errorf("a member of a later version: %v", err)
	}
	for _, line := range []string{
		"", "{}", "null", "[]", good + good, good + " x", strings.Replace(good, "event", "other", 1), strings.Replace(good, `"seq":1`, `"seq":0`, 1),
		strings.Replace(good, `"seq":1`, `"seq":1,"seq":2`, 1), strings.Replace(good, "0000", "000G", 1), strings.Replace(good, `"prev":"0`, `"prev":"`, 1),
		strings.Replace(good, `"seq"`, `"Seq"`, 1), strings.Replace(good, "event", "event\x80", 1), strings.Replace(good, `"seq":1`, `"seq":"1"`, 1),
		strings.Repeat(" ", maxLine) + good,
	} {
		if _, err := ParseRecord([]byte(line)); err == nil {
			t.Errorf("%.80q is taken for a line", line)
		}
	}
}

// FuzzEncode: whatever strangers name themselves, a line is one line, valid JSON, and says what was meant.
func FuzzEncode(f *testing.F) {
	f.Add("alice", "tools/call", "rule 1", int64(0), 200, int64(5))
	f.Add("\x80\"\\\n", "\u2028", "😀\U000e0041", int64(-1<<62), -1, int64(-1))
	f.Add(strings.Repeat("é", 300), "", "x", int64(1<<62), 0, int64(1<<62))
	f.Fuzz(func(t *testing.T, subject, tool, list string, unix int64, status int, duration int64) {
		at := time.Unix(unix%400_000_000_000, unix%1_000_000_000)
		e := Event{Time: at, Subject: subject, Tool: tool, WouldDeny: []string{list, subject}, Status: status, Duration: time.Duration(duration), Alike: unix}
		line := appendRecord(nil, &Record{Seq: 1, Prev: noPrev, Type: typeEvent, Time: at, Event: e})
		if !jsontext.Value(line).IsValid() || bytes.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) || !utf8.Valid(line) {
			t.Fatalf("not a line: %q", line)
		}
		r, err := ParseRecord(line)
		if err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		if short := func(s string) string { cut, was := clip(s); return mark(string([]rune(cut)), was) }; r.Event.Subject != short(subject) || r.Event.Tool != short(tool) ||
			fmt.Sprint(r.Event.WouldDeny) != fmt.Sprint([]string{short(list), short(subject)}) {
			t.Errorf("%q, %q, %q came back as %+v", subject, tool, list, r.Event)
		}
		if r.Event.Status != status || r.Event.Duration != time.Duration(duration).Truncate(time.Microsecond) || r.Event.Alike != unix {
			t.Errorf("%d, %d came back as %+v", status, duration, r.Event)
		}
		// Bytes that are no UTF-8 grow, and may be cut again.
		if again := appendRecord(nil, &r); utf8.ValidString(subject+tool+list) && !bytes.Equal(again, line) {
			t.Errorf("%q is written again as %q", line, again)
		}
		if len(subject) > maxText && len(r.Event.Subject) > 3*maxText {
			t.Errorf("%d bytes are left of %d", len(r.Event.Subject), len(subject))
		}
	})
}

func mark(s string, cut bool) string {
	if cut {
		return s + "…"
	}
	return s
}

func TestTimesAreAsTheLayoutHasThem(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Unix(1_772_600_767, 999_999_999), time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 1000, time.UTC)} {
		if got := string(appendTime(nil, at)); got != `"`+at.UTC().Format(timeLayout)+`"` {
			t.Errorf("%v is written %s", at, got)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	r := Record{Seq: 1 << 40, Prev: noPrev, Type: typeEvent, Time: time.Now(), Event: sample()}
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		buf = appendRecord(buf[:0], &r)
	}
}

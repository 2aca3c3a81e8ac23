package scrub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/secret"
)

// periodic is a secret whose occurrences overlap.
const periodic = "Zq7LZq7LZq7LZq7LZq7LZq"

// Occurrences that overlap without end are not held: memory stays bounded.
func TestOverlapsAreNotHeldForEver(t *testing.T) {
	source := strings.NewReader(strings.Repeat("Zq7L", 1<<18))
	hits, passed := 0, 0
	r, ok := NewReader(io.NopCloser(source), set(periodic), func() { hits++ }).(*reader)
	if !ok {
		t.Fatal("not a reader")
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := r.Read(buf)
		if most := 20*len(periodic) + maxSlashes; len(r.held) > most {
			t.Fatalf("%d bytes are held behind %d", len(r.held), passed)
		}
		if strings.Trim(string(buf[:n]), "*") != "" && source.Len() > 0 {
			t.Fatalf("%q passes behind %d", buf[:n], passed)
		}
		passed += n
		if err != nil {
			break
		}
	}
	if passed != 4<<18 || hits != 1 {
		t.Errorf("%d bytes, %d hits", passed, hits)
	}
}

// What is read behind the returned bytes is wiped: a caller's buffer holds no part of a secret.
func TestTheBufferIsWipedBehindTheBytes(t *testing.T) {
	in, out := io.Pipe()
	r := NewReader(in, set(canary, "print-and-more-Zq7Lw2nX"), func() {})
	go func() { _, _ = io.WriteString(out, "x"+canary) }() // it ends as the other one begins
	buf := make([]byte, 8<<10)
	n, err := r.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	if len(bytes.Trim(buf[n:], "\x00")) != 0 || !strings.HasPrefix("x"+strings.Repeat("*", len(canary)), string(buf[:n])) {
		t.Errorf("%q, and behind it %q", buf[:n], bytes.Trim(buf[n:], "\x00"))
	}
	_ = r.Close()
}

func TestLongRunsOfBackslashesKeepTheirParity(t *testing.T) {
	from := set(canary)
	for run := range 40 {
		sent := "x" + strings.Repeat(`\`, run) + `u0063` + canary[1:] + " y"
		want, _ := through(t, from, sent)
		if run%2 == 1 && strings.Contains(want, canary[1:]) {
			t.Errorf("behind %d backslashes: %q", run, want)
		}
		for i := range len(sent) {
			if got, _ := through(t, from, sent[:i], sent[i:]); got != want {
				t.Errorf("%q split at %d gives %q, want %q", sent, i, got, want)
			}
		}
		if got, _ := through(t, from, strings.Split(sent, "")...); got != want {
			t.Errorf("%q byte by byte gives %q, want %q", sent, got, want)
		}
	}
}

// JSON that stands in JSON strings, as the results of tools often do, four levels deep.
func TestJSONInsideJSON(t *testing.T) {
	for _, text := range awkward {
		from := set(text)
		sent := text
		for level := 1; level <= 4; level++ {
			encoded, err := json.Marshal(map[string]string{"text": sent})
			if err != nil {
				t.Fatal(err)
			}
			sent = string(encoded)
			want, hits := through(t, from, sent)
			if hits != 1 || !json.Valid([]byte(want)) {
				t.Errorf("level %d of %.40q: %d hits in %.200q", level, text, hits, want)
			}
			if len(sent) > 600 {
				continue
			}
			for i := range len(sent) {
				if got, n := through(t, from, sent[:i], sent[i:]); got != want || n != hits {
					t.Fatalf("level %d of %q, split at %d: %q, want %q", level, text, i, got, want)
				}
			}
			if got, n := through(t, from, strings.Split(sent, "")...); got != want || n != hits {
				t.Errorf("level %d of %q, byte by byte: %q, want %q", level, text, got, want)
			}
		}
	}
}

// meanwhile is a body of one piece for each step, which happens while that is waited for.
func meanwhile(steps ...func() string) io.ReadCloser {
	return io.NopCloser(readerFunc(func(p []byte) (int, error) {
		if len(steps) == 0 {
			return 0, io.EOF
		}
		step := steps[0]
		steps = steps[1:]
		return copy(p, step()), nil
	}))
}

func sends(text string) func() string { return func() string { return text } }

// numbered is one of many secrets, which all begin alike.
func numbered(i int) string { return fmt.Sprintf("A9xK-secret-%03d-qZ7wVt", i) }

// A secret stays masked when it comes to be looked for together with the settled ones, even if something is held just then:
// the beginning of another secret, or of itself.
func TestASecretThatIsSettledMeanwhile(t *testing.T) {
	for _, held := range []string{"A9xK", canary[:5]} {
		s := NewSet()
		for i := range maxRecent + 1 {
			s.Use(secret.New(numbered(i)))
		}
		s.Current()
		s.Use(secret.New(canary))
		s.Current()
		rest := " " + canary
		if strings.HasPrefix(canary, held) {
			rest = canary[len(held):]
		}
		got, err := io.ReadAll(NewReader(meanwhile(sends("x "+held), func() string {
			for i := range maxRecent + 1 {
				s.Use(secret.New(numbered(100 + i)))
			}
			return rest + " A9xK"
		}, sends(" "+canary+" A9xK")), s, func() {}))
		if err != nil || strings.Contains(string(got), canary) || !strings.Contains(string(got), "* A9xK *") {
			t.Errorf("with %q held: %q, %v", held, got, err)
		}
	}
}

// A secret is masked from when it is active, though something is held all the time, or a read waits since before.
func TestASecretOfLaterWhileSomethingIsHeld(t *testing.T) {
	s := NewSet()
	s.Use(secret.New(numbered(0)))
	got, err := io.ReadAll(NewReader(meanwhile(sends("x A9"), func() string {
		s.Use(secret.New(canary))
		return " " + canary + " A9"
	}, sends(" "+canary+" A9")), s, func() {}))
	stars := strings.Repeat("*", len(canary))
	if want := "x A9 " + stars + " A9 " + stars + " A9"; err != nil || string(got) != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// What is masked in part stays masked, though its secret is no longer active.
func TestASecretThatExpiresWhileItIsMasked(t *testing.T) {
	r := &reader{from: fixed{nothing}, hit: func() {}, carry: carry{masked: 5}, held: []byte("abc")}
	r.body = strings.NewReader("defgh")
	if got, err := io.ReadAll(struct{ io.Reader }{r}); err != nil || string(got) != "*****fgh" {
		t.Errorf("got %q, %v", got, err)
	}
}

// A percent-encoded text in JSON whose writer escapes slashes and ampersands.
func TestPercentInsideJSON(t *testing.T) {
	const text = "Zq7/Lw2&nX9 v8%Kt0é"
	from := set(text)
	for _, sent := range []string{
		`"Zq7\/Lw2\u0026nX9%20v8%25Kt0%C3%A9"`, `"Zq7%2fLw2\u0026nX9\u002520v8\u0025\u0032\u0035Kt0\u00e9"`, `{\"a\":\"Zq7\\\/Lw2\\u0026nX9+v8%25Kt0%c3%a9\"}`,
	} {
		for i := range len(sent) {
			got, hits := through(t, from, sent[:i], sent[i:])
			if hits != 1 || strings.ContainsAny(got, "LnK") {
				t.Errorf("%q split at %d gives %q", sent, i, got)
			}
		}
	}
}

// JSON in JSON strings whose outer writer escapes parts of the inner escapes.
func TestEscapesThatAreEscapedInPart(t *testing.T) {
	const text = "ghp_0123456789abcdefXYZ"
	from := set(text)
	for _, g := range []string{
		`\u005cu0067`, `\u005c\u00750067`, `\\\u00750067`, `\\u00\u00367`, `\\u\u0030\u003067`, `\u005cu00\u0036\u0037`,
		`\\\\u00\\u00367`, `\\u005cu0067`, `\u005cu005cu0067`, `\\u00\\u00367`, `%\u0036\u0037`, `\u005cu002567`,
	} {
		sent := `{"a":"\"` + g + text[1:] + `\\n"}`
		for i := range len(sent) {
			got, hits := through(t, from, sent[:i], sent[i:])
			if hits != 1 || strings.Contains(got, text[1:]) || !strings.HasSuffix(got, `*\\n"}`) {
				t.Fatalf("%q split at %d gives %q", sent, i, got)
			}
		}
		if got, hits := through(t, from, strings.Split(sent, "")...); hits != 1 || strings.Contains(got, text[1:]) {
			t.Errorf("%q byte by byte gives %q", sent, got)
		}
	}
}

// Of a percent-encoded text in JSON, a backslash that stands for itself belongs to no escape behind it.
func TestPercentInsideJSONWithABackslash(t *testing.T) {
	const text = `Zq7\bLw2%nX9v8Kt0`
	from := set(text)
	for _, sent := range []string{`"Zq7\\bLw2%25nX9v8Kt0"`, `"Zq7\u005cbLw2\u00252\u0035nX9v8Kt0"`, `{\"a\":\"Zq7\\\\bLw2%25nX9v8Kt0\"}`} {
		for i := range len(sent) {
			got, hits := through(t, from, sent[:i], sent[i:])
			if hits != 1 || strings.ContainsAny(got, "LnK") {
				t.Errorf("%q split at %d gives %q", sent, i, got)
			}
		}
	}
}

func TestAWeakSecretInsideAStrongOne(t *testing.T) {
	s := set(canary, "n4ry", "printed").Current()
	for sent, want := range map[string]string{
		"a " + canary + " b":   "a " + strings.Repeat("*", len(canary)) + " b",
		"a " + canary + "ed b": "a " + strings.Repeat("*", len(canary)+2) + " b",
		"n4ryn4ry":             "********",
	} {
		if got, _ := s.Text(sent); got != want {
			t.Errorf("%q gives %q", sent, got)
		}
	}
}

// A value too long to be looked for does not push out the others.
func TestAHugeValueLeavesTheOthers(t *testing.T) {
	s := set(canary, strings.Repeat("Zq7Lw2nX", 1<<18))
	if got, hits := s.Current().Text(canary); hits != 1 {
		t.Errorf("%q passes", got)
	}
	for i := range 40 {
		s.Use(secret.New(strings.Repeat(fmt.Sprintf("Zq7Lw2nX%d", i), 6000)))
		s.Use(secret.New(canary))
	}
	scrubber := s.Current()
	if got, hits := scrubber.Text(canary); hits != 1 || len(scrubber.texts) < 10 {
		t.Errorf("%q passes, %d secrets", got, len(scrubber.texts))
	}
}

// A set that nobody looks at stays bounded too.
func TestASetIsBoundedWithoutBeingLookedAt(t *testing.T) {
	s := NewSet()
	for i := range 20 * maxTexts {
		s.Use(secret.New(fmt.Sprintf("secret-number-%d-Zq7", i)))
	}
	if len(s.active) > 2*maxTexts {
		t.Errorf("%d texts are kept", len(s.active))
	}
}

// Long secrets, byte by byte and in whole.
func TestLongSecrets(t *testing.T) {
	for _, length := range []int{8 << 10, 20 << 10, maxLength} {
		var b strings.Builder
		for i := 0; b.Len() < length; i++ {
			fmt.Fprintf(&b, "%x-Zq%d/", i*7919, i)
		}
		text := b.String()[:length]
		from := set(text)
		for _, e := range encodings() {
			encoded := e.write(text, func(n int) int { return 1 % n })
			sent := "<" + encoded + ">"
			got, hits := through(t, from, sent[:1000], sent[1000:7000], sent[7000:])
			if hits != 1 || survives([]byte(got), text) || len(got) != len(sent) {
				t.Errorf("%s of %d bytes: %d hits", e.name, length, hits)
			}
		}
		r, ok := NewReader(io.NopCloser(&chunks{[]byte(strings.Repeat(text[:length-1]+"~", 3))}), from, func() {}).(*reader)
		if !ok {
			t.Fatal("not a reader")
		}
		for buf := make([]byte, 1000); ; {
			_, err := r.Read(buf)
			if len(r.held) > 20*length+64 {
				t.Fatalf("%d bytes are held", len(r.held))
			}
			if err != nil {
				break
			}
		}
	}
}

// A body that gives nothing and no error either ends in an error, and one that gives a byte at a time does not.
func TestNoProgress(t *testing.T) {
	r := NewReader(io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, nil })), set(canary), func() {})
	if _, err := r.Read(make([]byte, 10)); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
}

// A secret that is used again just as it expires stays.
func TestUseAndExpiryDoNotCross(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(canary)
		for i := range 100 {
			time.Sleep(activeFor - time.Nanosecond)
			done := make(chan struct{})
			go func() { s.Use(secret.New(canary)); close(done) }()
			s.Use(secret.New(fmt.Sprintf("another-%d-Zq7Lw2", i)))
			s.Current()
			<-done
			if _, hits := s.Current().Text(canary); hits != 1 {
				t.Fatalf("round %d: it is forgotten", i)
			}
		}
	})
}

func TestNothingToLookFor(t *testing.T) {
	body := io.NopCloser(strings.NewReader("a"))
	for name, s := range map[string]*Scrubber{"nil": nil, "empty": NewSet().Current(), "weak": set("hunter2").Current()} {
		if got := s.Reader(body, func() {}); got != body {
			t.Errorf("%s wraps the body", name)
		}
	}
}

// Hit may close the body.
func TestHitMayClose(t *testing.T) {
	var r io.ReadCloser
	r = set(canary).Current().Reader(io.NopCloser(strings.NewReader("a "+canary+" b")), func() { _ = r.Close() })
	if _, err := io.Copy(io.Discard, r); err == nil {
		t.Error("it can be read on")
	}
}

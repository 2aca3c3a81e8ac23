package scrub

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "c4n4ry-Q7w9/do+not=print"

// awkward are secrets with characters that encodings treat in their own ways.
var awkward = []string{
	canary, `quo"te\back\\slash-Zq7`, "per%41cent%%25-Zq7Lw2", "a phrase of five words", "key/with/slashes/4711==", "Schlüssel-für-König-ß€😀",
	"line one\nline two\tZq7Lw", strings.Repeat("0123456789abcdefZ-", 60), "\\u0041\\n\\\\-literally-42", "nnnnrrrr\\tttt-u0061-Zq7",
}

// set holds secrets.
func set(texts ...string) *Set {
	s := NewSet()
	for _, text := range texts {
		s.Use(secret.New(text))
	}
	return s
}

// encoding writes a text down so that it is promised to be found. Choose makes the choices that it leaves open.
type encoding struct {
	name  string
	write func(text string, choose func(n int) int) string
}

func encodings() []encoding {
	unit := func(r rune, choose func(int) int) string {
		one := func(u rune) string {
			out := []byte(fmt.Sprintf("%04x", u))
			for i, c := range out {
				if choose(2) == 0 && 'a' <= c && c <= 'f' {
					out[i] = c - 'a' + 'A'
				}
			}
			return `\u` + string(out)
		}
		if r > 0xffff {
			r -= 0x10000
			return one(0xd800+r>>10) + one(0xdc00+r&0x3ff)
		}
		return one(r)
	}
	short := map[rune]string{'"': `\"`, '\\': `\\`, '/': `\/`, '\n': `\n`, '\t': `\t`}
	json := func(text string, choose func(int) int) string {
		var b strings.Builder
		for _, r := range text {
			must := r == '"' || r == '\\' || r < ' '
			switch {
			case short[r] != "" && (must || choose(2) == 0) && choose(3) > 0:
				b.WriteString(short[r])
			case must || choose(4) == 0:
				b.WriteString(unit(r, choose))
			default:
				b.WriteRune(r)
			}
		}
		return b.String()
	}
	return []encoding{
		{"raw", func(text string, _ func(int) int) string { return text }},
		{"JSON", json},
		{"JSON, every character", func(text string, choose func(int) int) string {
			var b strings.Builder
			for _, r := range text {
				b.WriteString(unit(r, choose))
			}
			return b.String()
		}},
		{"URL", func(text string, choose func(int) int) string {
			var b strings.Builder
			for i := range len(text) {
				if c := text[i]; c == '%' || choose(3) == 0 {
					hexed := fmt.Sprintf("%02x", c)
					if choose(2) == 0 {
						hexed = strings.ToUpper(hexed)
					}
					b.WriteString("%" + hexed)
				} else {
					b.WriteByte(c)
				}
			}
			return b.String()
		}},
		{"form", func(text string, _ func(int) int) string { return url.QueryEscape(text) }},
		{"hex", func(text string, choose func(int) int) string {
			out := []byte(hex.EncodeToString([]byte(text)))
			for i, c := range out {
				if choose(2) == 0 && 'a' <= c && c <= 'f' {
					out[i] = c - 'a' + 'A'
				}
			}
			return string(out)
		}},
		{"base64", base64At(base64.StdEncoding)},
		{"base64url", base64At(base64.RawURLEncoding)},
	}
}

// base64At writes base64 with other bytes around, at any alignment.
func base64At(e *base64.Encoding) func(string, func(int) int) string {
	return func(text string, choose func(int) int) string {
		return e.EncodeToString([]byte(strings.Repeat("\xff", choose(4)) + text + strings.Repeat("\xfe", choose(4))))
	}
}

// survives reports whether the text can be read out of b by undoing one of the encodings.
func survives(b []byte, text string) bool {
	var s scratch
	readings := [][]byte{b}
	for _, nested := range []bool{false, true} {
		s.views[0].json(new(scanner), b, reading{nested: nested, final: true})
		readings = append(readings, bytes.Clone(s.views[0].text))
	}
	s.views[0].percent(b, true)
	readings = append(readings, bytes.Clone(s.views[0].text))
	for _, reading := range readings {
		if bytes.Contains(reading, []byte(text)) || bytes.Contains(bytes.ToLower(reading), []byte(hex.EncodeToString([]byte(text)))) {
			return true
		}
	}
	return false
}

// through reads a text that comes in pieces through a reader.
func through(t testing.TB, from Source, pieces ...string) (got string, hits int) {
	t.Helper()
	var parts []io.Reader
	for _, piece := range pieces {
		parts = append(parts, strings.NewReader(piece))
	}
	r := NewReader(io.NopCloser(io.MultiReader(parts...)), from, func() { hits++ })
	all, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return string(all), hits
}

// sameButStars reports whether got is what was sent but for stars, of which there are some.
func sameButStars(sent, got string) (stars int, ok bool) {
	if len(sent) != len(got) {
		return 0, false
	}
	for i := range len(sent) {
		switch {
		case sent[i] == got[i]:
		case got[i] == '*':
			stars++
		default:
			return 0, false
		}
	}
	return stars, stars > 0
}

func TestEveryEncodingAtEverySplit(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, text := range awkward {
		from := set(text)
		for _, e := range encodings() {
			for range 2 {
				encoded := e.write(text, random.IntN)
				before, after := `{"a":"you sent `, `, thanks"}`
				sent := before + encoded + after
				splits := []int{0, len(before), len(sent) - len(after), len(sent)}
				if len(sent) < 400 {
					for i := range len(sent) {
						splits = append(splits, i)
					}
				}
				want, hits := through(t, from, sent)
				if hits != 1 {
					t.Fatalf("%s of %q: %d hits in %q", e.name, text, hits, sent)
				}
				if stars, ok := sameButStars(sent, want); !ok || stars > len(encoded) || !strings.HasPrefix(want, before) || !strings.HasSuffix(want, after) {
					t.Fatalf("%s of %q: %q became %q", e.name, text, sent, want)
				}
				if e.name != "base64" && e.name != "base64url" && want != before+strings.Repeat("*", len(encoded))+after {
					t.Errorf("%s of %q: %q became %q", e.name, text, sent, want)
				}
				if survives([]byte(want), text) {
					t.Errorf("%s of %q survives in %q", e.name, text, want)
				}
				for _, i := range splits {
					if got, n := through(t, from, sent[:i], sent[i:]); got != want || n != 1 {
						t.Fatalf("%s of %q, split at %d: %d hits, %q, want %q", e.name, text, i, n, got, want)
					}
				}
				if len(sent) > 2000 {
					continue
				}
				if got, n := through(t, from, strings.Split(sent, "")...); got != want || n != 1 {
					t.Errorf("%s of %q, byte by byte: %d hits, %q", e.name, text, n, got)
				}
			}
		}
	}
}

func TestBase64LeavesWhatIsNotTheSecrets(t *testing.T) {
	from := set(canary)
	for before := range 6 {
		for after := range 6 {
			plain := strings.Repeat("<", before) + canary + strings.Repeat(">", after)
			got, _ := through(t, from, base64.StdEncoding.EncodeToString([]byte(plain)))
			decoded, _ := base64.StdEncoding.DecodeString(strings.ReplaceAll(got, "*", "A"))
			if n := before - 1; n > 0 && !strings.HasPrefix(string(decoded), strings.Repeat("<", n)) {
				t.Errorf("%d bytes before are damaged: %q", before, decoded)
			}
			if strings.Count(got, "*") < len(canary)*8/6-1 {
				t.Errorf("%q is masked as %q", plain, got)
			}
		}
	}
}

func TestOverlappingSecrets(t *testing.T) {
	for _, test := range []struct {
		secrets    []string
		sent, want string
	}{
		{[]string{"abcdefghijkl-1", "jkl-1-mnopqrstu"}, "<abcdefghijkl-1-mnopqrstu>", "<************************>"},
		{[]string{"abcdefghijkl-1", "abcdefghijkl-1-and-more"}, "<abcdefghijkl-1-and-more>", "<***********************>"},
		{[]string{"abcdefghijkl-1", "abcdefghijkl-1-and-more"}, "<abcdefghijkl-1-and-less>", "<**************-and-less>"},
		{[]string{"abcabcabcabd-Zq7"}, "<abcabcabcabcabd-Zq7>", "<abc****************>"},
		{[]string{"abcdefghijkl-1"}, "<abcdefghijkl-1abcdefghijkl-1>", "<****************************>"},
		{[]string{"abcdefghijkl-1"}, "abcdefghijkl-", "abcdefghijkl-"},
	} {
		from := set(test.secrets...)
		for i := range len(test.sent) {
			if got, _ := through(t, from, test.sent[:i], test.sent[i:]); got != test.want {
				t.Errorf("%q split at %d gives %q, want %q", test.sent, i, got, test.want)
			}
		}
	}
}

// Nothing is held back but what may be the beginning of a secret: an event goes out with its last byte.
func TestNothingElseIsHeld(t *testing.T) {
	const event = "data: {\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":\"50% of a \\\"path\\\\ c\"}\n\n"
	for _, test := range []struct{ piece, passes string }{
		{event, event},
		{event + "data: c4n", event + "data: "},
		{event + `data: \u006`, event + "data: "},
		{`x\`, "x"},
		{`x\\`, `x`},
		{"x%6", "x"},
		{"x%", "x"},
		{"x%zz", "x%zz"},
		{"x c4n4ry-Q7w9 y", "x c4n4ry-Q7w9 y"},
		{`x\u0063\u0034n4r`, "x"},
	} {
		more := make(chan struct{})
		source := io.MultiReader(strings.NewReader(test.piece), waiting(more))
		r := NewReader(io.NopCloser(source), set(canary), func() {})
		buf := make([]byte, 64<<10)
		var got []byte
		for len(got) < len(test.passes) {
			n, err := r.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if string(got) != test.passes {
			t.Errorf("of %q passes %q, want %q", test.piece, got, test.passes)
		}
		close(more)
		rest, err := io.ReadAll(r)
		if err != nil || string(got)+string(rest) != test.piece {
			t.Errorf("in the end %q has become %q, %v", test.piece, string(got)+string(rest), err)
		}
	}
}

// waiting is a reader that has nothing until the channel is closed, and then ends.
func waiting(until <-chan struct{}) io.Reader {
	return readerFunc(func([]byte) (int, error) { <-until; return 0, io.EOF })
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAnErrorComesBehindTheBytes(t *testing.T) {
	broken := errors.New("broken")
	r := NewReader(io.NopCloser(io.MultiReader(strings.NewReader("a c4n4"), iotest.ErrReader(broken))), set(canary), func() {})
	got, err := io.ReadAll(r)
	if string(got) != "a c4n4" || !errors.Is(err, broken) {
		t.Errorf("got %q, %v", got, err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, broken) {
		t.Errorf("then %d, %v", n, err)
	}
	_ = r.Close()
}

func TestCloseEndsARead(t *testing.T) {
	in, out := io.Pipe()
	defer func() { _ = out.Close() }()
	r := NewReader(in, set(canary), func() {})
	done := make(chan error, 1)
	go func() { _, err := r.Read(make([]byte, 100)); done <- err }()
	time.Sleep(10 * time.Millisecond)
	_ = r.Close()
	if err := <-done; err == nil {
		t.Error("a read ends without an error")
	}
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body can be read")
	}
}

// A secret that becomes active while a stream is read is masked from then on.
func TestASecretOfLater(t *testing.T) {
	s := NewSet()
	in, out := io.Pipe()
	r := NewReader(in, s, func() {})
	defer r.Close()
	buf := make([]byte, 8<<10)
	for _, want := range []string{canary, strings.Repeat("*", len(canary))} {
		go func() { _, _ = io.WriteString(out, canary) }()
		if _, err := io.ReadFull(r, buf[:len(want)]); err != nil || string(buf[:len(want)]) != want {
			t.Fatalf("got %q, %v", buf[:len(want)], err)
		}
		s.Use(secret.New(canary))
	}
}

func TestHeader(t *testing.T) {
	s := set(canary, "short", "id")
	shared := []string{"a", "Bearer " + canary, "b"}
	h := http.Header{
		"X-Echo": shared, "X-Plain": {"nothing"}, "Basic": {base64.StdEncoding.EncodeToString([]byte("user:" + canary))},
		"X-Weak": {"fine", "it is short indeed"}, "X-Shortish": {"a"}, "X-" + hex.EncodeToString([]byte(canary)): {"a"}, "X-C4n4ry-Q7w9/Do+Not=Print": {"a"}, "X-Id": {"an id"},
	}
	hits := s.Current().Header(h)
	stars := strings.Repeat("*", len(canary))
	if want := []string{"a", "Bearer " + stars, "b"}; !slices.Equal(h["X-Echo"], want) || hits != 4 {
		t.Errorf("%d hits, %q", hits, h["X-Echo"])
	}
	if shared[1] != "Bearer "+canary {
		t.Error("a list that others may hold was changed")
	}
	if h.Get("X-Plain") != "nothing" || h.Get("X-Id") != "an id" || len(h) != 4 {
		t.Errorf("%q", h)
	}
	if strings.Contains(h.Get("Basic"), base64.StdEncoding.EncodeToString([]byte(canary))[:20]) || survives([]byte(h.Get("Basic")), canary) {
		t.Errorf("Basic is %q", h.Get("Basic"))
	}
	if n := (*Scrubber)(nil).Header(h); n != 0 {
		t.Error("nothing masks something")
	}
}

func TestPair(t *testing.T) {
	s := NewSet()
	s.Pair("al", secret.New(canary))
	got, hits := s.Current().Text("Basic " + base64.StdEncoding.EncodeToString([]byte("al:"+canary)))
	if hits != 1 || strings.Count(got, "*") < (len(canary)+3)*4/3 {
		t.Errorf("%d hits, %q", hits, got)
	}
}

func TestText(t *testing.T) {
	s := set(canary, "tiny").Current()
	if got, hits := s.Text("dial: " + canary + ": tiny"); got != "dial: "+strings.Repeat("*", len(canary))+": ****" || hits != 2 {
		t.Errorf("%q, %d", got, hits)
	}
	if got, hits := s.Text("refused"); got != "refused" || hits != 0 {
		t.Errorf("%q, %d", got, hits)
	}
}

func TestWeak(t *testing.T) {
	for text, why := range map[string]string{
		canary: "", "": "fewer than 12", "hunter2hunte": "easy", "hunter2": "fewer than 12", "aaaaaaaaaaaaaaaaaaaaaaaa": "easy", "123412341234": "easy",
		"correct horse battery": "", "Zq7Lw2nXv9Rb": "", strings.Repeat("Zq7Lw2nX", 9000): "more than 64 KiB",
	} {
		if got := Weak(secret.New(text)); got != why && (why == "" || !strings.Contains(got, why)) {
			t.Errorf("Weak(%.30q) says %q, want %q", text, got, why)
		}
	}
	if got, hits := through(t, set("hunter2"), "hunter2"); got != "hunter2" || hits != 0 {
		t.Errorf("a weak secret is masked in a body: %q", got)
	}
}

// looked are the texts that a set's scrubber of now looks for.
func looked(s *Set) []string {
	now := s.Current()
	texts := slices.Clone(now.texts)
	if now.rest != nil {
		texts = append(texts, now.rest.texts...)
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

func TestSecretsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set("secret-one-Zq7Lw2", "secret-two-Xv9Rb4")
		s.Current()
		time.Sleep(20 * time.Hour)
		s.Use(secret.New("secret-one-Zq7Lw2"))
		time.Sleep(20 * time.Hour)
		s.UseUntil(secret.New("secret-short-Kt0Pd"), time.Now().Add(-time.Second))
		s.Use(secret.New("secret-three-Pd0Fg"))
		if texts := looked(s); !slices.Equal(texts, []string{"secret-one-Zq7Lw2", "secret-three-Pd0Fg"}) {
			t.Errorf("after a day: %q", texts)
		}
		for i := range 2000 {
			time.Sleep(time.Millisecond)
			s.Use(secret.New(fmt.Sprintf("secret-number-%d-Zq7", i)))
		}
		if texts := looked(s); len(texts) != maxTexts || !slices.Contains(texts, "secret-number-1999-Zq7") {
			t.Errorf("%d secrets", len(texts))
		}
	})
}

func TestSetIsSafeForConcurrentUse(t *testing.T) {
	s := NewSet()
	var crew sync.WaitGroup
	for i := range 8 {
		crew.Go(func() {
			for j := range 200 {
				text := fmt.Sprintf("secret-%d-%d-Zq7Lw2nX", i, j%20)
				s.Use(secret.New(text))
				if got, hits := through(t, s, "x "+text+" y"); hits != 1 || strings.Contains(got, text) {
					t.Errorf("%q passes", got)
				}
			}
		})
	}
	crew.Wait()
}

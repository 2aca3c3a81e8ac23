package scrub

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// FuzzScrub: for the listed encodings a secret never survives, other bytes never change, and how a stream is cut makes no
// difference.
func FuzzScrub(f *testing.F) {
	f.Add([]byte(canary), []byte(`{"a":"`), []byte(`"}`), uint64(1), uint8(0))
	f.Add([]byte(`quo"te\back\\slash-Zq7`), []byte(`\\`), []byte(`\u00`), uint64(2), uint8(1))
	f.Add([]byte("per%41cent%%25-Zq7Lw2"), []byte("%4"), []byte("1%"), uint64(3), uint8(3))
	f.Fuzz(func(t *testing.T, text, before, after []byte, seed uint64, kind uint8) {
		if weak(string(text)) != "" || len(text) > 512 || bytes.ContainsRune(text, 0xfffd) || strings.ToValidUTF8(string(text), "") != string(text) {
			return
		}
		random := rand.New(rand.NewPCG(seed, 0))
		all := encodings()
		e := all[int(kind)%len(all)]
		encoded := e.write(string(text), random.IntN)
		// What would turn the beginning of the encoding into something else.
		for len(before) > 0 && (before[len(before)-1] == '\\' || bytes.ContainsAny(before[max(0, len(before)-6):], `\%`)) {
			before = before[:len(before)-1]
		}
		sent := string(before) + encoded + string(after)
		from := set(string(text))
		want, hits := through(t, from, sent)
		stars, ok := sameButStars(sent, want)
		if hits == 0 && !strings.Contains(encoded, "*") || !ok && !strings.Contains(encoded, "*") {
			t.Fatalf("%s of %q: %d hits, %q became %q", e.name, text, hits, sent, want)
		}
		if least := len(text) - 2; e.name == "raw" && stars < least-strings.Count(string(text), "*") {
			t.Errorf("%q: %d stars", text, stars)
		}
		if survives([]byte(want), string(text)) {
			t.Errorf("%s of %q survives in %q, sent %q", e.name, text, want, sent)
		}
		var pieces []string
		for rest := sent; rest != ""; {
			n := min(1+random.IntN(7), len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got, n := through(t, from, pieces...); got != want || n != hits {
			t.Errorf("%s of %q in pieces %q: %q, %d hits, in one %q, %d hits", e.name, text, pieces, got, n, want, hits)
		}
	})
}

package scrub

import (
	"bytes"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// cell is a byte of a view with its place in what was sent. The reference is as slow and as simple as can be.
type cell struct {
	c        byte
	from, by int
}

func cellsOf(sent []byte) (cells []cell) {
	for i, c := range sent {
		cells = append(cells, cell{c, i, i + 1})
	}
	return cells
}

// number reads so many hexadecimal digits.
func number(cells []cell, digits int) (value int, ok bool) {
	if len(cells) < digits {
		return 0, false
	}
	for _, x := range cells[:digits] {
		i := strings.IndexByte("0123456789abcdef0123456789ABCDEF", x.c)
		if i < 0 {
			return 0, false
		}
		value = value<<4 | i%16
	}
	return value, true
}

func referencePercent(cells []cell) (out []cell) {
	for i := 0; i < len(cells); i++ {
		if value, ok := number(cells[i+1:], 2); ok && cells[i].c == '%' {
			out = append(out, cell{byte(value), cells[i].from, cells[i+2].by})
			i += 2
			continue
		}
		out = append(out, cells[i])
	}
	return out
}

func referenceJSON(cells []cell, nested bool) (out []cell) {
	for i := 0; i < len(cells); {
		run := 0
		for i+run < len(cells) && cells[i+run].c == '\\' && (nested || run == 0) {
			run++
		}
		var text []byte
		length := 0
		if run > 0 && run <= 15 && i+run < len(cells) {
			rest := cells[i+run:]
			at := strings.IndexByte(`"\/bfnrt`, rest[0].c)
			unit, isUnit := number(rest[1:], 4)
			switch {
			case at >= 0:
				text, length = []byte("\"\\/\b\f\n\r\t")[at:at+1], run+1
			case rest[0].c == 'u' && isUnit:
				char := rune(unit)
				length = run + 5
				if utf16.IsSurrogate(char) {
					second := rest[5:]
					same := len(second) > run && second[run].c == 'u'
					for k := 0; same && k < run; k++ {
						same = second[k].c == '\\'
					}
					if same {
						low, ok := number(second[run+1:], 4)
						if pair := utf16.DecodeRune(char, rune(low)); ok && pair != utf8.RuneError {
							char, length = pair, 2*length
						}
					}
				}
				text = utf8.AppendRune(nil, char)
			}
		}
		if length == 0 {
			out = append(out, cells[i:i+max(run, 1)]...)
			i += max(run, 1)
			continue
		}
		for _, c := range text {
			out = append(out, cell{c, cells[i].from, cells[i+length-1].by})
		}
		i += length
	}
	return out
}

// torn is a part of an escape, escaped.
var torn = regexp.MustCompile(`(?i)\\u00(5c|75|3[0-9]|[46][1-6])`)

// reference masks what a Scrubber is to mask.
func reference(sent string, secrets []string) string {
	var patterns []pattern
	slash := false
	for _, text := range secrets {
		patterns = append(patterns, patternsOf(text)...)
		slash = slash || strings.Contains(text, `\`)
	}
	cells := cellsOf([]byte(sent))
	nested := referenceJSON(cells, true)
	views := [][]cell{cells, nested, referencePercent(cells), referencePercent(nested)}
	for range maxLevels {
		cells = referenceJSON(cells, false)
		views = append(views, cells, referencePercent(cells))
		if !slash && !torn.MatchString(sent) {
			break
		}
	}
	got := []byte(sent)
	for _, view := range views {
		var text []byte
		for _, x := range view {
			text = append(text, x.c)
		}
		lowered := bytes.Clone(text) // byte by byte: it need not be UTF-8
		for i, c := range lowered {
			if 'A' <= c && c <= 'F' {
				lowered[i] += 'a' - 'A'
			}
		}
		for _, p := range patterns {
			in := text
			if p.fold {
				in = lowered
			}
			for i := 0; ; i++ {
				next := bytes.Index(in[i:], []byte(p.text))
				if next < 0 {
					break
				}
				i += next
				for k := view[i].from; k < view[i+len(p.text)-1].by; k++ {
					got[k] = '*'
				}
			}
		}
	}
	return string(got)
}

// compose makes a stream of what is hard to tell apart: parts of secrets, their encodings, and halves of escapes.
func compose(program []byte, secrets []string, random *rand.Rand) string {
	all := encodings()
	bits := []string{`\`, `\\`, `\u`, `\u0`, `\u00`, `u00`, `63`, `u`, `"`, `n`, "%", "%2", "%25", "2", "5", "6", `\n`, `\"`, `\/`, `\ud83d`, `\ude00`, `\u005c`, `\\u0075`, `\u0036`, "*", "\xff", " ", "\n\n"}
	bits = append(bits, strings.Repeat(`\`, 15), strings.Repeat(`\`, 16), strings.Repeat(`\`, 17))
	var b strings.Builder
	for _, op := range program {
		secret := secrets[random.IntN(len(secrets))]
		e := all[random.IntN(len(all))]
		encoded := e.write(secret, random.IntN)
		switch op % 8 {
		case 0, 1, 2:
			b.WriteString(bits[random.IntN(len(bits))])
		case 3:
			b.WriteString(encoded)
		case 4:
			b.WriteString(encoded[:random.IntN(len(encoded))])
		case 5:
			b.WriteString(encoded[random.IntN(len(encoded)):])
		case 6: // in JSON once more
			b.WriteString(strings.ReplaceAll(strings.ReplaceAll(encoded, `\`, `\\`), `"`, `\"`))
		case 7: // cut in two, with something between
			i := random.IntN(len(encoded))
			b.WriteString(encoded[:i] + bits[random.IntN(len(bits))] + encoded[i:])
		}
	}
	return b.String()
}

// families are secrets of one server that have to do with each other.
var families = [][]string{
	{"Zq7/Lw2&nX9v8", "63Zq7Lw2nX9v", "u0063Zq7Lw2nX"},
	{"Zq7Lw2nX9v8K", "Zq7Lw2nX9v8Kt0Pd", "X9v8Kt0PdFgHj3", "n9v8Kt0PdFgHj3"},
	{periodic, "q7LZq7LZq7LZq7LZq7LZq7LZ"},
	{`quo"te\back\\Zq7`, `\u0063\n\\-Zq7Lw2`, `nZq7Lw2nX9v8\`},
	{"per%41cent%%25-Zq7", "%41cent%2525%", "41cent%%25-Zq"},
	{"Schlüssel-€😀-Zq", "a phrase+of five words", "\xff\xfe\x00binary\x80Zq7Lw2"},
	{strings.Repeat("Zq7Lw2nXv9Rb", 90) + "!", strings.Repeat("7Lw2nXv9RbZq", 90)},
}

// check compares a Scrubber with the reference, for the stream in one piece and in several.
func check(t *testing.T, sent string, secrets []string, random *rand.Rand) {
	t.Helper()
	if strings.Contains(sent, strings.Repeat(`\`, 16)) && torn.MatchString(sent) && !strings.Contains(strings.Join(secrets, ""), `\`) {
		return // deeper than four levels; what is found there depends on the pieces
	}
	from := set(secrets...)
	want := reference(sent, secrets)
	got, hits := through(t, from, sent)
	if got != want {
		t.Fatalf("secrets %.80q: %q becomes\n%q, want\n%q", secrets, sent, got, want)
	}
	for _, most := range []int{1, 3, 40} {
		most *= 1 + len(sent)/4096
		var pieces []string
		for rest := sent; rest != ""; {
			n := min(1+random.IntN(most), len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got, n := through(t, from, pieces...); got != want || n != hits {
			t.Fatalf("secrets %.80q: in pieces of at most %d, %q becomes\n%q (%d hits), want\n%q (%d hits)", secrets, most, sent, got, n, want, hits)
		}
	}
}

func TestAgainstTheReference(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	for round := range 140 {
		secrets := families[round%len(families)]
		program := make([]byte, 1+random.IntN(12))
		if len(secrets[0]) > 1000 {
			program = program[:1]
		}
		for i := range program {
			program[i] = byte(random.IntN(8))
		}
		check(t, compose(program, secrets, random), secrets, random)
	}
}

// FuzzReference: whatever comes, exactly what is to be masked is masked, however the stream is cut.
func FuzzReference(f *testing.F) {
	f.Add([]byte{3}, []byte(`{"a":"`), []byte(`\u00`), uint64(1))
	f.Add([]byte{6, 0, 7, 3, 4}, []byte(`\\\`), []byte(`%`), uint64(4))
	f.Fuzz(func(t *testing.T, program, before, after []byte, seed uint64) {
		if len(program) > 16 || len(before)+len(after) > 1<<10 {
			return
		}
		random := rand.New(rand.NewPCG(seed, 1))
		secrets := families[seed%uint64(len(families))]
		check(t, string(before)+compose(program, secrets, random)+string(after), secrets, random)
	})
}

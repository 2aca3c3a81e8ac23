package scrub

import (
	"unicode/utf16"
	"unicode/utf8"
)

// maxSlashes is how many backslashes before an escape are taken together: four levels of JSON in JSON strings.
const maxSlashes = 15

// short is what the short escapes stand for (RFC 8259, section 7).
var short = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// filler stands in a view for an escape that no pattern has a use for, byte by byte, so that it need not be noted.
const filler = 0xff

// reading says how the escapes of JSON strings are undone.
type reading struct {
	nested bool // as in JSON that stands in JSON strings: all backslashes before an escape belong to it
	torn   bool // what is undone may be part of another escape
	final  bool // nothing comes behind the piece
	before int  // backslashes that the piece follows, if it is nested
}

// json undoes the escapes of JSON strings (RFC 8259, section 7) that s has a use for. deep reports whether it makes a
// difference that the reading is nested, and torn whether a \u stands for what may be part of another escape.
func (v *view) json(s *scanner, piece []byte, how reading) (deep, torn bool) {
	v.begin(piece)
	text, n := v.text, 0 // n of which are written
	for at := 0; ; {
		run := copyTo(text[n:], piece[at:], '\\')
		at, n = at+run, n+run
		if at == len(piece) {
			break
		}
		slashes, before := 1, how.before
		if at > 0 {
			before = 0
		}
		if before == 0 && at+1 < len(piece) && s.useless[piece[at+1]] { // most of them
			text[n], text[n+1] = filler, filler
			at, n = at+2, n+2
			continue
		}
		if before > 0 || at+1 < len(piece) && piece[at+1] == '\\' {
			deep = true
			if how.nested {
				slashes = leading(piece[at:])
			}
		}
		if e := unescape(piece[at:], slashes); e.open && !how.final && before+slashes <= maxSlashes {
			v.open = at
			break
		} else if e.length == 0 || how.nested && before+slashes > maxSlashes {
			n += copy(text[n:], piece[at:at+slashes])
			at += slashes
		} else {
			torn = torn || e.length > slashes+1 && partOfEscape(e.char)
			if how.torn || e.char != '\\' || !s.fill {
				n += v.undo(s, n, e, at)
			} else {
				n += v.fill(n, e.length)
			}
			at += e.length
		}
	}
	v.text = text[:n]
	return deep, torn
}

// partOfEscape reports whether a character may be part of \uXXXX.
func partOfEscape(char rune) bool {
	return char == '\\' || char == 'u' || char < utf8.RuneSelf && digit[char] != noDigit
}

// undo writes at n what an escape stands for that is at a place in the piece, and returns how many bytes that are.
func (v *view) undo(s *scanner, n int, e escape, at int) int {
	if s.fill && !s.wants(e.char) {
		return v.fill(n, e.length)
	}
	size := 1
	if v.text[n] = byte(e.char); e.char >= utf8.RuneSelf {
		size = utf8.EncodeRune(v.text[n:], e.char)
	}
	v.mark(n, n+size, at, at+e.length)
	return size
}

// fill writes at n that nothing wanted stands there.
func (v *view) fill(n, length int) int {
	for i := range length {
		v.text[n+i] = filler
	}
	return length
}

// leading returns how many backslashes there are at the beginning.
func leading(b []byte) (slashes int) {
	for slashes < len(b) && b[slashes] == '\\' {
		slashes++
	}
	return slashes
}

// escape is one that was read.
type escape struct {
	char   rune // what it stands for
	length int  // 0: it is none, or not whole
	open   bool // it is not whole yet, or there may be more of it
}

// unescape reads the escape at the beginning of b, behind so many backslashes.
func unescape(b []byte, slashes int) escape {
	if len(b) == slashes {
		return escape{open: true}
	}
	if c := short[b[slashes]]; c != 0 {
		return escape{char: rune(c), length: slashes + 1}
	}
	if b[slashes] != 'u' {
		return escape{}
	}
	unit, open := hex4(b[slashes+1:])
	if unit < 0 {
		return escape{open: open}
	}
	e := escape{char: unit, length: slashes + 5}
	if !utf16.IsSurrogate(unit) {
		return e
	}
	rest := b[e.length:]
	for i := range slashes + 1 {
		switch {
		case i == len(rest):
			e.open = true
			return e
		case i < slashes && rest[i] != '\\', i == slashes && rest[i] != 'u':
			return e
		}
	}
	second, open := hex4(rest[slashes+1:])
	if e.open = open; open {
		return e
	}
	if pair := utf16.DecodeRune(unit, second); pair != utf8.RuneError {
		return escape{char: pair, length: e.length + slashes + 5}
	}
	return e
}

// hex4 reads four hexadecimal digits; -1 if they are none, or not all there yet.
func hex4(b []byte) (unit rune, open bool) {
	if len(b) >= 4 {
		unit = rune(digit[b[0]])<<12 | rune(digit[b[1]])<<8 | rune(digit[b[2]])<<4 | rune(digit[b[3]])
		if digit[b[0]]|digit[b[1]]|digit[b[2]]|digit[b[3]] < noDigit {
			return unit, false
		}
		return -1, false
	}
	for _, c := range b {
		if digit[c] == noDigit {
			return -1, false
		}
	}
	return -1, true
}

// noDigit is no value of a digit, and more than any two are together, be it the first or the second of them.
const noDigit = 0x100

// digit is what hexadecimal digits stand for.
var digit = digits()

func digits() (values [256]uint16) {
	for c := range values {
		values[c] = noDigit
	}
	for i := range uint16(10) {
		values['0'+i] = i
	}
	for i := range uint16(6) {
		values['a'+i], values['A'+i] = 10+i, 10+i
	}
	return values
}

package scrub

import (
	"bytes"
	"sort"
	"unicode/utf16"
	"unicode/utf8"
)

// view is a piece of a stream as a reader that undoes one kind of escape sees it.
type view struct {
	text    []byte
	escapes []escape
	open    int // where an escape begins that is not whole yet; the piece's length if there is none
}

// escape is one that was undone.
type escape struct {
	at, to   int // in the text
	from, by int // in the piece: where it begins, and where it has ended
}

func (v *view) reset() { v.text, v.escapes = v.text[:0], v.escapes[:0] }

// undo adds what the escape from here to there stands for.
func (v *view) undo(r rune, from, by int) {
	at := len(v.text)
	v.text = utf8.AppendRune(v.text, r)
	v.escapes = append(v.escapes, escape{at, len(v.text), from, by})
}

// before returns the last escape that begins at or before a place in the text, or nil.
func (v *view) before(at int) *escape {
	i := sort.Search(len(v.escapes), func(i int) bool { return v.escapes[i].at > at })
	if i == 0 {
		return nil
	}
	return &v.escapes[i-1]
}

// place returns where in the piece the byte of the text begins, and where it has ended.
func (v *view) place(at int) (from, by int) {
	e := v.before(at)
	switch {
	case e == nil:
		return at, at + 1
	case at < e.to:
		return e.from, e.by
	}
	return e.by + at - e.to, e.by + at - e.to + 1
}

// whole moves a place in the piece to the beginning of the escape that it is inside of, if it is.
func (v *view) whole(at int) int {
	i := sort.Search(len(v.escapes), func(i int) bool { return v.escapes[i].by > at })
	if i < len(v.escapes) && v.escapes[i].from < at {
		return v.escapes[i].from
	}
	return at
}

// maxSlashes is how many backslashes before an escape are taken together: four levels of JSON in JSON strings.
const maxSlashes = 15

// json undoes the escapes of JSON strings (RFC 8259, section 7). Nested reads what stands in JSON that stands in JSON
// strings: all backslashes before an escape belong to it. deep reports whether the two readings differ.
func (v *view) json(piece []byte, nested, final bool) (deep bool) {
	v.reset()
	v.open = len(piece)
	for at := 0; at < len(piece); {
		run := bytes.IndexByte(piece[at:], '\\')
		if run < 0 {
			v.text = append(v.text, piece[at:]...)
			return deep
		}
		v.text = append(v.text, piece[at:at+run]...)
		at += run
		slashes := 1
		for at+slashes < len(piece) && piece[at+slashes] == '\\' {
			slashes++
		}
		deep = deep || slashes > 1
		if !nested {
			slashes = 1
		}
		decoded, length, state := unescape(piece[at:], slashes)
		switch {
		case state == escapeOpen && !final && slashes <= maxSlashes:
			v.open = at
			return deep
		case state == escapeWhole && slashes <= maxSlashes:
			v.undo(decoded, at, at+length)
			at += length
		default:
			v.text = append(v.text, piece[at:at+slashes]...)
			at += slashes
		}
	}
	return deep
}

type escapeState int

const (
	escapeNone escapeState = iota
	escapeWhole
	escapeOpen // it is not whole yet
)

// unescape reads the escape at the beginning of b, behind so many backslashes.
func unescape(b []byte, slashes int) (decoded rune, length int, state escapeState) {
	if len(b) == slashes {
		return 0, 0, escapeOpen
	}
	switch b[slashes] {
	case '"':
		return '"', slashes + 1, escapeWhole
	case '/':
		return '/', slashes + 1, escapeWhole
	case 'b':
		return '\b', slashes + 1, escapeWhole
	case 'f':
		return '\f', slashes + 1, escapeWhole
	case 'n':
		return '\n', slashes + 1, escapeWhole
	case 'r':
		return '\r', slashes + 1, escapeWhole
	case 't':
		return '\t', slashes + 1, escapeWhole
	case '\\': // not in a nested reading, which has taken all of them
		return '\\', slashes + 1, escapeWhole
	case 'u':
		return unescapeUnicode(b, slashes)
	}
	return 0, 0, escapeNone
}

// unescapeUnicode reads \uXXXX, or two of them that are one character.
func unescapeUnicode(b []byte, slashes int) (decoded rune, length int, state escapeState) {
	unit, state := hex4(b[slashes+1:])
	if state != escapeWhole {
		return 0, 0, state
	}
	length = slashes + 5
	if !utf16.IsSurrogate(unit) {
		return unit, length, escapeWhole
	}
	rest := b[length:]
	for i := range slashes + 1 {
		switch {
		case i == len(rest):
			return 0, 0, escapeOpen
		case i < slashes && rest[i] != '\\', i == slashes && rest[i] != 'u':
			return unit, length, escapeWhole
		}
	}
	second, state := hex4(rest[slashes+1:])
	if state == escapeOpen {
		return 0, 0, escapeOpen
	}
	if pair := utf16.DecodeRune(unit, second); state == escapeWhole && pair != utf8.RuneError {
		return pair, length + slashes + 5, escapeWhole
	}
	return unit, length, escapeWhole
}

func hex4(b []byte) (unit rune, state escapeState) {
	for i := range 4 {
		if i == len(b) {
			return 0, escapeOpen
		}
		digit, ok := hexDigit(b[i])
		if !ok {
			return 0, escapeNone
		}
		unit = unit<<4 | rune(digit)
	}
	return unit, escapeWhole
}

func hexDigit(c byte) (digit byte, ok bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// percent undoes percent-encoding (RFC 3986, section 2.1).
func (v *view) percent(piece []byte, final bool) {
	v.reset()
	v.open = len(piece)
	for at := 0; at < len(piece); {
		run := bytes.IndexByte(piece[at:], '%')
		if run < 0 {
			v.text = append(v.text, piece[at:]...)
			return
		}
		v.text = append(v.text, piece[at:at+run]...)
		at += run
		digits := piece[at+1 : min(at+3, len(piece))]
		value, whole := byte(0), true
		for _, c := range digits {
			digit, ok := hexDigit(c)
			value, whole = value<<4|digit, whole && ok
		}
		switch {
		case !whole:
			v.text = append(v.text, '%')
			at++
		case len(digits) == 2:
			v.escapes = append(v.escapes, escape{len(v.text), len(v.text) + 1, at, at + 3})
			v.text = append(v.text, value)
			at += 3
		case final:
			v.text = append(v.text, '%')
			at++
		default:
			v.open = at
			return
		}
	}
}

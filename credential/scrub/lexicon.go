package scrub

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
)

// lexicon finds which of its texts stands at a place. That takes about as long as comparing one text, however many there
// are and however much of their beginnings they share, as tokens of one issuer do.
type lexicon struct {
	texts  [][]byte // in order, none twice
	within []int    // for each, which is the longest other one that it begins with; -1 if there is none
	fold   bool     // letters A to F are looked for as a to f
}

func newLexicon(texts [][]byte, fold bool) lexicon {
	slices.SortFunc(texts, bytes.Compare)
	texts = slices.CompactFunc(texts, bytes.Equal)
	l := lexicon{texts: texts, within: make([]int, len(texts)), fold: fold}
	for i, text := range texts {
		shorter := i - 1
		for shorter >= 0 && !bytes.HasPrefix(text, texts[shorter]) {
			shorter = l.within[shorter]
		}
		l.within[i] = shorter
	}
	return l
}

// match returns the length of the longest text that b begins with; 0 if there is none.
func (l *lexicon) match(b []byte) int {
	i, shared, _ := l.search(b)
	for ; i >= 0; i = l.within[i] {
		if len(l.texts[i]) <= shared {
			return len(l.texts[i])
		}
	}
	return 0
}

// begins reports whether a text goes on behind b, and begins with it.
func (l *lexicon) begins(b []byte) bool {
	_, _, next := l.search(b)
	return next == len(b)
}

// search returns the last text that is not behind b in order, -1 if there is none, how many bytes it shares with b, and how
// many the text behind it does. All texts in between two share what those do, so that none of that is compared again.
func (l *lexicon) search(b []byte) (last, shared, next int) {
	last, end := -1, len(l.texts)
	for end-last > 1 {
		middle := int(uint(last+end) / 2)
		text := l.texts[middle]
		n := l.common(b, text, min(shared, next))
		switch {
		case n < len(text) && (n == len(b) || text[n] > l.lower(b[n])):
			end, next = middle, n
		default:
			last, shared = middle, n
		}
	}
	return last, shared, next
}

// common returns how many bytes at the beginning are the same, known of which are known to be.
func (l *lexicon) common(b, text []byte, known int) int {
	n, most := known, min(len(b), len(text))
	if l.fold {
		for n < most && lower(b[n]) == text[n] {
			n++
		}
		return n
	}
	for ; n+8 <= most; n += 8 {
		if other := binary.LittleEndian.Uint64(b[n:]) ^ binary.LittleEndian.Uint64(text[n:]); other != 0 {
			return n + bits.TrailingZeros64(other)/8
		}
	}
	for n < most && b[n] == text[n] {
		n++
	}
	return n
}

func (l *lexicon) lower(c byte) byte {
	if l.fold {
		return lower(c)
	}
	return c
}

// lower maps the letters of hexadecimal digits.
func lower(c byte) byte {
	if 'A' <= c && c <= 'F' {
		return c + 'a' - 'A'
	}
	return c
}

// upper is the other way.
func upper(c byte) byte {
	if 'a' <= c && c <= 'f' {
		return c - 'a' + 'A'
	}
	return c
}

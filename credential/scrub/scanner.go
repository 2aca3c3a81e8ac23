package scrub

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

const (
	block   = 4   // how many bytes are looked at together
	maxSkip = 200 // how far the scanner goes on at most; it must fit into a byte
)

// scanner finds patterns by the last block that may still be in the beginning of one (Wu and Manber, 1994): where it is in
// none, as almost everywhere, it goes on by nearly the length of the shortest pattern.
type scanner struct {
	exact, folded lexicon
	echoes        []*echo
	wanted        [256]bool // by byte: a pattern holds it, in either case
	beyond        bool      // a pattern holds one that is not ASCII
	special       bool      // a pattern holds what the short escapes of JSON stand for, other than a slash
	slash         bool      // or a backslash
	fill          bool      // escapes that stand for what is not wanted may be filled over
	useless       [256]bool // by byte behind a backslash: that is one of them
	least         int       // bytes at the beginning of a pattern that are looked at: no more than the shortest has
	most          int       // bytes of the longest pattern
	hashBits      uint
	skip          []uint8   // by hash of a block: how far to go on
	starts        []uint64  // a bit by hash of a block: some pattern begins with it
	first         [256]bool // by byte: some pattern begins with it
}

func newScanner(patterns []pattern) *scanner {
	s := &scanner{least: maxSkip}
	var exact, folded [][]byte
	for _, p := range patterns {
		text := []byte(p.text)
		switch e := newEcho(text, p.fold); {
		case e != nil:
			s.echoes = append(s.echoes, e)
		case p.fold:
			folded = append(folded, text)
		default:
			exact = append(exact, text)
		}
		s.want(text, p.fold)
		s.least, s.most = min(s.least, len(text)), max(s.most, len(text))
		s.slash = s.slash || bytes.IndexByte(text, '\\') >= 0
		s.special = s.special || bytes.ContainsAny(text, "\"\\\b\f\n\r\t")
	}
	// A backslash that stands for itself may be part of another escape, so that all of them matter then.
	s.fill = !s.slash && !s.wanted[filler]
	for c := range s.useless {
		s.useless[c] = s.fill && short[c] != 0 && c != '\\' && !s.wants(rune(short[c]))
	}
	s.exact, s.folded = newLexicon(exact, false), newLexicon(folded, true)
	// A block of other bytes has a place of its own in seven cases of eight, or more.
	s.hashBits = uint(min(max(bits.Len(uint(len(patterns)*s.least*8)), 12), 20))
	s.skip, s.starts = make([]uint8, 1<<s.hashBits), make([]uint64, 1<<s.hashBits/64)
	for i := range s.skip {
		s.skip[i] = uint8(s.least - block + 1)
	}
	for _, p := range patterns {
		s.add([]byte(p.text), p.fold)
	}
	return s
}

// want notes the bytes of a pattern.
func (s *scanner) want(text []byte, fold bool) {
	for _, c := range text {
		s.wanted[c] = true
		s.beyond = s.beyond || c >= utf8.RuneSelf
		if fold {
			s.wanted[upper(c)] = true
		}
	}
}

// wants reports whether a pattern holds a character, or another escape may: percent escapes digits and %, those of JSON a
// backslash and u.
func (s *scanner) wants(char rune) bool {
	if char >= utf8.RuneSelf {
		return s.beyond
	}
	return s.wanted[char] || char == '%' || partOfEscape(char)
}

// add notes the beginning of a pattern.
func (s *scanner) add(text []byte, fold bool) {
	s.first[text[0]] = true
	if fold {
		s.first[upper(text[0])] = true
	}
	start := s.hash(text)
	s.starts[start/64] |= 1 << (start % 64)
	for end := block; end <= s.least; end++ {
		h := s.hash(text[end-block:])
		s.skip[h] = min(s.skip[h], uint8(s.least-end))
	}
}

// hash maps the block at the beginning of b, in either case.
func (s *scanner) hash(b []byte) uint32 {
	const odd = 0x9e3779b1 // 2^32 over the golden ratio
	return (binary.LittleEndian.Uint32(b) | 0x20202020) * odd >> (32 - s.hashBits)
}

// may reports whether a pattern may begin with the block at the beginning of b.
func (s *scanner) may(b []byte) bool {
	h := s.hash(b)
	return s.starts[h/64]>>(h%64)&1 != 0
}

// scan adds the places of all occurrences in b to spans, in order; where several begin together, that of the longest.
func (s *scanner) scan(b []byte, spans []span) []span {
	const odd = 0x9e3779b1
	skip, shift, memory := s.skip, 32-s.hashBits, s.memory()
	for i := s.least - block; i <= len(b)-block; {
		n := int(skip[(binary.LittleEndian.Uint32(b[i:])|0x20202020)*odd>>(shift&31)])
		i += n
		if n > 0 {
			continue
		}
		from := i + block - s.least
		if s.may(b[from:]) {
			length := max(s.exact.match(b[from:]), s.folded.match(b[from:]))
			for k, e := range s.echoes {
				if n := e.shared(b, from, &memory[k]); n == len(e.text) {
					length = max(length, n)
				}
			}
			if length > 0 {
				spans = append(spans, span{from, from + length})
			}
		}
		i++
	}
	return spans
}

// tail returns where the longest end of b begins that may be the beginning of an occurrence; len(b) if there is none.
func (s *scanner) tail(b []byte) int {
	memory := s.memory()
	from := max(0, len(b)-s.most+1)
	for ; from <= len(b)-block; from++ {
		if s.may(b[from:]) && s.begins(b, from, memory) {
			return from
		}
	}
	for ; from < len(b); from++ {
		if s.first[b[from]] && s.begins(b, from, memory) {
			return from
		}
	}
	return len(b)
}

// begins reports whether what is behind there may be the beginning of an occurrence.
func (s *scanner) begins(b []byte, from int, memory []compared) bool {
	for k, e := range s.echoes {
		if n := e.shared(b, from, &memory[k]); n == len(b)-from && n < len(e.text) {
			return true
		}
	}
	return s.exact.begins(b[from:]) || s.folded.begins(b[from:])
}

// memory returns what the echoes need while one text is looked through from its beginning to its end.
func (s *scanner) memory() []compared {
	if len(s.echoes) == 0 {
		return nil
	}
	return make([]compared, len(s.echoes))
}

// wantsJSON reports whether the escapes of JSON in a piece may stand for what is looked for.
func (s *scanner) wantsJSON(piece []byte) bool {
	at := bytes.IndexByte(piece, '\\')
	if at < 0 {
		return false
	}
	if s.special || s.wanted['/'] && bytes.Contains(piece[at:], []byte(`\/`)) {
		return true
	}
	for {
		if at+1 >= len(piece) || piece[at] != '\\' || piece[at+1] != 'u' {
			next := bytes.Index(piece[at:], []byte(`\u`))
			if next < 0 {
				return false
			}
			at += next
		}
		at += 2
		if unit, _ := hex4(piece[at:]); unit >= 0 {
			if s.wants(unit) {
				return true
			}
			at += 4
		}
	}
}

// wantsPercent reports whether the percent escapes in a piece may stand for what is looked for.
func (s *scanner) wantsPercent(piece []byte) bool {
	for at := 0; ; at++ {
		next := bytes.IndexByte(piece[at:], '%')
		if next < 0 || at+next+2 >= len(piece) {
			return false
		}
		at += next
		if value := digit[piece[at+1]]<<4 | digit[piece[at+2]]; value < noDigit && s.wanted[value] {
			return true
		}
	}
}

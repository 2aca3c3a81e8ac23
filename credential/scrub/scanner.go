package scrub

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// block is how many bytes are looked at together.
const block = 4

// scanner finds patterns by the last block that may still be the beginning of one (Wu and Manber, 1994): where it is none,
// as almost everywhere, it goes on nine bytes later.
type scanner struct {
	patterns []pattern
	special  bool // one of them holds what the short escapes of JSON stand for, other than a slash
	least    int  // bytes of the shortest
	most     int  // and of the longest
	hashBits uint
	skip     []uint8          // by hash of a block: how far to go on
	ending   map[uint32][]int // by hash: patterns whose first `least` bytes end with such a block
	first    [256][]int       // by first byte, in either case: patterns
}

func newScanner(patterns []pattern) *scanner {
	s := &scanner{patterns: patterns, ending: make(map[uint32][]int)}
	for i, p := range patterns {
		if s.least == 0 || len(p.text) < s.least {
			s.least = len(p.text)
		}
		s.most = max(s.most, len(p.text))
		s.special = s.special || strings.ContainsAny(p.text, "\"\\\b\f\n\r\t")
		c := p.text[0]
		s.first[c] = append(s.first[c], i)
		if p.fold && 'a' <= c && c <= 'f' {
			upper := c - 'a' + 'A'
			s.first[upper] = append(s.first[upper], i)
		}
	}
	far := min(s.least, 200) - block + 1
	s.least = far + block - 1
	s.hashBits = uint(min(max(bits.Len(uint(len(patterns)*s.least*16)), 12), 20))
	s.skip = make([]uint8, 1<<s.hashBits)
	for i := range s.skip {
		s.skip[i] = uint8(far)
	}
	for i, p := range patterns {
		for end := block; end <= s.least; end++ {
			h := s.hash([]byte(p.text[end-block : end]))
			s.skip[h] = min(s.skip[h], uint8(s.least-end))
			if end == s.least {
				s.ending[h] = append(s.ending[h], i)
			}
		}
	}
	return s
}

// hash maps the block at the beginning of b, in either case.
func (s *scanner) hash(b []byte) uint32 {
	const odd = 0x9e3779b1 // 2^32 over the golden ratio
	return (binary.LittleEndian.Uint32(b) | 0x20202020) * odd >> (32 - s.hashBits)
}

// scan calls found with the place of each occurrence in b.
func (s *scanner) scan(b []byte, found func(from, to int)) {
	skip := s.skip
	for i := s.least - block; i+block <= len(b); {
		h := s.hash(b[i:])
		if n := int(skip[h]); n > 0 {
			i += n
			continue
		}
		from := i + block - s.least
		for _, k := range s.ending[h] {
			if p := &s.patterns[k]; p.at(b[from:]) {
				found(from, from+len(p.text))
			}
		}
		i++
	}
}

// tail returns where the longest end of b begins that may be the beginning of an occurrence; len(b) if there is none.
func (s *scanner) tail(b []byte) int {
	for from := max(0, len(b)-s.most+1); from < len(b); from++ {
		for _, k := range s.first[b[from]] {
			if p := &s.patterns[k]; len(p.text) > len(b)-from && p.begins(b[from:]) {
				return from
			}
		}
	}
	return len(b)
}

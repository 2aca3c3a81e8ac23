package scrub

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sort"
)

// view is a piece of a stream as a reader that undoes one kind of escape sees it, or one after the other.
type view struct {
	text  []byte
	marks []mark
	spare []mark // memory for marks
	open  int    // where in the piece an escape begins that is not whole yet; the piece's length if there is none
}

// mark is an escape that was undone. Nothing is looked through at once that has 2 GiB.
type mark struct {
	at, to   int32 // in the text
	from, by int32 // in the piece: where it begins, and where it has ended
}

// begin makes room for a view of a piece. No escape is shorter than what it stands for, so that as much is enough.
func (v *view) begin(piece []byte) {
	if cap(v.text) < len(piece) {
		v.text = make([]byte, len(piece)+len(piece)/8)
	}
	v.text, v.marks, v.open = v.text[:len(piece)], v.marks[:0], len(piece)
}

// copyTo copies what stands before the next c, and returns how much that is. There must be as much room as there are bytes.
func copyTo(to, from []byte, c byte) (n int) {
	const (
		low  = 0x0101010101010101
		high = 0x8080808080808080
		near = 64 // bytes within which another escape is expected: beyond, calls are worth it
	)
	for wanted := low * uint64(c); n+8 <= len(from) && n < near; n += 8 {
		word := binary.LittleEndian.Uint64(from[n:])
		binary.LittleEndian.PutUint64(to[n:], word)
		word ^= wanted // c is a zero now, the lowest of which this finds
		if found := (word - low) &^ word & high; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	rest := bytes.IndexByte(from[n:], c)
	if rest < 0 {
		rest = len(from) - n
	}
	return n + copy(to[n:], from[n:n+rest])
}

// mark notes an escape.
func (v *view) mark(at, to, from, by int) {
	v.marks = append(v.marks, mark{int32(at), int32(to), int32(from), int32(by)})
}

// place returns where in the piece the byte of the text begins, and where it has ended.
func (v *view) place(at int) (from, by int) {
	i := sort.Search(len(v.marks), func(i int) bool { return int(v.marks[i].at) > at })
	if i == 0 {
		return at, at + 1
	}
	m := &v.marks[i-1]
	if at < int(m.to) {
		return int(m.from), int(m.by)
	}
	at += int(m.by - m.to)
	return at, at + 1
}

// places moves spans of the text to where they are in the piece.
func (v *view) places(spans []span) {
	for i, s := range spans {
		spans[i].from, _ = v.place(s.from)
		_, spans[i].to = v.place(s.to - 1)
	}
}

// whole moves a place in the piece to the beginning of the escape that it is inside of, if it is.
func (v *view) whole(at int) int {
	i := sort.Search(len(v.marks), func(i int) bool { return int(v.marks[i].by) > at })
	if i < len(v.marks) && int(v.marks[i].from) < at {
		return int(v.marks[i].from)
	}
	return at
}

// over makes a view of the text of another one of a view of the piece.
func (v *view) over(base *view) {
	own, inner, moved := v.marks, base.marks, int32(0)
	v.marks = v.spare[:0]
	inherit := func(until int32) { // the other one's escapes before there
		for len(inner) > 0 && inner[0].at < until {
			m := inner[0]
			m.at, m.to = m.at+moved, m.to+moved
			v.marks, inner = append(v.marks, m), inner[1:]
		}
	}
	for _, m := range own {
		inherit(m.from)
		for len(inner) > 0 && inner[0].at < m.by {
			inner = inner[1:]
		}
		moved = m.to - m.by
		from, _ := base.place(int(m.from))
		_, by := base.place(int(m.by) - 1)
		v.mark(int(m.at), int(m.to), from, by)
	}
	inherit(int32(v.open))
	v.spare = own
	if v.open == len(base.text) {
		v.open = base.open
		return
	}
	v.open, _ = base.place(v.open)
}

// percent undoes percent-encoding (RFC 3986, section 2.1).
func (v *view) percent(piece []byte, final bool) {
	v.begin(piece)
	text, n := v.text, 0 // n of which are written
	for at := 0; ; {
		run := copyTo(text[n:], piece[at:], '%')
		at, n = at+run, n+run
		if at == len(piece) {
			break
		}
		if at+2 < len(piece) {
			if value := digit[piece[at+1]]<<4 | digit[piece[at+2]]; value < noDigit {
				text[n] = byte(value)
				v.mark(n, n+1, at, at+3)
				at, n = at+3, n+1
				continue
			}
		} else if !final && (at+1 == len(piece) || digit[piece[at+1]] < noDigit) {
			v.open = at
			break
		}
		text[n] = '%'
		at, n = at+1, n+1
	}
	v.text = text[:n]
}

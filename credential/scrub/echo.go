package scrub

// manyEchoes is how many bytes of a text's beginning must come again, overlapping it, for it to be looked for with a memory.
const manyEchoes = 512

// echo is a pattern that begins by repeating itself for long, so that in a stream of the same kind, places at which much of
// it stands are close together. What was compared at one of them is not compared again at the next, as in the Z algorithm
// (Gusfield, 1997), so that the time is still in proportion to the stream.
type echo struct {
	text []byte
	fold bool
	own  []int // for each place of the text, how many bytes from there are as at its beginning
}

// newEcho returns nil if the text does not repeat itself.
func newEcho(text []byte, fold bool) *echo {
	if len(text) < 2*manyEchoes {
		return nil
	}
	own, far, from, echoes := make([]int, len(text)), 0, 0, false
	for i := 1; i < len(text); i++ {
		n := 0
		if i < far {
			n = min(own[i-from], far-i)
		}
		for i+n < len(text) && text[n] == text[i+n] {
			n++
		}
		if own[i] = n; i+n > far {
			from, far = i, i+n
		}
		echoes = echoes || n >= manyEchoes && n >= i
	}
	if !echoes {
		return nil
	}
	return &echo{text: text, fold: fold, own: own}
}

// compared is where an echo was compared, and how many bytes of it stood there.
type compared struct{ at, bytes int }

// shared returns how many bytes of the text stand at a place in b, which is behind the last one.
func (e *echo) shared(b []byte, at int, last *compared) int {
	n, gone := 0, at-last.at
	if gone < last.bytes {
		if n = last.bytes - gone; e.own[gone] < n {
			return e.own[gone]
		}
	}
	l := lexicon{fold: e.fold}
	n = l.common(b[at:], e.text, n)
	*last = compared{at, n}
	return n
}

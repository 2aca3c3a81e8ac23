package scrub

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

// Scrubber masks the secrets that were active when it was made. It does not change, and is safe for concurrent use. A nil
// Scrubber masks nothing.
type Scrubber struct {
	scanner *scanner // nil if there is nothing to look for in bodies
	texts   []string // all secrets
	weak    []string // those that are looked for in headers and whole texts alone
	names   []string // what no field's name may hold, in lower case
	most    int      // bytes of what may be held back
	scratch sync.Pool

	rest *Scrubber // of other secrets, which are masked as well; it has no rest; nil if there are none
}

// heldPerByte is how many bytes may be held back for each of the longest secret: a backslash four levels deep and what
// follows it have as many.
const heldPerByte = 20

func newScrubber(texts []string) *Scrubber {
	s := &Scrubber{texts: texts}
	s.scratch.New = func() any { return new(scratch) }
	var patterns []pattern
	for _, text := range texts {
		if len(text) >= minInHead {
			s.names = append(s.names, strings.ToLower(text))
		}
		switch {
		case weak(text) == "":
			patterns = append(patterns, patternsOf(text)...)
			s.most = max(s.most, heldPerByte*len(text))
		case len(text) >= minInHead:
			s.weak = append(s.weak, text)
		}
	}
	if len(patterns) > 0 {
		s.scanner = newScanner(patterns)
	}
	return s
}

// scratch is what looking through a piece needs.
type scratch struct {
	views [maxViews]view
	order [2 * maxViews]*view // those of the rest too
	spans []span
	piece []byte // a copy of a whole text
}

const (
	maxLevels = 4               // of JSON in JSON strings
	maxViews  = 2*maxLevels + 3 // those, all of them at once, percent escapes in each, and percent escapes alone
	maxKept   = 1 << 20         // bytes of a view that is kept for later
	maxText   = 1 << 30         // bytes of a text that is looked through at once
)

type span struct{ from, to int }

// carry is what the pieces of one stream before have to do with the next one.
type carry struct {
	slashes int // backslashes right before it, that are done; many count as a few more than are looked at
	masked  int // bytes at its beginning that belong to an occurrence that is done but for them
}

// get returns memory for looking through a piece; give it back with put.
func (s *Scrubber) get() *scratch {
	work, _ := s.scratch.Get().(*scratch)
	return work
}

func (s *Scrubber) put(work *scratch) {
	for i := range work.views {
		if cap(work.views[i].text) > maxKept {
			work.views[i] = view{}
		}
	}
	clear(work.order[:])
	if cap(work.piece) > maxKept {
		work.piece = nil
	}
	s.scratch.Put(work)
}

// mask masks all occurrences in a piece of a stream, those of the rest too, each byte by a star, and returns how many there
// were and how much of the piece is done: what is behind may be the beginning of an occurrence, and is to be given again with
// what comes next, be it to another scrubber. At the stream's end, final, all is done.
func (s *Scrubber) mask(piece []byte, c *carry, final bool) (hits, done int) {
	work := s.get()
	defer s.put(work)
	views, done := s.find(work, piece, final, c.slashes)
	if s.rest != nil {
		other := s.rest.get()
		defer s.rest.put(other)
		more, most := s.rest.find(other, piece, final, c.slashes)
		views, done = append(views, more...), min(done, most)
		work.spans = append(work.spans, other.spans...)
	}
	if !final {
		done = settle(views, piece, done)
	}
	if n := trailing(piece[:done]); n < done {
		c.slashes = n
	} else {
		c.slashes = min(c.slashes+n, 4*maxSlashes)
	}
	return work.apply(piece, done, c), done
}

// find notes the occurrences in a piece, and returns the views of it and how much of it may be done.
func (s *Scrubber) find(work *scratch, piece []byte, final bool, before int) (views []*view, done int) {
	work.spans = work.spans[:0]
	if s.scanner == nil {
		return work.order[:0], len(piece)
	}
	work.spans = s.scanner.scan(piece, work.spans)
	views = work.look(s.scanner, piece, final, before)
	for _, v := range views {
		known := len(work.spans)
		work.spans = s.scanner.scan(v.text, work.spans)
		v.places(work.spans[known:])
	}
	if final {
		return views, len(piece)
	}
	return views, max(s.tail(views, piece, before), len(piece)-s.most)
}

// tail returns where the longest end of the piece begins that may be the beginning of an occurrence, in any view.
func (s *Scrubber) tail(views []*view, piece []byte, before int) int {
	done := s.open(piece, before)
	for _, v := range views {
		done = min(done, v.open)
		if from := s.open(v.text, 0); from < len(v.text) {
			begin, _ := v.place(from)
			done = min(done, begin)
		}
	}
	return done
}

// open returns where the longest end of a text begins that may be the beginning of an occurrence, or, since no view may have
// been worth being made, of one behind which an escape begins.
func (s *Scrubber) open(text []byte, before int) int {
	done := s.scanner.tail(text)
	for end := loose(text, before); end < len(text); end = loose(text, before) {
		text = text[:end]
		done = min(done, end, s.scanner.tail(text))
	}
	return done
}

// loose returns where an escape begins that is not whole at the end of b, behind so many backslashes; len(b) if there is none.
func loose(b []byte, before int) int {
	const most = len(`\u123`)
	from := max(0, len(b)-most)
	i := from + bytes.LastIndexAny(b[from:], `\%`)
	if i < from {
		return len(b)
	}
	rest := b[i+1:]
	if b[i] == '\\' {
		if len(rest) > 0 && rest[0] != 'u' {
			return len(b)
		}
		rest = rest[min(1, len(rest)):]
	} else if len(rest) > 1 {
		return len(b)
	}
	for _, c := range rest {
		if digit[c] == noDigit {
			return len(b)
		}
	}
	if b[i] == '%' {
		return i
	}
	run := trailing(b[:i+1])
	first := i + 1 - run
	if first == 0 {
		run += before
	}
	switch {
	case run <= maxSlashes:
		return first
	case run%2 == 1:
		return i
	}
	return len(b)
}

// trailing returns how many backslashes there are at the end.
func trailing(b []byte) (slashes int) {
	for slashes < len(b) && b[len(b)-1-slashes] == '\\' {
		slashes++
	}
	return slashes
}

// look makes the views of a piece in which something may be found that is not found in the piece.
func (w *scratch) look(s *scanner, piece []byte, final bool, before int) []*view {
	views := w.order[:0]
	if s.wantsJSON(piece) {
		views = w.lookJSON(views, s, piece, final, before)
	}
	levels := views
	if s.wantsPercent(piece) {
		percent := &w.views[maxViews-1]
		percent.percent(piece, final)
		views = append(views, percent)
	}
	for i, level := range levels {
		if len(level.marks) > 0 && s.wantsPercent(level.text) {
			nested := &w.views[maxLevels+1+i]
			nested.percent(level.text, final)
			nested.over(level)
			views = append(views, nested)
		}
	}
	return views
}

// lookJSON adds the views of JSON: one that undoes all levels at once, whatever they are, and, where it matters, one after
// the other, since backslashes that stand for themselves are lost in the former, as are escapes that are escaped in part.
func (w *scratch) lookJSON(views []*view, s *scanner, piece []byte, final bool, before int) []*view {
	level := &w.views[0]
	deep, torn := level.json(s, piece, reading{nested: true, torn: true, final: final, before: before})
	views = append(views, level)
	if deep {
		level = &w.views[1]
		level.json(s, piece, reading{torn: torn, final: final})
		views = append(views, level)
	}
	for n := 2; n <= maxLevels && (s.slash || torn) && bytes.IndexByte(level.text, '\\') >= 0; n++ {
		base := level
		level = &w.views[n]
		level.json(s, base.text, reading{torn: true, final: final})
		level.over(base)
		views = append(views, level)
	}
	return views
}

// settle moves the end of what is done before an escape that would be torn apart there, in any view or of those that none
// was worth being made for.
func settle(views []*view, piece []byte, done int) int {
	for again := true; again; {
		at := intact(piece, done)
		for _, v := range views {
			at = min(at, v.whole(at))
		}
		done, again = at, at < done
	}
	return done
}

// intact moves a place before the %XX or \uXXXX that it is inside of, if it is, and before as many backslashes as one reading
// takes together.
func intact(piece []byte, at int) int {
	if at == len(piece) {
		return at
	}
	from := max(0, at-5)
	i := bytes.LastIndexAny(piece[from:at], `\%`)
	switch i += from; {
	case i < from, piece[i] == '%' && at-i > 2, piece[i] == '\\' && at-i > 1 && piece[i+1] != 'u':
		return at
	case piece[i] == '%':
		return i
	}
	if slashes := trailing(piece[:i+1]); slashes <= maxSlashes {
		return i + 1 - slashes
	}
	return at
}

// apply masks what is done of the spans, and remembers the rest of one. What the views find of one occurrence, or of some
// that overlap, counts once.
func (w *scratch) apply(piece []byte, done int, c *carry) (hits int) {
	slices.SortFunc(w.spans, func(a, b span) int { return a.from - b.from })
	star(piece[:min(c.masked, done)])
	end := c.masked
	for _, s := range w.spans {
		if s.from >= done {
			break
		}
		if s.from >= end {
			hits++
		}
		if s.to > end {
			star(piece[min(max(s.from, end), done):min(s.to, done)])
			end = s.to
		}
	}
	c.masked = max(end-done, 0)
	return hits
}

func star(b []byte) {
	for i := range b {
		b[i] = '*'
	}
}

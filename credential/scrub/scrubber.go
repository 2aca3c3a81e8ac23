package scrub

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Scrubber masks the secrets that were active when it was made. It does not change, and is safe for concurrent use. A nil
// Scrubber masks nothing.
type Scrubber struct {
	scanners []*scanner // what is looked for in bodies; none if there is nothing
	special  bool       // one of the secrets holds what the short escapes of JSON stand for, other than a slash
	texts    []string   // all secrets
	weak     []string   // those that are looked for in headers alone
	scratch  sync.Pool
}

// scratch is what looking through a piece needs.
type scratch struct {
	views [3]view
	order [3]*view
	spans []span
}

type span struct{ from, to int }

// newScrubber makes a scrubber of texts, for those of which that are not weak there are scanners, some of which may be nil.
func newScrubber(texts []string, scanners ...*scanner) *Scrubber {
	s := &Scrubber{texts: texts}
	s.scratch.New = func() any { return new(scratch) }
	for _, text := range texts {
		if len(text) >= minInHead && weak(text) != "" {
			s.weak = append(s.weak, text)
		}
	}
	for _, one := range scanners {
		if one != nil {
			s.scanners, s.special = append(s.scanners, one), s.special || one.special
		}
	}
	return s
}

// scannerOf makes the scanner of those texts that are not weak; nil if there are none.
func scannerOf(texts []string) *scanner {
	var patterns []pattern
	for _, text := range texts {
		if weak(text) == "" {
			patterns = append(patterns, patternsOf(text)...)
		}
	}
	if len(patterns) == 0 {
		return nil
	}
	return newScanner(patterns)
}

// scan calls found with the place of each occurrence in b.
func (s *Scrubber) scan(b []byte, found func(from, to int)) {
	for _, one := range s.scanners {
		one.scan(b, found)
	}
}

// tail returns where the longest end of b begins that may be the beginning of an occurrence; len(b) if there is none.
func (s *Scrubber) tail(b []byte) int {
	from := len(b)
	for _, one := range s.scanners {
		from = min(from, one.tail(b))
	}
	return from
}

// mask masks all occurrences in a piece of a stream, each byte by a star, and returns how many there were and how much of
// the piece is done: what is behind may be the beginning of an occurrence. At the stream's end, final, all is done.
func (s *Scrubber) mask(piece []byte, final bool) (hits, done int) {
	work, _ := s.scratch.Get().(*scratch)
	defer s.scratch.Put(work)
	work.spans = work.spans[:0]
	done = len(piece)
	s.scan(piece, func(from, to int) { work.spans = append(work.spans, span{from, to}) })
	if !final {
		done = s.tail(piece)
	}
	views := work.look(s.special, piece, final)
	if !final {
		// Backslashes at the end may begin an escape, which then continues what stands before them.
		if before := bytes.TrimRight(piece, `\`); len(piece)-len(before) <= maxSlashes {
			done = min(done, s.tail(before))
		}
	}
	for _, v := range views {
		s.scan(v.text, func(from, to int) {
			begin, _ := v.place(from)
			_, end := v.place(to - 1)
			work.spans = append(work.spans, span{begin, end})
		})
		if !final {
			done = min(done, v.open)
			if from := s.tail(v.text); from < len(v.text) {
				begin, _ := v.place(from)
				done = min(done, begin)
			}
		}
	}
	done = work.settle(views, done)
	return work.apply(piece, done), done
}

// look makes the views of a piece in which something may be found that is not found in the piece.
func (w *scratch) look(special bool, piece []byte, final bool) []*view {
	views := w.order[:0]
	if bytes.IndexByte(piece, '\\') >= 0 && (special || bytes.Contains(piece, []byte(`\u`)) || bytes.Contains(piece, []byte(`\/`))) {
		nested, strict := &w.views[0], &w.views[1]
		views = append(views, nested)
		if nested.json(piece, true, final) {
			strict.json(piece, false, final)
			views = append(views, strict)
		}
	}
	if bytes.IndexByte(piece, '%') >= 0 {
		w.views[2].percent(piece, final)
		views = append(views, &w.views[2])
	}
	return views
}

// settle moves the end of what is done before whatever would be torn apart there: an escape, in any reading, and an
// occurrence, in which another may begin.
func (w *scratch) settle(views []*view, done int) int {
	for again := true; again; {
		again = false
		for _, v := range views {
			if at := v.whole(done); at < done {
				done, again = at, true
			}
		}
		for _, s := range w.spans {
			if s.from < done && done < s.to {
				done, again = s.from, true
			}
		}
	}
	return done
}

// apply masks the spans that are done. What the readings find of one occurrence counts once.
func (w *scratch) apply(piece []byte, done int) (hits int) {
	slices.SortFunc(w.spans, func(a, b span) int { return a.from - b.from })
	end := 0
	for _, s := range w.spans {
		if s.from >= done {
			break
		}
		if s.from >= end {
			hits++
		}
		for i := max(s.from, end); i < s.to; i++ {
			piece[i] = '*'
		}
		end = max(end, s.to)
	}
	return hits
}

// Text masks a whole text, such as an error's.
func (s *Scrubber) Text(text string) (masked string, hits int) {
	if s == nil {
		return text, 0
	}
	for _, secret := range s.weak {
		if n := strings.Count(text, secret); n > 0 {
			text, hits = strings.ReplaceAll(text, secret, strings.Repeat("*", len(secret))), hits+n
		}
	}
	if len(s.scanners) == 0 {
		return text, hits
	}
	piece := []byte(text)
	n, _ := s.mask(piece, true)
	if n == 0 {
		return text, hits
	}
	return string(piece), hits + n
}

// Header masks the values of a header or trailer, in lists of their own, and deletes fields whose name holds a secret, in
// any case. Weak secrets are looked for as they are, those of at least 4 bytes.
func (s *Scrubber) Header(h http.Header) (hits int) {
	if s == nil || len(s.texts) == 0 {
		return 0
	}
	for name, values := range h {
		if s.names(name) {
			delete(h, name)
			hits++
			continue
		}
		var own []string
		for i, value := range values {
			masked, n := s.Text(value)
			if n == 0 {
				continue
			}
			if own == nil {
				own = slices.Clone(values)
			}
			own[i] = masked
			hits += n
		}
		if own != nil {
			h[name] = own
		}
	}
	return hits
}

// names reports whether a field's name holds a secret.
func (s *Scrubber) names(name string) bool {
	for _, text := range s.texts {
		if len(text) >= minLength && len(name) >= len(text) && strings.Contains(strings.ToLower(name), strings.ToLower(text)) {
			return true
		}
	}
	return false
}

package scrub

import (
	"net/http"
	"slices"
	"strings"
)

// Text masks a whole text, such as an error's, and returns how many occurrences there were. Weak secrets of at least 4 bytes
// are masked too, as they are. Of a text of more than 1 GiB, nothing is left.
func (s *Scrubber) Text(text string) (masked string, hits int) {
	if s == nil {
		return text, 0
	}
	text, before := s.rest.Text(text)
	masked, hits = s.own(text)
	return masked, before + hits
}

// own is Text without the rest.
func (s *Scrubber) own(text string) (masked string, hits int) {
	if len(s.texts) == 0 {
		return text, 0
	}
	if len(text) > maxText {
		return "", 1
	}
	work := s.get()
	defer s.put(work)
	work.piece = append(work.piece[:0], text...)
	defer func() { clear(work.piece) }()
	if s.scanner != nil {
		s.find(work, work.piece, true, 0)
		hits = work.apply(work.piece, len(text), new(carry))
	}
	for _, secret := range s.weak { // in the text as it was: a strong one may hold a weak one
		for at := 0; ; at++ {
			next := strings.Index(text[at:], secret)
			if next < 0 {
				break
			}
			at += next
			star(work.piece[at : at+len(secret)])
			hits++
		}
	}
	if hits == 0 {
		return text, 0
	}
	return string(work.piece), hits
}

// Header masks the values of a header or trailer, in lists of its own, and returns how many occurrences of strong secrets
// there were. A field whose name holds a secret, in any case, or whose value holds a weak one, as it is, is deleted. Of weak
// secrets, those of at least 4 bytes are looked for: shorter ones would take everything away. They may stand anywhere by
// chance: they do not count, and fields that an answer cannot do without stay.
func (s *Scrubber) Header(h http.Header) (hits int) {
	if s == nil {
		return 0
	}
	hits = s.rest.Header(h)
	if len(s.texts) == 0 {
		return hits
	}
	for name, values := range h {
		strong, weak := s.named(name)
		if strong {
			delete(h, name)
			hits++
			continue
		}
		hits += s.values(h, name, values)
		if (weak || s.weaklyIn(values)) && !needed(name) {
			delete(h, name)
		}
	}
	return hits
}

// values masks strong secrets in the values of a field.
func (s *Scrubber) values(h http.Header, name string, values []string) (hits int) {
	own := values
	for i, value := range values {
		masked, n := s.strong(value)
		if n == 0 {
			continue
		}
		if hits += n; &own[0] == &values[0] {
			own = slices.Clone(values)
			h[name] = own
		}
		own[i] = masked
	}
	return hits
}

// strong is own without weak secrets.
func (s *Scrubber) strong(text string) (masked string, hits int) {
	if s.scanner == nil {
		return text, 0
	}
	if len(text) > maxText {
		return "", 1
	}
	work := s.get()
	defer s.put(work)
	work.piece = append(work.piece[:0], text...)
	defer func() { clear(work.piece) }()
	s.find(work, work.piece, true, 0)
	if hits = work.apply(work.piece, len(text), new(carry)); hits == 0 {
		return text, 0
	}
	return string(work.piece), hits
}

// named reports whether a field's name holds a strong secret, in any case or encoding that survives in a name, or a weak one.
func (s *Scrubber) named(name string) (strong, weak bool) {
	lower := strings.ToLower(name)
	for _, text := range s.names {
		if !strings.Contains(lower, text) {
			continue
		}
		if !slices.ContainsFunc(s.weak, func(w string) bool { return strings.ToLower(w) == text }) {
			return true, weak
		}
		weak = true
	}
	_, hits := s.strong(name)
	return hits > 0, weak
}

// needed reports whether an answer cannot do without a field.
func needed(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Date", "Content-Type", "Content-Length", "Mcp-Session-Id":
		return true
	}
	return false
}

// weaklyIn reports whether one of the values holds a weak secret.
func (s *Scrubber) weaklyIn(values []string) bool {
	for _, text := range s.weak {
		for _, value := range values {
			if strings.Contains(value, text) {
				return true
			}
		}
	}
	return false
}

package telemetry

import (
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf8"
)

// plainWriter lets through only what is safe to show on a terminal. The handlers of slog already escape most: line breaks
// and escape in both formats, in text everything unprintable between quotes. What they leave is written here as \uXXXX:
// DEL, the C1 controls (U+009B starts an ANSI sequence), bidirectional overrides, zero-width characters, and the line
// separators U+2028 and U+2029. In JSON such characters stand only inside strings, where the escape means the same.
type plainWriter struct {
	mu sync.Mutex // guards w: the handlers that share this writer have a lock each
	w  io.Writer
}

// Write expects one whole record that ends in a line break, which is how slog's handlers call it.
func (p *plainWriter) Write(line []byte) (int, error) {
	out := line
	if i := firstUnsafe(line); i >= 0 {
		out = escape(line, i)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.w.Write(out); err != nil {
		return 0, err
	}
	return len(line), nil
}

// pass writes a record in which nothing is to be escaped.
func (p *plainWriter) pass(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.w.Write(line)
}

// firstUnsafe gives the index of the first character to be escaped, or -1.
func firstUnsafe(line []byte) int {
	for i := 0; i < len(line); {
		if c := line[i]; c < utf8.RuneSelf {
			if !safeASCII(c, i == len(line)-1) {
				return i
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(line[i:])
		if !safeRune(r, size) {
			return i
		}
		i += size
	}
	return -1
}

// escape copies a line with the unsafe characters from index i on escaped.
func escape(line []byte, i int) []byte {
	out := append(make([]byte, 0, len(line)+32), line[:i]...)
	for i < len(line) {
		r, size := utf8.DecodeRune(line[i:])
		switch {
		case size == 1 && r != utf8.RuneError && safeASCII(line[i], i == len(line)-1):
			out = append(out, line[i])
		case size > 1 && safeRune(r, size):
			out = append(out, line[i:i+size]...)
		case r > 0xffff:
			high, low := surrogates(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += size
	}
	return out
}

func safeASCII(c byte, last bool) bool {
	return c >= ' ' && c < 0x7f || c == '\n' && last
}

// safeRune allows what is printable and all spaces that are mere spaces.
func safeRune(r rune, size int) bool {
	if r == utf8.RuneError && size == 1 {
		return false
	}
	return unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)
}

// surrogates splits a character above U+FFFF as JSON's \u escapes want it (RFC 8259 section 7).
func surrogates(r rune) (high, low rune) {
	r -= 0x10000
	return 0xd800 + r>>10, 0xdc00 + r&0x3ff
}

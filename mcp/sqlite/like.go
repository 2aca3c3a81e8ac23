package sqlite

import (
	"bytes"
	"context"
	"errors"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"
)

const (
	// maxPattern bounds a pattern of LIKE and GLOB, in bytes.
	maxPattern = 256
	// lookEvery is after how many characters a pattern looks at the interrupt.
	lookEvery = 1 << 16
)

var (
	errPattern = errors.New("LIKE or GLOB pattern too complex: shorten it")
	errEscape  = errors.New("ESCAPE expression must be a single character")
)

// wildcards are the characters with a meaning in a pattern; zero for none.
type wildcards struct {
	all, one, set, escape rune
	fold                  bool // capitals and small letters of ASCII are the same
}

// like is the operator LIKE, with ESCAPE as third argument: https://sqlite.org/lang_expr.html#like.
func like(ctx sqlite3.Context, arg ...sqlite3.Value) {
	w := wildcards{all: '%', one: '_', fold: true}
	if len(arg) == 3 && !anyBlob(arg[:2]) {
		text := arg[2].RawText()
		switch {
		case arg[2].Type() == sqlite3.NULL:
			return
		case utf8.RuneCount(text) != 1:
			ctx.ResultError(errEscape)
			return
		}
		w.escape, _ = utf8.DecodeRune(text)
	}
	w.answer(ctx, arg[:2])
}

// anyBlob reports whether there is a BLOB among the arguments, which no pattern matches (SQLITE_LIKE_DOESNT_MATCH_BLOBS).
func anyBlob(arg []sqlite3.Value) bool {
	for _, a := range arg {
		if a.Type() == sqlite3.BLOB {
			return true
		}
	}
	return false
}

// glob is the operator GLOB.
func glob(ctx sqlite3.Context, arg ...sqlite3.Value) {
	wildcards{all: '*', one: '?', set: '['}.answer(ctx, arg)
}

// answer reports whether the first argument, a pattern, matches the second.
func (w wildcards) answer(ctx sqlite3.Context, arg []sqlite3.Value) {
	if anyBlob(arg) {
		ctx.ResultInt(0)
		return
	}
	if anyNull(arg) {
		return
	}
	pattern, text := arg[0].RawText(), arg[1].RawText()
	if len(pattern) > maxPattern {
		ctx.ResultError(errPattern)
		return
	}
	pattern, _, _ = bytes.Cut(pattern, []byte{0}) // SQLite's texts end there for it
	text, _, _ = bytes.Cut(text, []byte{0})
	matches, err := w.match(ctx.Conn().GetInterrupt(), pattern, text)
	if err != nil {
		ctx.ResultError(err)
		return
	}
	ctx.ResultBool(matches)
}

// match compares from the left. Where it fails, the last wildcard for any text takes one more character.
func (w wildcards) match(ctx context.Context, pattern, text []byte) (bool, error) {
	var rest, retry []byte // the pattern behind the last such wildcard, and the text that it has not taken
	open := false
	for steps := 1; len(text) > 0; steps++ {
		if steps%lookEvery == 0 && ctx.Err() != nil {
			return false, sqlite3.INTERRUPT
		}
		if c, size := utf8.DecodeRune(pattern); size > 0 && c == w.all && c != w.escape {
			pattern = pattern[size:]
			text = w.skip(pattern, text)
			rest, retry, open = pattern, text, true
			continue
		}
		r, size := utf8.DecodeRune(text)
		if used := w.single(pattern, r); used > 0 {
			pattern, text = pattern[used:], text[size:]
			continue
		}
		if !open {
			return false, nil
		}
		_, size = utf8.DecodeRune(retry)
		retry = w.skip(rest, retry[size:])
		pattern, text = rest, retry
	}
	for len(pattern) > 0 && rune(pattern[0]) == w.all && w.all != w.escape {
		pattern = pattern[1:]
	}
	return len(pattern) == 0, nil
}

// skip leaves out the beginning of a text in which a pattern cannot begin to match.
func (w wildcards) skip(pattern, text []byte) []byte {
	if len(pattern) == 0 {
		return nil // the wildcard before was the last, and takes all of it
	}
	c := rune(pattern[0])
	if c >= utf8.RuneSelf || c == w.all || c == w.one || c == w.set || c == w.escape {
		return text
	}
	small, capital := byte(c), byte(c)
	if l := lower(c); w.fold && l >= 'a' && l <= 'z' {
		small, capital = byte(l), byte(l-'a'+'A')
	}
	for i, b := range text {
		if b == small || b == capital {
			return text[i:]
		}
	}
	return nil
}

// single returns how many bytes of a pattern match one character; 0 if they do not.
func (w wildcards) single(pattern []byte, r rune) int {
	c, size := utf8.DecodeRune(pattern)
	switch {
	case size == 0:
		return 0
	case w.escape != 0 && c == w.escape:
		next, more := utf8.DecodeRune(pattern[size:])
		if more == 0 || !w.same(next, r) {
			return 0
		}
		return size + more
	case c == w.one:
		return size
	case w.set != 0 && c == w.set:
		return inSet(pattern, r)
	case !w.same(c, r):
		return 0
	}
	return size
}

func (w wildcards) same(a, b rune) bool {
	return a == b || w.fold && a < utf8.RuneSelf && b < utf8.RuneSelf && lower(a) == lower(b)
}

func lower(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}

// inSet returns the length of the set, such as [^a-z], at the beginning of a pattern; 0 if a character is not in it, or it has no end.
func inSet(pattern []byte, r rune) int {
	at := 1
	next := func() rune {
		c, size := utf8.DecodeRune(pattern[at:])
		at += size
		if size == 0 {
			return -1
		}
		return c
	}
	invert, seen, before := false, false, rune(0)
	c := next()
	if c == '^' {
		invert = true
		c = next()
	}
	if c == ']' {
		seen = r == ']'
		c = next()
	}
	for c >= 0 && c != ']' {
		if c == '-' && at < len(pattern) && pattern[at] != ']' && before > 0 {
			c = next()
			seen = seen || r >= before && r <= c
			before = 0
		} else {
			seen = seen || r == c
			before = c
		}
		c = next()
	}
	if c < 0 || seen == invert {
		return 0
	}
	return at
}

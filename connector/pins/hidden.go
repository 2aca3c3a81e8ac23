package pins

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	joinerNone = '\u200c' // zero width non-joiner
	joiner     = '\u200d' // zero width joiner
	asText     = '\ufe0e' // variation selector: as text
	asEmoji    = '\ufe0f' // variation selector: as emoji
	boxed      = '\u20e3' // combining enclosing keycap
)

// joining are the scripts in which a single joiner between letters is orthography.
var joining = []*unicode.RangeTable{
	unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi, unicode.Gujarati,
	unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer, unicode.Myanmar,
}

// unseen are the characters that show nothing, or change how others are shown, wherever they stand: control characters,
// marks of direction, zero-width characters, tags, fillers, variation selectors, private use, separators of lines.
var unseen = []*unicode.RangeTable{
	unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point,
	unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector,
}

// seen are those of Cf that are drawn: signs before a number or a verse, in Arabic, Syriac and Kaithi.
var seen = []*unicode.RangeTable{unicode.Prepended_Concatenation_Mark}

// emoji roughly covers what may be followed by a selector of its form.
var emoji = &unicode.RangeTable{
	R16: []unicode.Range16{
		{'#', '#', 1}, {'*', '*', 1}, {'0', '9', 1}, {0xa9, 0xa9, 1}, {0xae, 0xae, 1}, {0x203c, 0x203c, 1}, {0x2049, 0x2049, 1},
		{0x2122, 0x2122, 1}, {0x2139, 0x2139, 1}, {0x2190, 0x21ff, 1}, {0x2300, 0x23ff, 1}, {0x24c2, 0x24c2, 1}, {0x25a0, 0x27bf, 1},
		{0x2934, 0x2935, 1}, {0x2b00, 0x2bff, 1}, {0x3030, 0x3030, 1}, {0x303d, 0x303d, 1}, {0x3297, 0x3299, 2},
	},
	R32:         []unicode.Range32{{0x1f000, 0x1faff, 1}},
	LatinOffset: 5,
}

// hiddenRune reports whether a character of a text is one that a reader does not see. Letters before and behind it decide
// about joiners and about the two selectors of emoji; they are utf8.RuneError at the ends.
func hiddenRune(before, r, behind rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' && r != '\n' && r != '\t' && (r != '\r' || behind != '\n') || r == 0x7f
	}
	switch r {
	case utf8.RuneError, 0x2800, 0x17b4, 0x17b5: // what was no UTF-8; a blank of Braille; vowels that are not drawn
		return true
	case asText, asEmoji:
		if before < utf8.RuneSelf { // a key, such as 1 in a box
			return r != asEmoji || behind != boxed || !unicode.Is(emoji, before)
		}
		return !unicode.Is(emoji, before)
	case joiner:
		if before >= utf8.RuneSelf && behind >= utf8.RuneSelf && (unicode.Is(emoji, before) || before == asEmoji) && unicode.Is(emoji, behind) {
			return false
		}
		return !joins(before, behind)
	case joinerNone:
		return !joins(before, behind)
	}
	return unicode.In(r, unseen...) && !unicode.In(r, seen...)
}

func joins(before, behind rune) bool {
	letter := func(r rune) bool {
		return unicode.In(r, unicode.L, unicode.M) && unicode.In(r, joining...)
	}
	return letter(before) && letter(behind)
}

// eachRune calls visit for each character and says whether it is hidden. What is hidden is no neighbour of another.
func eachRune(text string, visit func(r rune, hidden bool)) {
	before := utf8.RuneError
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		behind := utf8.RuneError
		if i += size; i < len(text) {
			behind, _ = utf8.DecodeRuneInString(text[i:])
		}
		is := hiddenRune(before, r, behind)
		visit(r, is)
		if before = r; is {
			before = utf8.RuneError
		}
	}
}

// hidden returns the hidden characters of a text, in order.
func hidden(text string) []rune {
	if plain(strings.ReplaceAll(text, "\n", "")) { // most are
		return nil
	}
	var found []rune
	eachRune(text, func(r rune, is bool) {
		if is {
			found = append(found, r)
		}
	})
	return found
}

// Escape returns a text as one line to show to people: hidden characters, and those that end lines, are written as their
// code points, such as [U+200B].
func Escape(text string) string { return escape(text, false) }

// escape is Escape; all says that every character beyond ASCII is to be written as its code point.
func escape(text string, all bool) string {
	if plain(text) {
		return text
	}
	var b strings.Builder
	eachRune(text, func(r rune, is bool) {
		if r < ' ' || is || all && r >= utf8.RuneSelf {
			fmt.Fprintf(&b, "[U+%04X]", r)
		} else {
			b.WriteRune(r)
		}
	})
	return b.String()
}

// plain reports whether a text has visible ASCII and spaces only.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// shown is a text of a stranger, escaped and bounded, to stand in a message.
func shown(text string, most int) string { return clip(Escape(clip(text, most)), most) }

// clip bounds what a text takes in a message.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

package policy

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Why a resource's URI is denied whatever the rules say.
const (
	uriClimbs  = "the resource's URI has . or .. in its path, so that a rule could not tell where it leads"
	uriHidden  = "the resource's URI has a space, or a character that is not seen and that some readers leave out, so that a rule could not tell where it leads"
	uriWide    = "the resource's URI has a character that some readers take for / or \\ or %, so that a rule could not tell where it leads"
	uriNoText  = "the resource's URI is no UTF-8, so that a rule could not tell where it leads"
	uriBroken  = "the resource's URI has a broken percent escape"
	uriEscaped = "the resource's URI is escaped more than twice, so that a rule could not tell where it leads"
)

// misleading says why no rule can tell where a URI leads, or returns "". Readers differ in what they leave out before they look for dots: the
// URL parser of browsers and Node deletes tabs and line ends wherever they stand (WHATWG URL 4.4), others cut white space off, end at a NUL, or
// bring compatibility forms to the common ones (NFKC). So everything of that kind is denied, plain, encoded, and encoded twice. A space that is
// encoded may be, as names of files have them, but not where . and .. are all that stands beside it.
func misleading(uri string) string {
	if simple(uri) {
		return ""
	}
	for round := range 3 {
		if !utf8.ValidString(uri) {
			return uriNoText
		}
		if reason := oddCharacter(uri, round > 0); reason != "" {
			return reason
		}
		for segment := range strings.FieldsFuncSeq(uri, func(c rune) bool { return strings.ContainsRune(`/\?#;`, c) }) {
			if onlyDots(segment) {
				return uriClimbs
			}
		}
		decoded, err := url.PathUnescape(uri)
		if err != nil {
			return uriBroken
		}
		if decoded == uri {
			return ""
		}
		uri = decoded
	}
	return uriEscaped
}

// simple reports whether a URI has nothing that could mislead, as most.
func simple(uri string) bool {
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c >= 0x7f || c == '.' || c == '%' {
			return false
		}
	}
	return true
}

// oddCharacter says why one of the characters may not be in a URI, or returns "".
func oddCharacter(uri string, decoded bool) string {
	for i, r := range uri {
		switch {
		case r > ' ' && r < 0x7f:
		case unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Noncharacter_Code_Point),
			unicode.IsSpace(r) && !decoded,
			unicode.Is(unicode.Cf, r) && !joins(uri, i, r):
			return uriHidden
		case strings.ContainsAny(norm.NFKC.String(string(r)), `/\%`):
			return uriWide
		}
	}
	return ""
}

// joins reports whether r, at i, is a joiner between two letters, as Persian and Indic words have them.
func joins(uri string, i int, r rune) bool {
	if r != '\u200c' && r != '\u200d' {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(uri[:i])
	behind, _ := utf8.DecodeRuneInString(uri[i+utf8.RuneLen(r):])
	letter := func(r rune) bool { return r >= utf8.RuneSelf && unicode.In(r, unicode.L, unicode.M) }
	return letter(before) && letter(behind)
}

// onlyDots reports whether a segment is one or more dots, in any form that some reader takes for one, and otherwise nothing that is seen.
func onlyDots(segment string) bool {
	if r, _ := utf8.DecodeRuneInString(segment); r < utf8.RuneSelf && r != '.' && r != ' ' {
		return false
	}
	dots := false
	for _, r := range norm.NFKC.String(segment) {
		switch {
		case r == '.', r == '。': // the full stop that names of hosts may have as well
			dots = true
		case unicode.IsSpace(r), unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		default:
			return false
		}
	}
	return dots
}

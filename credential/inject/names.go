package inject

import (
	"strings"
	"unicode"
)

// foldName is the name of a parameter, a cookie or a member in the one spelling in which names are compared: in lower case,
// and without what joins words. Some servers read api_key, api-key, api.key and apiKey as one: those that take aliases, and
// decoders that overlook case and joints.
func foldName(name string) string { return strings.Map(foldRune, name) }

// foldRune maps all that is one letter to somebody to that letter, and joints to nothing.
func foldRune(r rune) rune {
	switch {
	case r == '_', r == '-', r == '.', r == ' ':
		return -1
	case 'A' <= r && r <= 'Z':
		return r + 'a' - 'A'
	case r < 0x80:
		return r
	case r == 'ı', r == 'İ': // i to whoever compares in upper or in lower case
		return 'i'
	}
	for { // the Kelvin sign is a k, and ſ an s, to encoding/json among others
		next := unicode.SimpleFold(r)
		if next <= r {
			return unicode.ToLower(next)
		}
		r = next
	}
}

// isVariant reports whether some server takes the name of a parameter, with its escapes undone, for the one that folded is.
func isVariant(name, folded string) bool {
	name, _, _ = strings.Cut(name, "\x00")
	name = strings.TrimSpace(name)
	list, _, _ := strings.Cut(name, "[") // name[] and name[0]
	if foldName(list) == folded {
		return true
	}
	// PHP reads a bracket that is not closed as an underscore.
	return len(list) < len(name) && !strings.Contains(name, "]") && foldName(strings.ReplaceAll(name, "[", "_")) == folded
}

package telemetry

import "unicode/utf8"

// maxShort bounds what a line repeats of a stranger's words, in bytes.
const maxShort = 128

// Short cuts a stranger's word, such as the name of a tool, to 128 bytes, between two characters.
func Short(s string) string {
	if len(s) <= maxShort {
		return s
	}
	end := maxShort
	for end > maxShort-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

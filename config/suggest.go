package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// maxListed bounds how many known keys are listed where none is similar.
const maxListed = 12

// suggest returns, in parentheses, the known key that is most like key, or else the known keys.
func suggest(key string, fields map[string]reflect.Type) string {
	const longest = 64 // no key of ours is near this: longer ones are not compared
	known := slices.Sorted(maps.Keys(fields))
	best, least := "", max(1, len(key)/3)+1
	for _, candidate := range known {
		if len(key) > longest {
			break
		}
		if d := distance(fold(key), fold(candidate)); d < least {
			best, least = candidate, d
		}
	}
	switch {
	case best != "":
		return ` (did you mean "` + best + `"?)`
	case len(known) > 0 && len(known) <= maxListed:
		return " (known here: " + strings.Join(known, ", ") + ")"
	default:
		return ""
	}
}

// fold makes spellings equal that people mix up.
func fold(key string) string {
	return strings.ReplaceAll(strings.ToLower(key), "-", "_")
}

// distance counts the bytes to insert, drop or change to make b from a (Levenshtein), with one row of memory.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package arch

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

const (
	// exceptionsFile holds, under its heading "## Exceptions", the places where a rule does not hold, each with its reason.
	exceptionsFile = "docs/rough-edges.md"
	// shortestReason is in bytes; it keeps a reason from being one word.
	shortestReason = 40
)

// exceptionLine is, for example: - `tunnel/frames.go` (sizes): the table reads best in one piece, from top to bottom.
var exceptionLine = regexp.MustCompile("^- `([^`]+)` \\(([a-z-]+)\\): (.*)$")

// except takes out the violations that the exceptions file excuses for the rule. An exception that is too short or that
// nothing needs is a violation itself.
func (r Rule) except(t *Tree, found []Violation) []Violation {
	excused := map[string]bool{}
	var kept []Violation
	text, err := fs.ReadFile(t.FS, exceptionsFile)
	if err != nil {
		return found // no file, no exceptions
	}
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, "## ") {
			inside = line == "## Exceptions"
		}
		m := exceptionLine.FindStringSubmatch(line)
		if !inside || m == nil || m[2] != r.Name {
			continue
		}
		complain := func(format string, args ...any) {
			kept = append(kept, Violation{File: exceptionsFile, Line: i + 1, Text: fmt.Sprintf(format, args...)})
		}
		switch {
		case r.Absolute:
			complain("the rule %s has no exceptions; change its table, with a decision record", r.Name)
			continue
		case len(m[3]) < shortestReason:
			complain("the reason for %s is too short to be one", m[1])
		case !concerns(found, m[1]):
			complain("%s keeps the rule %s; take this line out", m[1], r.Name)
		}
		excused[m[1]] = true
	}
	for _, v := range found {
		if !excused[v.File] {
			kept = append(kept, v)
		}
	}
	return kept
}

func concerns(found []Violation, file string) bool {
	for _, v := range found {
		if v.File == file {
			return true
		}
	}
	return false
}

package scenarios_test

import (
	"fmt"
	"strings"
)

// archive is a text in the txtar format: a comment, then sections, each below
// a line "-- name --".
type archive struct {
	comment  string
	sections map[string]string
}

// parseArchive reads an archive, in which a section may be used once.
func parseArchive(text string) (archive, error) {
	a := archive{sections: make(map[string]string)}
	name, begun := "", false
	var b strings.Builder
	flush := func() {
		if begun {
			a.sections[name] = b.String()
		} else {
			a.comment = b.String()
		}
		b.Reset()
	}
	for line := range strings.Lines(text) {
		marker := strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(marker, "-- ") || !strings.HasSuffix(marker, " --") || len(marker) < len("-- x --") {
			b.WriteString(line)
			continue
		}
		flush()
		name, begun = strings.TrimSpace(marker[3:len(marker)-3]), true
		if _, twice := a.sections[name]; twice {
			return archive{}, fmt.Errorf("the section %q is there twice", name)
		}
	}
	flush()
	return a, nil
}

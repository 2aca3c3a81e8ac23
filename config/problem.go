package config

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxShown bounds how many problems Error prints: a file of another kind makes one a line.
const maxShown = 20

// Problem is one thing that is wrong with a file.
type Problem struct {
	Line int    // from 1; 0 when the problem has no line
	Text string // never contains a value from the file
}

// Error lists everything that is wrong with one file, in the order of its lines.
type Error struct {
	File     string
	Problems []Problem
}

// Error gives one problem a line, each as file:line: text.
func (e *Error) Error() string {
	var out strings.Builder
	for i, problem := range e.Problems {
		if i > 0 {
			out.WriteByte('\n')
		}
		if i == maxShown {
			fmt.Fprintf(&out, "%s: and %d more", e.File, len(e.Problems)-i)
			break
		}
		out.WriteString(e.File)
		if problem.Line > 0 {
			fmt.Fprintf(&out, ":%d", problem.Line)
		}
		out.WriteString(": " + problem.Text)
	}
	return out.String()
}

// problems collects what one decoding finds.
type problems struct{ list []Problem }

func (p *problems) none() bool { return len(p.list) == 0 }

func (p *problems) add(line int, text string) {
	p.list = append(p.list, Problem{Line: line, Text: text})
}

// leadingLine is how a type that decodes itself names a line.
var leadingLine = regexp.MustCompile(`^line ([0-9]+): `)

// addError adds err, split where it was joined, at the lines that it names itself or else at line, after where.
func (p *problems) addError(line int, where string, err error) {
	if err == nil {
		return
	}
	if parts := joined(err); parts != nil {
		for _, part := range parts {
			p.addError(line, where, part)
		}
		return
	}
	text := err.Error()
	if match := leadingLine.FindStringSubmatch(text); match != nil {
		if own, err := strconv.Atoi(match[1]); err == nil {
			line, text = own, text[len(match[0]):]
		}
	}
	if where != "" {
		text = where + ": " + text
	}
	p.add(line, text)
}

// joined returns the parts of an error made by errors.Join, and nil for one that merely wraps several.
func joined(err error) []error {
	multi, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return nil
	}
	parts := multi.Unwrap()
	texts := make([]string, len(parts))
	for i, part := range parts {
		texts[i] = part.Error()
	}
	if err.Error() != strings.Join(texts, "\n") {
		return nil
	}
	return parts
}

// error returns nil when nothing was found.
func (p *problems) error(file string) error {
	if p.none() {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return &Error{File: file, Problems: p.list}
}

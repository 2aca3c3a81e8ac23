package observability_test

import (
	"regexp"
	"slices"
	"strings"
)

var (
	recordName  = regexp.MustCompile(`- record: (\S+)\n`)
	oneLine     = regexp.MustCompile(`(?m)^        expr: ([^|\n].*)$`)
	manyLines   = regexp.MustCompile(`        expr: \|\n((?: {10}.*\n)+)`)
	testSeries  = regexp.MustCompile(`series: '([^']+)'`)
	labelValues = regexp.MustCompile(`^label_values\((.*), (\w+)\)$`)

	quoted     = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	selector   = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	duration   = regexp.MustCompile(`\[[^\]]*\]|\boffset\s+\w+|\b\d[\w.]*`)
	identifier = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*\s*\(?`)
)

var operators = []string{"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset"}

// ruleExpressions are those of a file of rules.
func ruleExpressions(file string) (all []string) {
	for _, re := range []*regexp.Regexp{oneLine, manyLines} {
		for _, m := range re.FindAllStringSubmatch(file, -1) {
			all = append(all, strings.TrimSpace(m[1]))
		}
	}
	return all
}

// alertSeries are the series that alerts are tried with.
func alertSeries(file string) (all []string) {
	for _, m := range testSeries.FindAllStringSubmatch(file, -1) {
		all = append(all, m[1])
	}
	return all
}

// check says which names of metrics and labels in an expression are not known. Of a histogram all three samples are known.
func check(expr string, known map[string]map[string]bool) (wrong []string) {
	rest := quoted.ReplaceAllString(expr, "0")
	labels := make(map[string]bool) // of all metrics in the expression
	use := func(name string) map[string]bool {
		of, ok := known[name]
		if !ok {
			wrong = append(wrong, "no metric "+name)
		}
		for l := range of {
			labels[l] = true
		}
		return of
	}
	rest = selector.ReplaceAllStringFunc(rest, func(s string) string {
		m := selector.FindStringSubmatch(s)
		of := use(m[1])
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if of != nil && !of[l[1]] {
				wrong = append(wrong, m[1]+" has no label "+l[1])
			}
		}
		return "0"
	})
	var grouped []string
	rest = grouping.ReplaceAllStringFunc(rest, func(s string) string {
		for _, l := range strings.Split(grouping.FindStringSubmatch(s)[1], ",") {
			grouped = append(grouped, strings.TrimSpace(l))
		}
		return " "
	})
	rest = duration.ReplaceAllString(rest, " ")
	for _, name := range identifier.FindAllString(rest, -1) {
		if name = strings.TrimSpace(name); !strings.HasSuffix(name, "(") && !slices.Contains(operators, name) {
			use(name)
		}
	}
	for _, l := range grouped {
		if l != "" && !labels[l] {
			wrong = append(wrong, "nothing here has a label "+l)
		}
	}
	return wrong
}

package arch

import (
	"cmp"
	"fmt"
	"go/token"
	"slices"
)

// Rule is one thing that the source promises, and why.
type Rule struct {
	// Name is short, and the name of the rule's self-test in testdata.
	Name string
	// Reason is shown with each violation. A table inside the rule may give a closer one.
	Reason string
	// Absolute rules take no exception from docs/rough-edges.md: only their own table can change.
	Absolute bool
	// Check reports each violation once; it never stops at the first.
	Check func(*Tree) []Violation
}

// Violation is one place where a rule does not hold.
type Violation struct {
	// File is relative to the root.
	File string
	// Line counts from 1; 0 means the file as a whole.
	Line int
	// Text says what was found and, if the rule has several reasons, which one applies.
	Text string
}

// String renders the violation the way editors jump to it.
func (v Violation) String() string {
	return fmt.Sprintf("%s:%d: %s", v.File, v.Line, v.Text)
}

// Rules lists every rule, in the order in which a newcomer should read them.
func Rules() []Rule {
	return slices.Concat(
		[]Rule{foldersRule, thirdPartyRule, standardRule, testHelpersRule},
		[]Rule{packageDocRule, noInitRule, packageVarsRule, storedContextRule, guardsRule, goleakRule},
		selectorRules(),
		[]Rule{boundedReadsRule, tlsVerificationRule, noSkipRule, openEndsRule},
		[]Rule{sizesRule, goModRule},
	)
}

// Run checks the tree against the rule and the exceptions that are written down, with the violations in order of place.
func (r Rule) Run(t *Tree) []Violation {
	found := r.except(t, r.Check(t))
	slices.SortFunc(found, func(a, b Violation) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(found)
}

// violation makes a Violation at pos.
func (t *Tree) violation(pos token.Pos, format string, args ...any) Violation {
	file, line := t.position(pos)
	return Violation{File: file, Line: line, Text: fmt.Sprintf(format, args...)}
}

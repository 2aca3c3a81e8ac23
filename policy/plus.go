package policy

import "slices"

// Plus returns the policy of both lists of rules, those of more after those of p; a rule that denies wins wherever it
// stands. If either is open, so is the result, and two policies that were never given make one that was not.
func (p Policy) Plus(more Policy) Policy {
	rules := slices.Concat(p.rules, more.rules)
	for i := range rules {
		rules[i].label = rules[i].nameAt(i)
	}
	both := ofRules(rules)
	both.set, both.open = p.set || more.set, p.open || more.open
	return both
}

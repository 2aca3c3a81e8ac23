package policy

import "slices"

// Plus returns the policy of both lists of rules, those of more after those of p; a rule that denies wins wherever it
// stands. If either is open, so is the result, and two policies that were never given make one that was not.
func (p Policy) Plus(more Policy) Policy {
	return Policy{
		set:   p.set || more.set,
		open:  p.open || more.open,
		rules: slices.Concat(p.rules, more.rules),
	}
}

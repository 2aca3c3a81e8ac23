// Package policy decides whether a message may go on, from rules that the operator of the connector wrote. It is pure: no
// I/O, no clock, no state. It names limits in its decision, and whoever performs the call counts. It does not know how a
// caller proved who it is, nor what happens after a decision.
package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
)

// ErrInvalid means that a policy is not usable as it was written.
var ErrInvalid = errors.New("policy: not valid")

// AllServers is the server name in a rule that stands for all servers.
const AllServers = "*"

// Request is one message to decide on, or an HTTP request without one, such as that for an event stream.
type Request struct {
	// Principal is who calls, verified; of a message from the server, whom it is for. One without a subject is nobody, and
	// is denied.
	Principal auth.Principal
	// Server is the name of the server that is called, under its tunnel.
	Server string
	// FromServer says that the server asks the client: sampling, elicitation, roots.
	FromServer bool
	// Message is what is asked. The zero Message is none.
	Message mcp.Message
	// ParamsUnknown says that the params of the message could not be read: a condition that asks for them, or for the
	// arguments, cannot be evaluated.
	ParamsUnknown bool
	// Source is the caller's address as the gateway saw it. The zero Addr is not known.
	Source netip.Addr
	// Time is when. The zero Time is not known.
	Time time.Time
}

// Decision is the outcome. The zero Decision denies.
type Decision struct {
	// Allow is whether the message may go on.
	Allow bool
	// Rule names what decided, for the audit: the rule's name, or "rule 2" (counted from 1, as written), "open", or
	// "default" when no rule applied.
	Rule string
	// Reason says why, in a sentence for the operator's log. It quotes no value of the call and is not for the agent.
	Reason string
	// WouldDeny names the rules in report mode that would have denied what is allowed.
	WouldDeny []string
	// Limits are those of the rule that allows. Nil if it has none.
	Limits *Limits
	// Check has the last word on what the rule allows. Nil if nobody is to be asked. It is the same for all decisions of a
	// rule.
	Check *Check
	// Approve has a human allow it. Nil if nobody is to be asked. It is the same for all decisions of a rule.
	Approve *Approve
}

// Policy is a list of rules, or open. The zero Policy denies everything. It is safe for concurrent use.
type Policy struct {
	set   bool
	open  bool
	rules []rule

	values *mcp.Values // reads arguments; nil without rules
}

// Open returns the policy that allows every verified principal everything.
func Open() Policy { return Policy{set: true, open: true} }

// New returns a policy of rules; what no rule allows is denied. An empty list denies everything, on purpose. The error
// matches [ErrInvalid].
func New(rules []Rule) (Policy, error) {
	compiled, errs := compileAll(rules)
	for i, err := range errs {
		if err != nil {
			return Policy{}, fmt.Errorf("%w: %s: %w", ErrInvalid, rules[i].nameAt(i), err)
		}
	}
	return ofRules(compiled), nil
}

// ofRules returns the policy of checked rules.
func ofRules(rules []rule) Policy { return Policy{set: true, rules: rules, values: new(mcp.Values)} }

// IsOpen reports whether the policy is the word open.
func (p Policy) IsOpen() bool { return p.open }

// IsZero reports whether no policy was given at all, which denies as an empty list does but is no decision of the
// operator's.
func (p Policy) IsZero() bool { return !p.set }

// IsEmpty reports whether a policy was given that has no rule, and so denies everything.
func (p Policy) IsEmpty() bool { return p.set && !p.open && len(p.rules) == 0 }

// Checks returns the decision services of all rules.
func (p Policy) Checks() []*Check {
	var checks []*Check
	for i := range p.rules {
		if c := p.rules[i].Check; c != nil {
			checks = append(checks, c)
		}
	}
	return checks
}

// ChecksResults reports whether a decision service may have to see the answers of a server.
func (p Policy) ChecksResults(server string) bool {
	for i := range p.rules {
		if r := &p.rules[i]; r.Check != nil && r.Check.Result && r.covers(&Request{Server: server}) {
			return true
		}
	}
	return false
}

// SmallestResult returns the smallest of the limits on results that the rules for a server have, or 0 if none has one: it holds for
// whatever may be an answer to a call by any of them.
func (p Policy) SmallestResult(server string) (bytes int64) {
	for i := range p.rules {
		r := &p.rules[i]
		if most := r.Limits.Result; most > 0 && (bytes == 0 || most < bytes) && r.Allow && !r.FromServer && r.covers(&Request{Server: server}) {
			bytes = most
		}
	}
	return bytes
}

// Approvals returns how humans are asked, for all rules that have them asked.
func (p Policy) Approvals() []*Approve {
	var approvals []*Approve
	for i := range p.rules {
		if a := p.rules[i].Approve; a != nil {
			approvals = append(approvals, a)
		}
	}
	return approvals
}

// Rules returns the rules as they were written, with what they left out filled in.
func (p Policy) Rules() []Rule {
	rules := make([]Rule, 0, len(p.rules))
	for i := range p.rules {
		rules = append(rules, p.rules[i].Rule)
	}
	return rules
}

// Len returns the number of rules.
func (p Policy) Len() int { return len(p.rules) }

// Servers returns the server names that the rules mention, without "*", so that a caller can warn about names that
// do not exist.
func (p Policy) Servers() []string {
	var names []string
	for i := range p.rules {
		for _, name := range p.rules[i].Servers {
			if name != AllServers && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// NotEnforced names the rules in report mode.
func (p Policy) NotEnforced() []string {
	var names []string
	for i := range p.rules {
		if p.rules[i].Report {
			names = append(names, p.rules[i].label)
		}
	}
	return names
}

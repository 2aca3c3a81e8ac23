// Package policy decides whether a call may go on, from rules that the operator of the connector wrote. It is pure:
// no I/O, no clock, no state. It does not know how a caller proved who it is, nor what happens after a decision.
package policy

import (
	"errors"
	"fmt"
	"slices"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
)

// ErrInvalid means that a policy is not usable as it was written.
var ErrInvalid = errors.New("policy: not valid")

// AllServers is the server name in a rule that stands for all servers.
const AllServers = "*"

// Request is what is decided on.
type Request struct {
	// Principal is who calls, verified. One without a subject is nobody, and is denied.
	Principal auth.Principal
	// Server is the name of the server that is called, under its tunnel.
	Server string
	// Call is what is called there. No rule looks at it yet.
	Call *mcp.Call
}

// Decision is the outcome. The zero Decision denies.
type Decision struct {
	// Allow is whether the call may go on.
	Allow bool
	// Rule names what decided, for the audit: "rule 2" (counted from 1, as written), "open", or "default" when no
	// rule applied.
	Rule string
	// Reason says why, in a sentence for the operator's log. It is not for the agent.
	Reason string
}

// Rule allows or denies calls to some servers.
type Rule struct {
	// Servers are the names of servers, or "*" alone for all.
	Servers []string
	// Allow is what the rule decides. A rule that denies wins over every rule that allows.
	Allow bool
}

// Policy is a list of rules, or open. The zero Policy denies everything. It is safe for concurrent use.
type Policy struct {
	set   bool
	open  bool
	rules []Rule
}

// Open returns the policy that allows every verified principal everything.
func Open() Policy { return Policy{set: true, open: true} }

// New returns a policy of rules; what no rule allows is denied. An empty list denies everything, on purpose.
func New(rules []Rule) (Policy, error) {
	kept := make([]Rule, len(rules))
	for i, rule := range rules {
		if err := checkServers(rule.Servers); err != nil {
			return Policy{}, fmt.Errorf("%w: %s: %w", ErrInvalid, ruleName(i), err)
		}
		kept[i] = Rule{Servers: slices.Clone(rule.Servers), Allow: rule.Allow}
	}
	return Policy{set: true, rules: kept}, nil
}

// IsOpen reports whether the policy is the word open.
func (p Policy) IsOpen() bool { return p.open }

// IsZero reports whether no policy was given at all, which denies as an empty list does but is no decision of the
// operator's.
func (p Policy) IsZero() bool { return !p.set }

// IsEmpty reports whether a policy was given that has no rule, and so denies everything.
func (p Policy) IsEmpty() bool { return p.set && !p.open && len(p.rules) == 0 }

// Servers returns the server names that the rules mention, without "*", so that a caller can warn about names that
// do not exist.
func (p Policy) Servers() []string {
	var names []string
	for _, rule := range p.rules {
		for _, name := range rule.Servers {
			if name != AllServers && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// Decide decides one request. Rules that deny come first, wherever they stand; then the first rule that allows.
func (p Policy) Decide(request Request) Decision {
	switch {
	case !p.set:
		return Decision{Rule: "default", Reason: "there is no policy"}
	case request.Principal.Subject == "":
		return Decision{Rule: "default", Reason: "the caller has no identity"}
	case request.Server == "":
		return Decision{Rule: "default", Reason: "the call names no server"}
	case p.open:
		return Decision{Allow: true, Rule: "open", Reason: "the policy is open"}
	}
	allowedBy := -1
	for i, rule := range p.rules {
		if !rule.covers(request.Server) {
			continue
		}
		if !rule.Allow {
			return Decision{Rule: ruleName(i), Reason: "the rule denies this server"}
		}
		if allowedBy < 0 {
			allowedBy = i
		}
	}
	if allowedBy < 0 {
		return Decision{Rule: "default", Reason: "no rule allows this server"}
	}
	return Decision{Allow: true, Rule: ruleName(allowedBy), Reason: "the rule allows this server"}
}

func (r Rule) covers(server string) bool {
	return slices.Contains(r.Servers, server) || len(r.Servers) == 1 && r.Servers[0] == AllServers
}

func ruleName(index int) string { return fmt.Sprintf("rule %d", index+1) }

package policy

import "sallyport.dev/mcp"

// What decides when no rule does.
const (
	byDefault = "default"
	byOpen    = "open"
)

// Decide decides one message. Rules that deny come first, wherever they stand; then the first rule that allows. A condition
// that cannot be evaluated counts against the message: a rule that denies covers it, one that allows does not.
//
// What only opens a conversation (initialize, ping, server/discover, an event stream, the answer to a question of the
// server's, and the lists, which [Policy.Shows] filters) is also allowed if a rule could allow the principal anything else
// there: rules about tools need not spell out the protocol. Nobody is asked about it, and it counts against no limit.
func (p Policy) Decide(request Request) Decision {
	if d, done := p.withoutRules(&request); done {
		return d
	}
	if reason := request.suspicious(); reason != "" {
		return Decision{Rule: byDefault, Reason: reason}
	}
	if request.FromServer && request.Message.Method == "ping" {
		request.FromServer = false // either side may ask whether the other is there
	}
	v := verdict{facts: facts{request: &request, values: p.values}}
	d := p.judge(&v)
	if v.denied || request.FromServer || !Opens(&request.Message) {
		return d
	}
	if !d.Allow {
		v.known = noMessage
		could := p.judge(&v)
		if !could.Allow {
			return d
		}
		d = could
		d.Reason = "it opens a conversation in which the rule may allow something"
	}
	d.Limits, d.Check, d.Approve = nil, nil, nil
	return d
}

// Shows reports whether what a list offers may be in it: whether a request for it could be allowed, whatever its
// arguments. Filtering a list is for the reader's comfort; each request is decided on its own.
func (p Policy) Shows(request Request) bool {
	if d, done := p.withoutRules(&request); done {
		return d.Allow
	}
	if request.suspicious() != "" {
		return false
	}
	return p.judge(&verdict{facts: facts{request: &request, values: p.values}, known: noArgs}).Allow
}

// ShowsTemplate reports whether a template of resources may be in a list: whether some resource could be allowed.
func (p Policy) ShowsTemplate(request Request) bool {
	if d, done := p.withoutRules(&request); done {
		return d.Allow
	}
	return p.judge(&verdict{facts: facts{request: &request, values: p.values}, known: noResource}).Allow
}

// ShowsAll reports whether every list of a server shows each of its elements to everybody, so that none need be looked at.
func (p Policy) ShowsAll(server string) bool {
	if p.open {
		return true
	}
	all := false
	for i := range p.rules {
		r := &p.rules[i]
		if !r.covers(&Request{Server: server}) {
			continue
		}
		if !r.Allow && !r.Report {
			return false
		}
		all = all || r.Allow && (r.when == nil || r.Report)
	}
	return all
}

// withoutRules decides what needs none.
func (p Policy) withoutRules(request *Request) (d Decision, done bool) {
	switch {
	case !p.set:
		return Decision{Rule: byDefault, Reason: "there is no policy"}, true
	case request.Principal.Subject == "":
		return Decision{Rule: byDefault, Reason: "the caller has no identity"}, true
	case request.Server == "":
		return Decision{Rule: byDefault, Reason: "the call names no server"}, true
	case p.open:
		return Decision{Allow: true, Rule: byOpen, Reason: "the policy is open"}, true
	}
	return Decision{}, false
}

// verdict is one pass over the rules.
type verdict struct {
	facts  facts
	known  knowledge
	denied bool // by a rule, and not for want of one
}

// judge goes through the rules.
func (p Policy) judge(v *verdict) Decision {
	var allow, report *rule // the first that allows, and the first in report mode that would not
	var failed *rule        // the first that allows whose condition could not be evaluated
	var would []string
	for i := range p.rules {
		r := &p.rules[i]
		if !r.covers(v.facts.request) || r.Allow && allow != nil {
			continue
		}
		held, err := v.holds(r)
		switch {
		case !r.Allow && held != yes && err == nil:
		case !r.Allow && r.Report:
			would = append(would, r.label)
		case !r.Allow:
			v.denied = true
			reason := "the rule denies it"
			if err != nil {
				reason = "the rule denies, and its condition could not be evaluated: a value is missing, of another type or too large"
			}
			return Decision{Rule: r.label, Reason: reason}
		case err == nil && held != no:
			allow = r
		case r.Report && report == nil:
			report = r
		case err != nil && failed == nil:
			failed = r
		}
	}
	switch {
	case allow != nil:
		return allow.allows("the rule allows it", would)
	case report != nil:
		return report.allows("the rule does not allow it, and is in report mode", append(would, report.label))
	case failed != nil:
		return Decision{Rule: byDefault, Reason: "no rule allows it; the condition of " + failed.label + " could not be evaluated: a value is missing, of another type or too large"}
	}
	return Decision{Rule: byDefault, Reason: "no rule allows it"}
}

// holds evaluates a rule's condition.
func (v *verdict) holds(r *rule) (truth, error) {
	if r.when == nil {
		return yes, nil
	}
	return r.when.holds(&v.facts, v.known)
}

func (r *rule) allows(reason string, would []string) Decision {
	d := Decision{Allow: true, Rule: r.label, Reason: reason, WouldDeny: would, Check: r.Check, Approve: r.Approve}
	if !r.Limits.IsZero() {
		d.Limits = &r.Limits
	}
	return d
}

// Opens reports whether a message does nothing by itself, but opens a conversation or keeps it going.
func Opens(m *mcp.Message) bool {
	switch m.Method {
	case "", // an event stream, the end of a session, or an answer to what the server was allowed to ask
		"initialize", "notifications/initialized", "ping", "server/discover",
		"notifications/cancelled", "notifications/progress", "notifications/roots/list_changed",
		"tools/list", "prompts/list", "resources/list", "resources/templates/list":
		return true
	}
	return false
}

// suspicious says why no rule can be trusted to understand a request: a name that is longer than a condition reads, or a
// resource's URI that may lead elsewhere than it seems to.
func (r *Request) suspicious() string {
	if len(r.Message.Name) > maxName {
		return "what the method acts on has a name of more than 4096 bytes"
	}
	return misleading(r.resource())
}

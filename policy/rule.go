package policy

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Rule allows or denies messages to or from some servers.
type Rule struct {
	// Name is what the rule is called in logs and audits: 1 to 40 of a-z, 0-9 and -. Default "rule 2", by its place.
	Name string
	// Servers are the names of servers, or "*" alone for all.
	Servers []string
	// FromServer makes it a rule about what the servers ask of the client. Without it, it is about what clients send.
	FromServer bool
	// When is a condition in CEL. Without one the rule covers everything.
	When string
	// Allow is what the rule decides. A rule that denies wins over every rule that allows.
	Allow bool
	// Report makes a rule that stops nothing: what it would have denied passes, and is reported.
	Report bool
	// Limits bound what the rule allows. Only with Allow.
	Limits Limits
	// Check asks a decision service about what the rule allows. Only with Allow. Nil: nobody is asked.
	Check *Check
	// Approve has a human allow each message that the rule allows. Only with Allow. Nil: nobody is asked.
	Approve *Approve
}

// Approve is how a human is asked.
type Approve struct {
	// Timeout is how long a message waits for an answer. Default 5 min.
	Timeout time.Duration
	// Webhook is asked by POST. "": the answer comes by sallyport approvals alone.
	Webhook string
	// CAFile holds the CA certificates that it is verified by, in PEM. Default: those of the system.
	CAFile string
	// Key is the Ed25519 public key that its answers are signed with, in base64url without padding.
	Key string
}

const (
	defaultApproveTimeout = 5 * time.Minute
	maxApproveTimeout     = time.Hour
)

// validate applies the defaults.
func (a *Approve) validate() error {
	if a.Timeout == 0 {
		a.Timeout = defaultApproveTimeout
	}
	if a.Timeout < time.Second || a.Timeout > maxApproveTimeout {
		return errors.New("approve: timeout: 1s to 1h are allowed")
	}
	if a.Webhook == "" {
		if a.Key != "" || a.CAFile != "" {
			return errors.New("approve: key and ca_file belong to a webhook")
		}
		return nil
	}
	if err := checkURL(a.Webhook); err != nil {
		return fmt.Errorf("approve: webhook: %w", err)
	}
	if key, err := base64.RawURLEncoding.Strict().DecodeString(a.Key); err != nil || len(key) != ed25519.PublicKeySize {
		return errors.New("approve: key: write the Ed25519 public key that the webhook signs with, 43 characters of base64url")
	}
	return nil
}

// Check is a decision service that has the last word: what it does not allow is denied.
type Check struct {
	// URL is where it is asked, by POST.
	URL string
	// CAFile holds the CA certificates that it is verified by, in PEM. Default: those of the system.
	CAFile string
	// Timeout bounds one question. Default 2 s.
	Timeout time.Duration
	// Arguments and Result say what it is asked about: the message before it is sent, and its answer.
	Arguments, Result bool
}

const (
	defaultCheckTimeout = 2 * time.Second
	maxCheckTimeout     = 30 * time.Second
)

// validate applies the defaults.
func (c *Check) validate() error {
	if c.Timeout == 0 {
		c.Timeout = defaultCheckTimeout
	}
	if err := checkURL(c.URL); err != nil {
		return fmt.Errorf("check: url: %w", err)
	}
	switch {
	case c.Timeout < 0 || c.Timeout > maxCheckTimeout:
		return errors.New("check: timeout: up to 30s is allowed")
	case !c.Arguments && !c.Result:
		return errors.New("check: of: arguments, result, or both")
	}
	return nil
}

// checkURL refuses the URL of a service that cannot be asked safely.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("write http(s)://host[:port]/path, without user or fragment")
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return errors.New("plain http is for a service on this machine's loopback only; use https")
	}
	return nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback() || host == "localhost"
}

// Limits bound what one principal may do by one rule. The zero Limits bound nothing.
type Limits struct {
	// Rate is how many messages may pass in Per, evenly spread but for a burst of as many.
	Rate int
	// Per is the time that Rate is counted in.
	Per time.Duration
	// Concurrent is how many may be under way at once.
	Concurrent int
	// Arguments is the most bytes that a message's params may have.
	Arguments int64
	// Result is the most bytes that the answer may have.
	Result int64
}

// IsZero reports whether nothing is bounded.
func (l Limits) IsZero() bool { return l == Limits{} }

// rule is one that has been checked.
type rule struct {
	Rule
	label string     // what it is called
	when  *condition // nil: always
}

// nameAt is the rule's name if it stands at an index.
func (r *Rule) nameAt(index int) string {
	if r.Name != "" {
		return r.Name
	}
	return fmt.Sprintf("rule %d", index+1)
}

// compileAll checks rules, and returns an error or nil for each.
func compileAll(rules []Rule) (compiled []rule, errs []error) {
	compiled, errs = make([]rule, len(rules)), make([]error, len(rules))
	language, err := newLanguage()
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return nil, errs
	}
	names := make(map[string]bool)
	for i := range rules {
		r := rule{Rule: rules[i]}
		r.Servers = slices.Clone(r.Servers)
		if r.Check != nil {
			check := *r.Check
			r.Check = &check
		}
		if r.Approve != nil {
			approve := *r.Approve
			r.Approve = &approve
		}
		errs[i] = r.check()
		if r.Name != "" && names[r.Name] {
			errs[i] = errors.Join(errs[i], errors.New("name: another rule has it"))
		}
		names[r.Name] = true
		r.label = r.nameAt(i)
		if r.When != "" {
			if r.when, err = language.compile(r.When); err != nil {
				errs[i] = errors.Join(errs[i], err)
			}
		}
		compiled[i] = r
	}
	return compiled, errs
}

// check refuses what can be seen without its condition.
func (r *Rule) check() error {
	errs := []error{checkServers(r.Servers)}
	if r.Name != "" && (!isName(r.Name) || slices.Contains([]string{byDefault, byOpen}, r.Name)) {
		errs = append(errs, errors.New("name: it is 1 to 40 of a-z, 0-9 and -, without --, and neither default nor open"))
	}
	if !r.Allow && !r.Limits.IsZero() {
		errs = append(errs, errors.New("limits: they bound what a rule allows, and this one denies"))
	}
	if r.FromServer && !r.Limits.IsZero() {
		errs = append(errs, errors.New("limits: they bound what clients send, and this rule is about what the server asks"))
	}
	if r.Check != nil && (!r.Allow || r.FromServer || r.Report) {
		errs = append(errs, errors.New("check: it has the last word on what a rule allows to clients; take it out of a rule that denies, is about the server, or is in report mode"))
	} else if r.Check != nil {
		errs = append(errs, r.Check.validate())
	}
	if r.Approve != nil && (!r.Allow || r.FromServer || r.Report) {
		errs = append(errs, errors.New("approve: a human has the last word on what a rule allows to clients; take it out of a rule that denies, is about the server, or is in report mode"))
	} else if r.Approve != nil {
		errs = append(errs, r.Approve.validate())
	}
	if r.Report && r.When == "" && r.Allow {
		errs = append(errs, errors.New("mode: a rule that allows everything denies nothing that could be reported; give it a when, or leave the mode out"))
	}
	return errors.Join(append(errs, r.Limits.check())...)
}

// The most that limits may say.
const (
	maxRate       = 1_000_000
	maxConcurrent = 1_000_000
	maxPer        = 24 * time.Hour
)

func (l *Limits) check() error {
	var errs []error
	if l.Rate < 0 || l.Rate > maxRate || (l.Rate > 0) != (l.Per > 0) || l.Per < 0 || l.Per > maxPer || l.Per%time.Millisecond != 0 {
		errs = append(errs, errors.New("limits: rate: write a number of messages and a time, such as 60/1m; at most 1000000 and 24h"))
	}
	if l.Concurrent < 0 || l.Concurrent > maxConcurrent {
		errs = append(errs, errors.New("limits: concurrent: 1 to 1000000 are allowed"))
	}
	if l.Arguments < 0 || l.Result < 0 {
		errs = append(errs, errors.New("limits: arguments and result are numbers of bytes"))
	}
	return errors.Join(errs...)
}

// covers reports whether the rule is about such messages of a server.
func (r *rule) covers(request *Request) bool {
	if r.FromServer != request.FromServer {
		return false
	}
	return slices.Contains(r.Servers, request.Server) || len(r.Servers) == 1 && r.Servers[0] == AllServers
}

// checkServers refuses lists that cover less or more than they seem to.
func checkServers(names []string) error {
	if len(names) == 0 {
		return errors.New(`servers is empty; list names, or ["*"] for all`)
	}
	for i, name := range names {
		switch {
		case name == AllServers && len(names) > 1:
			return errors.New(`servers has "*" beside names; "*" alone stands for all`)
		case name != AllServers && !isName(name):
			return errors.New(`servers holds a name that no server can have: a name is 1 to 40 of a-z, 0-9 and -, without --, and patterns other than "*" do not exist`)
		case slices.Contains(names[:i], name):
			return errors.New("servers holds a name twice")
		}
	}
	return nil
}

// isName reports whether a server, and a rule, can have that name. A server's stands in URLs and, beside a tunnel's, in host
// names.
func isName(name string) bool {
	const longest = 40
	if name == "" || len(name) > longest || strings.Contains(name, "--") {
		return false
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

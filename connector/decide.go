package connector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
)

// What comes of a call that has waited for a human, other than that it goes on.
var (
	errNoLonger   = errors.New("connector: it was approved, and policy no longer allows it")
	errServerGone = errors.New("connector: it was approved, and its server is no longer configured")
)

// decide asks the customer's policy about each message of a call, and lets through only what it allows whole, within the
// limits of the rules that allow it, with the consent of those whom the rules have asked, and on record.
func (c *Connector) decide(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := noteFrom(r.Context())
		n.call = mcp.CallFrom(r.Context())
		n.version = revision(n.call.Spoken())
		if addr, err := netip.ParseAddr(r.Header.Get(mcp.HeaderSource)); err == nil {
			n.source = addr
		}
		defer func() {
			for _, giveBack := range n.taken {
				giveBack()
			}
		}()
		n.deciding = time.Now()
		refused := c.admitAll(w, r, n)
		n.pass(phasePolicy, n.deciding)
		if refused != nil {
			c.refuse(w, r, refused.For(n.call))
			return
		}
		if !n.routes.cfg.Policy.ShowsAll(n.server) {
			n.keep = n.shows
		}
		for _, rule := range n.decision.WouldDeny {
			c.log.WarnContext(r.Context(), "a rule in report mode would have denied the call", telemetry.KeyRequestID, n.requestID, telemetry.KeyRule, rule, telemetry.KeyServer, n.server, telemetry.KeyPrincipal, n.principal.String())
		}
		if refused := c.auditBegin(n); refused != nil {
			c.refuse(w, r, refused.For(n.call))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// admitAll decides all messages of a call, and says why it may not pass.
func (c *Connector) admitAll(w http.ResponseWriter, r *http.Request, n *note) *mcp.Error {
	if !n.routes.cfg.Policy.IsOpen() { // whose rules judge arguments
		if refused := mcp.CheckParams(r.Header, n.call); refused != nil {
			return refused
		}
	}
	for _, m := range messagesOf(n.call) {
		if refused := c.admit(w, r, n, m); refused != nil {
			return refused
		}
	}
	if n.waited {
		return c.again(n)
	}
	return nil
}

// admit decides one message, and says why it may not pass. While it waits for a human it may begin the answer.
func (c *Connector) admit(w http.ResponseWriter, r *http.Request, n *note, m mcp.Message) *mcp.Error {
	d := n.routes.cfg.Policy.Decide(n.asks(m))
	n.decided(d)
	c.auditDecision(n, m, d)
	if !d.Allow {
		return mcp.Denied(d.Rule)
	}
	if refused := c.quarantined(n, &n.upstream.cfg, m); refused != nil {
		n.decision.Allow = false // so that the audit log does not call it allowed
		return refused
	}
	if d.Limits != nil {
		giveBack, refused := c.limits.take(n, d, m)
		if refused != nil {
			n.decision.Allow = false
			return refused
		}
		n.taken = append(n.taken, giveBack)
	}
	if err := n.checked(r.Context(), d, m); err != nil {
		return n.overruled(d, err)
	}
	if d.Approve != nil {
		n.pass(phasePolicy, n.deciding)
		began := time.Now()
		err := c.askHuman(r.Context(), n, d, m, n.beating(w, r))
		n.pass(phaseApproval, began)
		n.deciding = time.Now()
		if err != nil {
			return n.overruled(d, err)
		}
		n.waited = true
	}
	return nil
}

// again decides a call once more that has waited for a human, by the policy and the pins of now: a yes is no leave to do what has
// been forbidden meanwhile. What has been counted and checked stays so.
func (c *Connector) again(n *note) *mcp.Error {
	now := c.current()
	if now.servers[n.server] == nil {
		return n.overruled(policy.Decision{Rule: n.decision.Rule}, errServerGone)
	}
	for _, m := range messagesOf(n.call) {
		request := n.asks(m)
		request.Time = time.Now()
		d := now.cfg.Policy.Decide(request)
		n.decided(d)
		if !d.Allow {
			n.auditAgain(m, d)
			return n.overruled(d, errNoLonger)
		}
		for _, cfg := range []*Server{&n.upstream.cfg, &now.servers[n.server].cfg} {
			if refused := c.quarantined(n, cfg, m); refused != nil {
				n.decision.Allow = false
				return refused
			}
		}
	}
	return nil
}

// checked has a decision service decide about a message, and remembers that it is to see the answer.
func (n *note) checked(ctx context.Context, d policy.Decision, m mcp.Message) error {
	if d.Check == nil {
		return nil
	}
	if d.Check.Arguments {
		if err := n.consult(ctx, d, m, nil); err != nil {
			return err
		}
	}
	if !d.Check.Result || m.Kind != mcp.Request {
		return nil
	}
	if n.call.Endpoint != mcp.EndpointMCP {
		return errElsewhere
	}
	n.checks = append(n.checks, resultCheck{d, m.Detached()}) // the body is let go of before the answer comes
	return nil
}

// shows reports whether an element of a list may be in it. What a list shows is presentation: a call is decided, whether a
// list has named what it calls or not.
func (n *note) shows(method string, e mcp.Element) bool {
	m := mcp.Message{Kind: mcp.Request, Name: e.Name}
	switch method {
	case "tools/list":
		m.Method = "tools/call"
	case "prompts/list":
		m.Method = "prompts/get"
	case "resources/list":
		m.Method = "resources/read"
	case "resources/templates/list":
		return n.routes.cfg.Policy.ShowsTemplate(n.asks(mcp.Message{Kind: mcp.Request, Method: "resources/read"}))
	default:
		return false
	}
	return n.routes.cfg.Policy.Shows(n.asks(m))
}

// overruled is a denial, by a decision service or a human, of what a rule allows.
func (n *note) overruled(d policy.Decision, why error) *mcp.Error {
	n.decision.Allow, n.decision.Rule = false, d.Rule
	e := mcp.Denied(d.Rule)
	e.Err = why
	if errors.Is(why, errMuchToShow) {
		e.Message = fmt.Sprintf("This call would wait for a human, who is asked about at most %d bytes of arguments. Nothing was sent to the server; send less in one call.", maxShownParams)
	}
	return e
}

// messagesOf are the messages that are decided one by one. A request without any, such as for an event stream, counts as
// one that says nothing.
func messagesOf(call *mcp.Call) []mcp.Message {
	if len(call.Messages) == 0 {
		return []mcp.Message{{}}
	}
	return call.Messages
}

// asks is the request that policy judges.
func (n *note) asks(m mcp.Message) policy.Request {
	return policy.Request{Principal: n.principal, Server: n.server, Message: m, Source: n.source, Time: n.start}
}

// decided notes a decision about one message. The log line names the rule that denied, or the one that allowed the first
// message; the smallest of the limits on what comes back counts.
func (n *note) decided(d policy.Decision) {
	would := n.decision.WouldDeny
	for _, rule := range d.WouldDeny {
		if !slices.Contains(would, rule) {
			would = append(would, rule)
		}
	}
	if !d.Allow || n.decision.Rule == "" {
		n.decision = d
	}
	n.decision.WouldDeny = would
	if d.Limits != nil && d.Limits.Result > 0 && (n.maxResult == 0 || d.Limits.Result < n.maxResult) {
		n.maxResult = d.Limits.Result
	}
}

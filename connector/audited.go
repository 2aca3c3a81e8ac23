package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
	"sallyport.dev/telemetry"
)

// errNoAudit says that the log is not open: the connector has only begun, or is about to stop.
var errNoAudit = errors.New("connector: the audit log is not open")

// openAudit begins to write the audit log, if there is to be one.
func (c *Connector) openAudit() (stop func(), err error) {
	if !c.cfg.Audit.Enabled() {
		return func() {}, nil
	}
	log, err := audit.Open(c.cfg.Audit, audit.Options{StateDir: c.cfg.StateDir, Version: c.cfg.Version, Logger: c.log, OnEvent: c.cfg.OnAudit})
	if err != nil {
		return nil, err
	}
	c.log.Info("the audit log is written", telemetry.KeyPath, c.cfg.Audit.Path(c.cfg.StateDir), "mode", string(c.cfg.Audit.Mode), "key", log.PublicKey().String())
	c.audit.Store(log)
	return func() {
		c.audit.Store(nil)
		if err := log.Close(); err != nil {
			c.log.Error("the audit log was not closed whole", telemetry.KeyError, err)
		}
	}, nil
}

// auditDecision notes a decision about one message, to be written with what becomes of the call. Messages of a batch that do nothing but keep
// a conversation going have one line if they are alike: a thousand of them are a few bytes each, and would be most of a megabyte of log.
func (c *Connector) auditDecision(n *note, m mcp.Message, d policy.Decision) {
	if c.audit.Load() == nil {
		return
	}
	arguments := m.Arguments
	if arguments == nil {
		arguments = m.Params
	}
	e := audit.Event{
		Time: n.start, RequestID: n.requestID, Issuer: n.principal.Issuer, Subject: n.principal.Subject, Server: n.server,
		Method: m.Method, Tool: m.PublicName(), Arguments: audit.ArgumentsHash(arguments), Rule: d.Rule, Decision: word(d.Allow), WouldDeny: d.WouldDeny,
	}
	if m.Method == "" {
		e.Method = n.verb
	}
	if policy.Opens(&m) {
		for i := range n.events {
			if other := &n.events[i]; other.Method == e.Method && other.Tool == e.Tool && other.Decision == e.Decision && other.Rule == e.Rule && slices.Equal(other.WouldDeny, e.WouldDeny) {
				other.Alike++
				return
			}
		}
	}
	n.events = append(n.events, e)
}

// auditAgain notes that a message which had been allowed was denied in the end, by another decision.
func (n *note) auditAgain(m mcp.Message, d policy.Decision) {
	for i := range n.events {
		if e := &n.events[i]; e.Method == m.Method && e.Tool == m.Name {
			e.Rule, e.Decision, e.WouldDeny = d.Rule, word(d.Allow), d.WouldDeny
		}
	}
}

func word(allow bool) string {
	if allow {
		return "allow"
	}
	return "deny"
}

// auditBegin records under strict that a call is about to be made. A call that cannot be recorded is not made.
func (c *Connector) auditBegin(n *note) *mcp.Error {
	log := c.audit.Load()
	if log == nil {
		if c.cfg.Audit.Mode == audit.Strict {
			return mcp.AuditUnavailable(errNoAudit)
		}
		return nil
	}
	for i := range n.events {
		if err := log.Begin(n.events[i]); err != nil {
			return mcp.AuditUnavailable(err)
		}
	}
	return nil
}

// auditEnd records the decisions about a call, and what became of it.
func (c *Connector) auditEnd(n *note) {
	log := c.audit.Load()
	if log == nil {
		return
	}
	for i := range n.events {
		e := &n.events[i]
		e.Outcome, e.Delivered, e.Status, e.Duration = n.outcome, string(n.delivered), n.status, time.Since(n.start)
		if !n.decision.Allow && e.Decision == word(true) {
			e.Decision = word(false) // a check, a human or another message of the batch has denied it
		}
		if n.delivered != mcp.DeliveredNo {
			e.Credentials = n.upstream.credentialNames()
		}
		if err := log.End(*e); err != nil {
			c.log.ErrorContext(n.about().Context(context.Background()), "a call is not in the audit log", telemetry.KeyRequestID, n.requestID, telemetry.KeyError, err)
		}
	}
}

// auditAsked records a decision about what a server asks of its client. It reports whether that may go on: under strict
// nothing does that could not be recorded.
func (c *Connector) auditAsked(n *note, m *mcp.Message, d policy.Decision) bool {
	log := c.audit.Load()
	if log == nil {
		return c.cfg.Audit.Mode != audit.Strict
	}
	if err := log.End(audit.Event{
		Time: time.Now(), RequestID: n.requestID, Issuer: n.principal.Issuer, Subject: n.principal.Subject, Server: n.server,
		Method: m.Method, Arguments: audit.ArgumentsHash(m.Params), Rule: d.Rule, Decision: word(d.Allow), Outcome: "asked_by_server",
	}); err != nil {
		c.log.ErrorContext(n.about().Context(context.Background()), "what a server has asked is not in the audit log", telemetry.KeyRequestID, n.requestID, telemetry.KeyError, err)
		return false
	}
	return true
}

// credentialName is what status calls one of the credentials.
func (u *upstream) credentialName(number int) string {
	if number < len(u.names) {
		return u.names[number]
	}
	return u.name
}

// credentialNames are what status calls the credentials that a call carries.
func (u *upstream) credentialNames() (names []string) {
	if u.command != nil {
		for _, v := range u.command.env {
			if v.source != nil {
				names = append(names, u.name+"/env/"+v.name)
			}
		}
		return names
	}
	if u.database != nil {
		for i, l := range u.database.logins {
			if l.source != nil {
				names = append(names, fmt.Sprintf("%s/login/%d", u.name, i+1))
			}
		}
		return names
	}
	for i := range u.bindings {
		names = append(names, fmt.Sprintf("%s/%d", u.name, i+1))
	}
	return names
}

package gateway

import (
	"net/http"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/telemetry"
)

// openAudit begins to write the log of what this gateway denies, if there is to be one.
func (g *Gateway) openAudit() (stop func(), err error) {
	if !g.cfg.Audit.Enabled() {
		return func() {}, nil
	}
	log, err := audit.Open(g.cfg.Audit, audit.Options{StateDir: g.cfg.StateDir, Version: g.cfg.Version, Logger: g.log, OnEvent: g.cfg.OnAudit})
	if err != nil {
		return nil, err
	}
	g.log.Info("the audit log is written", telemetry.KeyPath, g.cfg.Audit.Path(g.cfg.StateDir), "mode", string(g.cfg.Audit.Mode), "key", log.PublicKey().String())
	d := &denials{write: func(e audit.Event) {
		if err := log.End(e); err != nil {
			g.log.Error("a denial is not in the audit log", telemetry.KeyRequestID, e.RequestID, telemetry.KeyError, err)
		}
	}}
	g.audit.Store(log)
	g.denials.Store(d)
	return func() {
		g.denials.Store(nil)
		g.audit.Store(nil)
		d.flush()
		if err := log.Close(); err != nil {
			g.log.Error("the audit log was not closed whole", telemetry.KeyError, err)
		}
	}, nil
}

// auditDenial records what the gateway itself has denied: a token that is none, an origin, a tunnel or server that is not the
// caller's. What a connector decides is in that one's log.
func (g *Gateway) auditDenial(n *note) {
	d := g.denials.Load()
	if d == nil || n.session != nil {
		return
	}
	switch n.status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
	default:
		if n.outcome != "issuer_unavailable" { // nobody could say who it was
			return
		}
	}
	e := audit.Event{
		Time: n.start, RequestID: n.requestID, Issuer: n.principal.Issuer, Subject: n.principal.Subject, Server: n.route.server, Rule: "gateway", Decision: "deny",
		Outcome: n.outcome, Delivered: string(n.delivered), Status: n.status, Duration: time.Since(n.start),
	}
	if n.route.tunnel != "" {
		e.Server = n.route.tunnel + "/" + n.route.server
	}
	if n.call != nil && len(n.call.Messages) > 0 {
		m := &n.call.Messages[0]
		e.Method, e.Tool, e.Arguments = m.Method, m.PublicName(), audit.ArgumentsHash(m.Arguments)
	}
	d.add(e)
}

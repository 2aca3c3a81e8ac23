package connector

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"sallyport.dev/telemetry"
)

// Warnings says what is open or weak in the configuration, for --check and the
// start of the log.
func (c *Connector) Warnings() []string {
	var warnings []string
	now := c.current()
	if now.cfg.Policy.IsOpen() {
		warnings = append(warnings, "policy is OPEN: every principal that the gateway lets through may call everything")
	}
	if now.cfg.Policy.IsEmpty() {
		warnings = append(warnings, "policy has no rule: every call is denied")
	}
	for _, rule := range now.cfg.Policy.NotEnforced() {
		warnings = append(warnings, fmt.Sprintf("policy: %s is NOT ENFORCED: what it would deny passes, and is logged", rule))
	}
	if slices.Contains(c.cfg.Telemetry.OTLP.Signals, telemetry.SignalAudit) && !c.cfg.Audit.Enabled() {
		warnings = append(warnings, "telemetry.otlp.signals has audit, and there is no audit log: nothing of it is sent")
	}
	warnings = append(warnings, c.cfg.TunnelToken.Warnings()...)
	for _, name := range now.names {
		s := now.cfg.Servers[name]
		if command := now.servers[name].command; command != nil {
			warnings = append(warnings, command.exposed()...)
			for _, variable := range slices.Sorted(maps.Keys(s.Env)) {
				warnings = append(warnings, s.Env[variable].Secret.Warnings()...)
			}
			continue
		}
		if database := now.servers[name].database; database != nil {
			warnings = append(warnings, database.warnings()...)
			if s.AllowPlaintext {
				warnings = append(warnings, fmt.Sprintf("servers.%s: allow_plaintext: the connection to the database may go without TLS", name))
			}
			for _, ref := range s.refs() {
				warnings = append(warnings, ref.Warnings()...)
			}
			continue
		}
		u := now.servers[name].origin()
		if u.Scheme == "http" && len(s.Credentials) > 0 {
			warnings = append(warnings, fmt.Sprintf("servers.%s: credentials go over plain http", name))
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			if err := now.addresses.Check(addr); err != nil {
				warnings = append(warnings, fmt.Sprintf("servers.%s: every call will fail: %v", name, err))
			}
		}
		for _, ref := range s.refs() {
			warnings = append(warnings, ref.Warnings()...)
		}
	}
	return warnings
}

// Check reports what could keep the connector from working, without dialling
// the gateway: every credential that cannot be resolved now, and every local
// server that cannot be kept apart as configured. The facts say how the others
// are.
func (c *Connector) Check(ctx context.Context) (facts []string, errs []error) {
	now := c.current()
	for _, issuer := range c.cfg.VerifyAgents {
		facts = append(facts, "callers must prove themselves here too, by tokens of "+issuer)
	}
	for _, name := range now.names {
		u := now.servers[name]
		more, problems := u.check(ctx)
		for i, b := range u.bindings {
			if cred := &u.cfg.Credentials[i]; cred.namesPrincipal() {
				if err := c.checkShared(ctx, cred); err != nil {
					problems = append(problems, fmt.Errorf("%s: %w", b.Injector.Place(), err))
				}
			}
		}
		for _, fact := range more {
			facts = append(facts, fmt.Sprintf("server %s: %s", name, fact))
		}
		for _, err := range problems {
			errs = append(errs, fmt.Errorf("servers.%s: %w", name, err))
		}
	}
	return facts, errs
}

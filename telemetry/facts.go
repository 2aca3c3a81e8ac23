package telemetry

import (
	"fmt"
	"net/netip"
	"net/url"
)

// sending is one signal that is sent.
type sending struct {
	signal string
	to     resolved
}

// The ports that collectors have by custom (OTLP specification).
const (
	portGRPC = "4317"
	portHTTP = "4318"
)

// Facts says what is sent where, for --check and the start of the log.
func (t *Telemetry) Facts() (facts []string) {
	for _, s := range t.sends {
		what, of := s.signal, ""
		switch what {
		case SignalTraces:
			of = fmt.Sprintf(", of %g of the calls and of those that fail", t.sample)
		case SignalAudit:
			what = "events of the audit log"
		}
		facts = append(facts, fmt.Sprintf("telemetry: %s go to %s over %s%s", what, s.to.url, s.to.protocol, of))
	}
	return facts
}

// Warnings says what is weak about that, or most likely a mistake.
func (t *Telemetry) Warnings() (warnings []string) {
	said := make(map[string]bool)
	for _, s := range t.sends {
		for _, w := range s.to.warnings() {
			if !said[w] {
				said[w] = true
				warnings = append(warnings, w)
			}
		}
	}
	return warnings
}

func (r *resolved) warnings() (warnings []string) {
	u, err := url.Parse(r.url)
	if err != nil {
		return nil // which would have been an error
	}
	if len(r.headers) > 0 && r.insecure() && !isLoopback(u.Hostname()) {
		warnings = append(warnings, fmt.Sprintf("telemetry: the headers go to %s over plain http", u.Host))
	}
	switch {
	case r.protocol == protocolHTTP && u.Port() == portGRPC:
		warnings = append(warnings, fmt.Sprintf("telemetry: %s is by custom the port for protocol: %s, and %s is spoken to it", u.Host, protocolGRPC, r.protocol))
	case r.protocol == protocolGRPC && u.Port() == portHTTP:
		warnings = append(warnings, fmt.Sprintf("telemetry: %s is by custom the port for protocol: %s, and %s is spoken to it", u.Host, protocolHTTP, r.protocol))
	}
	return warnings
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

package gateway

import (
	"crypto/x509"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/telemetry"
)

// certificateNotice is how long before its end a certificate is warned about.
const certificateNotice = 14 * 24 * time.Hour

// Open says, a sentence each, where the gateway listens and who may use what, for --check.
func (g *Gateway) Open() []string {
	facts := []string{
		fmt.Sprintf("listens on %s (TCP and UDP): agents, with a token, and connectors", g.cfg.Listen),
		fmt.Sprintf("agents call %s/t/<tunnel>/<server>/mcp", g.cfg.PublicURL),
	}
	if a := g.cfg.Agents; a.Listen != "" {
		facts = append(facts, fmt.Sprintf("listens on %s (plaintext TCP): agents, with a token, through balancers in %v", a.Listen, a.Trusted))
	}
	if g.cfg.Health.Listen != "" {
		facts = append(facts, fmt.Sprintf("listens on %s (plaintext TCP): probes, without authentication", g.cfg.Health.Listen))
	}
	if leaf := g.leaf(); leaf != nil {
		facts = append(facts, fmt.Sprintf("certificate covers %s until %s",
			strings.Join(append(slices.Clone(leaf.DNSNames), addresses(leaf.IPAddresses)...), ", "), leaf.NotAfter.UTC().Format(time.DateOnly)))
	}
	if ca := g.CAFile(); ca != "" {
		facts = append(facts, "clients and connectors must trust "+ca)
	}
	for _, t := range g.cfg.Tunnels {
		facts = append(facts, fmt.Sprintf("tunnel %s: at most %d connectors", t.Name, t.MaxConnectors))
	}
	for _, t := range g.cfg.Agents.Tokens {
		facts = append(facts, fmt.Sprintf("token %s: tunnels %v, servers %v", t.Name, t.Tunnels, t.Servers))
	}
	for _, i := range g.cfg.Agents.Issuers {
		facts = append(facts, fmt.Sprintf("tokens of %s: tunnels %v, servers %v", i.Issuer, i.Tunnels, i.Servers))
	}
	if c := g.cfg.Agents.Certificates; c != nil {
		for _, p := range c.Principals {
			facts = append(facts, fmt.Sprintf("certificate %s: tunnels %v, servers %v", p.Name, p.Tunnels, p.Servers))
		}
	}
	return append(facts, fmt.Sprintf("tokens of its own are known from %s", g.cfg.IssuedDir()))
}

// auditUnsent warns of events that are to be sent and do not exist.
func (c *Config) auditUnsent() []string {
	if slices.Contains(c.Telemetry.OTLP.Signals, telemetry.SignalAudit) && !c.Audit.Enabled() {
		return []string{"telemetry.otlp.signals has audit, and there is no audit log: nothing of it is sent"}
	}
	return nil
}

// leaf is the certificate that clients see now.
func (g *Gateway) leaf() *x509.Certificate {
	cert, err := g.cert.get(nil)
	if err != nil {
		return nil
	}
	return cert.Leaf
}

func addresses[T fmt.Stringer](list []T) []string {
	texts := make([]string, len(list))
	for i, one := range list {
		texts[i] = one.String()
	}
	return texts
}

// othersReadWrite are the permission bits that open a file to group or others.
const othersReadWrite fs.FileMode = 0o066

// modeWarnings finds private keys, and the directory of those, that others
// can read or change.
func (g *Gateway) modeWarnings() []string {
	dir := g.cfg.StateDir
	paths := []string{dir}
	for _, name := range []string{resetKeyFile, assertionKeyFile, sessionKeyFile, caKeyFile, certKeyFile} {
		paths = append(paths, filepath.Join(dir, name))
	}
	if key := g.cfg.TLS.KeyFile; key != "" && !slices.Contains(paths, key) {
		paths = append(paths, key)
	}
	var warnings []string
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&othersReadWrite != 0 {
			warnings = append(warnings, fmt.Sprintf("%s is open to group or others (mode %04o); run: chmod go-rwx %s", path, info.Mode().Perm(), path))
		}
	}
	return warnings
}

// portWarning compares the port of public_url with the one that is listened
// on, which a balancer or a socket that was handed over may explain.
func (g *Gateway) portWarning() []string {
	if g.cfg.Agents.Listen != "" || g.tcp != nil {
		return nil
	}
	_, public, err := net.SplitHostPort(withPort(g.public.Host, g.public.Scheme))
	_, listen, listenErr := net.SplitHostPort(g.cfg.Listen)
	if err != nil || listenErr != nil {
		return nil
	}
	want, err := strconv.Atoi(public)
	got, listenErr := strconv.Atoi(listen)
	if err != nil || listenErr != nil || got == 0 || got == want { // a port by name is not looked up
		return nil
	}
	return []string{fmt.Sprintf("public_url has port %d and listen has port %d: nobody gets through unless something forwards the one to the other", want, got)}
}

// Warnings says what is weak or missing in the configuration, for --check and the start of the log.
func (g *Gateway) Warnings() []string {
	var warnings []string
	if leaf := g.leaf(); leaf != nil {
		for _, name := range g.Names() {
			if leaf.VerifyHostname(name) != nil {
				warnings = append(warnings, fmt.Sprintf("the certificate does not cover %s: clients that call this name will refuse it", name))
			}
		}
		if left := time.Until(leaf.NotAfter); left < 0 {
			warnings = append(warnings, "the certificate has expired: nobody will connect until it is renewed")
		} else if left < certificateNotice {
			warnings = append(warnings, fmt.Sprintf("the certificate expires in %d days: renew it", int(left/(24*time.Hour))))
		}
	}
	warnings = append(warnings, g.cfg.auditUnsent()...)
	warnings = append(warnings, g.modeWarnings()...)
	warnings = append(warnings, g.portWarning()...)
	if g.cfg.TLS.SelfSigned {
		warnings = append(warnings, "tls.self_signed is for trials: clients must be given the CA file")
	}
	warnings = append(warnings, g.cfg.SessionKey.Warnings()...)
	a := g.cfg.Agents
	if a.Listen != "" {
		warnings = append(warnings, fmt.Sprintf("agents.listen takes tokens in the clear from %v: only a balancer may be there", a.Trusted))
	}
	if len(a.Origins) > 0 {
		warnings = append(warnings, fmt.Sprintf("agents.origins lets web pages of %s call", strings.Join(a.Origins, ", ")))
	}
	if len(a.Tokens) == 0 && len(a.Issuers) == 0 && a.Certificates == nil && !g.callers.issued.Any() {
		warnings = append(warnings, "agents has neither tokens nor issuers nor certificates, and no token of its own was made: nobody may call")
	}
	for _, i := range a.Issuers {
		if len(i.Audiences) > 0 {
			warnings = append(warnings, fmt.Sprintf("agents.issuers: %q: a token with one of its audiences is good for every server that its scopes or claims are for", i.Issuer))
		}
		if i.Introspection != nil {
			warnings = append(warnings, i.Introspection.ClientSecret.Warnings()...)
		}
	}
	for _, t := range a.Tokens {
		if slices.Contains(t.Tunnels, "*") && slices.Contains(t.Servers, "*") {
			warnings = append(warnings, fmt.Sprintf("agents.tokens: %q may use every server of every tunnel", t.Name))
		}
		warnings = append(warnings, t.Token.Warnings()...)
	}
	for _, t := range g.cfg.Tunnels {
		warnings = append(warnings, t.TunnelToken.Warnings()...)
	}
	return warnings
}

package demo

import (
	"log/slog"
	"maps"
	"path/filepath"
	"slices"

	"sallyport.dev/audit"
	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/policy"
)

// connectorConfig is the connector's configuration: the demo's own servers, and the user's.
func (d *Demo) connectorConfig(transport string) (connector.Config, error) {
	cfg := connector.Config{
		Gateway:     d.gatewayAddr(),
		GatewayCA:   d.gateway.CAFile(),
		TunnelToken: d.tunnel,
		Transport:   transport,
		Servers: map[string]connector.Server{
			ordersName: ordersServer(),
			diagName:   {URL: d.diag.url()},
			notesName: {
				URL:            d.notes.url(),
				AllowPlaintext: true,
				Credentials: []connector.Credential{{
					Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"},
					Secret: d.keyFile,
				}},
			},
			ticketsName: {
				URL:            d.tickets.url(),
				AllowPlaintext: true,
				Credentials: []connector.Credential{{
					OAuth: &oauth.Config{TokenURL: d.tickets.at("/token"), ClientID: clientName, ClientSecret: d.clientAt, AllowPlaintext: true},
				}},
			},
		},
		Logger:  slog.New(d.watch.role(roleConnector)),
		Version: d.cfg.Version,
	}
	if t := d.told.connector; t != nil {
		cfg.Tracer, cfg.Meter = t.Tracer, t.Meter
		cfg.Logger = slog.New(t.Handler(d.watch.role(roleConnector)))
	}
	if d.local != nil {
		cfg.Servers[localName] = *d.local
	}
	cfg.StateDir, cfg.Audit = d.connectorState(), audit.Config{Mode: audit.BestEffort}
	var err error
	if cfg.Policy, err = d.ownPolicy(); err != nil || d.cfg.Extra == nil {
		return cfg, err
	}
	return cfg, d.cfg.Extra.addTo(&cfg)
}

// noErasing is the rule by which nobody erases notes.
const noErasing = "no-erasing"

// ownPolicy allows everything on the demo's own servers, but for one tool.
func (d *Demo) ownPolicy() (policy.Policy, error) {
	return policy.New([]policy.Rule{
		{Servers: d.ownNames(), Allow: true},
		{Name: noErasing, Servers: []string{notesName}, When: `mcp.tool == "` + eraseTool + `"`},
	})
}

// connectorState is the connector's state_dir.
func (d *Demo) connectorState() string { return filepath.Join(d.dir, roleConnector, "state") }

// allow makes the policy that allows everything on these servers.
func allow(servers ...string) (policy.Policy, error) {
	return policy.New([]policy.Rule{{Servers: servers, Allow: true}})
}

// names are the names of all servers, the demo's own first.
func (d *Demo) names() []string {
	names := d.ownNames()
	if d.cfg.Extra != nil {
		names = append(names, slices.Sorted(maps.Keys(d.cfg.Extra.Servers))...)
	}
	return names
}

func (d *Demo) gatewayAddr() string { return d.public[len("https://"):] }

package demo

import (
	"log/slog"
	"maps"
	"slices"

	"sallyport.dev/connector"
	"sallyport.dev/credential"
	"sallyport.dev/policy"
)

// connectorConfig is the connector's configuration: the demo's two servers, and the user's.
func (d *Demo) connectorConfig(transport string) (connector.Config, error) {
	cfg := connector.Config{
		Gateway:     d.gatewayAddr(),
		GatewayCA:   d.gateway.CAFile(),
		TunnelToken: d.tunnel,
		Transport:   transport,
		Servers: map[string]connector.Server{
			diagName: {URL: d.diag.url()},
			notesName: {
				URL:            d.notes.url(),
				AllowPlaintext: true,
				Credentials: []connector.Credential{{
					Header: credential.Header{Name: "Authorization", Template: "Bearer {secret}"},
					Secret: d.keyFile,
				}},
			},
		},
		Logger:  slog.New(d.watch.role(roleConnector)),
		Version: d.cfg.Version,
	}
	own, err := policy.New([]policy.Rule{{Servers: []string{diagName, notesName}, Allow: true}})
	if err != nil {
		return cfg, err
	}
	cfg.Policy = own
	if d.cfg.Extra == nil {
		return cfg, nil
	}
	return cfg, d.cfg.Extra.addTo(&cfg)
}

// names are the names of all servers, the demo's own first.
func (d *Demo) names() []string {
	names := []string{diagName, notesName}
	if d.cfg.Extra != nil {
		names = append(names, slices.Sorted(maps.Keys(d.cfg.Extra.Servers))...)
	}
	return names
}

func (d *Demo) gatewayAddr() string { return d.public[len("https://"):] }

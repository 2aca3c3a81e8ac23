package connector

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/telemetry"
)

// Reload puts another configuration in the place of the one that is served, for calls from now on; those under way are
// finished with the old one. A configuration that cannot be used changes nothing, and is the error. waiting are the keys
// that have changed and count after a restart only: those by which the connector reaches its gateway, and whatever starts
// a command.
//
// If the names of the servers change, each session to the gateway is replaced by another before it is left.
func (c *Connector) Reload(cfg Config) (waiting []string, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c.reloading.Lock()
	defer c.reloading.Unlock()
	old := c.current()
	waiting = changedForGood(&old.cfg, &cfg)
	c.keeper.SetIssuers(cfg.issuerNames())
	next, more, err := c.newRoutes(cfg, old)
	switch {
	case err != nil && len(waiting) > 0:
		return nil, fmt.Errorf("%w; it may need what counts after a restart only: %s", err, strings.Join(waiting, ", "))
	case err != nil:
		return nil, err
	}
	waiting = append(waiting, more...)
	next.waiting = waiting
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		next.abandon(old)
		return nil, errors.New("connector: it is stopping")
	}
	c.routes = next
	c.allowed.Store(&next.addresses)
	if !slices.Equal(old.names, next.names) {
		close(c.renamed)
		c.renamed = make(chan struct{})
	}
	old.services.close()
	for name, u := range old.servers {
		if next.servers[name] != u {
			c.retired.Go(u.close) // when its calls have ended
		}
	}
	c.mu.Unlock()
	for _, w := range c.Warnings() {
		c.log.Warn("the configuration is weak", telemetry.KeyReason, w)
	}
	return waiting, nil
}

// changedForGood names the keys that differ and that a running connector does not take over.
func changedForGood(old, cfg *Config) (keys []string) {
	for key, same := range map[string]bool{
		"gateway":       old.Gateway == cfg.Gateway,
		"gateway_ca":    old.GatewayCA == cfg.GatewayCA,
		"tunnel_token":  old.TunnelToken.String() == cfg.TunnelToken.String(),
		"audit":         inYAML(old.Audit) == inYAML(cfg.Audit),
		"state_dir":     old.StateDir == cfg.StateDir,
		"transport":     old.Transport == cfg.Transport,
		"connections":   old.Connections == cfg.Connections,
		"max_processes": old.MaxProcesses == cfg.MaxProcesses,
		"max_body":      old.MaxBody == cfg.MaxBody,
		"auth":          inYAML(old.Auth) == inYAML(cfg.Auth),
		"verify_agents": slices.Equal(old.VerifyAgents, cfg.VerifyAgents),
		"sources":       inYAML(old.Sources) == inYAML(cfg.Sources),
		"telemetry":     inYAML(lasting(old.Telemetry)) == inYAML(lasting(cfg.Telemetry)),
	} {
		if !same {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// lasting is what counts of it for as long as the connector runs.
func lasting(cfg telemetry.Config) telemetry.Config {
	cfg.Logs.Level = ""
	return cfg
}

// inYAML is a text that is the same for what is configured the same.
func inYAML(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		return "" // all that is configured has come from YAML
	}
	return string(text)
}

// Files are the files beside the configuration itself from which the connector has read what it does not read again by
// itself: when one of them changes, Reload takes it over.
func (c *Connector) Files() []string {
	files := make(map[string]bool)
	for _, s := range c.current().cfg.Servers {
		for _, file := range s.caFiles() {
			files[file] = true
		}
	}
	for _, check := range c.current().cfg.Policy.Checks() {
		files[check.CAFile] = true
	}
	for _, approve := range c.current().cfg.Policy.Approvals() {
		files[approve.CAFile] = true
	}
	delete(files, "")
	return slices.Sorted(maps.Keys(files))
}

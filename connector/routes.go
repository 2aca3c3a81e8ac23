package connector

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"sallyport.dev/address"
	"sallyport.dev/secret"
)

// routes are what the connector serves: the part of its configuration that can change while it runs. They do not change
// themselves; others take their place.
type routes struct {
	cfg       Config
	addresses address.Allowed
	servers   map[string]*upstream
	services  services // that decide
	names     []string
	read      time.Time // when it was
	waiting   []string  // what counts after a restart
}

// newRoutes makes the routes of a configuration. Servers that are the same in old, which may be nil, are taken from there.
// Those that cannot change while the connector runs stay as they are in old, and are named in waiting.
func (c *Connector) newRoutes(cfg Config, old *routes) (next *routes, waiting []string, err error) {
	next = &routes{cfg: cfg, servers: make(map[string]*upstream), read: time.Now()}
	if next.addresses, err = address.Parse(cfg.Upstream.AllowedIPs); err != nil {
		return nil, nil, fmt.Errorf("upstream.allowed_ips: %w", err)
	}
	if next.services, err = newServices(cfg.Policy, next.addresses); err != nil {
		return nil, nil, err
	}
	if old == nil {
		old = new(routes)
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Servers)) {
		s := cfg.Servers[name]
		before := old.servers[name]
		identity, err := identityOf(name, s, cfg)
		switch {
		case err != nil:
			next.abandon(old)
			return nil, nil, fmt.Errorf("servers.%s: %w", name, err)
		case before != nil && before.identity == identity:
			next.servers[name] = before
			continue
		case old.servers != nil && waits(s, before):
			waiting = append(waiting, "servers."+name)
			if before != nil {
				next.servers[name], next.cfg.Servers[name] = before, before.cfg
			} else {
				delete(next.cfg.Servers, name)
			}
			continue
		}
		u, err := c.newUpstream(name, s, next, before)
		if err != nil {
			next.abandon(old)
			return nil, nil, fmt.Errorf("servers.%s: %w", name, err)
		}
		u.identity = identity
		next.servers[name] = u
	}
	for name, before := range old.servers {
		if _, ok := next.servers[name]; !ok && before.cfg.isLocal() {
			waiting = append(waiting, "servers."+name)
			next.servers[name], next.cfg.Servers[name] = before, before.cfg
		}
	}
	next.names = slices.Sorted(maps.Keys(next.servers))
	return next, waiting, nil
}

// abandon closes what has been made for routes that are not used.
func (r *routes) abandon(old *routes) {
	for name, u := range r.servers {
		if old.servers[name] != u {
			u.close()
		}
	}
}

// waits reports whether a server that is new or has changed has to wait for a restart: whoever can write the file must not
// get a command started by that alone.
func waits(s Server, before *upstream) bool {
	if s.isLocal() || before != nil && before.cfg.isLocal() {
		return true
	}
	for _, ref := range s.refs() {
		same := func(other secret.Ref) bool { return other.String() == ref.String() }
		if ref.Scheme() == "exec" && (before == nil || !slices.ContainsFunc(before.cfg.refs(), same)) {
			return true
		}
	}
	return false
}

// identityOf is a text that differs when anything does that a server is made of.
func identityOf(name string, s Server, cfg Config) (string, error) {
	text, err := yaml.Marshal(struct {
		Name    string
		Server  Server
		Allowed []string
		Issuers map[string]string
	}{name, s, cfg.Upstream.AllowedIPs, cfg.Issuers})
	if err != nil {
		return "", err
	}
	for _, file := range s.caFiles() {
		ca, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("ca_file: %w", err)
		}
		text = fmt.Appendf(text, "%x", sha256.Sum256(ca))
	}
	return string(text), nil
}

// caFiles are the files of CA certificates that a server names.
func (s *Server) caFiles() (files []string) {
	if s.CAFile != "" {
		files = append(files, s.CAFile)
	}
	for i := range s.Credentials {
		if oauth := s.Credentials[i].OAuth; oauth != nil && oauth.CAFile != "" {
			files = append(files, oauth.CAFile)
		}
	}
	return files
}

// localNames are the names of the servers that are local commands.
func (r *routes) localNames() (names []string) {
	for _, name := range r.names {
		if r.servers[name].command != nil {
			names = append(names, name)
		}
	}
	return names
}

// current returns the routes of now.
func (c *Connector) current() *routes {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.routes
}

// enter returns the routes of now, and the upstream of a server, which is not closed before the returned function has been
// called. Without such a server it returns nil.
func (c *Connector) enter(name string) (now *routes, u *upstream, leave func()) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if u = c.routes.servers[name]; u == nil || c.stopped {
		return c.routes, nil, nil
	}
	u.calls.Add(1)
	return c.routes, u, u.calls.Done
}

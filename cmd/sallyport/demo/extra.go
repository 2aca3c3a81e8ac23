package demo

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"sallyport.dev/connector"
	"sallyport.dev/policy"
)

// Extra is a partial connector.yaml: servers of the user's that the demo serves beside its own. Every other key of
// connector.yaml is refused, because the demo decides it.
type Extra struct {
	// Servers are added to the demo's; the names diag, notes and local are taken. Required.
	Servers map[string]connector.Server `yaml:"servers"`
	// Upstream bounds what may be dialled. Optional.
	Upstream connector.Upstream `yaml:"upstream"`
	// Policy holds for these servers. Optional; without it the demo's token may call all of them.
	Policy policy.Policy `yaml:"policy"`
}

// Validate reports what does not go with the demo. The connector checks the servers themselves.
func (e *Extra) Validate() error {
	var errs []error
	if len(e.Servers) == 0 {
		errs = append(errs, errors.New("servers: at least one is required"))
	}
	for _, name := range []string{diagName, notesName, localName} {
		if _, taken := e.Servers[name]; taken {
			errs = append(errs, fmt.Errorf("servers.%s: the demo has a server of this name: rename yours", name))
		}
	}
	for _, name := range e.Policy.Servers() {
		if _, ok := e.Servers[name]; !ok {
			errs = append(errs, fmt.Errorf("policy: there is no server %q", name))
		}
	}
	return errors.Join(errs...)
}

// addTo adds the servers, and what says who may call them.
func (e *Extra) addTo(cfg *connector.Config) error {
	maps.Copy(cfg.Servers, e.Servers)
	more := e.Policy
	if more.IsZero() || more.IsOpen() {
		var err error
		if more, err = policy.New([]policy.Rule{{Servers: slices.Sorted(maps.Keys(e.Servers)), Allow: true}}); err != nil {
			return err
		}
	}
	cfg.Policy = cfg.Policy.Plus(more)
	if len(e.Upstream.AllowedIPs) > 0 {
		cfg.Upstream.AllowedIPs = append(slices.Clone(e.Upstream.AllowedIPs), "127.0.0.1/32") // the demo's own servers
	}
	return nil
}

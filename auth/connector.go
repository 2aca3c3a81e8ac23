package auth

import (
	"errors"
	"fmt"
	"strings"

	"sallyport.dev/secret"
)

// maxTunnelNameBytes is the longest tunnel slug, so that it fits a DNS label together with a server's name.
const maxTunnelNameBytes = 40

// Tunnel is a tunnel of the configuration and the token by which its connectors prove that they belong to it.
type Tunnel struct {
	// Name is the tunnel's slug: lower-case letters, digits and hyphens, 1 to 40 of them, no double hyphen.
	Name string
	// Token is what a connector presents when it attaches: at least 32 characters of the bearer grammar, unique.
	Token secret.Value
	// MaxConnectors is how many connectors may serve the tunnel at once. Optional; 0 leaves it to the gateway.
	MaxConnectors int
}

// Tunnels tells connectors apart by their tunnel tokens. It is safe for concurrent use.
type Tunnels struct {
	table   tokenTable
	tunnels []Tunnel
}

// NewTunnels checks the tunnels and gives their lookup. An error names the offending tunnel by its name, never by its
// token.
func NewTunnels(tunnels []Tunnel) (*Tunnels, error) {
	ts := &Tunnels{}
	seen := make(map[string]bool, len(tunnels))
	for i, t := range tunnels {
		if err := checkTunnelName(t.Name); err != nil {
			return nil, fmt.Errorf("auth: tunnel number %d: %w", i+1, err)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("auth: tunnel %q is listed twice: rename one", t.Name)
		}
		seen[t.Name] = true
		if t.MaxConnectors < 0 {
			return nil, fmt.Errorf("auth: tunnel %q: the number of connectors cannot be negative", t.Name)
		}
		if err := ts.table.add(t.Token); err != nil {
			return nil, fmt.Errorf("auth: the token of tunnel %q %w", t.Name, err)
		}
		ts.tunnels = append(ts.tunnels, Tunnel{Name: t.Name, MaxConnectors: t.MaxConnectors})
	}
	return ts, nil
}

// Identify gives the tunnel whose token this is, without the token itself. It compares with all of them whichever
// matches, so its cost tells nothing about them but their number.
func (ts *Tunnels) Identify(token string) (Tunnel, error) {
	i, err := ts.table.find(token)
	if err != nil {
		return Tunnel{}, err
	}
	return ts.tunnels[i], nil
}

func checkTunnelName(name string) error {
	if name == "" || len(name) > maxTunnelNameBytes {
		return fmt.Errorf("name must have 1 to %d characters", maxTunnelNameBytes)
	}
	for i := range len(name) {
		c := name[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-') {
			return errors.New("name must be lower-case letters, digits and hyphens")
		}
	}
	if strings.Contains(name, "--") {
		return errors.New("name must not contain a double hyphen: it separates server and tunnel in host names")
	}
	return nil
}

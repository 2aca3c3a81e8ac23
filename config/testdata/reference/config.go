// Package reference is read, never built, by the test of the generator. It does not know what its keys do.
package reference

import (
	"time"

	"sallyport.dev/secret"
)

// Config configures a gate
// and no more.
type Config struct {
	// Listen is the address
	// to listen on. Required.
	Listen string `yaml:"listen"`
	// Wait bounds a call | wait. Default 1.5s. Longer ones are cut.
	Wait time.Duration `yaml:"wait"`
	// Token proves the tunnel.
	Token secret.Ref `yaml:"token"`
	// Tunnels are the tenants. Optional.
	Tunnels []Tunnel `yaml:"tunnels"`
	// Servers are what agents reach.
	Servers map[string]*Server `yaml:"servers"`
	// TLS is the key pair.
	TLS struct {
		Cert string `yaml:"cert_file"` // Cert is the chain in PEM.
	} `yaml:"tls"`
	// Rules decide.
	Rules  Rules  `yaml:"rules"`
	Common Common `yaml:",inline"`
	Hidden string `yaml:"-"`
	secret string
}

// Tunnel is one tenant.
type Tunnel struct {
	// Name is the tunnel's slug.
	Name string `yaml:"name"`
	// Children are tunnels below it.
	Children []Tunnel `yaml:"children"`
}

// Server is one server.
type Server struct {
	// Open admits all. Defaults to false.
	Open  bool
	Level Level // Level is how much to log. Default: info.
}

// Level is a log level.
type Level string

// Common is in every role.
type Common struct {
	// Limit bounds streams. Default 1024.
	Limit int `yaml:"limit"`
}

// Rules decodes itself.
type Rules struct {
	Names []string
}

// UnmarshalYAML reads either form.
func (r *Rules) UnmarshalYAML(any) error { return nil }

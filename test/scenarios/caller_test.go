package scenarios_test

import (
	"maps"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/config"
	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
)

// caller is the section of that name: with whose token the agent comes.
type caller struct {
	// Issued is a token of the gateway's own.
	Issued *struct {
		Name    string            `yaml:"name"`
		Tunnels []string          `yaml:"tunnels"`
		Servers []string          `yaml:"servers"`
		Claims  map[string]string `yaml:"claims"`
	} `yaml:"issued"`
	// Require is what the gateway requires of the tokens of an identity provider, which speaks for the tunnel acme, and
	// Claims are those of the agent's token, which is for the server wiki unless aud is among them.
	Require map[string]oidc.Requirement `yaml:"require"`
	Claims  map[string]string           `yaml:"claims"`
}

// configure has a gateway know the caller, and gives the caller's token, once the gateway is made.
func (c *caller) configure(t *testing.T, cfg *gateway.Config) (token string) {
	t.Helper()
	if c.Issued != nil {
		store, err := issued.NewStore(cfg.IssuedDir(), cfg.PublicURL)
		if err != nil {
			t.Fatal(err)
		}
		order := issued.Order{Name: c.Issued.Name, Grant: auth.Grant{Tunnels: c.Issued.Tunnels, Servers: c.Issued.Servers}, TTL: time.Hour, Claims: mixed(c.Issued.Claims)}
		_, value, err := store.Create(order)
		if err != nil {
			t.Fatal(err)
		}
		return value.Reveal()
	}
	idp := providertest.New(t, providertest.Options{})
	cfg.Agents.Issuers = []oidc.Config{{
		Issuer: idp.Issuer(), CAFile: idp.CAFile(), AllowedIPs: []string{"127.0.0.0/8"}, Tunnels: []string{stack.Tunnel}, Require: c.Require,
	}}
	claims := map[string]any{"aud": cfg.PublicURL + "/t/" + stack.Tunnel + "/wiki/mcp"}
	maps.Copy(claims, mixed(c.Claims))
	return idp.Issue(claims)
}

func mixed(claims map[string]string) map[string]any {
	all := make(map[string]any, len(claims))
	for name, value := range claims {
		all[name] = value
	}
	return all
}

// parseCaller reads the section.
func parseCaller(t *testing.T, text string) *caller {
	t.Helper()
	c := new(caller)
	if err := config.Decode("caller", []byte(text), c); err != nil {
		t.Fatal(err)
	}
	return c
}

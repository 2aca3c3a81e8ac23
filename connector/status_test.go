package connector

import (
	"testing"

	"sallyport.dev/policy"
)

// Another configuration has another version, also where only a rule's condition differs.
func TestConfigurationVersion(t *testing.T) {
	c, reload := reloadable(t, secretFile(t, "key", "Xm4-very-own-secret-T8uPq"), nil)
	seen := map[string]bool{c.Status().ConfigurationVersion: true}
	for _, when := range []string{`mcp.tool == "a"`, `mcp.tool == "b"`} {
		reload(func(cfg *Config, _ *Server) {
			p, err := policy.New([]policy.Rule{{Servers: []string{"wiki"}, When: when, Allow: true}})
			if err != nil {
				t.Fatal(err)
			}
			cfg.Policy = p
		})
		if v := c.Status().ConfigurationVersion; seen[v] || len(v) != 12 {
			t.Errorf("%s: %s", when, v)
		} else {
			seen[v] = true
		}
	}
	reload(func(*Config, *Server) {})
	if v := c.Status().ConfigurationVersion; !seen[v] {
		t.Errorf("the same again is %s", v)
	}
}

package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/mcp"
)

// TestTokensThatAreForwarded: a connector that asks for callers' own tokens gets those that are of no use in another tunnel,
// and no others: it may belong to somebody else than the rest.
func TestTokensThatAreForwarded(t *testing.T) {
	idp, wide := newIssuer(t, "*")
	shared := func(c *oidc.Config) {
		c.Audiences = []string{"api://mcp"}
		c.Require = map[string]oidc.Requirement{"*": {Scopes: []string{"use"}}}
	}
	for name, test := range map[string]struct {
		change func(*oidc.Config)
		token  func() string
		asks   string
		gets   bool
	}{
		"a token for one URL": {func(*oidc.Config) {}, func() string {
			return idp.Issue(map[string]any{"aud": testPublicURL + "/t/bait/wiki/mcp"})
		}, idp.Issuer(), true},
		"the same, of an issuer that was not asked for": {func(*oidc.Config) {}, func() string {
			return idp.Issue(map[string]any{"aud": testPublicURL + "/t/bait/wiki/mcp"})
		}, "https://other.example", false},
		"a static token":                               {func(*oidc.Config) {}, func() string { return testAgentToken }, testPublicURL, false},
		"an audience that other tunnels share":         {shared, func() string { return idp.Issue(map[string]any{"aud": "api://mcp", "scope": "use"}) }, idp.Issuer(), false},
		"audiences that other tunnels may be":          {func(c *oidc.Config) { c.ExtraAudiences = true }, func() string { return idp.Issue(map[string]any{"aud": testPublicURL + "/t/bait/wiki/mcp"}) }, idp.Issuer(), false},
		"an audience of an issuer of this tunnel only": {func(c *oidc.Config) { shared(c); c.Tunnels = []string{"bait"} }, func() string { return idp.Issue(map[string]any{"aud": "api://mcp", "scope": "use"}) }, idp.Issuer(), true},
	} {
		t.Run(name, func(t *testing.T) {
			const tunnelToken = "bait-tunnel-token-0123456789abcdefghijklmnopqrst"
			issuer := wide
			test.change(&issuer)
			g, _ := newVerifying(t, func(c *Config) {
				c.Tunnels = append(c.Tunnels, Tunnel{Name: "bait", TunnelToken: secretFile(t, t.TempDir(), "token", tunnelToken)})
				c.Agents.Issuers = []oidc.Config{issuer}
			})
			connector := dialGateway(t, g, "two")
			body, err := auth.MarshalAttach(auth.AttachRequest{Instance: "two", Servers: []string{"wiki"}, Verifies: []string{test.asks}})
			if err != nil {
				t.Fatal(err)
			}
			if status, answer := connector.ask(t, attachRequest(tunnelToken, string(body))); status != http.StatusOK {
				t.Fatalf("attach: %d %s", status, answer)
			}
			got := make(chan http.Header, 1)
			go func() {
				conn, err := connector.Accept(t.Context())
				if err != nil {
					return
				}
				defer func() { _ = conn.Close() }()
				if r, _, err := readRequest(conn); err == nil {
					got <- r.Header
				}
				_, _ = io.WriteString(conn, okAnswer)
			}()
			token := test.token()
			r := post(token, "wiki", listTools)
			r.URL.Path = "/t/bait/wiki/mcp"
			r.RequestURI = r.URL.Path
			if w := serve(g, r); w.Code != http.StatusOK {
				t.Fatalf("the call: %d %s", w.Code, w.Body)
			}
			header := <-got
			if values := header[mcp.HeaderAgentToken]; (len(values) == 1 && values[0] == token) != test.gets || len(values) > 1 {
				t.Errorf("the connector got %d tokens", len(values))
			}
			delete(header, mcp.HeaderAgentToken)
			for name, values := range header {
				if strings.Contains(strings.Join(values, " "), token) {
					t.Errorf("the token is in %s", name)
				}
			}
			connector.hangUp()
		})
	}
}

func TestCertificatesAreBounded(t *testing.T) {
	small, large := &x509.Certificate{Raw: make([]byte, 1<<10)}, &x509.Certificate{Raw: make([]byte, 31<<10)}
	for name, test := range map[string]struct {
		chain []*x509.Certificate
		good  bool
	}{
		"none":        {nil, true},
		"eight":       {slices.Repeat([]*x509.Certificate{small}, 8), true},
		"nine":        {slices.Repeat([]*x509.Certificate{small}, 9), false},
		"32 KiB":      {[]*x509.Certificate{large, small}, true},
		"above 32KiB": {[]*x509.Certificate{large, small, small}, false},
	} {
		if err := boundCertificates(tls.ConnectionState{PeerCertificates: test.chain}); (err == nil) != test.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

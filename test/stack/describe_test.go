package stack_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// TestDescribe over every transport, beside the connector that serves the tunnel.
func TestDescribe(t *testing.T) {
	servers := map[string]connector.Server{"wiki": {URL: "http://127.0.0.1:9/mcp"}, "docs": {URL: "http://127.0.0.1:9/mcp"}}
	for _, transport := range stack.Transports() {
		t.Run(string(transport), func(t *testing.T) {
			var cfg connector.Config
			s := stack.New(t, stack.Options{Transport: transport, Servers: servers, Connector: func(c *connector.Config) { cfg = *c }})
			waitFor(t, s, `"msg":"connector attached"`)
			asker, err := connector.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := asker.Describe(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if answer.Tunnel != stack.Tunnel || answer.Issuer != s.PublicURL || answer.URLs["wiki"] != s.URL("wiki") || answer.URLs["docs"] != s.URL("docs") || len(answer.URLs) != 2 {
				t.Errorf("%+v", answer)
			}
			if log := s.Log.String(); strings.Contains(log, `"msg":"attach refused"`) || strings.Contains(log, stack.TunnelToken) {
				t.Errorf("the log is %s", log)
			}
			waitFor(t, s, `"msg":"connector described"`)
		})
	}
}

// TestDescribeFailsWithAdvice as an attach does.
func TestDescribeFailsWithAdvice(t *testing.T) {
	servers := map[string]connector.Server{"wiki": {URL: "http://127.0.0.1:9/mcp"}}
	for _, transport := range []tunnel.Transport{tunnel.TCP, tunnel.QUIC} {
		s := stack.New(t, stack.Options{Transport: transport, NoConnector: true, Servers: servers})
		ask := func(change func(*connector.Config)) error {
			t.Helper()
			cfg := connector.Config{Gateway: s.Addr, GatewayCA: s.CAFile, TunnelToken: s.Secret(t, "tunnel.token", stack.TunnelToken), Transport: string(transport), Servers: servers, Policy: policy.Open()}
			change(&cfg)
			c, err := connector.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err = c.Describe(ctx)
			return err
		}
		wrong := func(t *testing.T) secret.Ref { return s.Secret(t, "wrong.token", strings.Repeat("w1", 20)) }
		if err := ask(func(c *connector.Config) { c.TunnelToken = wrong(t) }); err == nil || !strings.Contains(err.Error(), "compare tunnel_token here") || strings.Contains(err.Error(), "w1w1") {
			t.Errorf("%s, another token: %v", transport, err)
		}
		var unknown x509.UnknownAuthorityError
		if err := ask(func(c *connector.Config) { c.GatewayCA = "" }); !errors.As(err, &unknown) || !strings.Contains(err.Error(), "set gateway_ca") {
			t.Errorf("%s, without its CA: %v", transport, err)
		}
		s.StopGateway()
		if err := ask(func(*connector.Config) {}); err == nil || !strings.Contains(err.Error(), "see that the gateway runs") {
			t.Errorf("%s, no gateway: %v", transport, err)
		}
	}
}

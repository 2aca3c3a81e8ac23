package connector

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

// TestDescribeSaysWhatToDo with the hints of an attach, and never the token.
func TestDescribeSaysWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		says   string
		is     error
	}{
		"a token that the gateway does not know": {http.StatusUnauthorized, "compare tunnel_token here", errRefused},
		"an older gateway":                       {http.StatusNotFound, "update the gateway", errRefused},
		"a gateway that drains":                  {http.StatusServiceUnavailable, "draining", errDraining},
		"anything else":                          {http.StatusBadRequest, `"because"`, errRefused},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFakeGateway(t)
			g.refuse = func() (int, string) { return test.status, "because" }
			c, _ := newConnector(t, g, "http://127.0.0.1:9/mcp", nil)
			_, err := c.Describe(t.Context())
			if !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), testTunnelToken) || strings.Contains(err.Error(), seeError) {
				t.Errorf("%v, want one that says %q", err, test.says)
			}
			g.crew.Wait()
		})
	}
}

func TestDescribeHintsAtWhatKeepsItFromDialling(t *testing.T) {
	g := newFakeGateway(t)
	c, _ := newConnector(t, g, "http://127.0.0.1:9/mcp", nil)
	c.dial = func(context.Context, tunnel.Config) (*tunnel.Session, error) { return nil, errors.New("no answer") }
	if _, err := c.Describe(t.Context()); err == nil || !strings.Contains(err.Error(), "no answer: see that the gateway runs") {
		t.Error(err)
	}
}

// TestDescribeEndsWithItsContext, and hangs up.
func TestDescribeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	g := newFakeGateway(t)
	g.refuse = func() (int, string) { cancel(); <-t.Context().Done(); return http.StatusOK, "" }
	c, _ := newConnector(t, g, "http://127.0.0.1:9/mcp", nil)
	start := time.Now()
	if _, err := c.Describe(ctx); err == nil || time.Since(start) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

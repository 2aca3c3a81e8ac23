package attack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
	"sallyport.dev/connector"
	"sallyport.dev/mcp"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

// nobody is the version of HTTP of an attack that no agent makes.
const nobody proto = "–"

// captor is a hostile gateway, and a connector that has attached to it: it has the key that the connector trusts, and sends
// what it likes.
type captor struct {
	session  *tunnel.Session
	instance string
}

// newCaptor attaches a connector with its own to the servers.
func newCaptor(t *testing.T, transport tunnel.Transport, servers map[string]connector.Server, log *stack.Log, cfg connector.Config) *captor {
	t.Helper()
	attached := make(chan *tunnel.Session, 1)
	cfg.Servers, cfg.Connections = servers, 1
	cfg.Gateway = "captor.attack.test:443"
	cfg.Dial = func(ctx context.Context, self tunnel.Config) (*tunnel.Session, error) {
		dialed, accepted := tunneltest.Pair(t, transport, self, tunnel.Config{Instance: "captor", AcceptStreams: tunnel.GatewayStreams})
		go func() {
			if err := welcome(ctx, accepted); err != nil {
				t.Errorf("attach to the captor: %v", err)
			}
			attached <- accepted
		}()
		return dialed, nil
	}
	c, err := connector.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	var captured *captor
	t.Cleanup(func() {
		stop()
		if captured != nil {
			captured.session.CloseWith(tunnel.Reason{})
		}
		if err := <-done; err != nil {
			t.Errorf("the captured connector: %v", err)
		}
	})
	select {
	case s := <-attached:
		captured = &captor{s, c.Instance()}
	case <-time.After(patience):
		t.Fatalf("the connector does not attach to the captor: %s", log)
	}
	return captured
}

// welcome takes what the connector says of itself, and gives it the key.
func welcome(ctx context.Context, s *tunnel.Session) error {
	conn, err := s.Accept(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	r, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	answer, err := auth.MarshalAttach(auth.AttachAnswer{Tunnel: stack.Tunnel, Issuer: authtest.Issuer, AssertionKeys: []ed25519.PublicKey{authtest.PublicKey()}})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	_, _ = io.Copy(io.Discard, conn)
	return err
}

// genuine is the assertion of an honest gateway for a server.
func (c *captor) genuine(server string) auth.Assertion {
	return auth.Assertion{Tunnel: stack.Tunnel, Server: server, Connector: c.instance, Principal: auth.Principal{Issuer: authtest.Issuer, Subject: authtest.Subject}}
}

// order is one request of a hostile gateway: head without the last empty line; the assertion and the body's length are
// added.
type order struct {
	line       string // default a POST to wiki
	fields     string // lines
	assertions []string
}

// send sends an order with a call, and reads the answer.
func (c *captor) send(o order) (a answer, err error) {
	conn, err := c.session.Open(context.Background())
	if err != nil {
		return a, err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	var wire bytes.Buffer
	if o.line == "" {
		o.line = "POST " + wikiPath + " HTTP/1.1"
	}
	fmt.Fprintf(&wire, "%s\r\nHost: acme\r\nConnection: close\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2025-11-25\r\n%s", o.line, o.fields)
	for _, assertion := range o.assertions {
		fmt.Fprintf(&wire, "%s: %s\r\n", mcp.HeaderAssertion, assertion)
	}
	fmt.Fprintf(&wire, "Content-Length: %d\r\n\r\n%s", len(honestBody), honestBody)
	if _, err := conn.Write(wire.Bytes()); err != nil {
		return a, err
	}
	var all bytes.Buffer
	resp, err := http.ReadResponse(bufio.NewReader(io.TeeReader(conn, &all)), nil)
	if err != nil {
		return a, err
	}
	a.status, a.header = resp.StatusCode, resp.Header
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	a.all = all.Bytes()
	return a, err
}

// ordering makes an attack's do of an order that depends on the connector.
func ordering(make func(c *captor) order) func(*testing.T, *rig, proto) (answer, error) {
	return func(_ *testing.T, r *rig, _ proto) (answer, error) { return r.captor.send(make(r.captor)) }
}

// captorAttacks are what a gateway may try that has been taken over.
func captorAttacks() (list []attack) {
	genuine := func(c *captor, server string) string {
		return authtest.Forge(authtest.Header(), authtest.Claims(c.genuine(server), time.Now()), authtest.Key())
	}
	add := func(what string, w want, order func(c *captor) order) {
		list = append(list, attack{id: "T7", what: what, over: []proto{nobody}, do: ordering(order), want: w})
	}
	injected := want{status: 200, hits: 1, check: func(t *testing.T, _ answer, got []received) {
		t.Helper()
		for _, record := range got {
			checkReceived(t, record, honestBody)
		}
	}}
	unauthenticated := want{status: 401, code: -32000, reason: "unauthenticated"}
	missing := want{status: 404, reason: "not_found"}
	add("an honest call", injected, func(c *captor) order { return order{assertions: []string{genuine(c, "wiki")}} })
	for _, f := range authtest.Forgeries(auth.Assertion{Tunnel: "t", Server: "s", Connector: "c", Principal: auth.Principal{Issuer: "i", Subject: "u"}}) {
		if strings.ContainsAny(f.Token, "\n") || slices.Contains([]string{"expired", "signed in the future", "issued later than valid"}, f.Name) {
			continue // no header can hold it; or it is within what the connector allows clocks to differ by, see below
		}
		add("an assertion: "+f.Name, unauthenticated, func(c *captor) order {
			for _, forged := range authtest.Forgeries(c.genuine("wiki")) {
				if forged.Name == f.Name {
					return order{assertions: []string{forged.Token}}
				}
			}
			return order{}
		})
	}
	for _, late := range []time.Duration{-66 * time.Second, 37 * time.Second} { // 30 s are allowed
		add(fmt.Sprintf("an assertion: its time is %s off", late.Abs()), unauthenticated, func(c *captor) order {
			return order{assertions: []string{authtest.Forge(authtest.Header(), authtest.Claims(c.genuine("wiki"), time.Now().Add(late)), authtest.Key())}}
		})
	}
	add("no assertion", unauthenticated, func(*captor) order { return order{} })
	add("two assertions", unauthenticated, func(c *captor) order { return order{assertions: []string{genuine(c, "wiki"), genuine(c, "wiki")}} })
	add("the assertion for another server", unauthenticated, func(c *captor) order { return order{assertions: []string{genuine(c, "vault")}} })
	add("a principal of its own making: it may, and gets what policy allows him", injected, func(c *captor) order {
		a := c.genuine("wiki")
		a.Principal.Subject = "../../root"
		return order{assertions: []string{authtest.Forge(authtest.Header(), authtest.Claims(a, time.Now()), authtest.Key())}}
	})
	for _, line := range []string{
		"POST /t/" + stack.Tunnel + "/nowhere/mcp HTTP/1.1", "POST /t/globex/wiki/mcp HTTP/1.1", "POST /private HTTP/1.1", "POST / HTTP/1.1",
		"POST " + wikiPath + "/../../vault/mcp HTTP/1.1", "POST " + wikiPath + "%2f.. HTTP/1.1", "POST /" + wikiPath + " HTTP/1.1",
		"POST " + wikiPath + "?url=http://169.254.169.254/ HTTP/1.1", "POST http://169.254.169.254" + "/latest/meta-data HTTP/1.1",
		"CONNECT 169.254.169.254:80 HTTP/1.1",
	} {
		add("`"+strings.TrimSuffix(line, " HTTP/1.1")+"`", missing, func(c *captor) order { return order{line: line, assertions: []string{genuine(c, "wiki")}} })
	}
	for _, fields := range []string{
		"Authorization: Bearer chosen\r\n", "authorization: Bearer chosen\r\nX-Tenant: chosen\r\n", "X_Tenant: chosen\r\n", "Connection: authorization, x-tenant\r\n",
		"Cookie: a=b\r\n", "X-Forwarded-Host: 169.254.169.254\r\nForwarded: host=evil\r\n", "Idempotency-Key: 1\r\n", "Proxy-Authorization: Basic YTpi\r\n",
		"Sallyport-Upstream: http://169.254.169.254/\r\nSallyport-Server: vault\r\n", "X-Amz-Security-Token: chosen\r\n", "X-Original-URL: /vault\r\nX-Rewrite-URL: /vault\r\n",
	} {
		add("`"+strings.ReplaceAll(strings.TrimSuffix(fields, "\r\n"), "\r\n", "`, `")+"`", injected, func(c *captor) order { return order{fields: fields, assertions: []string{genuine(c, "wiki")}} })
	}
	// A header that is nobody's passes, and changes nothing.
	add("`X-Upstream-Authorization: Bearer chosen`: passed, and not taken for the credential", want{status: 200, hits: 1, check: func(t *testing.T, _ answer, got []received) {
		t.Helper()
		for _, record := range got {
			if a := record.header["Authorization"]; len(a) != 1 || a[0] != "Bearer "+credentialCanary {
				t.Errorf("the injected Authorization arrived %d times, or is another", len(a))
			}
		}
	}}, func(c *captor) order {
		return order{fields: "X-Upstream-Authorization: Bearer chosen\r\n", assertions: []string{genuine(c, "wiki")}}
	})
	return list
}

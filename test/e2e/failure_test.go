package e2e_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

const upstreamKey = "Upstream+Key/4711=that-no-agent-may-ever-see"

// keyed adds a credential to a server; its file is returned, so that it can
// be taken away.
func keyed(t *testing.T, server connector.Server) (connector.Server, string) {
	t.Helper()
	dir := t.TempDir()
	server.Credentials = []connector.Credential{{
		Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"},
		Secret: stack.SecretFile(t, dir, "key", upstreamKey),
	}}
	return server, filepath.Join(dir, "key")
}

// closedPort returns the address of a port where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Each way in which an upstream can fail has its own row of the error table,
// which says whether the call was delivered.
func TestUpstreamFailures(t *testing.T) {
	t.Parallel()
	var canary atomic.Int64 // requests that followed a redirect
	target := serve(t, func(http.ResponseWriter, *http.Request) { canary.Add(1) })
	upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		switch name := r.Header.Get("X-Case"); name {
		case "401", "403":
			h.Set("WWW-Authenticate", `Bearer realm="the-challenge", resource_metadata="http://inside/"`)
			w.WriteHeader(map[string]int{"401": 401, "403": 403}[name])
			_, _ = io.WriteString(w, "the-refusal")
		case "401 bare":
			w.WriteHeader(http.StatusUnauthorized)
		case "gzip":
			h.Set("Content-Type", "application/json")
			h.Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = z.Write([]byte("{}"))
			_ = z.Close()
		case "hang up":
			panic(http.ErrAbortHandler)
		case "garbage":
			conn, _, _ := http.NewResponseController(w).Hijack()
			_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH_9.9\r\n")
			_ = conn.Close()
		case "huge head":
			h.Set("X-Long", strings.Repeat("x", 200<<10))
		default: // a redirect
			var status int
			_, _ = fmt.Sscan(name, &status)
			h.Set("Location", target.URL+"/moved")
			w.WriteHeader(status)
		}
	})
	cases := []struct {
		name      string
		status    int
		code      int
		delivered string
	}{
		{"401", 502, -32017, "yes"},
		{"401 bare", 502, -32017, "yes"},
		{"403", 502, -32017, "yes"},
		{"gzip", 502, -32019, "yes"},
		{"301", 502, -32019, "yes"},
		{"302", 502, -32019, "yes"},
		{"303", 502, -32019, "yes"},
		{"307", 502, -32019, "yes"},
		{"308", 502, -32019, "yes"},
		{"hang up", 502, -32014, "unknown"},
		{"garbage", 502, -32014, "unknown"},
		{"huge head", 502, -32014, "unknown"},
	}
	eachWay(t, func(t *testing.T) map[string]connector.Server {
		bad, _ := keyed(t, connector.Server{URL: upstream.URL, AllowPlaintext: true})
		down, _ := keyed(t, connector.Server{URL: "http://" + closedPort(t), AllowPlaintext: true})
		return map[string]connector.Server{"bad": bad, "down": down}
	}, func(t *testing.T, s *stack.Stack, agent *http.Client) {
		for _, c := range cases {
			r, err := s.Post(t.Context(), "bad", pingBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Case", c.name)
			got := call(t, agent, r)
			if e := mustRefuse(t, got, c.status, c.code, c.delivered); string(e.ID) != bigID {
				t.Errorf("%s: the error answers the id %s", c.name, e.ID)
			}
			for _, field := range []string{"Www-Authenticate", "Location", "Sallyport-Outcome", "Content-Encoding", "X-Long"} {
				if v := got.header.Values(field); len(v) > 0 {
					t.Errorf("%s: the agent gets %s: %.99q", c.name, field, v)
				}
			}
			if bytes.Contains(got.body, []byte("the-")) {
				t.Errorf("%s: the agent gets the upstream's words: %s", c.name, got.body)
			}
		}
		mustRefuse(t, post(t, s, agent, "down", pingBody), 502, -32013, "no")
		if n := canary.Load(); n > 0 {
			t.Fatalf("%d redirects were followed", n)
		}
	})
}

// Without its secret a call does not go out, and works again once the secret
// is back.
func TestMissingSecret(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	upstream := serve(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		server, file := keyed(t, connector.Server{URL: upstream.URL, AllowPlaintext: true})
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"keyed": server}})
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent := s.Agent(t, h2)
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			before := hits.Load()
			got := post(t, s, agent, "keyed", pingBody)
			mustRefuse(t, got, 503, -32015, "no")
			if hits.Load() != before {
				t.Error("the upstream was called without the secret")
			}
			if bytes.Contains(got.body, []byte(file)) || bytes.Contains(got.body, []byte("Authorization")) {
				t.Errorf("the answer names the secret: %s", got.body)
			}
			if err := os.WriteFile(file, []byte(upstreamKey), 0o600); err != nil {
				t.Fatal(err)
			}
			until(t, patience, "the secret is there again", func() bool {
				return post(t, s, agent, "keyed", pingBody).status == http.StatusOK
			})
		})
	})
}

// What may not be dialled gets not even a connection.
func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var connections atomic.Int64
	trap := httptest.NewUnstartedServer(nil)
	_ = trap.Listener.Close()
	trap.Listener = l
	trap.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	trap.Start()
	t.Cleanup(trap.Close)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	servers := make(map[string]connector.Server)
	for name, host := range map[string]string{
		"metadata": "169.254.169.254", "mapped": "[::ffff:169.254.169.254]", "unspecified": "0.0.0.0", "unspecified6": "[::]",
		"nat64": "[64:ff9b::7f00:1]", "link-local": "[fe80::1]", "aws6": "[fd00:ec2::254]", "broadcast": "255.255.255.255",
		"multicast": "224.0.0.1", "public": "192.0.2.1", "decimal": "0",
	} {
		servers[name] = connector.Server{URL: "http://" + host + ":" + port + "/mcp"}
	}
	s := stack.New(t, stack.Options{Servers: servers})
	agent := s.Agent(t, false)
	start := time.Now()
	for name := range servers {
		mustRefuse(t, post(t, s, agent, name, pingBody), 502, -32013, "no")
	}
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections were made to forbidden addresses", n)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the refusals took %s: something was dialled", took)
	}

	// The listener itself works, so that what was counted means something.
	narrow := stack.New(t, stack.Options{
		Servers:   one("loopback", "http://127.0.0.1:"+port),
		Connector: func(c *connector.Config) { c.Upstream.AllowedIPs = []string{"10.0.0.0/8"} },
	})
	mustRefuse(t, post(t, narrow, narrow.Agent(t, false), "loopback", pingBody), 502, -32013, "no")
	if n := connections.Load(); n > 0 {
		t.Errorf("loopback was dialled, which allowed_ips leaves out")
	}
	wide := stack.New(t, stack.Options{Servers: one("loopback", "http://127.0.0.1:"+port)})
	if got := post(t, wide, wide.Agent(t, false), "loopback", pingBody); got.status != http.StatusNotFound || connections.Load() != 1 {
		t.Errorf("status %d, %d connections", got.status, connections.Load())
	}
}

// lastUse is the context key of the time when a connection was last used.
type lastUse struct{}

// Servers that hang up on idle connections after 5 s, as Node.js does, cost no
// call, however the calls are spaced.
func TestIdleUpstreamConnections(t *testing.T) {
	t.Parallel()
	const idle = 5 * time.Second
	gaps := map[string]time.Duration{
		"keep":  2900 * time.Millisecond, // about when the connector lets go
		"same":  3 * time.Second,
		"after": 3100 * time.Millisecond,
		"old":   4 * time.Second,
		"near":  idle - 20*time.Millisecond, // about when the server would
		"edge":  idle,
		"past":  idle + 20*time.Millisecond,
	}
	servers := make(map[string]connector.Server)
	var upstreams []*httptest.Server
	for name := range gaps {
		upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			last := r.Context().Value(lastUse{}).(*atomic.Int64)
			if used := last.Load(); used != 0 && time.Since(time.Unix(0, used)) > 3900*time.Millisecond {
				panic(http.ErrAbortHandler) // as if the server's hanging up and the request had crossed on the way
			}
			_, _ = io.WriteString(w, "{}")
			last.Store(time.Now().UnixNano())
		}))
		upstream.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, lastUse{}, new(atomic.Int64))
		}
		upstream.Config.IdleTimeout = idle
		upstream.Start()
		upstreams = append(upstreams, upstream)
		servers[name] = connector.Server{URL: upstream.URL}
	}
	t.Cleanup(func() {
		for _, upstream := range upstreams {
			upstream.Close()
		}
	})
	s := stack.New(t, stack.Options{Servers: servers})
	agent := s.Agent(t, true)
	var crew sync.WaitGroup
	for name, gap := range gaps {
		crew.Go(func() {
			for range int(10*time.Second/gap) + 1 {
				r, err := s.Post(t.Context(), name, pingBody)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := whole(agent, r); err != nil || got.err != nil || got.status != http.StatusOK {
					t.Errorf("%s apart: status %d, %v, %v, body %s", gap, got.status, err, got.err, got.body)
				}
				pause(t, gap)
			}
		})
	}
	crew.Wait()
}

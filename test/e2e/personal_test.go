package e2e_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/source"
	"sallyport.dev/credential/source/vault"
	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/gateway"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// tokenOf is the agent's token of a caller, by name.
func tokenOf(name string) string { return name + "-token-0123456789abcdefghijklmnopqrstuvwxyz" }

// secretOf is a caller's own secret in its n-th version.
func secretOf(name string, n int) string {
	return fmt.Sprintf("secret-of-%s-version-%d-Zq7Lw2", name, n)
}

// fingerprint tells secrets apart in answers, where they themselves would be masked.
func fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:4])
}

// callers starts a stack with callers alice, bob and carol, whose own secrets are in a Vault, but for carol's.
func callers(t *testing.T, transport tunnel.Transport, servers map[string]connector.Server) (*stack.Stack, *vaulttest.Vault) {
	t.Helper()
	v := vaulttest.New(t, false)
	for _, name := range []string{"alice", "bob"} {
		v.Put("users/gate/"+name, map[string]any{"key": secretOf(name, 1)})
	}
	dir := t.TempDir()
	var public string
	s := stack.New(t, stack.Options{
		Transport: transport, Servers: servers,
		Gateway: func(cfg *gateway.Config) {
			public = cfg.PublicURL
			for _, name := range []string{"alice", "bob", "carol"} {
				cfg.Agents.Tokens = append(cfg.Agents.Tokens, gateway.Token{
					Name: name, Token: stack.SecretFile(t, dir, name, tokenOf(name)), Tunnels: []string{"*"}, Servers: []string{"*"},
				})
			}
		},
		Connector: func(cfg *connector.Config) {
			cfg.Issuers = map[string]string{"gate": public}
			cfg.Sources = source.Config{Vault: vault.Config{
				Address: v.URL, TTL: time.Second, Auth: vault.Auth{Token: stack.SecretFile(t, dir, "vault", vaulttest.RootToken)},
			}}
		},
	})
	return s, v
}

// own refers to the caller's own secret.
func own(t *testing.T) secret.Ref {
	t.Helper()
	return mustRef(t, "vault:kv/users/{principal.issuer}/{principal.subject}#key")
}

// Each caller is known to the upstream by his own secret, over connections of his own, and nothing of him serves another.
func TestEachCallerHasACredentialOfTheirOwn(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		var mu sync.Mutex
		over := make(map[net.Addr]string) // connections, and with which secret
		upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
			key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
			remote := stringAddr(r.RemoteAddr + addr.String())
			mu.Lock()
			if before, ok := over[remote]; ok && before != key {
				t.Errorf("one connection carried %s and %s", fingerprint(before), fingerprint(key))
			}
			over[remote] = key
			mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), `"initialize"`) {
				w.Header().Set("Mcp-Session-Id", "session-"+fingerprint(key))
			}
			fmt.Fprintf(w, `{"key":%q,"echo":%q}`, fingerprint(key), key)
		})
		s, v := callers(t, transport, map[string]connector.Server{"wiki": {URL: upstream.URL, AllowPlaintext: true, Credentials: []connector.Credential{
			{Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: own(t)},
		}}})
		agents := map[string]*http.Client{}
		for _, name := range []string{"alice", "bob", "carol"} {
			agents[name] = s.AgentWith(t, true, tokenOf(name))
		}
		expect := func(name string, version int) {
			t.Helper()
			got := post(t, s, agents[name], "wiki", pingBody)
			mine := secretOf(name, version)
			if want := fmt.Sprintf(`{"key":%q,"echo":%q}`, fingerprint(mine), strings.Repeat("*", len(mine))); got.status != http.StatusOK || string(got.body) != want {
				t.Errorf("%s gets %d %s, want %s", name, got.status, got.body, want)
			}
		}
		var crew sync.WaitGroup
		for range 8 {
			for _, name := range []string{"alice", "bob"} {
				crew.Go(func() {
					for range 5 {
						expect(name, 1)
					}
				})
			}
		}
		crew.Wait()
		mustRefuse(t, post(t, s, agents["carol"], "wiki", pingBody), http.StatusServiceUnavailable, -32015, "no")

		begin := func(name string) string {
			t.Helper()
			got := post(t, s, agents[name], "wiki", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`)
			if got.status != http.StatusOK || got.header.Get("Mcp-Session-Id") == "" {
				t.Fatalf("%s begins a session: %d %s", name, got.status, got.body)
			}
			return got.header.Get("Mcp-Session-Id")
		}
		within := func(name, session string) int {
			t.Helper()
			r, err := s.Post(t.Context(), "wiki", pingBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Mcp-Session-Id", session)
			return call(t, agents[name], r).status
		}
		session, other := begin("alice"), begin("bob")
		if a, b, x := within("alice", session), within("bob", other), within("bob", session); a != 200 || b != 200 || x != 404 {
			t.Errorf("in their own sessions %d and %d, in the other's %d", a, b, x)
		}
		v.Put("users/gate/alice", map[string]any{"key": secretOf("alice", 2)})
		until(t, patience, "the new secret counts", func() bool {
			return strings.Contains(string(post(t, s, agents["alice"], "wiki", pingBody).body), fingerprint(secretOf("alice", 2)))
		})
		expect("alice", 2)
		expect("bob", 1)
		if a, b := within("alice", session), within("bob", other); a != 404 || b != 200 {
			t.Errorf("after the change, in the session that was begun with the old secret: %d; in bob's: %d", a, b)
		}
		if a := within("alice", begin("alice")); a != 200 {
			t.Errorf("in a new session: %d", a)
		}
		if log := s.Log.String(); strings.Contains(log, "secret-of-") || strings.Contains(log, vaulttest.RootToken) {
			t.Error("a secret is in the log")
		}
	})
}

// A session of HTTP+SSE is its caller's with the secret that it was begun with, too.
func TestASessionOfSSEEndsWithItsCredential(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		u, url := serveLegacy(t, "/m?sessionId=SESSION")
		s, v := callers(t, transport, map[string]connector.Server{"old": {SSEURL: url, AllowPlaintext: true, Credentials: []connector.Credential{
			{Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"}, Secret: own(t)},
		}}})
		open := func(name string) (post func() int) {
			agent := s.AgentWith(t, true, tokenOf(name))
			stream, messages := listen(t.Context(), t, agent, s.SSEURL("old"))
			t.Cleanup(func() { _ = stream.Close() })
			return func() int { return postTo(t, agent, messages, pingBody).status }
		}
		alice, bob := open("alice"), open("bob")
		if a, b := alice(), bob(); a != http.StatusAccepted || b != http.StatusAccepted {
			t.Fatalf("alice %d, bob %d", a, b)
		}
		v.Put("users/gate/alice", map[string]any{"key": secretOf("alice", 2)})
		until(t, patience, "alice's session is over", func() bool { return alice() == http.StatusNotFound })
		for _, r := range u.posts() {
			if key := r.Header.Get("Authorization"); key == "Bearer "+secretOf("alice", 2) {
				t.Error("a message in the old session had the new secret")
			}
		}
		if a, b := open("alice")(), bob(); a != http.StatusAccepted || b != http.StatusAccepted {
			t.Errorf("after the change, alice's new session %d, bob's %d", a, b)
		}
	})
}

// stringAddr makes an address of a text, as the key of a map.
func stringAddr(text string) net.Addr { return textAddr(text) }

type textAddr string

func (a textAddr) Network() string { return "text" }
func (a textAddr) String() string  { return string(a) }

// A local command has its caller's own secret, in a process of its own; once the secret has changed, calls go to another
// process, and a session with the old one is over.
func TestLocalServerHasItsCallersSecret(t *testing.T) {
	t.Parallel()
	servers := locals(t, childBoth, func(s *connector.Server) {
		s.Env["KEY"] = connector.Variable{Secret: own(t)}
	})
	s, v := callers(t, tunnel.QUIC, servers)
	who := func(name string) string {
		t.Helper()
		got := call(t, s.AgentWith(t, true, tokenOf(name)), modernPost(t, s, "who"))
		return toolText(t, got)
	}
	alice, bob := who("alice"), who("bob")
	if alice == bob || who("alice") != alice || who("bob") != bob {
		t.Errorf("processes: alice %s, bob %s", alice, bob)
	}
	environment := toolText(t, call(t, s.AgentWith(t, true, tokenOf("alice")), modernPost(t, s, "environment")))
	if !strings.Contains(environment, "KEY="+strings.Repeat("*", len(secretOf("alice", 1)))) {
		t.Errorf("what alice's process has is not her secret, or is not masked: %s", environment)
	}
	mustRefuse(t, call(t, s.AgentWith(t, true, tokenOf("carol")), modernPost(t, s, "who")), http.StatusServiceUnavailable, -32015, "no")
	v.Put("users/gate/alice", map[string]any{"key": secretOf("alice", 2)})
	until(t, patience, "a process with the new secret serves alice", func() bool { return who("alice") != alice })
	if who("bob") != bob {
		t.Error("bob's process was replaced too")
	}
}

// A process that does nothing with its caller's secret holds up nobody else's.
func TestLocalServerThatServesOneCaller(t *testing.T) {
	t.Parallel()
	tag := rand.Text()
	s, _ := callers(t, tunnel.Memory, locals(t, childBobs, tagged(tag), func(s *connector.Server) {
		s.Env["KEY"] = connector.Variable{Secret: own(t)}
	}))
	ctx, leave := context.WithCancel(t.Context())
	var crew sync.WaitGroup
	crew.Go(func() {
		if r, err := s.AgentWith(t, true, tokenOf("alice")).Do(modernPost(t, s, "who").WithContext(ctx)); err == nil {
			_ = r.Body.Close()
			t.Errorf("alice is answered: %d", r.StatusCode)
		}
	})
	until(t, patience, "alice's process runs", func() bool { return len(processes(t, tag)) > 0 })
	began := time.Now()
	if who := toolText(t, call(t, s.AgentWith(t, true, tokenOf("bob")), modernPost(t, s, "who"))); who == "" {
		t.Error("nobody serves bob")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("bob waited %s", took)
	}
	leave()
	crew.Wait()
}

// modernPost is a call of a tool of the server local, without a session.
func modernPost(t *testing.T, s *stack.Stack, tool string) *http.Request {
	t.Helper()
	r, err := s.Post(t.Context(), "local", callTool(tool, modernMeta))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("MCP-Protocol-Version", "2026-07-28")
	r.Header.Set("Mcp-Method", "tools/call")
	r.Header.Set("Mcp-Name", tool)
	return r
}

// A server that was caught sending a credential back gets no more calls, if its configuration says so.
func TestQuarantine(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		var calls hits
		upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			calls.add(body)
			w.Header().Set("Content-Type", "application/json")
			if strings.Contains(string(body), "echo") {
				fmt.Fprintf(w, `{"you sent":%q}`, r.Header.Get("Authorization"))
				return
			}
			_, _ = w.Write(stack.Echo(body))
		})
		server, _ := keyed(t, connector.Server{URL: upstream.URL, AllowPlaintext: true, OnReflection: "quarantine"})
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"wiki": server, "other": {URL: upstream.URL}}})
		agent := s.Agent(t, true)
		if got := post(t, s, agent, "wiki", pingBody); got.status != http.StatusOK {
			t.Fatalf("an honest call: %d", got.status)
		}
		got := post(t, s, agent, "wiki", `{"jsonrpc":"2.0","id":1,"method":"echo"}`)
		if want := fmt.Sprintf(`{"you sent":"Bearer %s"}`, strings.Repeat("*", len(upstreamKey))); got.status != http.StatusOK || string(got.body) != want {
			t.Errorf("the answer is %d %s, want %s", got.status, got.body, want)
		}
		refused := mustRefuse(t, post(t, s, agent, "wiki", pingBody), http.StatusServiceUnavailable, -32013, "no")
		if refused.Error.Data.Reason != "upstream_quarantined" {
			t.Errorf("%+v", refused)
		}
		if got := post(t, s, agent, "other", pingBody); got.status != http.StatusOK {
			t.Errorf("another server: %d", got.status)
		}
		if n := len(records(s, "the server has sent a credential back, which was masked")); n != 1 {
			t.Errorf("%d lines of the log say so", n)
		}
	})
}

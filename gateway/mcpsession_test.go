package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/secret"
)

func testMCPSessions(t *testing.T, key string) *mcpSessions {
	t.Helper()
	m, err := newMCPSessions([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAnMCPSessionIsOneCallers: an id opens for the very tunnel, server, endpoint and principal that it was made for, and
// under the same key.
func TestAnMCPSessionIsOneCallers(t *testing.T) {
	m := testMCPSessions(t, "one key of thirty-two characters")
	here, me := route{"acme", "wiki", mcp.EndpointMCP}, auth.Principal{Issuer: "https://i", Subject: "me"}
	for _, original := range []string{"s", "with.dots..in.it.", strings.Repeat("~", maxOriginal)} {
		id := m.wrap(here, me, "INST-1_a", original)
		if instance, got, ok := m.open(here, me, id); !ok || instance != "INST-1_a" || got != original {
			t.Errorf("%q opens as %q, %q, %v", id, instance, got, ok)
		}
		if len(id) > 1024 {
			t.Errorf("an original of %d bytes makes an id of %d", len(original), len(id))
		}
	}
	id := m.wrap(here, me, "one", "s.1")
	for name, open := range map[string]func() (string, string, bool){
		"another tunnel":   func() (string, string, bool) { return m.open(route{"globex", "wiki", mcp.EndpointMCP}, me, id) },
		"another server":   func() (string, string, bool) { return m.open(route{"acme", "vault", mcp.EndpointMCP}, me, id) },
		"another endpoint": func() (string, string, bool) { return m.open(route{"acme", "wiki", mcp.EndpointMessages}, me, id) },
		"another subject": func() (string, string, bool) {
			return m.open(here, auth.Principal{Issuer: "https://i", Subject: "you"}, id)
		},
		"another issuer": func() (string, string, bool) {
			return m.open(here, auth.Principal{Issuer: "https://j", Subject: "me"}, id)
		},
		"shifted names": func() (string, string, bool) {
			return m.open(here, auth.Principal{Issuer: "https://im", Subject: "e"}, id)
		},
		"another key": func() (string, string, bool) {
			return testMCPSessions(t, "two key of thirty-two characters").open(here, me, id)
		},
	} {
		if _, _, ok := open(); ok {
			t.Errorf("%s opens it", name)
		}
	}
	altered := []string{"", "s.1", ".", "..", "one", "one.", "one..s.1", id + "x", "x" + id, strings.Replace(id, "one", "two", 1), strings.Replace(id, ".s.1", ".s.2", 1), strings.ToUpper(id), id[:len(id)-1], id + "="}
	for i := range id { // every other spelling of the MAC, trailing bits of base64 too
		for _, c := range "AQgwBb_-" {
			if other := id[:i] + string(c) + id[i+1:]; other != id {
				altered = append(altered, other)
			}
		}
	}
	for _, id := range altered {
		if instance, original, ok := m.open(here, me, id); ok || instance != "" || original != "" {
			t.Errorf("%q opens as %q, %q", id, instance, original)
		}
	}
}

// TestSessionKey: made once, kept over restarts, or taken from the configuration and then the same elsewhere.
func TestSessionKey(t *testing.T) {
	here, me := route{testTunnel, "wiki", mcp.EndpointMCP}, auth.Principal{Issuer: "i", Subject: "s"}
	made, _ := newGateway(t, nil)
	id := made.mcpSessions.wrap(here, me, "one", "s")
	again, _ := newGateway(t, func(cfg *Config) { cfg.StateDir = made.cfg.StateDir })
	if _, _, ok := again.mcpSessions.open(here, me, id); !ok {
		t.Error("a restarted gateway does not know its own MCP sessions")
	}
	other, _ := newGateway(t, nil)
	if _, _, ok := other.mcpSessions.open(here, me, id); ok {
		t.Error("another gateway knows them without the key")
	}
	t.Setenv("SESSION_KEY", strings.Repeat("k", minSessionKey))
	t.Setenv("SHORT_KEY", strings.Repeat("k", minSessionKey-1))
	ref := func(name string) secret.Ref {
		r, err := secret.ParseRef("env:" + name)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first, _ := newGateway(t, func(cfg *Config) { cfg.SessionKey = ref("SESSION_KEY") })
	second, _ := newGateway(t, func(cfg *Config) { cfg.SessionKey = ref("SESSION_KEY") })
	if _, _, ok := second.mcpSessions.open(here, me, first.mcpSessions.wrap(here, me, "one", "s")); !ok {
		t.Error("two gateways with one session_key do not know each other's MCP sessions")
	}
	if files, _ := filepath.Glob(filepath.Join(first.cfg.StateDir, sessionKeyFile)); files != nil {
		t.Error("a key was made beside the configured one")
	}
	for name, want := range map[string]string{"SHORT_KEY": "session_key: it has 31 characters", "NO_KEY": "session_key: "} {
		cfg := made.cfg
		cfg.SessionKey = ref(name)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUpstreamSessionIDs: what an upstream may call an MCP session, and in which revision.
func TestUpstreamSessionIDs(t *testing.T) {
	const modern = "MCP-Protocol-Version"
	for name, test := range map[string]struct {
		field   string
		version string
		status  int
		named   bool
	}{
		"an id":               {"Mcp-Session-Id: s1\r\n", "2025-11-25", 200, true},
		"the longest id":      {"Mcp-Session-Id: " + strings.Repeat("x", 512) + "\r\n", "2025-11-25", 200, true},
		"too long an id":      {"Mcp-Session-Id: " + strings.Repeat("x", 513) + "\r\n", "2025-11-25", 502, false},
		"an empty id":         {"Mcp-Session-Id: \r\n", "2025-11-25", 502, false},
		"an id with a space":  {"Mcp-Session-Id: a b\r\n", "2025-11-25", 502, false},
		"an id of non-ASCII":  {"Mcp-Session-Id: \xc3\xa9\r\n", "2025-11-25", 502, false},
		"two ids":             {"Mcp-Session-Id: a\r\nMcp-Session-Id: b\r\n", "2025-11-25", 502, false},
		"none":                {"", "2025-11-25", 200, false},
		"an id in 2026-07-28": {"Mcp-Session-Id: s1\r\n", "2026-07-28", 200, false},
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := newGateway(t, nil)
			attachFake(t, g, "one", answering("HTTP/1.1 200 OK\r\n"+test.field+"Content-Length: 0\r\n\r\n"), "wiki")
			r := post(testAgentToken, "wiki", `{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`)
			r.Header.Set("Mcp-Method", "tools/list")
			if test.version != "2026-07-28" {
				r = post(testAgentToken, "wiki", listTools)
			}
			r.Header.Set(modern, test.version)
			w := serve(g, r)
			id := w.Header().Get("Mcp-Session-Id")
			if w.Code != test.status || (id != "") != test.named || id != "" && !strings.HasPrefix(id, "one.") {
				t.Errorf("status %d, session %q\n%s", w.Code, id, w.Body)
			}
			if w.Code == http.StatusBadGateway && !strings.Contains(w.Body.String(), `"code":-32019`) {
				t.Errorf("%s", w.Body)
			}
		})
	}
}

// TestEndpointEventOfAConnector: the gateway rewrites what a connector has placed, and ends the stream at anything else.
func TestEndpointEventOfAConnector(t *testing.T) {
	for event, ok := range map[string]bool{
		"event: endpoint\ndata: /t/acme/wiki/messages?sessionId=abc\n\n":                     true,
		": hi\n\nevent: endpoint\r\ndata:/t/acme/wiki/messages?sessionId=a-b_c\r\n\r\n":      true,
		"event: endpoint\ndata: /t/acme/vault/messages?sessionId=abc\n\n":                    false,
		"event: endpoint\ndata: https://evil.example/t/acme/wiki/messages?sessionId=abc\n\n": false,
		"event: endpoint\ndata: /messages?sessionId=abc\n\n":                                 false,
		"event: endpoint\ndata: /t/acme/wiki/messages?sessionId=\n\n":                        false,
		"event: endpoint\ndata: /t/acme/wiki/messages?sessionId=a%20b\n\n":                   false,
		"event: endpoint\ndata: /t/acme/wiki/messages?sessionId=a&b=c\n\n":                   false,
		"event: endpoint\ndata: /t/acme/wiki/\ndata: messages?sessionId=abc\n\n":             false,
		"event: endpoint\n\n": false,
		"event: endpoint\ndata: /t/acme/wiki/messages?sessionId=" + strings.Repeat("a", 1537) + "\n\n": false,
	} {
		g, _ := newGateway(t, nil)
		chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(event), event)
		attachFake(t, g, "one", answering("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"+chunk), "wiki")
		r := httptest.NewRequest(http.MethodGet, "/t/acme/wiki/sse", nil)
		r.Host, r.Header = "tunnel.example.com", http.Header{"Authorization": {"Bearer " + testAgentToken}}
		w := play(g, r)
		aborted := w.Header().Get("Test-Aborted") != ""
		body := w.Body.String()
		if aborted == ok || ok && !strings.Contains(body, "/t/acme/wiki/messages?sessionId=one.") || !ok && strings.Contains(body, "sessionId") {
			t.Errorf("%q: aborted %v, %q", event, aborted, body)
		}
		if !ok {
			continue
		}
		session, _ := strings.CutPrefix(body[strings.Index(body, "sessionId="):], "sessionId=")
		session, _, _ = strings.Cut(session, "\n")
		session = strings.TrimSuffix(session, "\r")
		if instance, original, ok := g.mcpSessions.open(route{testTunnel, "wiki", mcp.EndpointMessages}, auth.Principal{Issuer: g.cfg.PublicURL, Subject: "all"}, session); !ok || instance != "one" || original == "" {
			t.Errorf("%q opens as %q, %q", session, instance, original)
		}
	}
}

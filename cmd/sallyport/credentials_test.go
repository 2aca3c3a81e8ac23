package main

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/mcp/diag"
)

// secure serves a handler over TLS with the site's certificate.
func (s *site) secure(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(s.etc("tls.crt"), s.etc("tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// withPrivateNetwork starts the servers of the example: two MCP servers and an identity provider.
func (s *site) withPrivateNetwork(t *testing.T, accessToken string) {
	t.Helper()
	handler := diag.New(diag.Config{})
	demanding := func(key string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer "+key {
				http.Error(w, "who are you?", http.StatusUnauthorized)
				return
			}
			handler.ServeHTTP(w, r)
		}
	}
	idp := func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		if name != "sallyport" || password != s.tokens["tickets.client"] || r.PostFormValue("grant_type") != "client_credentials" {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": 300})
	}
	s.private = map[string]string{
		"https://wiki-mcp.internal":    s.secure(t, demanding(s.tokens["wiki.key"])),
		"https://tickets-mcp.internal": s.secure(t, demanding(accessToken)),
		"https://idp.internal":         s.secure(t, idp),
	}
}

// The example with a token and an OAuth client works as it is written, and nothing that it holds is printed.
func TestTokenAndOAuthExample(t *testing.T) {
	s := newSite(t)
	const accessToken = "an-access-token-of-the-tickets-server-4711"
	s.withPrivateNetwork(t, accessToken)
	path := s.install(t, "token-and-oauth/connector.yaml")
	shown := execute(t, "", "credential", "check", "-c", path)
	if shown.code != 0 || shown.errOut != "" {
		t.Fatalf("credential check: exit code %d\n%s%s", shown.code, shown.out, shown.errOut)
	}
	for _, line := range []string{
		"servers.tickets, credential 1\n", "servers.wiki, credential 1\n", "  as     header authorization\n", "  state  resolved\n",
		"  for    everybody whom policy lets call\n", "  to     " + s.private["https://wiki-mcp.internal"] + "\n", "file:" + s.etc("wiki.key"),
	} {
		if !strings.Contains(shown.out, line) {
			t.Errorf("credential check does not say %q:\n%s", line, shown.out)
		}
	}
	g, c := startPair(t, s.install(t, "production/gateway-behind-balancer.yaml"), path)
	for server, credential := range map[string]string{"wiki": s.tokens["wiki.key"], "tickets": accessToken} {
		status, answer := s.whoami(t, server)
		if status != http.StatusOK || !strings.Contains(answer, "present (sha256:"+diag.Fingerprint(credential)) {
			t.Errorf("%s: status %d: %s", server, status, answer)
		}
	}
	c.stop(t, syscall.SIGTERM)
	g.stop(t, syscall.SIGTERM)
	for _, hidden := range []string{accessToken, s.tokens["wiki.key"], s.tokens["tickets.client"]} {
		if strings.Contains(shown.out+g.errOut.String()+c.errOut.String(), hidden) {
			t.Error("a secret is printed")
		}
	}
}

// What cannot be had is named, with the place and the hint, and the exit code says so.
func TestCredentialCheckFails(t *testing.T) {
	s := newSite(t)
	s.withPrivateNetwork(t, "the-identity-provider-gives-another-one")
	write(t, s.etc("tickets.client"), "not-the-secret-that-it-knows\n")
	path := s.install(t, "token-and-oauth/connector.yaml")
	r := execute(t, "", "credential", "check", "-c", path)
	if r.code != exitUsage || !strings.Contains(r.errOut, "servers.tickets, credential 1: ") || !strings.Contains(r.out, "  state  FAILED: ") || !strings.Contains(r.out, "  state  resolved\n") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	if strings.Contains(r.out+r.errOut, "not-the-secret") {
		t.Error("the secret is printed")
	}
}

// The example in which each caller has a token of their own in Vault.
func TestPerUserExample(t *testing.T) {
	s := newSite(t)
	const own = "the-jira-token-of-the-caller-ci-4711"
	v := vaulttest.New(t, true)
	v.Put("users/gate/ci/jira", map[string]any{"token": own})
	write(t, s.etc("vault.role"), vaulttest.RoleID)
	write(t, s.etc("vault.secret"), vaulttest.SecretID)
	ca, err := os.ReadFile(s.etc("internal-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.etc("internal-ca.crt"), string(ca)+string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.CA()})))
	s.private = map[string]string{
		"https://vault.internal:8200": v.URL, "https://jira-mcp.internal": s.secure(t, diag.New(diag.Config{}).ServeHTTP),
	}
	path := s.install(t, "per-user/connector.yaml")
	shown := execute(t, "", "credential", "check", "-c", path)
	if shown.code != 0 || !strings.Contains(shown.out, "  state  not fetched: it depends on who calls\n") || !strings.Contains(shown.out, "vault:users/{principal.issuer}/{principal.subject}/jira#token") {
		t.Errorf("credential check: exit code %d\n%s%s", shown.code, shown.out, shown.errOut)
	}
	g, c := startPair(t, s.install(t, "production/gateway-behind-balancer.yaml"), path)
	if status, answer := s.whoami(t, "jira"); status != http.StatusOK || !strings.Contains(answer, "present (sha256:"+diag.Fingerprint(own)) {
		t.Errorf("status %d: %s", status, answer)
	}
	c.stop(t, syscall.SIGTERM)
	g.stop(t, syscall.SIGTERM)
	if strings.Contains(g.errOut.String()+c.errOut.String(), own) {
		t.Error("the token is in a log")
	}
	if v.Logins() != 0 {
		t.Errorf("%d logins are left in Vault", v.Logins())
	}
}

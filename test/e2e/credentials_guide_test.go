package e2e_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// privateNetwork is what the guide to credentials names: servers, an identity provider, a Vault, and files.
type privateNetwork struct {
	dir, url string
	vault    *vaulttest.Vault
	files    map[string]string // what is in /etc/sallyport
}

const accessToken = "access-token-of-the-identity-provider-4711"

func newPrivateNetwork(t *testing.T) *privateNetwork {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := &privateNetwork{dir: t.TempDir(), vault: vaulttest.New(t, true), files: map[string]string{
		"wiki.key": "key-of-the-wiki-0123456789", "tickets.client": "client-secret-of-tickets-0123", "vault.role": vaulttest.RoleID, "vault.secret": vaulttest.SecretID,
		"reports-editor.key": "key-of-the-editors-0123456789", "reports-reader.key": "key-of-the-readers-0123456789",
		"ledger-signing.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "kubernetes.jwt": vaulttest.ServiceJWT,
	}}
	p.vault.Put("wiki", map[string]any{"key": "key-of-the-wiki-in-vault-0123"})
	for name, text := range p.files {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "sallyport" || password != p.files["tickets.client"] {
			http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":300}`, accessToken)
	})
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
		answer := map[string]any{"authorization": fingerprint(r.Header.Get("Authorization")), "api_key": fingerprint(r.Header.Get("X-Api-Key"))}
		if len(parts) == 3 { // in two pieces, neither of which is the token
			answer["signed"], answer["signature"] = parts[0]+" "+parts[1], parts[2]
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	for name, ca := range map[string][]byte{"ca.crt": server.Certificate().Raw, "vault.crt": p.vault.CA()} {
		text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca})
		if err := os.WriteFile(filepath.Join(p.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// start runs a connector with the first part of a configuration that the guide shows below a heading.
func (p *privateNetwork) start(t *testing.T, heading string) *stack.Stack {
	t.Helper()
	page, err := os.ReadFile("../../docs/guides/credentials.md")
	if err != nil {
		t.Fatal(err)
	}
	_, below, found := strings.Cut(string(page), "# "+heading+"\n")
	_, below, shown := strings.Cut(below, "```yaml\n")
	text, _, _ := strings.Cut(below, "```")
	if !found || !shown {
		t.Fatalf("docs/guides/credentials.md has no example below %s", heading)
	}
	return p.run(t, text)
}

// run runs a connector with a part of a configuration, whose names are replaced by where things are here.
func (p *privateNetwork) run(t *testing.T, text string) *stack.Stack {
	t.Helper()
	dir := t.TempDir()
	var public string
	parse := func() (cfg connector.Config) {
		here := strings.NewReplacer("https://vault.internal:8200", p.vault.URL, "https://idp.internal", p.url, "https://idp.example.com", public,
			"/etc/ssl/internal-ca.crt", filepath.Join(p.dir, "vault.crt"), "/etc/sallyport", p.dir, "@example.com", "").Replace(text)
		here = regexp.MustCompile(`url: https://[a-z]+-mcp\.internal/mcp`).ReplaceAllString(here, "url: "+p.url+"/mcp")
		whole := "gateway: tunnel.example.com:443\ntunnel_token: file:/none\n" + here
		if err := config.Decode("credentials.md", []byte(whole), &cfg); err != nil {
			t.Fatal(err)
		}
		if k := cfg.Sources.Vault.Auth.Kubernetes; k != nil {
			k.JWT = mustRef(t, "file:"+filepath.Join(p.dir, "kubernetes.jwt"))
		}
		for name, s := range cfg.Servers {
			s.CAFile = filepath.Join(p.dir, "ca.crt")
			for i := range s.Credentials {
				if oauth := s.Credentials[i].OAuth; oauth != nil {
					oauth.CAFile = s.CAFile
				}
			}
			cfg.Servers[name] = s
		}
		return cfg
	}
	return stack.New(t, stack.Options{
		Transport: tunnel.QUIC,
		Gateway: func(cfg *gateway.Config) {
			public = cfg.PublicURL
			for _, name := range []string{"alice", "bob", "carol"} {
				cfg.Agents.Tokens = append(cfg.Agents.Tokens, gateway.Token{
					Name: name, Token: stack.SecretFile(t, dir, name, tokenOf(name)), Tunnels: []string{"*"}, Servers: []string{"*"},
				})
			}
		},
		Connector: func(cfg *connector.Config) {
			shown := parse()
			cfg.Servers, cfg.Policy, cfg.Sources, cfg.Issuers = shown.Servers, shown.Policy, shown.Sources, shown.Issuers
		},
	})
}

// arrives calls a server as somebody, and says what has reached it.
func arrives(t *testing.T, s *stack.Stack, name, server string) (got struct {
	Authorization string
	APIKey        string `json:"api_key"`
	Signed        string
	Signature     string
},
) {
	t.Helper()
	a := post(t, s, s.AgentWith(t, true, tokenOf(name)), server, pingBody)
	if err := json.Unmarshal(a.body, &got); err != nil || a.status != http.StatusOK {
		t.Fatalf("%s calls %s: %d %s, %v\n%s", name, server, a.status, a.body, err, s.Log)
	}
	return got
}

// The examples of the guide to credentials work as they are written.
func TestCredentialsGuide(t *testing.T) {
	t.Parallel()
	p := newPrivateNetwork(t)
	t.Run("a token and an OAuth client", func(t *testing.T) {
		s := p.start(t, "A token and an OAuth client")
		if got := arrives(t, s, "alice", "wiki").Authorization; got != fingerprint("Bearer "+p.files["wiki.key"]) {
			t.Errorf("the wiki gets %s", got)
		}
		if got := arrives(t, s, "alice", "tickets").Authorization; got != fingerprint("Bearer "+accessToken) {
			t.Errorf("tickets gets %s", got)
		}
	})
	t.Run("Vault", func(t *testing.T) {
		s := p.start(t, "Vault")
		if got := arrives(t, s, "alice", "wiki").Authorization; got != fingerprint("Bearer key-of-the-wiki-in-vault-0123") {
			t.Errorf("the wiki gets %s", got)
		}
	})
	t.Run("a token that names the caller", func(t *testing.T) {
		s := p.start(t, "A token that names the caller")
		got := arrives(t, s, "alice", "ledger")
		set, err := s.Connector.JWKS(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var keys struct{ Keys []struct{ X, Kid string } }
		if err := json.Unmarshal(set, &keys); err != nil || len(keys.Keys) != 1 {
			t.Fatalf("%s, %v", set, err)
		}
		parsed, err := jwt.Parse(strings.ReplaceAll(got.Signed, " ", ".")+"."+got.Signature, func(token *jwt.Token) (any, error) {
			raw, err := jwt.NewParser().DecodeSegment(keys.Keys[0].X)
			return ed25519.PublicKey(raw), err
		}, jwt.WithIssuer("https://connector.acme.example"), jwt.WithAudience("https://ledger-mcp.internal"), jwt.WithSubject("alice"), jwt.WithExpirationRequired())
		if err != nil {
			t.Fatal(err)
		}
		if claims, _ := parsed.Claims.(jwt.MapClaims); claims["principal_issuer"] != s.PublicURL {
			t.Errorf("%v", parsed.Claims)
		}
	})
	t.Run("each caller with a credential of their own", func(t *testing.T) {
		for _, name := range []string{"alice", "bob"} {
			p.vault.Put("users/corp/"+name+"/jira", map[string]any{"token": secretOf(name, 1)})
		}
		s := p.start(t, "Each caller with a credential of their own")
		for _, name := range []string{"alice", "bob"} {
			if got := arrives(t, s, name, "jira").Authorization; got != fingerprint("Bearer "+secretOf(name, 1)) {
				t.Errorf("jira gets %s for %s", got, name)
			}
		}
		mustRefuse(t, post(t, s, s.AgentWith(t, true, tokenOf("carol")), "jira", pingBody), http.StatusServiceUnavailable, -32015, "no")
	})
	t.Run("classes of callers", func(t *testing.T) {
		s := p.start(t, "Classes of callers")
		for name, file := range map[string]string{"alice": "reports-editor.key", "bob": "reports-editor.key", "carol": "reports-reader.key"} {
			if got := arrives(t, s, name, "reports").APIKey; got != fingerprint(p.files[file]) {
				t.Errorf("for %s the reports get another key than %s", name, file)
			}
		}
	})
}

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/auth/issued"
	"sallyport.dev/auth/providertest"
)

// public is where the examples' gateways are for agents.
const public = "https://tunnel.example.com"

// agents calls as agents do, who know the gateway by its name.
type agents struct {
	site   *site
	client *http.Client
}

func (s *site) agents(t *testing.T) *agents {
	t.Helper()
	pem, err := os.ReadFile(s.etc("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the gateway's CA is not in PEM")
	}
	client := testClient(t)
	transport := client.Transport.(*http.Transport)
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", s.gateway)
	}
	return &agents{s, client}
}

// reply is what an agent gets.
type reply struct {
	status int
	reason string // of an error of Sallyport's own
	header http.Header
	body   string
}

// call asks the server wiki of a tunnel who calls.
func (a *agents) call(t *testing.T, tunnel, token string) reply {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, public+"/t/"+tunnel+"/wiki/mcp",
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return a.do(t, r)
}

func (a *agents) do(t *testing.T, r *http.Request) reply {
	t.Helper()
	resp, err := a.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	type reasoned struct {
		Reason string `json:"reason"`
	}
	var failure struct {
		Error struct {
			reasoned          // where no call was read
			Data     reasoned `json:"data"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &failure) // another body has no reason
	return reply{resp.StatusCode, cmp.Or(failure.Error.Data.Reason, failure.Error.Reason), resp.Header, string(body)}
}

// must calls and compares the answer.
func (a *agents) must(t *testing.T, what, tunnel, token string, status int, reason string) reply {
	t.Helper()
	got := a.call(t, tunnel, token)
	if got.status != status || got.reason != reason {
		t.Errorf("%s: %d %q, want %d %q: %s", what, got.status, got.reason, status, reason, got.body)
	}
	return got
}

// become waits until a token's answer has a status, as it must within 10 s.
func (a *agents) become(t *testing.T, what, token string, status int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		got := a.call(t, "acme", token)
		if got.status == status {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: after 10 s it is %d still, and not %d: %s", what, got.status, status, got.body)
		}
		<-time.After(100 * time.Millisecond)
	}
}

// startIdentity starts one of the examples, and looks at what comes without a token.
func startIdentity(t *testing.T, s *site, example string) (gateway string, a *agents, stop func(secrets ...string)) {
	t.Helper()
	gateway = s.install(t, example+"/gateway.yaml")
	g, c := startPair(t, gateway, s.install(t, example+"/connector.yaml"))
	a = s.agents(t)
	for _, tunnel := range []string{"acme", "labs", "none"} {
		got := a.must(t, "without a token, at "+tunnel, tunnel, "", http.StatusUnauthorized, "unauthenticated")
		if want := public + "/.well-known/oauth-protected-resource/t/" + tunnel + "/wiki/mcp"; !strings.Contains(got.header.Get("WWW-Authenticate"), want) {
			t.Errorf("the challenge does not name %s: %q", want, got.header.Values("WWW-Authenticate"))
		}
	}
	return gateway, a, func(secrets ...string) {
		t.Helper()
		c.stop(t, syscall.SIGTERM)
		g.stop(t, syscall.SIGTERM)
		for _, secret := range secrets {
			if log := g.errOut.String() + c.errOut.String(); strings.Contains(log, secret) {
				t.Error("a token is in a log")
			}
		}
	}
}

// elsewhere holds a token that is good to the tunnel that is its own.
func (a *agents) elsewhere(t *testing.T, token string) {
	t.Helper()
	for _, tunnel := range []string{"labs", "none"} {
		a.must(t, "a tunnel that is not its caller's, "+tunnel, tunnel, token, http.StatusNotFound, "not_found")
	}
}

func TestIdentityStaticExample(t *testing.T) {
	s := newSite(t)
	_, a, stop := startIdentity(t, s, "identity-static")
	token := s.tokens["support-bot.token"]
	a.must(t, "its own token", "acme", token, http.StatusOK, "")
	a.must(t, "another file's token", "acme", s.tokens["ci.token"], http.StatusUnauthorized, "unauthenticated")
	a.elsewhere(t, token)
	stop(token)
}

// createToken makes a token by the command of the guide.
func (s *site) createToken(t *testing.T, gateway string, arguments ...string) string {
	t.Helper()
	r := execute(t, "", append([]string{"token", "create", "-c", gateway, "--name", "ci", "--tunnel", "acme"}, arguments...)...)
	if r.code != 0 {
		t.Fatalf("token create: %d\n%s%s", r.code, r.out, r.errOut)
	}
	return strings.TrimSpace(r.out)
}

func TestIdentityTokensExample(t *testing.T) {
	s := newSite(t)
	gateway, a, stop := startIdentity(t, s, "identity-tokens")
	token := s.createToken(t, gateway, "--server", "wiki", "--ttl", "720h", "--claim", "team=build")
	a.become(t, "a new token", token, http.StatusOK)
	a.elsewhere(t, token)
	a.must(t, "a token of another team", "acme", s.createToken(t, gateway, "--server", "wiki", "--claim", "team=ops"), http.StatusForbidden, "denied")
	a.must(t, "a token for another server", "acme", s.createToken(t, gateway, "--server", "tickets", "--claim", "team=build"), http.StatusNotFound, "not_found")
	if r := execute(t, token, "token", "check", "-c", gateway); r.code != 0 || strings.Contains(r.out+r.errOut, token) {
		t.Errorf("token check: %d\n%s%s", r.code, r.out, r.errOut)
	}
	if r := execute(t, "", "token", "revoke", "-c", gateway, "--name", "ci"); r.code != 0 || strings.Count(r.out, "revoked") != 3 {
		t.Errorf("token revoke: %d\n%s%s", r.code, r.out, r.errOut)
	}
	a.become(t, "a revoked token", token, http.StatusUnauthorized)
	if r := execute(t, token, "token", "check", "-c", gateway); r.code != 1 || strings.Contains(r.out+r.errOut, token) {
		t.Errorf("token check of a revoked one: %d\n%s%s", r.code, r.out, r.errOut)
	}
	stop(token)
}

// idp is an identity provider in the place of the examples'.
func (s *site) idp(t *testing.T) *providertest.Server {
	t.Helper()
	idp := providertest.New(t, providertest.Options{})
	s.private = map[string]string{
		"- issuer: https://idp.example.com": fmt.Sprintf("- ca_file: %s\n      allowed_ips: [127.0.0.0/8]\n      issuer: %s", idp.CAFile(), idp.Issuer()),
		`["https://idp.example.com"]`:       fmt.Sprintf("[%q]", idp.Issuer()),
	}
	return idp
}

// access is an access token as the examples want it, but for what the claims change.
func access(idp *providertest.Server, claims map[string]any) string {
	all := map[string]any{"aud": public + "/t/acme/wiki/mcp", "sub": "olga", "scope": "openid wiki.read", "groups": []string{"everyone", "wiki-users"}}
	maps.Copy(all, claims)
	return idp.Issue(all)
}

// tryAccess holds a gateway to what the OIDC examples say.
func (a *agents) tryAccess(t *testing.T, idp *providertest.Server) (token string) {
	t.Helper()
	token = access(idp, nil)
	a.must(t, "a genuine token", "acme", token, http.StatusOK, "")
	for _, aud := range []string{public + "/t/acme/tickets/mcp", public + "/t/labs/wiki/mcp", public, "https://else.example.com/mcp"} {
		a.must(t, "a token for "+aud, "acme", access(idp, map[string]any{"aud": aud}), http.StatusUnauthorized, "unauthenticated")
	}
	for _, tunnel := range []string{"labs", "none"} {
		a.must(t, "a token for "+tunnel, tunnel, access(idp, map[string]any{"aud": public + "/t/" + tunnel + "/wiki/mcp"}), http.StatusNotFound, "not_found")
	}
	a.must(t, "an expired token", "acme", access(idp, map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}), http.StatusUnauthorized, "unauthenticated")
	short := a.must(t, "a token without the scope", "acme", access(idp, map[string]any{"scope": "openid"}), http.StatusForbidden, "insufficient_scope")
	if c := short.header.Get("WWW-Authenticate"); !strings.Contains(c, `error="insufficient_scope"`) || !strings.Contains(c, `scope="wiki.read"`) {
		t.Errorf("the challenge is %q", c)
	}
	a.must(t, "a caller of another group", "acme", access(idp, map[string]any{"groups": []string{"everyone"}}), http.StatusForbidden, "denied")
	return token
}

func TestIdentityOIDCExample(t *testing.T) {
	s := newSite(t)
	idp := s.idp(t)
	_, a, stop := startIdentity(t, s, "identity-oidc")
	token := a.tryAccess(t, idp)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, public+"/.well-known/oauth-protected-resource/t/acme/wiki/mcp", nil)
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Scopes   []string `json:"scopes_supported"`
	}
	if err := json.Unmarshal([]byte(a.do(t, r).body), &document); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(document), fmt.Sprintf("{%s/t/acme/wiki/mcp [%s] [wiki.read]}", public, idp.Issuer()); got != want {
		t.Errorf("the metadata are %s, want %s", got, want)
	}
	stop(token)
}

func TestIdentityVerifiedExample(t *testing.T) {
	s := newSite(t)
	idp := s.idp(t)
	gateway, a, stop := startIdentity(t, s, "identity-oidc-verified")
	asked := idp.Count(providertest.JWKS)
	token := a.tryAccess(t, idp)
	if n := idp.Count(providertest.JWKS) - asked; n != 2 {
		t.Errorf("the keys were fetched %d times, want once by each side", n)
	}
	own := s.createToken(t, gateway, "--server", "*", "--claim", `groups=["wiki-users"]`)
	for end := time.Now().Add(10 * time.Second); a.call(t, "acme", own).status == http.StatusUnauthorized && time.Now().Before(end); {
		<-time.After(100 * time.Millisecond) // until the gateway knows it
	}
	a.must(t, "a token of the gateway's own", "acme", own, http.StatusForbidden, "caller_not_verified")
	stop(token, own)
}

// What the guide shows of configuration is valid in a file that has the rest.
func TestIdentityGuide(t *testing.T) {
	text, err := os.ReadFile("../../docs/guides/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t)
	for from, to := range map[string]string{"ca.crt": "agents-ca.crt", "wiki.key": "idp.secret"} {
		content, err := os.ReadFile(s.etc(from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, s.etc(to), string(content))
	}
	seen := make(map[string]int)
	for i, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		role, rest := "gateway", "domain: tunnel.example.com\nstate_dir: /var/lib/sallyport\n"+
			"tls: { cert_file: /etc/sallyport/tls.crt, key_file: /etc/sallyport/tls.key }\n"+
			"tunnels:\n  - { name: acme, tunnel_token: \"file:/etc/sallyport/acme.token\" }\n"
		if strings.HasPrefix(block[1], "auth:") {
			role, rest = "connector", "gateway: tunnel.example.com:443\ntunnel_token: file:/etc/sallyport/acme.token\n"+
				"servers: { wiki: { url: \"http://127.0.0.1:3001/mcp\" } }\npolicy: open\n"
		}
		seen[role]++
		check(t, role, s.place(t, fmt.Sprintf("block-%d.yaml", i+1), rest+block[1]))
	}
	if seen["gateway"] < 8 || seen["connector"] != 1 {
		t.Errorf("the guide has %v blocks", seen)
	}
	if !strings.Contains(string(text), "```text\n"+issued.Pattern+"\n```") {
		t.Error("the guide has another pattern for scanners than tokens have")
	}
}

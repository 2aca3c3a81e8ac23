package oauth_test

import (
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth/oidc"
	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
)

// The names of the one private server, by what tokens for it are like or must
// have.
const (
	wiki   = "wiki"
	drafts = "drafts" // must have the scope wiki.write too
	opaque = "opaque" // only the provider can say what they mean
	brief  = "brief"  // live for a second
	calm   = "calm"   // has neither sessions nor streams
	rs256  = "rs256"
	ps256  = "ps256"
	eddsa  = "eddsa"
)

// resources are what tokens for the servers are like.
func resources() map[string]resource {
	all := map[string]resource{
		wiki: {}, drafts: {}, opaque: {Opaque: true}, brief: {TTL: 1}, calm: {},
		rs256: {Alg: "RS256"}, ps256: {Alg: "PS256"}, eddsa: {Alg: "EdDSA"},
	}
	byPath := make(map[string]resource)
	for name, like := range all {
		byPath["/t/"+stack.Tunnel+"/"+name+"/mcp"] = like
	}
	return byPath
}

// newWorld starts a company: a provider, a private server, and a gateway and
// a connector between which a tunnel runs over QUIC. The gateway takes the
// provider's tokens and no others, and policy lets in whom the provider says
// is of the department.
func newWorld(t *testing.T) *world {
	t.Helper()
	p := startProvider(t, resources())
	w := &world{provider: p, upstream: startUpstream(t), library: startLibrary(t, p.ca), needs: map[string][]string{"*": {"mcp"}, drafts: {"wiki.write"}}}
	servers := map[string]connector.Server{calm: {URL: w.upstream.URL + calmPath, AllowPlaintext: true}}
	for _, name := range []string{wiki, drafts, opaque, brief, rs256, ps256, eddsa} {
		servers[name] = connector.Server{URL: w.upstream.URL, AllowPlaintext: true}
	}
	rules, err := policy.New([]policy.Rule{{
		Name: "docs", Servers: []string{"*"}, Allow: true,
		When: `principal.issuer == "` + p.issuer + `" && principal.claims.department == "docs"`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	secret := stack.SecretFile(t, t.TempDir(), "introspector", introspectorIs)
	w.stack = stack.New(t, stack.Options{
		Servers: servers, Policy: &rules,
		Gateway: func(c *gateway.Config) {
			require := make(map[string]oidc.Requirement)
			for server, scopes := range w.needs {
				require[server] = oidc.Requirement{Scopes: scopes}
			}
			c.Agents.Tokens = nil
			c.Agents.Issuers = []oidc.Config{{
				Issuer: p.issuer, Tunnels: []string{stack.Tunnel}, Require: require,
				CAFile: p.ca.file, AllowedIPs: []string{"127.0.0.0/8"},
				Introspection: &oidc.Introspection{ClientID: introspector, ClientSecret: secret},
			}}
		},
	})
	w.attached(t)
	w.ca = joined(t, w.stack.CAFile, p.ca.file)
	roots, err := pool(w.ca)
	if err != nil {
		t.Fatal(err)
	}
	w.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}}
	t.Cleanup(w.client.CloseIdleConnections)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of gateway and connector:\n%s", w.stack.Log)
		}
	})
	return w
}

func (w *world) url(server string) string { return w.stack.URL(server) }

// needed lists the scopes that a token for a server needs.
func (w *world) needed(server string) []string {
	return append(slices.Clone(w.needs["*"]), w.needs[server]...)
}

// require lets a server need more scopes than before, for which the gateway
// is started again.
func (w *world) require(t *testing.T, server string, scopes ...string) {
	t.Helper()
	w.needs = maps.Clone(w.needs)
	w.needs[server] = scopes
	w.stack.RestartGateway(t)
	w.attached(t)
}

// attached waits until a connector has attached to the gateway that runs now.
func (w *world) attached(t *testing.T) {
	t.Helper()
	w.await(t, "a connector that attaches", func() bool {
		_, since, up := cutLast(w.stack.Log.String(), `"msg":"gateway is up"`)
		return up && strings.Contains(since, `"msg":"connector attached"`)
	})
}

// await polls for what nothing signals.
func (w *world) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// records returns the lines of the log with a message.
func (w *world) records(msg string) (found []map[string]any) {
	for line := range strings.Lines(w.stack.Log.String()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["msg"] == msg {
			found = append(found, record)
		}
	}
	return found
}

// sawCall waits until the connector has logged a call of the tool that policy
// let through for this subject of the provider. It logs a call when that is
// over.
func (w *world) sawCall(t *testing.T, server, subject string) {
	t.Helper()
	who := w.provider.issuer + "|" + subject
	w.await(t, "the connector's line on a call by "+who, func() bool {
		return slices.ContainsFunc(w.records("call"), func(r map[string]any) bool {
			return r["role"] == "connector" && r["principal"] == who && r["server"] == server && r["tool"] == "echo" && r["rule"] == "docs"
		})
	})
}

// keptSecret fails if an access token, of all that the provider has given
// out, has come to the private server or into a log.
func (w *world) keptSecret(t *testing.T) {
	t.Helper()
	grants := w.provider.granted(t, func(e event) bool { return e.Token != "" })
	if len(grants) == 0 {
		t.Error("the provider has given out no token")
	}
	came, logged := w.upstream.all(), w.stack.Log.String()
	if strings.Contains(strings.ToLower(came), "\nauthorization:") {
		t.Error("a request with Authorization has come to the private server")
	}
	for _, g := range grants {
		if strings.Contains(came, g.Token) {
			t.Errorf("the token of %s has come to the private server", g.Client)
		}
		if strings.Contains(logged, g.Token) {
			t.Errorf("the token of %s is in a log", g.Client)
		}
	}
}

package gateway

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"sallyport.dev/auth/dpop"
	"sallyport.dev/auth/dpoptest"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/secret"
)

// newIssuer makes an identity provider, and what trusts it to speak for some tunnels.
func newIssuer(t testing.TB, tunnels ...string) (*providertest.Server, oidc.Config) {
	t.Helper()
	idp := providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}})
	return idp, oidc.Config{Issuer: idp.Issuer(), CAFile: idp.CAFile(), AllowedIPs: []string{"127.0.0.0/8"}, Tunnels: tunnels}
}

// newVerifying is newGateway, whose verifiers end with the test.
func newVerifying(t testing.TB, change func(*Config)) (*Gateway, *logged) {
	t.Helper()
	g, log := newGateway(t, change)
	t.Cleanup(g.callers.close)
	return g, log
}

// TestNonces: where proofs need a nonce, a client gets one with its refusal, and that is good; no other is.
func TestNonces(t *testing.T) {
	idp, trusted := newIssuer(t, testTunnel)
	trusted.Proof = oidc.ProofDPoP
	sessionKey := secretFile(t, t.TempDir(), "session.key", strings.Repeat("session key ", 4))
	start := func(key secret.Ref) *Gateway {
		g, _ := newVerifying(t, func(c *Config) {
			c.SessionKey, c.Agents.Issuers, c.Agents.Proofs.Nonce = key, []oidc.Config{trusted}, true
		})
		attachFake(t, g, "one", answering(okAnswer), "wiki")
		return g
	}
	g, fellow := start(sessionKey), start(sessionKey)
	stranger := start(secret.Ref{})
	var old string
	synctest.Test(t, func(t *testing.T) { // where it is midnight of 1 January 2000
		checker, err := dpop.New(dpop.Config{Key: g.nonceKey, Nonce: true})
		if err != nil {
			t.Fatal(err)
		}
		old = checker.Nonce()
	})

	const url = testPublicURL + "/t/" + testTunnel + "/wiki/mcp"
	key := dpoptest.New("ES256")
	token := idp.Issue(map[string]any{"aud": url, "cnf": map[string]any{"jkt": key.Thumbprint()}})
	call := func(g *Gateway, proof string) *httptest.ResponseRecorder {
		r := post("", "wiki", listTools)
		r.Header["Authorization"], r.Header["Dpop"] = []string{"DPoP " + token}, []string{proof}
		return play(g, r)
	}
	mustAsk := func(what string, w *httptest.ResponseRecorder) (nonce string) {
		t.Helper()
		nonce = w.Header().Get("DPoP-Nonce")
		if w.Code != http.StatusUnauthorized || len(nonce) < 22 || !challenged(w, "use_dpop_nonce") {
			t.Errorf("%s: %d, nonce %q, %q", what, w.Code, nonce, w.Header().Values("WWW-Authenticate"))
		}
		return nonce
	}
	mustRefuse := func(what string, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != http.StatusUnauthorized || w.Header().Get("DPoP-Nonce") != "" || !challenged(w, "invalid_dpop_proof") {
			t.Errorf("%s: %d, %v", what, w.Code, w.Header())
		}
	}

	nonce := mustAsk("no nonce", call(g, key.Proof(http.MethodPost, url, token, "")))
	good := key.Proof(http.MethodPost, url, token, nonce)
	if w := call(g, good); w.Code != http.StatusOK {
		t.Errorf("with the nonce: %d %s", w.Code, w.Body)
	}
	mustRefuse("the same proof again", call(g, good))
	if w := call(g, key.Proof(http.MethodPost, url, token, nonce)); w.Code != http.StatusOK {
		t.Errorf("another proof with the same nonce: %d", w.Code)
	}
	if w := call(fellow, key.Proof(http.MethodPost, url, token, nonce)); w.Code != http.StatusOK {
		t.Errorf("at another gateway with the same session_key: %d", w.Code)
	}
	mustAsk("at a gateway with another one", call(stranger, key.Proof(http.MethodPost, url, token, nonce)))
	if again := mustAsk("an old nonce", call(g, key.Proof(http.MethodPost, url, token, old))); old == "" || again == old {
		t.Errorf("the nonce is %q, the old one %q", again, old)
	}
	for _, other := range []string{"chosen", nonce[1:], nonce + "A", nonce + nonce, strings.ToUpper(nonce)} {
		mustAsk("the nonce "+other, call(g, key.Proof(http.MethodPost, url, token, other)))
	}
	mustRefuse("a stranger's proof gets no nonce", call(g, dpoptest.New("ES256").Proof(http.MethodPost, url, token, "")))
}

// challenged finds the challenge of the scheme DPoP with an error.
func challenged(w *httptest.ResponseRecorder, code string) bool {
	for _, challenge := range w.Header().Values("WWW-Authenticate") {
		if strings.HasPrefix(challenge, "DPoP ") && strings.Contains(challenge, `algs="`) && strings.Contains(challenge, `error="`+code+`"`) {
			return true
		}
	}
	return false
}

package e2e_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/mint"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/oauth/oauthtest"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

const argumentBody = `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":"x","arguments":{"n":1.10, "API_KEY":"the agent's"}}}`

// Every way to put a credential in works over every transport: the upstream gets it, the agent does not see it, and what
// else was sent is as it was.
func TestEveryWayToPutACredentialIn(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		dir := t.TempDir()
		var got atomic.Pointer[http.Request]
		var body atomic.Pointer[string]
		upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			sent := string(text)
			got.Store(r)
			body.Store(&sent)
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"head":%q,"uri":%q}`, fmt.Sprint(r.Header), r.RequestURI)
		})
		secretKey := stack.SecretFile(t, dir, "key", upstreamKey)
		server := func(c connector.Credential) connector.Server {
			c.Secret = secretKey
			return connector.Server{URL: upstream.URL + "/mcp?keep=1", AllowPlaintext: true, Credentials: []connector.Credential{c}}
		}
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{
			"basic":  server(connector.Credential{Basic: &inject.Basic{User: "svc"}}),
			"query":  server(connector.Credential{Query: &inject.Query{Name: "api_key"}}),
			"cookie": server(connector.Credential{Cookie: &inject.Cookie{Name: "session"}}),
			"body":   server(connector.Credential{Body: &inject.Body{Pointer: "/params/arguments/api_key"}}),
			"sigv4": server(connector.Credential{SigV4: &connector.SigV4{
				Region: "eu-central-1", Service: "execute-api", AccessKey: stack.SecretFile(t, dir, "id", "AKIDEXAMPLE0123456789"),
			}}),
		}})
		agent := s.Agent(t, true)
		for name, arrived := range map[string]func(r *http.Request, sent string) bool{
			"basic": func(r *http.Request, sent string) bool {
				user, password, _ := r.BasicAuth()
				return user == "svc" && password == upstreamKey && sent == argumentBody
			},
			"query": func(r *http.Request, sent string) bool {
				return r.URL.Query().Get("api_key") == upstreamKey && r.URL.Query().Get("keep") == "1" && sent == argumentBody
			},
			"cookie": func(r *http.Request, sent string) bool {
				c, err := r.Cookie("session")
				return err == nil && c.Value == upstreamKey && len(r.Cookies()) == 1 && sent == argumentBody
			},
			"body": func(_ *http.Request, sent string) bool {
				return sent == strings.Replace(argumentBody, `{"n":1.10, "API_KEY":"the agent's"}`, `{"api_key":"`+upstreamKey+`","n":1.10}`, 1)
			},
			"sigv4": func(r *http.Request, sent string) bool {
				a := r.Header.Get("Authorization")
				return strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE0123456789/") && len(r.Header.Get("X-Amz-Content-Sha256")) == 64 && sent == argumentBody
			},
		} {
			a := post(t, s, agent, name, argumentBody)
			if a.status != http.StatusOK || !arrived(got.Load(), *body.Load()) {
				t.Errorf("%s: %d %s; the upstream got %v %s\n%s", name, a.status, a.body, got.Load().Header, *body.Load(), got.Load().RequestURI)
			}
			for how, form := range canaries(upstreamKey) {
				if strings.Contains(string(a.body), form) {
					t.Errorf("%s: the answer has the secret, %s: %s", name, how, a.body)
				}
			}
			if strings.Contains(s.Log.String(), upstreamKey) {
				t.Errorf("%s: the secret is in the log", name)
			}
		}
	})
}

// Every grant brings a token that the protected server takes, an expired one is replaced without the agent noticing, and
// each caller has a token of his own where it is his.
func TestEveryGrant(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key := stack.SecretFile(t, dir, "signing", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	const client, password, refresh = "sallyport", "client-secret-0123456789-Zq7", "refresh-token-0123456789-Zq7Lw2"
	o := oauthtest.Options{ClientID: client, ClientSecret: password, AssertionKey: public, RefreshToken: refresh}
	idp := httptest.NewUnstartedServer(nil)
	o.Audience = "http://" + idp.Listener.Addr().String() + "/token"
	tokens := oauthtest.New(o)
	idp.Config.Handler = tokens
	idp.Start()
	t.Cleanup(idp.Close)
	upstream := httptest.NewServer(tokens.Protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		subject, _ := tokens.Subject(token)
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"subject":%q,"token":%q,"echo":%q}`, subject, fingerprint(token), token)
	})))
	t.Cleanup(upstream.Close)
	server := func(cfg oauth.Config) connector.Server {
		cfg.TokenURL, cfg.ClientID, cfg.ClientSecret, cfg.AllowPlaintext = o.Audience, client, stack.SecretFile(t, dir, "client", password), true
		return connector.Server{URL: upstream.URL, AllowPlaintext: true, Credentials: []connector.Credential{{OAuth: &cfg}}}
	}
	s := stack.New(t, stack.Options{
		Transport: tunnel.QUIC,
		Servers: map[string]connector.Server{
			"cc":       server(oauth.Config{}),
			"refresh":  server(oauth.Config{Grant: "refresh_token", RefreshToken: stack.SecretFile(t, dir, "refresh", refresh)}),
			"jwt":      server(oauth.Config{Grant: "jwt_bearer", Key: key}),
			"jwt-self": server(oauth.Config{Grant: "jwt_bearer", Key: key, Subject: "client"}),
			"exchange": server(oauth.Config{Grant: "token_exchange", Key: key}),
		},
		Connector: func(cfg *connector.Config) { cfg.StateDir = t.TempDir() },
	})
	agent := s.Agent(t, true)
	for name, subject := range map[string]string{"cc": client, "jwt": "tester", "jwt-self": client, "exchange": "tester", "refresh": ""} {
		first := post(t, s, agent, name, pingBody)
		if first.status != http.StatusOK || !strings.Contains(string(first.body), `"echo":"***`) || subject != "" && !strings.Contains(string(first.body), `"subject":"`+subject+`"`) {
			t.Errorf("%s: %d %s", name, first.status, first.body)
			continue
		}
		if again := post(t, s, agent, name, pingBody); string(again.body) != string(first.body) {
			t.Errorf("%s: another token for each call: %s, %s", name, first.body, again.body)
		}
	}
	asked := len(tokens.Requests())
	for _, issued := range tokens.Secrets() {
		if _, valid := tokens.Subject(issued); valid {
			tokens.Revoke(issued)
		}
	}
	for _, name := range []string{"cc", "refresh", "jwt", "exchange"} {
		if a := post(t, s, agent, name, pingBody); a.status != http.StatusOK {
			t.Errorf("%s, after its token was revoked: %d %s", name, a.status, a.body)
		}
	}
	if n := len(tokens.Requests()) - asked; n != 4 {
		t.Errorf("%d token requests for four tokens that were revoked", n)
	}
	log := s.Log.String()
	for _, hidden := range append(tokens.Secrets(), password, refresh) {
		if strings.Contains(log, hidden) {
			t.Errorf("a secret of the identity provider is in the log")
		}
	}
}

// A client certificate that is replaced while the connector runs. The certificate is no secret, and may come back.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca, caKey := certificate(t, "ca", nil, nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leaf := r.TLS.PeerCertificates[0]
		_, _ = fmt.Fprintf(w, "%s\n%s", leaf.Subject.CommonName, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
	}))
	upstream.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	upstream.StartTLS()
	t.Cleanup(upstream.Close)
	answers := make(map[string]string)
	write := func(name string) {
		leaf, key := certificate(t, name, ca, caKey)
		answers[name] = fmt.Sprintf("%s\n%s", name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}))
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, "client.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})))
		writeFile(t, filepath.Join(dir, "client.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
		for _, file := range []string{"client.crt", "client.key"} {
			if err := os.Chmod(filepath.Join(dir, file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("first")
	writeFile(t, filepath.Join(dir, "upstream.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate().Raw})))
	own := connector.Server{URL: upstream.URL, OnReflection: "quarantine", CAFile: filepath.Join(dir, "upstream.crt"), Credentials: []connector.Credential{{MTLS: &connector.MTLS{
		Certificate: mustRef(t, "file:"+filepath.Join(dir, "client.crt")), Key: mustRef(t, "file:"+filepath.Join(dir, "client.key")),
	}}}}
	without := own
	without.Credentials = []connector.Credential{{JWT: &mint.Config{Issuer: "i", Audience: "a"}, Secret: mustRef(t, "file:"+filepath.Join(dir, "client.key"))}}
	s := stack.New(t, stack.Options{Transport: tunnel.QUIC, Servers: map[string]connector.Server{"own": own, "without": without}})
	agent := s.Agent(t, true)
	if a := post(t, s, agent, "own", pingBody); string(a.body) != answers["first"] {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := post(t, s, agent, "without", pingBody); a.status < 500 {
		t.Errorf("without a certificate: %d %s", a.status, a.body)
	}
	write("second")
	until(t, patience, "the new certificate is shown", func() bool { return string(post(t, s, agent, "own", pingBody).body) == answers["second"] })
}

// certificate makes one, signed by another or by itself.
func certificate(t *testing.T, name string, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: parent == nil,
	}
	if parent == nil {
		parent, by, template.KeyUsage = template, key, x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

package connector

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"sallyport.dev/credential/mint"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/secret"
)

// signingKey is a file with a private key.
func signingKey(t *testing.T) secret.Ref {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return secretFile(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
}

// What a credential needs whoever calls is looked for, though the credential itself depends on who does.
func TestWhatAllCallersNeedIsChecked(t *testing.T) {
	const tokens = "https://idp.internal/token"
	key, client := signingKey(t), secretFile(t, "client", testKey)
	for name, test := range map[string]struct {
		cred  Credential
		needs secret.Ref
		isKey bool
	}{
		"the key of jwt":                      {Credential{Secret: key, JWT: &mint.Config{Issuer: "https://sallyport.internal", Audience: "wiki"}}, key, true},
		"the key of jwt_bearer":               {Credential{OAuth: &oauth.Config{Grant: "jwt_bearer", TokenURL: tokens, ClientID: "sallyport", ClientSecret: client, Key: key}}, key, true},
		"the client secret of token_exchange": {Credential{OAuth: &oauth.Config{Grant: "token_exchange", TokenURL: tokens, ClientID: "sallyport", ClientSecret: client, Key: key}}, client, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := newConnector(t, newFakeGateway(t), "https://127.0.0.1:9/mcp", func(cfg *Config) {
				server := cfg.Servers["wiki"]
				server.Credentials = []Credential{test.cred}
				cfg.Servers["wiki"] = server
			})
			defer c.Close()
			check := func(want string) {
				t.Helper()
				_, errs := c.Check(t.Context())
				shown := c.Credentials(t.Context())
				if want == "" && (len(errs) != 0 || shown[0].Err != nil) {
					t.Errorf("%v, %v", errs, shown[0].Err)
				}
				if want != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), "servers.wiki: header authorization: ") || !strings.Contains(errs[0].Error(), want) ||
					shown[0].Err == nil || !strings.Contains(shown[0].Err.Error(), want)) {
					t.Errorf("%v, %v: want %q", errs, shown[0].Err, want)
				}
			}
			check("")
			path, _ := test.needs.File()
			was, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = os.WriteFile(path, was, 0o600) }()
			if test.isKey {
				if err := os.WriteFile(path, []byte("no key"), 0o600); err != nil {
					t.Fatal(err)
				}
				check("it is no PEM")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			check(path)
		})
	}
}

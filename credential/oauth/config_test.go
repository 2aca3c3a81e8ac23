package oauth_test

import (
	"errors"
	"strings"
	"testing"

	"sallyport.dev/config"
	"sallyport.dev/credential"
	"sallyport.dev/credential/oauth"
)

const base = "token_url: https://idp.internal/token\nclient_id: me\nclient_secret: env:SECRET\n"

func TestConfig(t *testing.T) {
	const public = "token_url: https://idp.internal/token\nclient_id: me\nauth: none\n"
	for _, test := range []struct{ name, yaml, says string }{
		{"client credentials", base, ""},
		{"all that they take", base + "grant: client_credentials\nauth: post\nscopes: [a:read, b]\naudience: https://api\nresource: https://api.internal/mcp\nparams: {tenant: acme}\nca_file: /etc/ca.pem\n", ""},
		{"plain http on loopback", strings.Replace(base, "https://idp.internal", "http://127.0.0.1:8080", 1) + "allow_plaintext: true\n", ""},
		{"plain http on localhost", strings.Replace(base, "https://idp.internal", "http://localhost:8080", 1) + "allow_plaintext: true\n", ""},
		{"refresh token", base + "grant: refresh_token\nrefresh_token: file:/r\n", ""},
		{"refresh token of a public client", public + "grant: refresh_token\nrefresh_token: file:/r\n", ""},
		{"assertion", "token_url: https://idp.internal/token\nauth: none\ngrant: jwt_bearer\nkey: file:/k\n", ""},
		{"assertion for the client", base + "grant: jwt_bearer\nkey: file:/k\nsubject: client\n", ""},
		{"exchange of a signed token", base + "grant: token_exchange\nkey: file:/k\n", ""},
		{"exchange of a token of his own", base + "grant: token_exchange\nsubject_token: env:T\nsubject_token_type: urn:ietf:params:oauth:token-type:id_token\n", ""},

		{"unknown grant", base + "grant: password\n", "grant: client_credentials, refresh_token, jwt_bearer or token_exchange"},
		{"no URL", "client_id: me\nclient_secret: env:S\n", "token_url: write the token endpoint's URL"},
		{"no host", strings.Replace(base, "idp.internal", "", 1), "not absolute"},
		{"a password in the URL", strings.Replace(base, "idp.internal", "u:c4n4ry@idp.internal", 1), "a user or a password"},
		{"a fragment", strings.Replace(base, "/token\n", "/token#c4n4ry\n", 1), "fragment"},
		{"an empty fragment", strings.Replace(base, "/token\n", "/token#\n", 1), "fragment"},
		{"not a URL", strings.Replace(base, "https://idp.internal/token", `"https://c4n4ry:%zz"`, 1), "token_url: write"},
		{"plain http", strings.Replace(base, "https", "http", 1), "allow_plaintext"},
		{"plain http elsewhere", strings.Replace(base, "https", "http", 1) + "allow_plaintext: true\n", "loopback only"},
		{"plain http to what looks like loopback", strings.Replace(base, "https://idp.internal", "http://127.0.0.1.evil.example", 1) + "allow_plaintext: true\n", "loopback only"},
		{"no client", "token_url: https://idp.internal/token\n", "client_id: required with auth: basic"},
		{"no secret", "token_url: https://idp.internal/token\nclient_id: me\nauth: post\n", "client_secret: a reference is required with auth: post"},
		{"unknown auth", base + "auth: private_key_jwt\n", "auth: basic, post or none"},
		{"a secret for nothing", base + "auth: none\ngrant: refresh_token\nrefresh_token: file:/r\n", "client_secret: it is not sent"},
		{"client credentials without any", public, "auth: client_credentials is for clients that have a secret"},
		{"client credentials with a refresh token", base + "refresh_token: file:/r\n", "refresh_token: the grant client_credentials has no use for it"},
		{"client credentials with a key", base + "key: file:/k\n", "key: the grant client_credentials"},
		{"client credentials with a subject", base + "subject: client\n", "subject: the grant"},
		{"no refresh token", base + "grant: refresh_token\n", "refresh_token: a reference is required"},
		{"a refresh token of no client", "token_url: https://idp.internal/token\nauth: none\ngrant: refresh_token\nrefresh_token: file:/r\n", "client_id: required"},
		{"a refresh token and a key", base + "grant: refresh_token\nrefresh_token: file:/r\nkey: file:/k\n", "key: the grant refresh_token"},
		{"no key", base + "grant: jwt_bearer\n", "key: jwt_bearer needs"},
		{"an unknown subject", base + "grant: jwt_bearer\nkey: file:/k\nsubject: c4n4ry\n", "subject: principal or client"},
		{"an assertion and a subject token", base + "grant: jwt_bearer\nkey: file:/k\nsubject_token: env:T\n", "subject_token: the grant jwt_bearer"},
		{"nothing to exchange", base + "grant: token_exchange\n", "write one of key"},
		{"two to exchange", base + "grant: token_exchange\nkey: file:/k\nsubject_token: env:T\n", "write one of key"},
		{"SAML", base + "grant: token_exchange\nkey: file:/k\nrequested_token_type: urn:ietf:params:oauth:token-type:saml2\n", "requested_token_type: such a token"},
		{"a refresh token in exchange", base + "grant: token_exchange\nkey: file:/k\nrequested_token_type: urn:ietf:params:oauth:token-type:refresh_token\n", "requested_token_type: such a token"},
		{"a scope with a space", base + "scopes: ['c4n4ry b']\n", "scopes: write a list"},
		{"a scope with a quote", base + "scopes: ['c4n4ry\"']\n", "scopes: write a list"},
		{"an empty scope", base + "scopes: ['']\n", "scopes: write a list"},
		{"a relative resource", base + "resource: /c4n4ry\n", "resource: write an absolute URL"},
		{"a resource with a fragment", base + "resource: https://api/#c4n4ry\n", "resource: write an absolute URL"},
		{"an audience with a line end", base + "audience: \"c4n4ry\\r\\n\"\n", "audience: write at most"},
		{"params take over the grant", base + "params: {grant_type: password}\n", "params.grant_type: it has a key of its own"},
		{"params take over the grant in capitals", base + "params: {GRANT_TYPE: password}\n", "params.GRANT_TYPE"},
		{"params take over the scope", base + "params: {scope: c4n4ry}\n", "params.scope"},
		{"params with a secret", base + "params: {password: c4n4ry}\n", "params.password: it has a key of its own, or is a secret"},
		{"params with an assertion", base + "params: {client_assertion: c4n4ry}\n", "params.client_assertion"},
		{"params with a bad name", base + "params: {'c4n4ry b': x}\n", "params: a name is"},
		{"params with a bad value", base + "params: {x: \"c4n4ry\\n\"}\n", "params.x: write at most"},
		{"an unknown key", base + "token: c4n4ry\n", "token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var cfg oauth.Config
			err := config.Decode("connector.yaml", []byte(test.yaml), &cfg)
			if test.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("got %v, want %q", err, test.says)
			}
			if test.name != "an unknown key" {
				leaks(t, "the error", err.Error())
			}
		})
	}
}

func TestConfigDefaults(t *testing.T) {
	cfg := set(t, "").cfg
	if err := cfg.Validate(); err != nil || cfg.Grant != "client_credentials" || cfg.Auth != "basic" || cfg.Subject != "" || cfg.SubjectTokenType != "" {
		t.Errorf("%+v, %v", cfg, err)
	}
	for grant, want := range map[string]string{"token_exchange": "urn:ietf:params:oauth:token-type:access_token"} {
		cfg := set(t, grant).cfg
		if err := cfg.Validate(); err != nil || cfg.SubjectTokenType != want {
			t.Errorf("%s: %+v, %v", grant, cfg, err)
		}
	}
	if err := (&oauth.Config{}).Validate(); !errors.Is(err, credential.ErrConfig) {
		t.Errorf("the zero configuration gives %v", err)
	}
}

func TestNewWantsWhatTheConfigurationNames(t *testing.T) {
	for name, change := range map[string]func(*setting){
		"no transport":         func(s *setting) { s.options.Transport = nil },
		"no client secret":     func(s *setting) { s.options.ClientSecret = nil },
		"no refresh token":     func(s *setting) { s.options.RefreshToken = nil },
		"no store":             func(s *setting) { s.options.Store = nil },
		"an unused source":     func(s *setting) { s.options.SubjectToken = fixed("x") },
		"an unused minter":     func(s *setting) { s.options.Minter = newMinter() },
		"an unusable endpoint": func(s *setting) { s.cfg.TokenURL = "" },
		"a key without a minter": func(s *setting) {
			n := set(t, "jwt_bearer")
			s.cfg, s.options = n.cfg, n.options
			s.options.Minter = nil
		},
		"a key without a source": func(s *setting) { n := set(t, "jwt_bearer"); s.cfg, s.options = n.cfg, n.options; s.options.Key = nil },
	} {
		s := set(t, "refresh_token")
		change(s)
		if _, err := oauth.New(s.cfg, s.options); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("%s gives %v", name, err)
		}
	}
}

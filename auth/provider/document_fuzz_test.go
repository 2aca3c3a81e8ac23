package provider_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"sallyport.dev/auth/provider"
)

// FuzzDocument holds whatever is accepted as a discovery document against a plain decoder and a plain reading of its URLs.
func FuzzDocument(f *testing.F) {
	const issuer = "https://idp.test/x"
	for _, seed := range []string{
		`{"issuer":"https://idp.test/x","jwks_uri":"https://idp.test/keys","introspection_endpoint":"https://idp.test/i"}`,
		`{"issuer":"https://idp.test/x","jwks_uri":"https://[::1]:8443/keys?x=y"}`,
		`{"issuer":"https://idp.test/x","jwks_uri":"http://localhost/keys"}`,
		`{"issuer":"https://idp.test/x","issuer":"https://idp.test/x","jwks_uri":"https://u@idp.test/#"}`,
		`{"issuer":"https://idp.test/x","jwks_uri":"https:idp.test"}`,
	} {
		f.Add([]byte(seed))
	}
	p, err := provider.New(provider.Config{Issuer: issuer, Allowed: allow(f), Introspection: client()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		jwks, introspection, err := p.ReadDocument(body)
		if err != nil {
			if jwks != "" || introspection != "" {
				t.Fatalf("refused with %q and %q", jwks, introspection)
			}
			return
		}
		var plain map[string]any
		if err := json.Unmarshal(body, &plain); err != nil || plain["issuer"] != issuer || plain["jwks_uri"] != jwks {
			t.Fatalf("accepted %q: %v", body, err)
		}
		for _, text := range []string{jwks, introspection} {
			at, err := url.Parse(text)
			if text == introspection && text == "" {
				continue
			}
			if err != nil || at.Scheme != "https" || at.Host == "" || at.User != nil || strings.ContainsAny(text, "#\r\n \x00") {
				t.Fatalf("accepted %q", text)
			}
		}
	})
}

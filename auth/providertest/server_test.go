package providertest_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sallyport.dev/auth/providertest"
)

// client follows redirects and takes what it gets, as none of ours does.
func client(t *testing.T, s *providertest.Server, memory bool) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Roots()}}
	if memory {
		transport.DialContext = s.Dial
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}
}

func get(t *testing.T, c *http.Client, address string) (map[string]any, error) {
	t.Helper()
	response, err := c.Get(address)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var members map[string]any
	return members, json.Unmarshal(body, &members)
}

func TestDocumentsAndKeys(t *testing.T) {
	for name, o := range map[string]providertest.Options{
		"TLS":        {Path: "/realms/acme"},
		"plain":      {Plain: true},
		"in memory":  {Memory: true},
		"OAuth only": {Memory: true, Path: "/x", OAuthOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := providertest.New(t, o)
			c := client(t, s, o.Memory)
			document, err := get(t, c, s.URL(providertest.Document))
			if o.OAuthOnly {
				if err == nil {
					t.Error("there is an OpenID document")
				}
				document, err = get(t, c, s.URL(providertest.OAuthDocument))
			}
			if err != nil || document["issuer"] != s.Issuer() || document["jwks_uri"] != s.URL(providertest.JWKS) {
				t.Fatalf("the document is %v, %v", document, err)
			}
			set, err := get(t, c, s.URL(providertest.JWKS))
			if keys, _ := set["keys"].([]any); err != nil || len(keys) != 5 {
				t.Errorf("the set is %v, %v", set, err)
			}
			if s.Count(providertest.JWKS) != 1 {
				t.Errorf("the set was fetched %d times", s.Count(providertest.JWKS))
			}
			if o.Plain == (s.CAFile() != "") {
				t.Errorf("CA file %q", s.CAFile())
			}
		})
	}
}

func TestTokensAreGenuine(t *testing.T) {
	s := providertest.New(t, providertest.Options{Memory: true, Audience: "https://gw.test/t/acme/wiki/mcp"})
	other := providertest.New(t, providertest.Options{Memory: true, Other: true})
	for _, algorithm := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA", "RS256 as PS512", "PS256 as RS384"} {
		name, as, _ := strings.Cut(algorithm, " as ")
		if as == "" {
			as = name
		}
		verify := func(token string) error {
			key := func(*jwt.Token) (any, error) {
				pem := []byte(s.PublicPEM(name))
				switch name[:2] {
				case "RS", "PS":
					return jwt.ParseRSAPublicKeyFromPEM(pem)
				case "ES":
					return jwt.ParseECPublicKeyFromPEM(pem)
				}
				return jwt.ParseEdPublicKeyFromPEM(pem)
			}
			_, err := jwt.Parse(token, key, jwt.WithValidMethods([]string{as}), jwt.WithIssuer(s.Issuer()),
				jwt.WithAudience("https://gw.test/t/acme/wiki/mcp"), jwt.WithExpirationRequired())
			return err
		}
		token := s.Issue(map[string]any{"scope": "mcp"}, providertest.By(algorithm), providertest.Head("alg", as))
		if err := verify(token); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		header := `{"alg":"` + as + `"}`
		if err := verify(s.Sign(header, s.Claims(nil), algorithm)); err != nil {
			t.Errorf("%s, raw: %v", algorithm, err)
		}
		for _, wrong := range []string{s.Sign(header, s.Claims(nil), "stranger "+algorithm), other.Sign(header, s.Claims(nil), algorithm)} {
			if err := verify(wrong); err == nil {
				t.Errorf("%s: a stranger's signature is good", algorithm)
			}
		}
		s.Rotate(true)
		if err := verify(s.Sign(header, s.Claims(nil), "old "+algorithm)); err == nil {
			t.Errorf("%s: a signature of the key before is one of the key now", algorithm)
		}
	}
}

func TestRotationAndIntrospection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256"}})
		c := client(t, s, true)
		count := func() int {
			set, err := get(t, c, s.URL(providertest.JWKS))
			if err != nil {
				t.Fatal(err)
			}
			return len(set["keys"].([]any))
		}
		first := s.KeyID("ES256")
		s.Rotate(true)
		if count() != 2 || s.KeyID("ES256") == first {
			t.Error("no overlap, or the same key")
		}
		s.Rotate(false)
		if count() != 1 {
			t.Error("the key before is still there")
		}
		s.Opaque("opaque-1", map[string]any{"sub": "ci"})
		for token, active := range map[string]string{"opaque-1": `{"active":true,"sub":"ci"}`, "opaque-2": `{"active":false}`} {
			request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.URL(providertest.Introspection),
				strings.NewReader(url.Values{"token": {token}}.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			request.SetBasicAuth(url.QueryEscape(providertest.ClientID), url.QueryEscape(providertest.ClientSecret))
			response, err := c.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(io.LimitReader(response.Body, 1<<10))
			response.Body.Close()
			if err != nil || string(body) != active {
				t.Errorf("%s gives %s, %v", token, body, err)
			}
		}
		time.Sleep(time.Hour) // nothing of it is in the bubble's way
		c.CloseIdleConnections()
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256", "EdDSA"}})
		c := client(t, s, true)
		for f, want := range map[providertest.Fault]int{
			providertest.None: 2, providertest.Failing: 2, providertest.Hang: -1, providertest.Drip: -1, providertest.Redirect: 2,
			providertest.Huge: -1, providertest.Empty: -1, providertest.HTML: -1, providertest.Gzip: 2,
			providertest.TooManyKeys: 33, providertest.PrivateKeys: 2, providertest.DuplicateKids: 3,
			providertest.NotTheirs: 2,
		} {
			s.Misbehave(providertest.JWKS, f)
			set, err := get(t, c, s.URL(providertest.JWKS))
			if keys, _ := set["keys"].([]any); (err == nil) != (want >= 0) || err == nil && len(keys) != want {
				t.Errorf("%s: %d keys, %v", f, len(keys), err)
			}
		}
		if s.Count(providertest.Canary) != 1 {
			t.Error("the canary does not sing")
		}
		s.Misbehave(providertest.JWKS, providertest.None)
		s.Misbehave(providertest.Document, providertest.OtherIssuer)
		if document, err := get(t, c, s.URL(providertest.Document)); err != nil || document["issuer"] == s.Issuer() {
			t.Errorf("the document is of %v, %v", document["issuer"], err)
		}
		s.Say(providertest.JWKS, `{}`)
		if set, err := get(t, c, s.URL(providertest.JWKS)); err != nil || len(set) != 0 {
			t.Errorf("it says %v, %v", set, err)
		}
		c.CloseIdleConnections()
		s.Down(true)
		if _, err := get(t, c, s.URL(providertest.JWKS)); err == nil {
			t.Error("it is not down")
		}
		s.Down(false)
		if _, err := get(t, c, s.URL(providertest.JWKS)); err != nil {
			t.Error(err)
		}
		c.CloseIdleConnections()
	})
	s := providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}})
	s.Down(true)
	c := client(t, s, false)
	if _, err := get(t, c, s.URL(providertest.JWKS)); err == nil {
		t.Error("it is not down")
	}
	s.Down(false)
	if _, err := get(t, c, s.URL(providertest.JWKS)); err != nil {
		t.Error(err)
	}
}

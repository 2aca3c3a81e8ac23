package provider_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport.dev/address"
	"sallyport.dev/auth"
	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
)

// failure is what goes wrong with a first fetch over the network.
func failure(t *testing.T, c provider.Config) string {
	t.Helper()
	p, err := provider.New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	began := time.Now()
	_, err = p.Keys(t.Context(), "", "ES256")
	if time.Since(began) > 6*time.Second {
		t.Errorf("it took %s", time.Since(began))
	}
	if err == nil {
		return ""
	}
	if !errors.Is(err, auth.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	return err.Error()
}

func TestOverTheNetwork(t *testing.T) {
	s := providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}})
	plain := providertest.New(t, providertest.Options{Plain: true, Algorithms: []string{"ES256"}})
	old := providertest.New(t, providertest.Options{MaxTLS: tls.VersionTLS11, Algorithms: []string{"ES256"}})
	older := providertest.New(t, providertest.Options{MaxTLS: tls.VersionTLS12, Algorithms: []string{"ES256"}})
	gone := providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}})
	gone.Down(true)
	loopback := allow(t, "127.0.0.1")
	for _, c := range []struct {
		name string
		c    provider.Config
		says string // nothing: it works
	}{
		{"TLS", provider.Config{Issuer: s.Issuer(), Roots: s.Roots(), Allowed: loopback}, ""},
		{"TLS 1.2", provider.Config{Issuer: older.Issuer(), Roots: older.Roots(), Allowed: loopback}, ""},
		{"plain", provider.Config{Issuer: plain.Issuer(), Allowed: loopback}, ""},
		{"TLS 1.1", provider.Config{Issuer: old.Issuer(), Roots: old.Roots(), Allowed: loopback}, "TLS 1.2"},
		{"no TLS", provider.Config{Issuer: "https" + strings.TrimPrefix(plain.Issuer(), "http"), Allowed: loopback}, "TLS 1.2"},
		{"no CA", provider.Config{Issuer: s.Issuer(), Allowed: loopback}, "not trusted"},
		{"another CA", provider.Config{Issuer: s.Issuer(), Roots: x509.NewCertPool(), Allowed: loopback}, "not trusted"},
		{"another host", provider.Config{Issuer: strings.Replace(s.Issuer(), "127.0.0.1", "127.0.0.2", 1), Roots: s.Roots(), Allowed: allow(t, "127.0.0.0/8")}, "refused"},
		{"resets", provider.Config{Issuer: gone.Issuer(), Roots: gone.Roots(), Allowed: loopback}, "broke"},
		{"loopback that is not listed", provider.Config{Issuer: s.Issuer(), Roots: s.Roots(), Allowed: allow(t)}, "not in allowed_ips"},
		{"localhost that is not listed", provider.Config{Issuer: strings.Replace(s.Issuer(), "127.0.0.1", "localhost", 1), Roots: s.Roots(), Allowed: allow(t, "10.0.0.0/8")}, "not in allowed_ips"},
		{"keys on an address that is not listed", provider.Config{Issuer: "https://idp.example", JWKSURL: s.URL(providertest.JWKS), Roots: s.Roots(), Allowed: allow(t)}, "not in allowed_ips"},
		{"private", provider.Config{Issuer: "https://10.1.2.3", Allowed: loopback}, "not in allowed_ips"},
		{"metadata", provider.Config{Issuer: "https://169.254.169.254", Allowed: allow(t, "0.0.0.0/0")}, "metadata"},
		{"metadata behind IPv6", provider.Config{Issuer: "https://[::ffff:169.254.169.254]", Allowed: allow(t, "0.0.0.0/0", "::/0")}, "metadata"},
		{"link-local", provider.Config{Issuer: "https://169.254.1.1", Allowed: allow(t, "0.0.0.0/0")}, "link-local"},
		{"unspecified", provider.Config{Issuer: "https://0.0.0.0", Allowed: allow(t, "0.0.0.0/0")}, "unspecified"},
		{"no such name", provider.Config{Issuer: "https://idp.invalid", Allowed: loopback}, "name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := failure(t, c.c)
			if (c.says == "") != (got == "") || !strings.Contains(got, c.says) {
				t.Errorf("got %q, want %q", got, c.says)
			}
		})
	}
	if s.Count(providertest.JWKS) != 1 {
		t.Errorf("the keys were fetched %d times", s.Count(providertest.JWKS))
	}
}

// TestNamedAddressesAreHeldAgainstTheList is a document that names private addresses for what is asked next.
func TestNamedAddressesAreHeldAgainstTheList(t *testing.T) {
	s := providertest.New(t, providertest.Options{Algorithms: []string{"ES256"}})
	for to, says := range map[string]string{
		"https://169.254.169.254/latest/meta-data": "metadata",
		"https://10.0.0.1/keys":                    "not in allowed_ips",
		"https://[fd00:ec2::254]/keys":             "metadata",
		"https://[::1]/keys":                       "not in allowed_ips",
	} {
		s.Say(providertest.Document, `{"issuer":"`+s.Issuer()+`","jwks_uri":"`+to+`"}`)
		got := failure(t, provider.Config{Issuer: s.Issuer(), Roots: s.Roots(), Allowed: allow(t, "127.0.0.1")})
		if !strings.Contains(got, "the key set") || !strings.Contains(got, says) {
			t.Errorf("%s: %s", to, got)
		}
	}
}

func TestConfig(t *testing.T) {
	public, loopback := allow(t), allow(t, "127.0.0.1")
	withClient := func(change func(*provider.Introspection)) *provider.Introspection {
		i := client()
		change(i)
		return i
	}
	const good = "https://idp.example"
	for _, c := range []struct {
		name string
		c    provider.Config
		says string // nothing: it is accepted
	}{
		{"good", provider.Config{Issuer: good, Allowed: public}, ""},
		{"a port and a path", provider.Config{Issuer: good + ":8443/realms/acme", Allowed: public}, ""},
		{"http on loopback", provider.Config{Issuer: "http://127.0.0.1:1", Allowed: loopback}, ""},
		{"http on localhost", provider.Config{Issuer: "http://localhost:1", Allowed: allow(t, "::1")}, ""},
		{"keys over http with it", provider.Config{Issuer: "http://127.0.0.1:1", JWKSURL: "http://localhost/k", Allowed: loopback}, ""},
		{"introspection", provider.Config{Issuer: good, Allowed: public, Introspection: client()}, ""},
		{"a zero list", provider.Config{Issuer: good}, "allowed_ips"},
		{"a list for private servers", provider.Config{Issuer: good, Allowed: func() address.Allowed { a, _ := address.Parse([]string{"10.0.0.0/8"}); return a }()}, "allowed_ips"},
		{"no issuer", provider.Config{Allowed: public}, "issuer: write"},
		{"no URL", provider.Config{Issuer: "https://%zz", Allowed: public}, "issuer: write"},
		{"no scheme", provider.Config{Issuer: "idp.example", Allowed: public}, "https"},
		{"no host", provider.Config{Issuer: "https:///x", Allowed: public}, "host"},
		{"http", provider.Config{Issuer: "http://idp.example", Allowed: loopback}, "loopback"},
		{"http on loopback that is not listed", provider.Config{Issuer: "http://127.0.0.1:1", Allowed: public}, "allowed_ips lists"},
		{"http on localhost that is not listed", provider.Config{Issuer: "http://localhost:1", Allowed: allow(t, "10.0.0.0/8")}, "allowed_ips lists"},
		{"http on what begins like loopback", provider.Config{Issuer: "http://127.0.0.1.idp.example", Allowed: loopback}, "loopback"},
		{"a user", provider.Config{Issuer: "https://u@idp.example", Allowed: public}, "user"},
		{"a query", provider.Config{Issuer: good + "?", Allowed: public}, "query"},
		{"a fragment", provider.Config{Issuer: good + "#", Allowed: public}, "fragment"},
		{"keys over http", provider.Config{Issuer: good, JWKSURL: "http://127.0.0.1/k", Allowed: loopback}, "jwks_url: it is not an https URL"},
		{"no client", provider.Config{Issuer: good, Allowed: public, Introspection: withClient(func(i *provider.Introspection) { i.ClientID = "" })}, "client_id"},
		{"no secret", provider.Config{Issuer: good, Allowed: public, Introspection: &provider.Introspection{ClientID: "c"}}, "client_secret"},
		{"introspection over http", provider.Config{Issuer: good, Allowed: public, Introspection: withClient(func(i *provider.Introspection) { i.URL = "http://idp.example" })}, "introspection: url"},
		{"introspection that nobody names", provider.Config{Issuer: good, JWKSURL: good + "/k", Allowed: public, Introspection: client()}, "introspection: url"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := provider.New(c.c)
			if err == nil {
				p.Close()
			}
			if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

// TestLocalhostIsLoopback is a name of loopback that the resolver sends elsewhere: plain http goes there.
func TestLocalhostIsLoopback(t *testing.T) {
	for at, good := range map[string]bool{
		"127.0.0.1:80": true, "[::ffff:127.0.0.1]:80": true, "127.0.0.2:80": false, "93.184.216.34:80": false, "10.0.0.1:80": false, "idp.example:80": false,
	} {
		if err := provider.ControlLoopback(allow(t, "127.0.0.1", "10.0.0.0/8"), at); (err == nil) != good {
			t.Errorf("%s: %v", at, err)
		}
	}
}

func TestCertificateOfAnotherHost(t *testing.T) {
	s := providertest.New(t, providertest.Options{Memory: true})
	c := config(t, s)
	c.Issuer = "https://other.test"
	if got := failure(t, c); !strings.Contains(got, "another host") {
		t.Error(got)
	}
	if s.Count(providertest.Document) != 0 {
		t.Error("it was asked")
	}
}

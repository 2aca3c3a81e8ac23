package provider_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
)

func TestDiscovery(t *testing.T) {
	for _, o := range []providertest.Options{
		{}, {Path: "/"}, {Path: "/realms/acme"}, {Path: "/realms/acme/"}, {Path: "/a%2Fb"}, {OAuthOnly: true}, {OAuthOnly: true, Path: "/tenant"},
		{Plain: true},
	} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o.Memory, o.Algorithms = true, []string{"ES256"}
				s := providertest.New(t, o)
				key(t, open(t, config(t, s)), s.KeyID("ES256"))
				if n := s.Count(providertest.OAuthDocument); o.OAuthOnly != (n == 1) {
					t.Errorf("the document of RFC 8414 was asked for %d times", n)
				}
				c := config(t, s)
				c.JWKSURL = s.URL(providertest.JWKS)
				before := s.Count(providertest.Document)
				key(t, open(t, c), s.KeyID("ES256"))
				if s.Count(providertest.Document) != before {
					t.Error("discovery in spite of jwks_url")
				}
			})
		})
	}
}

// TestKeysElsewhere is a document that names another host than the issuer's, as Google's does.
func TestKeysElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256"}})
		s.Say(providertest.Document, fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://localhost/keys"}`, s.Issuer()))
		key(t, open(t, config(t, s)), s.KeyID("ES256"))
	})
}

// TestFaults turns each fault on, of either endpoint: before anything is known nothing is, and after that what is known
// stays, for an hour.
func TestFaults(t *testing.T) {
	const document, jwks = providertest.Document, providertest.JWKS
	for _, c := range []struct {
		at    providertest.Endpoint
		fault providertest.Fault
		says  string
	}{
		{document, providertest.Failing, "the discovery document: status 500"},
		{document, providertest.Hang, "5 s"},
		{document, providertest.Drip, "5 s"},
		{document, providertest.Redirect, "a redirect"},
		{document, providertest.Huge, "64 KiB"},
		{document, providertest.Empty, "not one JSON object"},
		{document, providertest.HTML, "not one JSON object"},
		{document, providertest.Gzip, "compressed"},
		{document, providertest.OtherIssuer, "another issuer"},
		{jwks, providertest.Failing, "the key set: status 500"},
		{jwks, providertest.Hang, "5 s"},
		{jwks, providertest.Drip, "5 s"},
		{jwks, providertest.Redirect, "a redirect"},
		{jwks, providertest.Huge, "64 KiB"},
		{jwks, providertest.Empty, "JSON"},
		{jwks, providertest.HTML, "JSON"},
		{jwks, providertest.Gzip, "compressed"},
		{jwks, providertest.TooManyKeys, "32 keys"},
		{jwks, providertest.PrivateKeys, "private"},
		{jwks, providertest.DuplicateKids, "kid"},
	} {
		t.Run(fmt.Sprintf("%s of %s", c.fault, c.at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := start(t)
				id := s.KeyID("ES256")
				s.Misbehave(c.at, c.fault)
				began := time.Now()
				_, err := p.Keys(t.Context(), id, "ES256")
				if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), c.says) || time.Since(began) > 5*time.Second {
					t.Errorf("after %s: %v", time.Since(began), err)
				}
				if st := p.Status(); !strings.Contains(st.Fetch.Failure, c.says) || st.Keys != 0 || st.Age != 0 {
					t.Errorf("status %v", st)
				}
				s.Misbehave(c.at, providertest.None)
				time.Sleep(30 * time.Second)
				k := key(t, p, id)
				fetched := time.Now()
				s.Misbehave(c.at, c.fault)
				time.Sleep(54 * time.Minute)
				key(t, p, id) // waits for the fetch, which fails
				for range 5 {
					if !p.Current(k) {
						t.Fatal("what was known is not current any more")
					}
					key(t, p, id)
					time.Sleep(time.Minute)
				}
				if st := p.Status(); !strings.Contains(st.Fetch.Failure, c.says) || st.Keys != 2 {
					t.Errorf("status %v", st)
				}
				time.Sleep(time.Until(fetched.Add(time.Hour + time.Second)))
				if _, err := p.Keys(t.Context(), id, "ES256"); !errors.Is(err, auth.ErrUnavailable) || p.Current(k) {
					t.Errorf("after an hour: %v", err)
				}
				if s.Count(providertest.Canary) != 0 {
					t.Error("a redirect was followed")
				}
			})
		})
	}
}

func TestDocumentsAreRefused(t *testing.T) {
	const issuer = "https://idp.test"
	good := fmt.Sprintf(`{"issuer":%q,"jwks_uri":"https://idp.test/keys"}`, issuer)
	for _, c := range []struct{ name, body, says string }{
		{"no issuer", `{"jwks_uri":"https://idp.test/keys"}`, "another issuer"},
		{"issuer with a slash", strings.Replace(good, issuer, issuer+"/", 1), "another issuer"},
		{"issuer in capitals", strings.Replace(good, issuer, "https://IDP.test", 1), "another issuer"},
		{"issuer in a list", strings.Replace(good, `"https://idp.test"`, `["https://idp.test"]`, 1), "JSON"},
		{"issuer twice", strings.Replace(good, `{`, `{"issuer":"https://idp.test",`, 1), "JSON"},
		{"issuer in another case", strings.Replace(good, `"issuer"`, `"Issuer"`, 1), "another issuer"},
		{"two documents", good + good, "JSON"},
		{"a list", "[" + good + "]", "JSON"},
		{"null", "null", "another issuer"},
		{"not UTF-8", strings.Replace(good, `{`, "{\"x\":\"\xff\",", 1), "JSON"},
		{"no keys", `{"issuer":"https://idp.test"}`, "jwks_uri"},
		{"keys over http", strings.Replace(good, `"https://idp.test/keys"`, `"http://idp.test/keys"`, 1), "jwks_uri"},
		{"keys over http on loopback", strings.Replace(good, `"https://idp.test/keys"`, `"http://127.0.0.1/keys"`, 1), "jwks_uri"},
		{"keys in a file", strings.Replace(good, `"https://idp.test/keys"`, `"file:///etc/passwd"`, 1), "jwks_uri"},
		{"keys with a user", strings.Replace(good, `"https://idp.test/keys"`, `"https://u:p@idp.test/keys"`, 1), "jwks_uri"},
		{"keys with a fragment", strings.Replace(good, `/keys"`, `/keys#x"`, 1), "jwks_uri"},
		{"keys without a host", strings.Replace(good, `"https://idp.test/keys"`, `"https:///keys"`, 1), "jwks_uri"},
		{"keys at no URL", strings.Replace(good, `/keys"`, `/%zz"`, 1), "jwks_uri"},
		{"keys at a long URL", strings.Replace(good, `/keys"`, `/`+strings.Repeat("k", 2048)+`"`, 1), "jwks_uri"},
		{"introspection over http", strings.Replace(good, `{`, `{"introspection_endpoint":"http://idp.test/i",`, 1), "introspection_endpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256"}})
				s.Say(providertest.Document, c.body)
				conf := config(t, s)
				conf.Introspection = client()
				p := open(t, conf)
				_, err := p.Keys(t.Context(), s.KeyID("ES256"), "ES256")
				if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v", err)
				}
				if strings.Contains(err.Error(), "passwd") || strings.Contains(err.Error(), "IDP") {
					t.Errorf("the error quotes: %v", err)
				}
				if s.Count(providertest.JWKS) != 0 {
					t.Error("the keys were fetched")
				}
			})
		})
	}
	t.Run("plain", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := providertest.New(t, providertest.Options{Memory: true, Plain: true, Algorithms: []string{"ES256"}})
			s.Say(providertest.Document, fmt.Sprintf(`{"issuer":%q,"jwks_uri":"http://idp.example/keys"}`, s.Issuer()))
			_, err := open(t, config(t, s)).Keys(t.Context(), "", "ES256")
			if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "jwks_uri") {
				t.Errorf("keys over http elsewhere: %v", err)
			}
		})
	})
}

// TestAbsence is what a provider without the one document may say, and what makes no other be asked for.
func TestAbsence(t *testing.T) {
	for status, next := range map[string]bool{
		"404 Not Found": true, "400 Bad Request": true, "401 Unauthorized": true, "403 Forbidden": true, "410 Gone": true,
		"429 Too Many Requests": false, "408 Request Timeout": false, "500 Internal Server Error": false, "503 Service Unavailable": false,
		"302 Found\r\nLocation: /": false, "204 No Content": false, "999 What": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			dials := 0
			serve := answer("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n")
			p := open(t, provider.Config{
				Issuer: "http://localhost", Allowed: allow(t, "127.0.0.1"),
				Dial: func(ctx context.Context, network, at string) (net.Conn, error) {
					dials++
					return serve(ctx, network, at)
				},
			})
			_, err := p.Keys(t.Context(), "", "ES256")
			if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "status "+status[:3]) || next != (dials == 2) {
				t.Errorf("%s: %d requests, %v", status, dials, err)
			}
		})
	}
}

func TestAnswersThatAreNotRead(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const set = `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`
	for _, c := range []struct{ name, answer, says string }{
		{"none of these", ok + "\r\n" + set, ""},
		{"identity", ok + "Content-Encoding: identity\r\n\r\n" + set, ""},
		{"another type", ok + "Content-Type: text/plain\r\n\r\n" + set, ""},
		{"a trailing line", ok + "\r\n" + set + "\n", ""},
		{"64 KiB", ok + "\r\n" + set + strings.Repeat(" ", 64<<10-len(set)), ""},
		{"64 KiB and a byte", ok + "\r\n" + set + strings.Repeat(" ", 64<<10-len(set)+1), "longer than 64 KiB"},
		{"br", ok + "Content-Encoding: br\r\n\r\n" + set, "compressed"},
		{"identity, then gzip", ok + "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n\r\n" + set, "compressed"},
		{"a long head", ok + "X: " + strings.Repeat("x", 20<<10) + "\r\n\r\n" + set, "broke"},
		{"many heads", strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("x", 1<<10)+"\r\n\r\n", 100) + ok + "\r\n" + set, "broke"},
		{"cut short", ok + "Content-Length: 1000\r\n\r\n" + set, "broke"},
		{"two lengths", ok + "Content-Length: 107\r\nContent-Length: 108\r\n\r\n" + set, "broke"},
		{"not HTTP", "220 smtp.test ESMTP\r\n", "broke"},
		{"nothing", "", "broke"},
		{"partial", "HTTP/1.1 206 Partial Content\r\n\r\n" + set, "status 206"},
		{"switched", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + set, "status 101"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := open(t, provider.Config{
					Issuer: "http://localhost", JWKSURL: "http://localhost/keys", Allowed: allow(t, "127.0.0.1"), Dial: answer(c.answer),
				})
				keys, err := p.Keys(t.Context(), "k", "EdDSA")
				if c.says == "" && (err != nil || len(keys) != 1) {
					t.Fatal(err)
				}
				if c.says != "" && (!errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestNoProxy looks inside: package net/http reads a proxy from the environment once in a process, so that no test can set
// it.
func TestNoProxy(t *testing.T) {
	_, p := start(t)
	if p.HasProxy() {
		t.Error("a proxy of the environment would be used")
	}
}

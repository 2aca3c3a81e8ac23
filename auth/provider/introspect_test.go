package provider_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/secret"
)

// startIntrospection gives an identity provider that can be asked about tokens.
func startIntrospection(t *testing.T, change func(*providertest.Server, *provider.Config)) (*providertest.Server, *provider.Provider) {
	t.Helper()
	s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256"}})
	s.Opaque("opaque", map[string]any{"sub": "ci"})
	c := config(t, s)
	c.Introspection = client()
	change(s, &c)
	return s, open(t, c)
}

func direct(s *providertest.Server, c *provider.Config) {
	c.Introspection.URL = s.URL(providertest.Introspection)
}

func discovered(*providertest.Server, *provider.Config) {}

func TestIntrospection(t *testing.T) {
	for name, change := range map[string]func(*providertest.Server, *provider.Config){"direct": direct, "discovered": discovered} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := startIntrospection(t, change)
				for token, want := range map[string]string{"opaque": `{"active":true,"sub":"ci"}`, "a+b /%&=ü": `{"active":false}`} {
					body, err := p.Introspect(t.Context(), token)
					if err != nil || string(body) != want {
						t.Errorf("got %s, %v", body, err)
					}
				}
				for _, r := range s.Requests(providertest.Introspection) {
					if r.Form.Get("token_type_hint") != "access_token" || len(r.Form) != 2 || r.Form.Get("token") != "opaque" && r.Form.Get("token") != "a+b /%&=ü" {
						t.Errorf("asked with %v", r.Form)
					}
					if len(r.Header["Idempotency-Key"]) != 0 || r.Header.Get("Accept") != "application/json" {
						t.Errorf("asked with %v", r.Header)
					}
				}
				if n := s.Count(providertest.JWKS); n > 1 || name == "direct" && n != 0 {
					t.Errorf("%d sets were fetched", n)
				}
			})
		})
	}
}

// TestIntrospectionKeepsTheDocumentFresh finds an endpoint that has moved.
func TestIntrospectionKeepsTheDocumentFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := startIntrospection(t, discovered)
		introspect := func() error {
			_, err := p.Introspect(t.Context(), "opaque")
			return err
		}
		if err := introspect(); err != nil {
			t.Fatal(err)
		}
		s.Say(providertest.Document, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":"https://idp.test/elsewhere"}`, s.Issuer(), s.URL(providertest.JWKS)))
		time.Sleep(61 * time.Second)
		if err := introspect(); err != nil { // begins the fetch
			t.Error(err)
		}
		synctest.Wait()
		if err := introspect(); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("got %v", err)
		}
	})
}

// TestConfiguredEndpointCounts is a document whose endpoint would be refused, and is not asked for.
func TestConfiguredEndpointCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := startIntrospection(t, direct)
		s.Say(providertest.Document, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"introspection_endpoint":"http://idp.test/"}`, s.Issuer(), s.URL(providertest.JWKS)))
		key(t, p, s.KeyID("ES256"))
		if _, err := p.Introspect(t.Context(), "opaque"); err != nil {
			t.Error(err)
		}
	})
}

func TestIntrospectionFaults(t *testing.T) {
	for fault, says := range map[providertest.Fault]string{
		providertest.Failing: "status 500", providertest.Hang: "5 s", providertest.Drip: "5 s", providertest.Redirect: "a redirect",
		providertest.Huge: "64 KiB", providertest.Gzip: "compressed", providertest.Empty: "", providertest.HTML: "",
	} {
		t.Run(string(fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := startIntrospection(t, direct)
				s.Opaque("opaque", map[string]any{"padding": strings.Repeat("x", 100)}) // for more than 5 s of drops
				s.Misbehave(providertest.Introspection, fault)
				began := time.Now()
				_, err := p.Introspect(t.Context(), "opaque")
				if says == "" {
					if err != nil {
						t.Errorf("a body that is somebody else's to judge: %v", err)
					}
					return
				}
				if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), says) || time.Since(began) > 5*time.Second {
					t.Errorf("after %s: %v", time.Since(began), err)
				}
				if strings.Contains(err.Error(), "opaque") || strings.Contains(err.Error(), providertest.ClientSecret) {
					t.Errorf("the error quotes: %v", err)
				}
				if st := p.Status(); !strings.Contains(st.Introspection.Failure, says) || st.Introspection.Since.IsZero() {
					t.Errorf("status %v", st)
				}
				s.Misbehave(providertest.Introspection, providertest.None)
				if _, err := p.Introspect(t.Context(), "opaque"); err != nil || p.Status().Introspection != (provider.Trouble{}) {
					t.Errorf("the next: %v, %v", err, p.Status())
				}
				if s.Count(providertest.Canary) != 0 {
					t.Error("a redirect was followed")
				}
			})
		})
	}
}

func TestIntrospectionThatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*providertest.Server, *provider.Config)
		says   string
	}{
		"wrong secret": {func(s *providertest.Server, c *provider.Config) {
			direct(s, c)
			c.Introspection.Secret = secret.New("another")
		}, "client_secret"},
		"not configured": {func(_ *providertest.Server, c *provider.Config) { c.Introspection = nil }, "not configured"},
		"no endpoint": {func(s *providertest.Server, _ *provider.Config) {
			s.Say(providertest.Document, fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, s.Issuer(), s.URL(providertest.JWKS)))
		}, "introspection.url"},
		"no document": {func(s *providertest.Server, _ *provider.Config) {
			s.Misbehave(providertest.Document, providertest.Failing)
		}, "the discovery document: status 500"},
		"document that hangs": {func(s *providertest.Server, _ *provider.Config) {
			s.Misbehave(providertest.Document, providertest.Hang)
		}, "5 s"},
		"down": {func(s *providertest.Server, c *provider.Config) {
			direct(s, c)
			s.Down(true)
		}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, p := startIntrospection(t, c.change)
				if _, err := p.Introspect(t.Context(), "opaque"); !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestIntrospectionIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := startIntrospection(t, direct)
		s.Misbehave(providertest.Introspection, providertest.Hang)
		var busy, slow atomic.Int32
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				_, err := p.Introspect(t.Context(), "opaque")
				switch {
				case errors.Is(err, auth.ErrUnavailable) && strings.Contains(err.Error(), "too many"):
					busy.Add(1)
				case errors.Is(err, auth.ErrUnavailable) && strings.Contains(err.Error(), "5 s"):
					slow.Add(1)
				}
			})
		}
		all.Wait()
		if slow.Load() != 16 || busy.Load() != 984 || s.Count(providertest.Introspection) != 16 {
			t.Errorf("%d were sent, %d refused", slow.Load(), busy.Load())
		}
		s.Misbehave(providertest.Introspection, providertest.None)
		for second := range 3 {
			time.Sleep(time.Second)
			good := 0
			for range 100 {
				if _, err := p.Introspect(t.Context(), "opaque"); err == nil {
					good++
				}
			}
			if good != 50 {
				t.Errorf("%d in second %d", good, second)
			}
		}
	})
}

func TestIntrospectionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := startIntrospection(t, direct)
		s.Misbehave(providertest.Introspection, providertest.Hang)
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		began := time.Now()
		for _, ctx := range []context.Context{ctx, t.Context()} {
			all.Go(func() {
				if _, err := p.Introspect(ctx, "opaque"); !errors.Is(err, auth.ErrUnavailable) || !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		p.Close()
		all.Wait()
		if _, err := p.Introspect(t.Context(), "opaque"); !errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("after Close: %v", err)
		}
		if time.Since(began) != 0 || p.Status().Introspection != (provider.Trouble{}) {
			t.Errorf("after %s: %v", time.Since(began), p.Status())
		}
	})
}

// TestIntrospectionOverAConnectionThatHasEnded loses a connection that is kept when the next request is on it: that is
// nobody's failure.
func TestIntrospectionOverAConnectionThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		s, p := startIntrospection(t, func(s *providertest.Server, c *provider.Config) {
			c.Introspection.URL = "http://localhost/introspect"
			c.Issuer = "http://localhost"
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				dials++
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					in := bufio.NewReader(far)
					for _, text := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ""} {
						if r, err := http.ReadRequest(in); err == nil {
							_, _ = io.Copy(io.Discard, r.Body)
							_, _ = io.WriteString(far, text)
						}
					}
				}()
				return near, nil
			}
		})
		for i := range 3 {
			if body, err := p.Introspect(t.Context(), "opaque"); err != nil || string(body) != "{}" {
				t.Errorf("number %d: %s, %v", i+1, body, err)
			}
			synctest.Wait()
		}
		if dials != 3 || s.Count(providertest.Introspection) != 0 {
			t.Errorf("%d connections", dials)
		}
	})
}

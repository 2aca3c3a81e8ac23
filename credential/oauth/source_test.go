package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/fresh"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/oauth/oauthtest"
	"sallyport.dev/secret"
)

// Each grant, with what the token endpoint gets.
func TestGrants(t *testing.T) {
	for _, test := range []struct {
		grant   string
		subject string
		change  func(*setting)
		sent    map[string]string // "…" stands for any text
	}{
		{"client_credentials", "sally port", func(s *setting) {
			s.cfg.Scopes, s.cfg.Audience, s.cfg.Resource = []string{"a", "b"}, "https://api", "https://api.internal/mcp"
			s.cfg.Params = map[string]string{"tenant": "acme"}
		}, map[string]string{"grant_type": "client_credentials", "scope": "a b", "audience": "https://api", "resource": "https://api.internal/mcp", "tenant": "acme"}},
		{"refresh_token", "the one who authorised", nil, map[string]string{"grant_type": "refresh_token", "refresh_token": firstRefresh}},
		{"jwt_bearer", "https://idp.example|alice", nil, map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "…"}},
		{"jwt_bearer", "the client", func(s *setting) { s.cfg.Subject = "client" }, map[string]string{"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "…"}},
		{"token_exchange", "alice", nil, map[string]string{
			"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": subjectToken, "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
		}},
		{"token_exchange", "https://idp.example|alice", func(s *setting) {
			s.cfg.SubjectToken, s.cfg.Key = secret.Ref{}, mustRef("file:/k")
			s.options.SubjectToken, s.options.Key, s.options.Minter = nil, fixed("PEM"), newMinter()
			s.cfg.RequestedTokenType = "urn:ietf:params:oauth:token-type:access_token"
		}, map[string]string{
			"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "…", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
			"requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
		}},
	} {
		t.Run(test.grant, func(t *testing.T) {
			s := set(t, test.grant)
			if test.change != nil {
				test.change(s)
			}
			s.options.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if !s.knows(clientSecret) {
					t.Error("the client's secret is sent before the scrubber knows it")
				}
				return s.server.RoundTrip(r)
			})
			token := fetch(t, s.source(t), alice)
			if subject, valid := s.server.Subject(token); !valid || subject != test.subject {
				t.Errorf("the token stands for %q, want %q", subject, test.subject)
			}
			requests := s.server.Requests()
			if len(requests) != 1 {
				t.Fatalf("%d requests", len(requests))
			}
			form := requests[0].Form
			if got, want := slices.Sorted(maps.Keys(form)), slices.Sorted(maps.Keys(test.sent)); !slices.Equal(got, want) {
				t.Errorf("sent %q, want %q", got, want)
			}
			for name, want := range test.sent {
				if got := form[name]; len(got) != 1 || got[0] != want && want != "…" {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
				if name == "assertion" || name == "subject_token" || name == "refresh_token" {
					if !s.knows(form.Get(name)) {
						t.Errorf("%s is not known to the scrubber", name)
					}
				}
			}
			if got := requests[0].Header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("Accept-Encoding is %q", got)
			}
			for _, secret := range append(s.server.Secrets(), clientSecret) {
				if !s.knows(secret) {
					t.Errorf("%.3s… is not known to the scrubber", secret)
				}
			}
		})
	}
}

func mustRef(text string) secret.Ref {
	r, err := secret.ParseRef(text)
	if err != nil {
		panic(err)
	}
	return r
}

func TestClientAuthentication(t *testing.T) {
	for _, auth := range []string{"basic", "post", "none"} {
		t.Run(auth, func(t *testing.T) {
			s := set(t, "refresh_token", func(o *oauthtest.Options) { o.Auth = auth })
			s.cfg.Auth = auth
			if auth == "none" {
				s.cfg.ClientSecret, s.options.ClientSecret = secret.Ref{}, nil
			}
			fetch(t, s.source(t), alice) // the server refuses every other way
		})
	}
	s := set(t, "client_credentials")
	s.secret.set("wrong")
	if err := failure(t, s.source(t), alice); !errors.Is(err, oauth.ErrRefused) || !strings.Contains(err.Error(), "invalid_client: check client_id, client_secret and auth") {
		t.Errorf("a wrong secret gives %v", err)
	}
}

// Nobody has no token of his own, and neither has half a principal.
func TestNobodyIsRefused(t *testing.T) {
	for _, grant := range []string{"jwt_bearer", "token_exchange"} {
		s := set(t, grant)
		source := s.source(t)
		for _, who := range []credential.Principal{{}, {Issuer: alice.Issuer}, {Subject: "alice"}} {
			fails(t, source, who)
		}
		if n := len(s.server.Requests()); n != 0 {
			t.Errorf("%s: %d requests were made for nobody", grant, n)
		}
	}
	personal := set(t, "client_credentials")
	personal.options.Personal = true
	fails(t, personal.source(t), credential.Principal{})
	fetch(t, set(t, "client_credentials").source(t), credential.Principal{})
}

func TestPrincipalsNeverShareAToken(t *testing.T) {
	for _, grant := range []string{"jwt_bearer", "token_exchange", "client_credentials", "refresh_token"} {
		t.Run(grant, func(t *testing.T) {
			s := set(t, grant)
			s.options.Personal = true
			if grant == "token_exchange" {
				s.options.SubjectToken.(*kept).values[other] = subjectToken // even with one and the same secret
			}
			source := s.source(t)
			var crew sync.WaitGroup
			owner := sync.Map{}
			for i := range 60 {
				who := []credential.Principal{alice, bob, other}[i%3]
				crew.Go(func() {
					got, err := source.Fetch(t.Context(), who)
					if err != nil {
						t.Errorf("fetch: %v", err)
						return
					}
					if of, taken := owner.LoadOrStore(got.Values[0].Reveal(), who); taken && of != who {
						t.Errorf("%v has the token of %v", who, of)
					}
				})
			}
			crew.Wait()
			if grant == "jwt_bearer" {
				if subject, _ := s.server.Subject(fetch(t, source, other)); subject != "https://other.example|alice" {
					t.Errorf("the token stands for %s", subject)
				}
			}
		})
	}
	s := set(t, "client_credentials")
	source := s.source(t)
	if fetch(t, source, alice) != fetch(t, source, bob) {
		t.Error("the client has two tokens")
	}
	if n := len(s.server.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
}

// The version is that of the operator's secrets: it stays when a token is renewed, and another secret makes another token.
func TestVersion(t *testing.T) {
	s := set(t, "client_credentials")
	source := s.source(t)
	first, err := source.Fetch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	source.Renew(alice, first)
	second, err := source.Fetch(t.Context(), alice)
	if err != nil || second.Values[0].Equal(first.Values[0]) || second.Version != first.Version {
		t.Errorf("after Renew: %v, %v and then %v", err, first.Version, second.Version)
	}
	s.secret.set("another")
	if err := failure(t, source, alice, "another"); !errors.Is(err, oauth.ErrRefused) { // the old token is not given out
		t.Errorf("got %v", err)
	}
	s.secret.set(clientSecret)
	if got, err := source.Fetch(t.Context(), alice); err != nil || got.Version != first.Version {
		t.Errorf("with the old secret again: %v, %v", got.Version, err)
	}
	key := set(t, "jwt_bearer")
	source = key.source(t)
	if first, err = source.Fetch(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	key.options.Key.(*kept).set("another PEM")
	if second, err = source.Fetch(t.Context(), alice); err != nil || second.Version == first.Version || second.Values[0].Equal(first.Values[0]) {
		t.Errorf("another key: %v, %v and then %v", err, first.Version, second.Version)
	}
}

func TestASecretThatChangesMeanwhile(t *testing.T) {
	s := set(t, "client_credentials")
	reads := 0
	s.options.ClientSecret = sourceFunc(func() string {
		reads++
		if reads == 1 {
			return "the old one"
		}
		return clientSecret
	})
	fetch(t, s.source(t), alice)
	if n := len(s.server.Requests()); n != 1 {
		t.Errorf("%d requests", n)
	}
	s = set(t, "client_credentials")
	reads = 0
	s.options.ClientSecret = sourceFunc(func() string { reads++; return fmt.Sprint("secret ", reads) })
	fails(t, s.source(t), alice)
	if n := len(s.server.Requests()); n != 0 {
		t.Errorf("%d requests with a secret that is not the one which was looked up", n)
	}
}

// A JWT that cannot be signed, is empty or has expired is not sent.
func TestAMinterThatFails(t *testing.T) {
	for _, m := range []minterFunc{
		func() (secret.Value, time.Time, error) { return secret.Value{}, time.Time{}, errors.New("not a key") },
		func() (secret.Value, time.Time, error) { return secret.Value{}, time.Now().Add(time.Hour), nil },
		func() (secret.Value, time.Time, error) {
			return secret.New("c4n4ry"), time.Now().Add(-time.Second), nil
		},
	} {
		s := set(t, "jwt_bearer")
		s.options.Minter = m
		if err := failure(t, s.source(t), alice); !strings.Contains(err.Error(), "key: ") {
			t.Errorf("got %v", err)
		}
		exchange := set(t, "token_exchange")
		exchange.cfg.SubjectToken, exchange.options.SubjectToken = secret.Ref{}, nil
		exchange.cfg.Key, exchange.options.Key, exchange.options.Minter = s.cfg.Key, s.options.Key, m
		fails(t, exchange.source(t), alice)
		if len(s.server.Requests())+len(exchange.server.Requests()) != 0 {
			t.Error("a request was made")
		}
	}
}

// minterFunc gives what a function returns.
type minterFunc func() (secret.Value, time.Time, error)

func (f minterFunc) Token(context.Context, credential.Principal) (secret.Value, time.Time, error) {
	return f()
}

// A token stands on its secrets: when one of them cannot be read, none is given out, also while one is kept.
func TestASourceThatFails(t *testing.T) {
	s := set(t, "client_credentials")
	source := s.source(t)
	fetch(t, source, alice)
	s.secret.mu.Lock()
	s.secret.err = errors.New("vault is sealed")
	s.secret.mu.Unlock()
	if err := failure(t, source, alice); !strings.Contains(err.Error(), "client_secret") || !strings.Contains(err.Error(), "vault is sealed") {
		t.Errorf("got %v", err)
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "client_credentials")
		source := s.open(t)
		fetch(t, source, alice)
		source.Close()
		source.Close()
		if err := failure(t, source, alice); !errors.Is(err, fresh.ErrClosed) {
			t.Errorf("got %v", err)
		}
		s.server.Misbehave(oauthtest.Hang)
		source = s.open(t)
		began := time.Now()
		go func() { time.Sleep(time.Second); source.Close() }()
		fails(t, source, alice)
		if waited := time.Since(began); waited > time.Second {
			t.Errorf("Close waited for %s", waited)
		}
		source.Close()
	})
}

// The whole way: an upstream that accepts the server's tokens alone, a token that it refuses, a real network.
func TestUpstreamThatRefusesAToken(t *testing.T) {
	s := set(t, "client_credentials")
	idp := httptest.NewTLSServer(s.server)
	defer idp.Close()
	s.cfg.TokenURL = idp.URL + "/token"
	s.options.Transport = idp.Client().Transport.(*http.Transport)
	source := s.open(t)
	defer source.Close()
	upstream := httptest.NewServer(s.server.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "in") })))
	defer upstream.Close()
	call := func(authorization string) (int, string, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, upstream.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", authorization)
		response, err := upstream.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(io.LimitReader(response.Body, 100))
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text), response.Header.Get("WWW-Authenticate")
	}
	first, err := source.Fetch(t.Context(), alice)
	if err != nil {
		t.Fatal(err)
	}
	if status, text, _ := call("Bearer " + first.Values[0].Reveal()); status != 200 || text != "in" {
		t.Fatalf("%d %q", status, text)
	}
	s.server.Revoke(first.Values[0].Reveal())
	for _, authorization := range []string{"Bearer " + first.Values[0].Reveal(), "Bearer of something"} {
		if status, _, challenge := call(authorization); status != 401 || !strings.Contains(challenge, `error="invalid_token"`) {
			t.Errorf("%d %q", status, challenge)
		}
	}
	if status, _, challenge := call(""); status != 401 || strings.Contains(challenge, "error") {
		t.Errorf("%d %q", status, challenge)
	}
	source.Renew(alice, first)
	if status, _, _ := call("Bearer " + fetch(t, source, alice)); status != 200 {
		t.Errorf("status %d after Renew", status)
	}
}

// ready gives what was made before, as the sources of references do.
type ready credential.Fetched

func (r ready) Fetch(context.Context, credential.Principal) (credential.Fetched, error) {
	return credential.Fetched(r), nil
}

// sourceFunc gives what a function returns, which has its turn alone.
type sourceFunc func() string

func (f sourceFunc) Fetch(context.Context, credential.Principal) (credential.Fetched, error) {
	value := secret.New(f())
	return credential.Fetched{Values: []secret.Value{value}, Version: credential.VersionOf(value)}, nil
}

func BenchmarkFetch(b *testing.B) {
	s := set(b, "token_exchange")
	for _, from := range []*credential.Source{&s.options.ClientSecret, &s.options.SubjectToken} {
		got, err := (*from).Fetch(b.Context(), alice)
		if err != nil {
			b.Fatal(err)
		}
		*from = ready(got)
	}
	source := s.source(b)
	fetch(b, source, alice)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := source.Fetch(b.Context(), alice); err != nil {
			b.Fatal(err)
		}
	}
}

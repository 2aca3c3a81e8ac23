package credential_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/address"
	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
	"sallyport.dev/secret"
)

// body records whether it was closed, as http.RoundTripper demands.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error { b.closed = true; return nil }

func post(t testing.TB, to string) (*http.Request, *body) {
	t.Helper()
	sent := &body{Reader: strings.NewReader("{}")}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, sent)
	if err != nil {
		t.Fatal(err)
	}
	return r, sent
}

func answer(r *http.Request) *http.Response {
	if r.Body != nil {
		_ = r.Body.Close()
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
}

func TestTheUpstreamSeesTheCredentialAndTheCallerDoesNot(t *testing.T) {
	var upstream *http.Request
	transport := sender(t, roundTripper(func(r *http.Request) (*http.Response, error) {
		upstream = r
		return answer(r), nil
	}), bearer(t))
	r, sent := post(t, "https://wiki.internal/mcp")
	lower := strings.ToLower("Authorization")
	r.Header[lower] = []string{"Bearer of the agent"}
	r.Header["Connection"] = []string{"Authorization"}
	r.Header["X-Kept"] = []string{"yes"}
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()

	if got := upstream.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer "+canary {
		t.Errorf("the upstream got %d values", len(got))
	}
	if len(upstream.Header) != 2 || upstream.Header.Get("X-Kept") != "yes" {
		t.Errorf("the upstream got %d fields", len(upstream.Header))
	}
	if response.Request != r || len(r.Header) != 3 || !slices.Equal(r.Header[lower], []string{"Bearer of the agent"}) {
		t.Error("the caller's request was changed, or is not the response's")
	}
	leaks(t, "the response", fmt.Sprintf("%+v %+v", response, response.Request))
	if !sent.closed {
		t.Error("the body stays open")
	}
}

func TestSeveralCredentialsGoTogetherOrNotAtAll(t *testing.T) {
	second := bearer(t)
	second.Injector = inject.Header{Name: "X-Api-Key", Template: "{secret}"}
	path, ref := writeSecret(t, canary)
	second.Source = stored(t, ref)
	calls := 0
	transport := sender(t, roundTripper(func(r *http.Request) (*http.Response, error) {
		calls++
		if r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("X-Api-Key") != canary {
			t.Error("a credential is missing")
		}
		return answer(r), nil
	}), bearer(t), second)
	r, _ := post(t, "https://wiki.internal/mcp")
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	time.Sleep(lookAgain)
	r, sent := post(t, "https://wiki.internal/mcp")
	if _, err := transport.RoundTrip(r); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if calls != 1 || !sent.closed {
		t.Errorf("the upstream was called %d times; body closed %v", calls, sent.closed)
	}
}

// lookAgain is more than the files of secrets go without being looked at.
const lookAgain = 60 * time.Millisecond

type fixedSource struct {
	value secret.Value
	err   error
}

func (s fixedSource) Fetch(context.Context, credential.Principal) (credential.Fetched, error) {
	return credential.Fetched{Values: []secret.Value{s.value}, Version: credential.VersionOf(s.value)}, s.err
}

func TestARefusedRequestIsNeverSent(t *testing.T) {
	with := func(change func(*credential.Binding)) []credential.Binding {
		binding := bearer(t)
		change(&binding)
		return []credential.Binding{bearer(t), binding}
	}
	apiKey := inject.Header{Name: "X-Api-Key", Template: "{secret}"}
	for _, test := range []struct {
		name     string
		to       string
		bindings []credential.Binding
		want     error
	}{
		{"another host", "https://evil.example/", []credential.Binding{bearer(t)}, credential.ErrDestination},
		{"another port", "https://wiki.internal:8443/", []credential.Binding{bearer(t)}, credential.ErrDestination},
		{"plain http", "http://wiki.internal/", []credential.Binding{bearer(t)}, credential.ErrDestination},
		{"one of two bound elsewhere", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Injector = apiKey
			b.Destination.URL = mustURL(t, "https://other.internal/")
		}), credential.ErrDestination},
		{"source fails", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Injector = apiKey
			b.Source = fixedSource{err: errors.New("vault is sealed")}
		}), credential.ErrUnavailable},
		{"source gives nothing", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Injector = apiKey
			b.Source = fixedSource{}
		}), credential.ErrUnavailable},
		{"secret with a line end", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Injector = apiKey
			b.Source = fixedSource{value: secret.New(canary + "\r\n")}
		}), credential.ErrUnusable},
	} {
		t.Run(test.name, func(t *testing.T) {
			transport := sender(t, roundTripper(func(r *http.Request) (*http.Response, error) {
				t.Error("the request was sent")
				return answer(r), nil
			}), test.bindings...)
			r, sent := post(t, test.to)
			response, err := transport.RoundTrip(r)
			if !errors.Is(err, test.want) || response != nil {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			leaks(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, err))
			if !sent.closed {
				t.Error("the body stays open")
			}
		})
	}
}

func TestNewTransport(t *testing.T) {
	next := roundTripper(func(r *http.Request) (*http.Response, error) { return answer(r), nil })
	twice := bearer(t)
	twice.Injector = inject.Header{Name: "authorization", Template: "{secret}"}
	without := func(change func(*credential.Binding)) []credential.Binding {
		b := bearer(t)
		change(&b)
		return []credential.Binding{b}
	}
	at := func(pointer string) credential.Binding {
		b := bearer(t)
		b.Injector = inject.Body{Pointer: pointer}
		return b
	}
	for name, bindings := range map[string][]credential.Binding{
		"zero":                     {{}},
		"no source":                without(func(b *credential.Binding) { b.Source = nil }),
		"no way to put in":         without(func(b *credential.Binding) { b.Injector = nil }),
		"unusable way to put in":   without(func(b *credential.Binding) { b.Injector = inject.Header{} }),
		"no destination":           without(func(b *credential.Binding) { b.Destination = credential.Destination{} }),
		"subjects of no issuer":    without(func(b *credential.Binding) { b.Who = credential.Who{Subjects: []string{"alice"}} }),
		"one place twice, for all": {bearer(t), twice},
		"one place in another":     {at("/params/arguments/a"), at("/params/arguments/a/b")},
		"one place above another":  {at("/params/arguments/api_key/b/c"), bearer(t), at("/params/arguments/apiKey")},
	} {
		if _, err := credential.NewTransport(pools(next), bindings, nil); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if _, err := credential.NewTransport(pools(next), nil, nil); err != nil {
		t.Errorf("a transport without credentials is refused: %v", err)
	}
	apart := []credential.Binding{at("/params/arguments/a/b"), at("/params/arguments/ab"), at("/params/arguments/a/c"), bearer(t)}
	apart[0].Who = credential.Who{Issuers: []string{"https://idp.example.com"}}
	if _, err := credential.NewTransport(pools(next), append(apart, at("/params/arguments/a/b")), nil); err != nil {
		t.Errorf("places next to each other are refused: %v", err)
	}
}

// Of several credentials for one place the first that is for the principal counts, and without one nothing is sent.
func TestWhoMayUseACredential(t *testing.T) {
	const idp = "https://idp.example.com"
	forWho := func(who credential.Who, value string) credential.Binding {
		b := bearer(t)
		b.Who, b.Source = who, fixedSource{value: secret.New(value)}
		return b
	}
	var got string
	transport := sender(t, roundTripper(func(r *http.Request) (*http.Response, error) {
		got = r.Header.Get("Authorization")
		return answer(r), nil
	}),
		forWho(credential.Who{Issuers: []string{idp}, Subjects: []string{"alice"}}, "alices-key"),
		forWho(credential.Who{Issuers: []string{idp, "https://gate.example.com"}}, "staff-key"))
	for _, test := range []struct {
		who  credential.Principal
		want string
	}{
		{credential.Principal{Issuer: idp, Subject: "alice"}, "Bearer alices-key"},
		{credential.Principal{Issuer: idp, Subject: "Alice"}, "Bearer staff-key"},
		{credential.Principal{Issuer: "https://gate.example.com", Subject: "alice"}, "Bearer staff-key"},
		{credential.Principal{Issuer: idp + "/", Subject: "alice"}, ""},
		{credential.Principal{Issuer: "", Subject: "alice"}, ""},
		{credential.Principal{}, ""},
	} {
		got = ""
		r, _ := post(t, "https://wiki.internal/mcp")
		response, err := transport.RoundTrip(r.WithContext(credential.WithPrincipal(t.Context(), test.who)))
		if response != nil {
			_ = response.Body.Close()
		}
		if got != test.want || (err == nil) != (test.want != "") || err != nil && !errors.Is(err, credential.ErrUnavailable) {
			t.Errorf("%+v: the upstream got %q, the caller %v", test.who, got, err)
		}
	}
}

// Connections are kept apart by principal and by the version of the secrets that they carried.
func TestPoolsAreKeptApart(t *testing.T) {
	made, used := 0, map[int]string{}
	connections := credential.NewPools(func(*tls.Certificate) credential.Conns {
		made++
		mine := made
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			carried := r.Header.Get("Authorization") + " for " + credential.PrincipalFrom(r.Context()).Subject
			if before, ok := used[mine]; ok && before != carried {
				t.Errorf("one pool carried %q and %q", before, carried)
			}
			used[mine] = carried
			return answer(r), nil
		})
	})
	path, ref := writeSecret(t, canary)
	binding := bearer(t)
	binding.Source = stored(t, ref)
	transport, err := credential.NewTransport(connections, []credential.Binding{binding}, nil)
	if err != nil {
		t.Fatal(err)
	}
	call := func(issuer, subject string) {
		t.Helper()
		r, _ := post(t, "https://wiki.internal/mcp")
		response, err := transport.RoundTrip(r.WithContext(credential.WithPrincipal(t.Context(), credential.Principal{Issuer: issuer, Subject: subject})))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	for range 3 {
		call("a", "alice")
		call("a", "bob")
		call("b", "bob 2")
	}
	if made != 3 {
		t.Errorf("%d pools for three principals", made)
	}
	replace(t, path, canary+"-rotated", time.Now().Add(-time.Minute))
	time.Sleep(lookAgain)
	call("a", "alice")
	if made != 4 {
		t.Errorf("%d pools after the secret has changed", made)
	}
	connections.Close()
}

// A request for a session goes with the credentials that the session was begun with, or not at all.
func TestOtherCredentialsThanAskedFor(t *testing.T) {
	sent := 0
	binding := bearer(t)
	binding.Source = fixedSource{value: secret.New(canary)}
	transport := sender(t, roundTripper(func(r *http.Request) (*http.Response, error) { sent++; return answer(r), nil }), binding)
	for _, version := range []credential.Version{credential.VersionOf(secret.New(canary)), credential.VersionOf(secret.New("another"))} {
		r, body := post(t, "https://wiki.internal/mcp")
		response, err := transport.RoundTrip(r.WithContext(credential.WithVersion(t.Context(), version)))
		if err == nil {
			_ = response.Body.Close()
		} else if !errors.Is(err, credential.ErrChanged) || !body.closed {
			t.Errorf("got %v; body closed %v", err, body.closed)
		}
	}
	if sent != 1 {
		t.Errorf("%d of two requests were sent", sent)
	}
}

func TestPoolsAreBounded(t *testing.T) {
	closed := 0
	connections := credential.NewPools(func(*tls.Certificate) credential.Conns { return &counted{closed: &closed} })
	transport, err := credential.NewTransport(connections, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		r, _ := post(t, "https://wiki.internal/mcp")
		response, err := transport.RoundTrip(r.WithContext(credential.WithPrincipal(t.Context(), credential.Principal{Issuer: "i", Subject: fmt.Sprint(i)})))
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
	if closed != 3000-1024 {
		t.Errorf("%d of 3000 pools were closed", closed)
	}
	connections.Close()
	if closed != 3000 {
		t.Errorf("%d of 3000 pools were closed at the end", closed)
	}
}

// counted counts how many of its kind were closed.
type counted struct{ closed *int }

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) { return answer(r), nil }
func (c *counted) CloseIdleConnections()                             { *c.closed++ }

// tokens gives one token after the other, and a new one only when one was refused.
type tokens struct{ refused int }

func (s *tokens) Fetch(context.Context, credential.Principal) (credential.Fetched, error) {
	return credential.Fetched{Values: []secret.Value{secret.New(fmt.Sprintf("token-%d", s.refused))}}, nil
}
func (s *tokens) Renew(credential.Principal, credential.Fetched) { s.refused++ }

// A token that the upstream refused before it did anything is replaced, once; whatever else a 401 may mean, the request is
// not made again.
func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	for _, test := range []struct {
		name, challenge string
		accepts         string
		body            string
		source          credential.Source
		sent            []string
		status          int
	}{
		{"expired", `Bearer realm="x", error="invalid_token"`, "Bearer token-1", "{}", new(tokens), []string{"Bearer token-0", "Bearer token-1"}, 200},
		{"refused twice", `Bearer error="invalid_token"`, "", "{}", new(tokens), []string{"Bearer token-0", "Bearer token-1"}, 401},
		{"no challenge", "", "Bearer token-1", "{}", new(tokens), []string{"Bearer token-0"}, 401},
		{"no error", `Bearer realm="x"`, "Bearer token-1", "{}", new(tokens), []string{"Bearer token-0"}, 401},
		{"too little scope", `Bearer error="insufficient_scope"`, "Bearer token-1", "{}", new(tokens), []string{"Bearer token-0"}, 401},
		{"another scheme", `Basic error="invalid_token"`, "Bearer token-1", "{}", new(tokens), []string{"Bearer token-0"}, 401},
		{"a body that is gone", `Bearer error="invalid_token"`, "Bearer token-1", "", new(tokens), []string{"Bearer token-0"}, 401},
		{"a secret that cannot be renewed", `Bearer error="invalid_token"`, "", "{}", fixedSource{value: secret.New("key")}, []string{"Bearer key"}, 401},
	} {
		t.Run(test.name, func(t *testing.T) {
			binding := bearer(t)
			binding.Source = test.source
			var sent []string
			transport := sender(t, roundTripper(func(r *http.Request) (*http.Response, error) {
				token := r.Header.Get("Authorization")
				sent = append(sent, token)
				if text, err := io.ReadAll(io.LimitReader(r.Body, 100)); err != nil || string(text) != "{}" {
					t.Errorf("the body is %q, %v", text, err)
				}
				if token == test.accepts {
					return answer(r), nil
				}
				refusal := answer(r)
				refusal.StatusCode = http.StatusUnauthorized
				if test.challenge != "" {
					refusal.Header.Set("WWW-Authenticate", test.challenge)
				}
				return refusal, nil
			}), binding)
			r, _ := post(t, "https://wiki.internal/mcp")
			if test.body != "" {
				r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(test.body)), nil }
			}
			response, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if !slices.Equal(sent, test.sent) || response.StatusCode != test.status {
				t.Errorf("sent %q, got %d", sent, response.StatusCode)
			}
		})
	}
}

// A real server and a real dialler: a redirect comes back as it is, and nothing is sent to where it points.
func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	defer elsewhere.Close()
	upstream := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Api-Key") != canary {
			t.Error("the upstream did not get the credential")
		}
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer upstream.Close()

	var addresses address.Allowed
	next := upstream.Client().Transport.(*http.Transport).Clone()
	next.DialContext = (&net.Dialer{Control: addresses.Control}).DialContext
	defer next.CloseIdleConnections()
	binding := bearer(t)
	binding.Injector = inject.Header{Name: "X-Api-Key", Template: "{secret}"}
	binding.Destination = credential.Destination{URL: mustURL(t, upstream.URL)}
	transport := sender(t, next, binding)

	r, _ := post(t, upstream.URL+"/mcp")
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("status %d", response.StatusCode)
	}
}

// A name may point anywhere by the time it is dialled: the dialler, not the URL, has the last word.
func TestANameThatLeadsToARefusedAddressIsNotDialled(t *testing.T) {
	upstream := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the request arrived")
	}))
	defer upstream.Close()
	addresses, err := address.Parse([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	next := upstream.Client().Transport.(*http.Transport).Clone()
	next.DialContext = (&net.Dialer{Control: addresses.Control}).DialContext
	defer next.CloseIdleConnections()
	binding := bearer(t)
	binding.Destination = credential.Destination{URL: mustURL(t, upstream.URL)}
	transport := sender(t, next, binding)
	r, _ := post(t, upstream.URL+"/mcp")
	_, err = transport.RoundTrip(r)
	if !errors.Is(err, address.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkInject(b *testing.B) {
	header := inject.Header{Name: "Authorization", Template: "Bearer {secret}"}
	values := []secret.Value{secret.New(canary)}
	r := &http.Request{Header: http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Traceparent": {"00"}, "User-Agent": {"x"},
		"Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Session-Id": {"abc"}, "Authorization": {"Bearer of the agent"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if err := header.Inject(r, values); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	response := &http.Response{}
	transport := sender(b, roundTripper(func(*http.Request) (*http.Response, error) { return response, nil }), bearer(b))
	r, _ := post(b, "https://wiki.internal/mcp")
	for _, name := range []string{"Content-Type", "Accept", "Traceparent", "User-Agent", "Mcp-Protocol-Version", "Mcp-Session-Id"} {
		r.Header.Set(name, "x")
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transport.RoundTrip(r); err != nil {
			b.Fatal(err)
		}
	}
}

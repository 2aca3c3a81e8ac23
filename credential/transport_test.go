package credential_test

import (
	"context"
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

	"sallyport.dev/credential"
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
	transport := &credential.Transport{
		Bindings: []credential.Binding{bearer(t)},
		Next: roundTripper(func(r *http.Request) (*http.Response, error) {
			upstream = r
			return answer(r), nil
		}),
	}
	if err := transport.Validate(); err != nil {
		t.Fatal(err)
	}
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
	second.Header = credential.Header{Name: "X-Api-Key", Template: "{secret}"}
	path, ref := writeSecret(t, canary)
	second.Source = credential.NewSource(ref)
	calls := 0
	transport := &credential.Transport{
		Bindings: []credential.Binding{bearer(t), second},
		Next: roundTripper(func(r *http.Request) (*http.Response, error) {
			calls++
			if r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("X-Api-Key") != canary {
				t.Error("a credential is missing")
			}
			return answer(r), nil
		}),
	}
	r, _ := post(t, "https://wiki.internal/mcp")
	response, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r, sent := post(t, "https://wiki.internal/mcp")
	if _, err := transport.RoundTrip(r); !errors.Is(err, credential.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if calls != 1 || !sent.closed {
		t.Errorf("the upstream was called %d times; body closed %v", calls, sent.closed)
	}
}

type fixedSource struct {
	value secret.Value
	err   error
}

func (s fixedSource) Fetch(context.Context) (secret.Value, error) { return s.value, s.err }

func TestARefusedRequestIsNeverSent(t *testing.T) {
	with := func(change func(*credential.Binding)) []credential.Binding {
		binding := bearer(t)
		change(&binding)
		return []credential.Binding{bearer(t), binding}
	}
	apiKey := credential.Header{Name: "X-Api-Key", Template: "{secret}"}
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
			b.Header = apiKey
			b.Destination.URL = mustURL(t, "https://other.internal/")
		}), credential.ErrDestination},
		{"source fails", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Header = apiKey
			b.Source = fixedSource{err: errors.New("vault is sealed")}
		}), credential.ErrUnavailable},
		{"source gives nothing", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Header = apiKey
			b.Source = fixedSource{}
		}), credential.ErrUnavailable},
		{"no source", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Header = apiKey
			b.Source = nil
		}), credential.ErrUnavailable},
		{"secret with a line end", "https://wiki.internal/", with(func(b *credential.Binding) {
			b.Header = apiKey
			b.Source = fixedSource{value: secret.New(canary + "\r\n")}
		}), credential.ErrUnusable},
		{"zero binding", "https://wiki.internal/", []credential.Binding{{}}, credential.ErrDestination},
		{"header not usable", "https://wiki.internal/", with(func(b *credential.Binding) { b.Header = credential.Header{} }), credential.ErrConfig},
	} {
		t.Run(test.name, func(t *testing.T) {
			transport := &credential.Transport{Bindings: test.bindings, Next: roundTripper(func(r *http.Request) (*http.Response, error) {
				t.Error("the request was sent")
				return answer(r), nil
			})}
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

func TestATransportWithoutNextSendsNothing(t *testing.T) {
	r, sent := post(t, "https://wiki.internal/")
	_, err := (&credential.Transport{}).RoundTrip(r)
	if !errors.Is(err, credential.ErrConfig) || !sent.closed {
		t.Errorf("got %v, body closed %v", err, sent.closed)
	}
}

func TestTransportValidate(t *testing.T) {
	next := roundTripper(func(r *http.Request) (*http.Response, error) { return answer(r), nil })
	twice := bearer(t)
	twice.Header.Name = "authorization"
	for name, transport := range map[string]*credential.Transport{
		"no next":     {},
		"zero":        {Next: next, Bindings: []credential.Binding{{}}},
		"no source":   {Next: next, Bindings: []credential.Binding{{Header: bearer(t).Header, Destination: bearer(t).Destination}}},
		"header":      {Next: next, Bindings: []credential.Binding{{Source: bearer(t).Source, Destination: bearer(t).Destination}}},
		"destination": {Next: next, Bindings: []credential.Binding{{Source: bearer(t).Source, Header: bearer(t).Header}}},
		"field twice": {Next: next, Bindings: []credential.Binding{bearer(t), twice}},
	} {
		if err := transport.Validate(); !errors.Is(err, credential.ErrConfig) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	if err := (&credential.Transport{Next: next}).Validate(); err != nil {
		t.Errorf("a transport without credentials is refused: %v", err)
	}
}

func TestAnErrorOfTheNetworkThatRepeatsTheCredentialIsWithheld(t *testing.T) {
	for _, test := range []struct {
		name      string
		err, is   error
		unchanged bool
	}{
		{"repeats", fmt.Errorf("bad field %q", "Bearer "+canary), nil, false},
		{"repeats and is cancelled", fmt.Errorf("%s: %w", canary, context.Canceled), context.Canceled, false},
		{"repeats and is late", fmt.Errorf("%s: %w", canary, context.DeadlineExceeded), context.DeadlineExceeded, false},
		{"does not repeat", io.ErrUnexpectedEOF, io.ErrUnexpectedEOF, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			transport := &credential.Transport{
				Bindings: []credential.Binding{bearer(t)},
				Next:     roundTripper(func(*http.Request) (*http.Response, error) { return nil, test.err }),
			}
			r, _ := post(t, "https://wiki.internal/mcp")
			_, err := transport.RoundTrip(r)
			if err == nil || (test.is != nil && !errors.Is(err, test.is)) || (err == test.err) != test.unchanged { //nolint:errorlint // identity is the point
				t.Errorf("got %v", err)
			}
			for ; err != nil; err = errors.Unwrap(err) {
				leaks(t, "the error", fmt.Sprintf("%v %+v %#v", err, err, err))
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

	var addresses credential.Addresses
	next := upstream.Client().Transport.(*http.Transport).Clone()
	next.DialContext = (&net.Dialer{Control: addresses.Control}).DialContext
	defer next.CloseIdleConnections()
	binding := bearer(t)
	binding.Header = credential.Header{Name: "X-Api-Key", Template: "{secret}"}
	binding.Destination = credential.Destination{URL: mustURL(t, upstream.URL)}
	transport := &credential.Transport{Next: next, Bindings: []credential.Binding{binding}}

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
	addresses, err := credential.ParseAddresses([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	next := upstream.Client().Transport.(*http.Transport).Clone()
	next.DialContext = (&net.Dialer{Control: addresses.Control}).DialContext
	defer next.CloseIdleConnections()
	binding := bearer(t)
	binding.Destination = credential.Destination{URL: mustURL(t, upstream.URL)}
	transport := &credential.Transport{Next: next, Bindings: []credential.Binding{binding}}
	r, _ := post(t, upstream.URL+"/mcp")
	_, err = transport.RoundTrip(r)
	if !errors.Is(err, credential.ErrAddress) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkInject(b *testing.B) {
	header := credential.Header{Name: "Authorization", Template: "Bearer {secret}"}
	value := secret.New(canary)
	r := &http.Request{Header: http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Traceparent": {"00"}, "User-Agent": {"x"},
		"Mcp-Protocol-Version": {"2025-11-25"}, "Mcp-Session-Id": {"abc"}, "Authorization": {"Bearer of the agent"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		if err := header.Inject(r, value); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	response := &http.Response{}
	transport := &credential.Transport{
		Bindings: []credential.Binding{bearer(b)},
		Next:     roundTripper(func(*http.Request) (*http.Response, error) { return response, nil }),
	}
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

package oauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/credential/oauth"
	"sallyport.dev/credential/oauth/oauthtest"
)

var faults = []struct {
	fault oauthtest.Fault
	want  error
	says  string
}{
	{oauthtest.Huge, oauth.ErrAnswer, "longer than 64 KiB"},
	{oauthtest.Redirect, oauth.ErrAnswer, "a redirect, which is not followed"},
	{oauthtest.HTML, oauth.ErrAnswer, "status 200: it is not application/json; check token_url"},
	{oauthtest.Down, oauth.ErrAnswer, "status 503"},
	{oauthtest.Form, oauth.ErrAnswer, "not application/json"},
	{oauthtest.Broken, oauth.ErrAnswer, "not the JSON of RFC 6749"},
	{oauthtest.Compressed, oauth.ErrAnswer, "compressed"},
	{oauthtest.Echo, oauth.ErrRefused, "status 400, and no error of RFC 6749"},
	{oauthtest.EchoStatus, oauth.ErrRefused, "status 400, and no error in JSON"},
	{oauthtest.Lost, nil, "the connection to the token endpoint broke"},
	{oauthtest.WrongType, oauth.ErrAnswer, "token_type is not Bearer"},
	{oauthtest.NoType, oauth.ErrAnswer, "token_type is not Bearer"},
	{oauthtest.EmptyToken, oauth.ErrAnswer, "with an access_token"},
	{oauthtest.LongToken, oauth.ErrAnswer, "longer than 16 KiB"},
	{oauthtest.UglyToken, oauth.ErrAnswer, "not visible ASCII"},
	{oauthtest.ExpiredToken, oauth.ErrAnswer, "expires within 10s"},
	{"error invalid_request", oauth.ErrRefused, "invalid_request: check grant"},
	{"error invalid_client", oauth.ErrRefused, "invalid_client: check client_id"},
	{"error invalid_grant", oauth.ErrRefused, "invalid_grant"},
	{"error unauthorized_client", oauth.ErrRefused, "unauthorized_client: allow this grant"},
	{"error unsupported_grant_type", oauth.ErrRefused, "unsupported_grant_type"},
	{"error invalid_scope", oauth.ErrRefused, "invalid_scope: check scopes"},
	{"error invalid_target", oauth.ErrRefused, "invalid_target: check audience and resource"},
	{"error invalid_grant: c4n4ry", oauth.ErrRefused, "no error of RFC 6749"},
	{"error INVALID_CLIENT", oauth.ErrRefused, "no error of RFC 6749"},
}

// Whatever the token endpoint does, with each grant and over a real network: no token is given out, the error says what it
// is, and neither the error nor the log holds a secret or anything that was answered.
func TestATokenEndpointThatMisbehaves(t *testing.T) {
	for _, grant := range []string{"client_credentials", "refresh_token", "jwt_bearer", "token_exchange"} {
		for _, auth := range []string{"basic", "post"} {
			for _, test := range faults {
				t.Run(grant+" "+auth+" "+string(test.fault), func(t *testing.T) {
					s := set(t, grant, func(o *oauthtest.Options) { o.Auth = auth })
					s.cfg.Auth = auth
					canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
					defer canary.Close()
					s.cfg.Params = map[string]string{"canary": canary.URL}
					idp := httptest.NewUnstartedServer(s.server)
					idp.Config.ErrorLog = discard()
					idp.StartTLS()
					defer idp.Close()
					s.cfg.TokenURL = idp.URL + "/c4n4ry?c4n4ry"
					s.options.Transport = idp.Client().Transport.(*http.Transport)
					s.server.Misbehave(test.fault)
					source := s.open(t)
					defer source.Close()
					err := failure(t, source, alice, s.server.Secrets()...)
					if test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
						t.Errorf("got %v, want %q", err, test.says)
					}
					if len(s.server.Requests()) != 1 {
						t.Errorf("%d requests", len(s.server.Requests()))
					}
					if logged := s.logged(); !strings.Contains(logged, test.says) {
						t.Errorf("logged: %q", logged)
					}
					leaks(t, "the log", s.logged(), s.server.Secrets()...)
				})
			}
		}
	}
}

// A token endpoint that does not answer, or answers without end, is left after 10 s.
func TestATokenEndpointThatHangs(t *testing.T) {
	for _, fault := range []oauthtest.Fault{oauthtest.Hang, oauthtest.Drip} {
		for _, grant := range []string{"client_credentials", "refresh_token"} {
			synctest.Test(t, func(t *testing.T) {
				s := set(t, grant)
				s.server.Misbehave(fault)
				source := s.open(t)
				defer source.Close()
				began := time.Now()
				err := failure(t, source, alice)
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within 10s") || time.Since(began) != 10*time.Second {
					t.Errorf("%s: %v after %s", fault, err, time.Since(began))
				}
			})
		}
	}
}

// A caller that leaves does not wait, and does not end the request for those who stay.
func TestACallerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := set(t, "client_credentials")
		s.options.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			time.Sleep(5 * time.Second)
			if err := r.Context().Err(); err != nil {
				return nil, err
			}
			return s.server.RoundTrip(r)
		})
		source := s.open(t)
		defer source.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := source.Fetch(ctx, alice); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		fetch(t, source, alice)
		if n := len(s.server.Requests()); n != 1 || time.Since(began) != 5*time.Second {
			t.Errorf("%d requests, %s", n, time.Since(began))
		}
	})
}

// Errors from below that quote what a stranger sent, or the URL, are not repeated; what the dialler says is.
func TestATokenEndpointThatCannotBeReached(t *testing.T) {
	refused := errors.New("address refused")
	for _, test := range []struct {
		err  error
		says string
		is   error
	}{
		{errors.New(`malformed HTTP response "c4n4ry"`), "broke", nil},
		{&url.Error{Op: "Post", URL: endpoint, Err: errors.New("c4n4ry")}, "broke", nil},
		{&net.OpError{Op: "read", Err: errors.New("c4n4ry")}, "broke", nil},
		{&net.OpError{Op: "remote error", Err: errors.New("c4n4ry")}, "broke", nil},
		{&net.OpError{Op: "dial", Net: "tcp", Err: refused}, "cannot connect to the token endpoint: dial tcp: address refused", refused},
		{fmt.Errorf("c4n4ry: %w", context.DeadlineExceeded), "no answer within", context.DeadlineExceeded},
		{fmt.Errorf("c4n4ry: %w", context.Canceled), "context canceled", context.Canceled},
	} {
		s := set(t, "client_credentials")
		s.options.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, test.err })
		err := failure(t, s.source(t), alice)
		if !strings.Contains(err.Error(), test.says) || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%v gives %v", test.err, err)
		}
	}
	s := set(t, "client_credentials")
	s.options.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
		body := io.MultiReader(strings.NewReader(`{"access_token":"at-half`), failing{})
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(body)}, nil
	})
	if err := failure(t, s.source(t), alice); !strings.Contains(err.Error(), "broke") {
		t.Errorf("half an answer gives %v", err)
	}
}

// discard is the log of a server that is expected to complain.
func discard() *log.Logger { return log.New(io.Discard, "", 0) }

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("c4n4ry") }

// A server that nobody vouches for, and one that is another than it should be, get nothing.
func TestCertificateOfTheTokenEndpoint(t *testing.T) {
	s := set(t, "client_credentials")
	idp := httptest.NewUnstartedServer(s.server)
	idp.Config.ErrorLog = discard()
	idp.StartTLS()
	defer idp.Close()
	trusted := idp.Client().Transport.(*http.Transport)
	for name, test := range map[string]struct {
		transport *http.Transport
		host      string
		says      string
	}{
		"unknown CA":   {&http.Transport{}, idp.URL, "signed by nobody who is trusted; write ca_file"},
		"another host": {trusted.Clone(), "https://c4n4ry.internal", "for another host"},
	} {
		test.transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, idp.Listener.Addr().String())
		}
		n := set(t, "client_credentials")
		n.cfg.TokenURL, n.options.Transport = test.host+"/token", test.transport
		source := n.open(t)
		_, err := source.Fetch(t.Context(), alice)
		if err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s gives %v", name, err)
		}
		source.Close()
	}
	if n := len(s.server.Requests()); n != 0 {
		t.Errorf("%d requests arrived", n)
	}
}

// What real servers answer, and is accepted: text for a number, capitals, members that mean nothing to us, and a token that
// is longer than most.
func TestAnswersThatAreAccepted(t *testing.T) {
	for _, answer := range []string{
		`{"access_token":"a","token_type":"BEARER","expires_in":3600}`,
		`{"access_token":"a","token_type":"bearer","expires_in":"3599","ext_expires_in":3599,"scope":"x","not_before":0}`,
		`{"access_token":"a","token_type":"Bearer"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":null}`,
		`{"access_token":"a","token_type":"Bearer","id_token":"c4n4ry-id","refresh_token":"c4n4ry-other"}`,
		`{"access_token":"` + strings.Repeat("a", 16<<10) + `","token_type":"Bearer","expires_in":99999999999}`,
		`{"access_token":"a","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:jwt"}`,
	} {
		s := set(t, "client_credentials")
		s.options.Transport = answering("application/json; charset=utf-8", answer)
		fetch(t, s.source(t), alice)
		if strings.Contains(answer, "id_token") && (!s.knows("c4n4ry-id") || !s.knows("c4n4ry-other")) {
			t.Error("tokens that came along are not known to the scrubber")
		}
	}
	for _, answer := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":-1}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":"soon"}`,
		`{"access_token":"a","token_type":"Bearer","expires_in":10}`,
		`{"access_token":"a b","token_type":"Bearer"}`,
		`{"access_token":"ä","token_type":"Bearer"}`,
		`{"access_token":["a"],"token_type":"Bearer"}`,
		`{"access_token":"a","token_type":"Bearer","refresh_token":"a\nb"}`,
		`{"access_token":"a","token_type":"Bearer","error":"invalid_client"}`,
		`{"access_token":"a","token_type":"N_A"}`,
		`{"access_token":"a","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:saml2"}`,
		`{"access_token":"a","token_type":"Bearer"} {}`,
		`[]`, `null`, `"a"`, ``,
	} {
		s := set(t, "client_credentials")
		s.options.Transport = answering("application/json", answer)
		fails(t, s.source(t), alice)
	}
}

// No more is read than 64 KiB and what shows that there is more.
func TestAnAnswerWithoutEnd(t *testing.T) {
	s := set(t, "client_credentials")
	endless := new(endless)
	s.options.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(endless)}, nil
	})
	fails(t, s.source(t), alice)
	if endless.read > 64<<10+1 {
		t.Errorf("%d bytes were read", endless.read)
	}
}

// endless counts the spaces that are read of it.
type endless struct{ read int }

func (e *endless) Read(into []byte) (int, error) {
	for i := range into {
		into[i] = ' '
	}
	e.read += len(into)
	return len(into), nil
}

// answering is a token endpoint that answers always the same.
func answering(kind, answer string) roundTripper {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(answer))}, nil
	}
}

// Whatever comes as an answer: a token that can stand in a header, or an error that repeats none of it.
func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":3600}`)
	f.Add(200, "application/json", `{"access_token":"a","token_type":"Bearer","expires_in":"1e3","refresh_token":"r"}`)
	f.Add(400, "application/json", `{"error":"invalid_grant","error_description":"no"}`)
	f.Add(200, "text/plain", "access_token=a&token_type=bearer")
	f.Add(302, "", "")
	f.Fuzz(func(t *testing.T, status int, kind, body string) {
		if status < 100 || status > 999 {
			return
		}
		const mark = "zqzqMARKzqzq"
		body = strings.ReplaceAll(body, "a", mark)
		s := set(t, "refresh_token")
		s.options.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(strings.NewReader(body))}, nil
		})
		source := s.open(t)
		defer source.Close()
		got, err := source.Fetch(t.Context(), alice)
		if err != nil {
			if strings.Contains(err.Error(), mark) || strings.Contains(s.logged(), mark) {
				t.Errorf("repeated: %v", err)
			}
			return
		}
		token := got.Values[0].Reveal()
		if token == "" || len(token) > 16<<10 || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) || !s.knows(token) {
			t.Errorf("%q was given out", token)
		}
	})
}

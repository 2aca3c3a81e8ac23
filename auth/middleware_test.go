package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
)

type verifierFunc func(context.Context, auth.Presented) (auth.Principal, error)

func (f verifierFunc) Verify(ctx context.Context, p auth.Presented) (auth.Principal, error) {
	return f(ctx, p)
}

func TestAuthenticate(t *testing.T) {
	errDown := errors.New("identity provider unreachable")
	down := verifierFunc(func(context.Context, auth.Presented) (auth.Principal, error) {
		return auth.Principal{Subject: "x"}, errDown
	})
	static := authtest.Static(t, auth.Grant{})
	cases := []struct {
		name     string
		verifier auth.Verifier
		fields   []string
		want     error
	}{
		{"good", static, []string{"Bearer " + authtest.Token}, nil},
		{"none", static, nil, auth.ErrNoToken},
		{"unknown", static, []string{"Bearer unknown"}, auth.ErrInvalid},
		{"two", static, []string{"Bearer " + authtest.Token, "Bearer " + authtest.Token}, auth.ErrMalformed},
		{"no verdict", down, []string{"Bearer " + authtest.Token}, errDown},
		{"no verifier", nil, []string{"Bearer " + authtest.Token}, auth.ErrInvalid},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got auth.Principal
			var refusal error
			reached := 0
			h := auth.Authenticate(auth.AuthenticateConfig{
				Verifier: c.verifier,
				Refuse:   func(_ http.ResponseWriter, _ *http.Request, err error) { refusal = err },
			})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				reached++
				got, _ = auth.PrincipalFrom(r.Context())
			}))
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header["Authorization"] = c.fields
			h.ServeHTTP(httptest.NewRecorder(), r)
			if !errors.Is(refusal, c.want) || (reached == 1) != (c.want == nil) {
				t.Fatalf("refused with %v, handler reached %d times, want %v", refusal, reached, c.want)
			}
			if c.want == nil && got.Subject != authtest.Subject {
				t.Errorf("the handler saw %v", got)
			}
		})
	}
}

func TestAuthenticateRefusesWithoutConfiguration(t *testing.T) {
	h := auth.Authenticate(auth.AuthenticateConfig{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the handler was reached")
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") != "Bearer" {
		t.Errorf("got %d, %q", w.Code, w.Header().Get("WWW-Authenticate"))
	}
}

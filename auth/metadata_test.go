package auth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"sallyport.dev/auth"
)

func TestMetadata(t *testing.T) {
	m := auth.Metadata{
		Resource:             "https://gw.test/t/acme/wiki/mcp",
		AuthorizationServers: []string{"https://idp.test"},
		Scopes:               []string{"mcp"},
	}
	const document = `{"resource":"https://gw.test/t/acme/wiki/mcp","authorization_servers":["https://idp.test"],` +
		`"scopes_supported":["mcp"],"bearer_methods_supported":["header"]}`
	const short = `{"resource":"https://gw.test/t/acme/wiki/mcp","bearer_methods_supported":["header"]}`
	cases := []struct {
		method string
		m      auth.Metadata
		code   int
		body   string
	}{
		{http.MethodGet, m, 200, document},
		{http.MethodGet, auth.Metadata{Resource: m.Resource}, 200, short},
		{http.MethodHead, m, 200, ""},
		{http.MethodPost, m, 405, "Method Not Allowed\n"},
		{http.MethodOptions, m, 405, "Method Not Allowed\n"},
		{http.MethodGet, auth.Metadata{}, 500, "Internal Server Error\n"},
	}
	for _, c := range cases {
		t.Run(fmt.Sprint(c.method, c.code, len(c.body)), func(t *testing.T) {
			w := httptest.NewRecorder()
			c.m.ServeHTTP(w, httptest.NewRequest(c.method, "/", nil))
			if w.Code != c.code || w.Body.String() != c.body {
				t.Fatalf("got %d %q, want %d %q", w.Code, w.Body, c.code, c.body)
			}
			h := w.Header()
			if h.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("not readable from any origin")
			}
			if c.code == 405 && h.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow is %q", h.Get("Allow"))
			}
			if c.code != 200 {
				if cc := h.Get("Cache-Control"); cc != "" {
					t.Errorf("a refusal is cacheable: %q", cc)
				}
				return
			}
			if h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "public, max-age=60" ||
				h.Get("Content-Length") == "0" || h.Get("Content-Length") == "" {
				t.Errorf("headers %v", h)
			}
		})
	}
}

func TestChallenge(t *testing.T) {
	const u = "https://gw.test/.well-known/oauth-protected-resource/t/acme/wiki/mcp"
	cases := []struct {
		name, url, scope string
		err              error
		want             string
	}{
		{"no token", u, "", fmt.Errorf("x: %w", auth.ErrNoToken), `Bearer resource_metadata="` + u + `"`},
		{"no error", u, "", nil, `Bearer resource_metadata="` + u + `"`},
		{"invalid", u, "", auth.ErrInvalid, `Bearer resource_metadata="` + u + `", error="invalid_token"`},
		{"expired", u, "mcp read", auth.ErrExpired, `Bearer resource_metadata="` + u + `", scope="mcp read", error="invalid_token"`},
		{"malformed", u, "", auth.ErrMalformed, `Bearer resource_metadata="` + u + `", error="invalid_request"`},
		{"relative", "/x", "", auth.ErrInvalid, `Bearer error="invalid_token"`},
		{"other scheme", "javascript://x/y", "", nil, `Bearer`},
		{"quote in the URL", u + `",error="x`, "", nil, `Bearer`},
		{"line break in the URL", u + "\r\nX: y", "", nil, `Bearer`},
		{"quote in the scope", u, `a", error="x`, nil, `Bearer resource_metadata="` + u + `"`},
		{"line break in the scope", u, "a\r\nb", nil, `Bearer resource_metadata="` + u + `"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := auth.Challenge(c.url, c.scope, c.err); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

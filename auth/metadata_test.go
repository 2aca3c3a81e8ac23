package auth_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
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
	named := `Bearer resource_metadata="` + u + `"`
	es256 := []string{"ES256", "EdDSA"}
	insufficient := &auth.InsufficientError{Scopes: []string{"mcp", "wiki.read"}}
	cases := []struct {
		name      string
		challenge auth.Challenge
		err       error
		want      []string
	}{
		{"no token", auth.Challenge{MetadataURL: u}, fmt.Errorf("x: %w", auth.ErrNoToken), []string{named}},
		{"no error", auth.Challenge{MetadataURL: u}, nil, []string{named}},
		{"invalid", auth.Challenge{MetadataURL: u}, auth.ErrInvalid, []string{named + `, error="invalid_token"`}},
		{"expired", auth.Challenge{MetadataURL: u, Scopes: []string{"mcp", "read"}}, auth.ErrExpired, []string{named + `, scope="mcp read", error="invalid_token"`}},
		{"malformed", auth.Challenge{MetadataURL: u}, auth.ErrMalformed, []string{named + `, error="invalid_request"`}},
		{"insufficient", auth.Challenge{MetadataURL: u, Scopes: []string{"mcp"}}, fmt.Errorf("x: %w", insufficient), []string{named + `, scope="mcp wiki.read", error="insufficient_scope"`}},
		{"no token, proofs", auth.Challenge{MetadataURL: u, Proofs: es256}, auth.ErrNoToken, []string{named, `DPoP resource_metadata="` + u + `", algs="ES256 EdDSA"`}},
		{"bad proof", auth.Challenge{Proofs: es256}, auth.ErrProof, []string{`Bearer error="invalid_token"`, `DPoP algs="ES256 EdDSA", error="invalid_dpop_proof"`}},
		{"no nonce", auth.Challenge{Proofs: es256}, fmt.Errorf("x: %w", &auth.NonceError{Nonce: "n"}), []string{`Bearer error="invalid_token"`, `DPoP algs="ES256 EdDSA", error="use_dpop_nonce"`}},
		{"bad proof without proofs", auth.Challenge{}, auth.ErrProof, []string{`Bearer error="invalid_token"`}},
		{"relative", auth.Challenge{MetadataURL: "/x"}, auth.ErrInvalid, []string{`Bearer error="invalid_token"`}},
		{"other scheme", auth.Challenge{MetadataURL: "javascript://x/y"}, nil, []string{`Bearer`}},
		{"quote in the URL", auth.Challenge{MetadataURL: u + `",error="x`}, nil, []string{`Bearer`}},
		{"line break in the URL", auth.Challenge{MetadataURL: u + "\r\nX: y"}, nil, []string{`Bearer`}},
		{"quote in the scope", auth.Challenge{MetadataURL: u, Scopes: []string{`a",error="x`}}, nil, []string{named}},
		{"space in the scope", auth.Challenge{MetadataURL: u, Scopes: []string{`a b`, "c"}}, nil, []string{named + `, scope="c"`}},
		{"line break in the scope", auth.Challenge{MetadataURL: u, Scopes: []string{"a\r\nb"}}, nil, []string{named}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := c.challenge.Fields(c.err); !slices.Equal(got, c.want) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

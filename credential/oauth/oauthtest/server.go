package oauthtest

import (
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Options are what a server knows and expects. The zero value has a public client without a name.
type Options struct {
	// ClientID and ClientSecret are the client's.
	ClientID, ClientSecret string
	// Auth is how it must show its secret: basic, post or none. Default basic with a secret, none without.
	Auth string
	// Lifetime is how long access tokens are valid. 0: an hour.
	Lifetime time.Duration
	// Silent leaves expires_in out.
	Silent bool
	// RefreshToken is one that somebody has authorised. Optional.
	RefreshToken string
	// Static lets refresh tokens be used again and again, where otherwise each is replaced when it is used, and the whole
	// family revoked when an old one is used again (RFC 9700, section 4.14.2).
	Static bool
	// AssertionKey verifies assertions and subject tokens that are JWTs, and Audience is what they must be for.
	AssertionKey crypto.PublicKey
	Audience     string
	// SubjectTokens are opaque subject tokens, with whom they stand for.
	SubjectTokens map[string]string
}

// Request is a token request that was accepted for examination, whatever became of it.
type Request struct {
	Form   url.Values
	Header http.Header
}

// Server is an authorization server: its token endpoint as an http.Handler, and as an http.RoundTripper that asks it
// without a network. Make it with [New].
type Server struct {
	o Options

	mu       sync.Mutex // guards what follows
	fault    Fault
	requests []Request
	tokens   map[string]issued
	families map[string]*family // by every refresh token that was ever one of theirs
	refresh  []string           // those that were handed out, in order
}

// issued is an access token.
type issued struct {
	subject string
	expires time.Time
}

// family are refresh tokens of which each has replaced the one before.
type family struct {
	current string
	revoked bool
}

// New returns a server.
func New(o Options) *Server {
	if o.Auth == "" {
		o.Auth = "none"
		if o.ClientSecret != "" {
			o.Auth = "basic"
		}
	}
	if o.Lifetime == 0 {
		o.Lifetime = time.Hour
	}
	s := &Server{o: o, tokens: make(map[string]issued), families: make(map[string]*family)}
	s.Authorize(o.RefreshToken)
	return s
}

// Authorize makes a refresh token valid, the first of its family.
func (s *Server) Authorize(refreshToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refreshToken != "" {
		s.families[refreshToken] = &family{current: refreshToken}
	}
}

// Requests returns the token requests so far.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Secrets returns all that was issued, access tokens and refresh tokens.
func (s *Server) Secrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.refresh)
	for token := range s.tokens {
		all = append(all, token)
	}
	return all
}

// Subject says whom a valid access token stands for; the client's name if nobody else.
func (s *Server) Subject(accessToken string) (subject string, valid bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, ok := s.tokens[accessToken]
	return token.subject, ok && time.Now().Before(token.expires)
}

// Revoke makes an access token invalid before it expires.
func (s *Server) Revoke(accessToken string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token, ok := s.tokens[accessToken]; ok {
		token.expires = time.Time{}
		s.tokens[accessToken] = token
	}
}

// Protect wraps a resource: it answers 401 unless a request has a valid access token of the server (RFC 6750, section 3).
func (s *Server) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if token == "" || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="oauthtest"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if _, ok := s.Subject(token); !ok {
			w.Header().Set("WWW-Authenticate", `Bearer realm="oauthtest", error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// RoundTrip implements http.RoundTripper.
func (s *Server) RoundTrip(r *http.Request) (response *http.Response, err error) {
	defer func() {
		switch cause := recover(); cause {
		case nil:
		case http.ErrAbortHandler: // as of net/http's server
			response, err = nil, io.ErrUnexpectedEOF
		default:
			panic(cause)
		}
	}()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r.Clone(r.Context()))
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	response = w.Result()
	response.Request = r
	return response, nil
}

// CloseIdleConnections does nothing: there are none.
func (s *Server) CloseIdleConnections() {}

// ServeHTTP implements http.Handler: the token endpoint, at every path.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost {
		refuse(w, http.StatusBadRequest, "invalid_request")
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, Request{r.PostForm, r.Header.Clone()})
	fault := s.fault
	s.mu.Unlock()
	if fault.before(w, r) {
		return
	}
	if !s.authenticated(r) {
		w.Header().Set("WWW-Authenticate", "Basic")
		refuse(w, http.StatusUnauthorized, "invalid_client")
		return
	}
	given, code := s.grant(r.PostForm)
	if code != "" {
		refuse(w, http.StatusBadRequest, code)
		return
	}
	fault.after(given)
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(given) // the client has left
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "see the log"})
}

// authenticated checks that the client shows its secret in the one way that was agreed (RFC 6749, section 2.3).
func (s *Server) authenticated(r *http.Request) bool {
	id, hasSecret := r.PostForm.Get("client_id"), r.PostForm.Has("client_secret")
	escapedID, escapedSecret, basic := r.BasicAuth()
	switch s.o.Auth {
	case "basic":
		gotID, err := url.QueryUnescape(escapedID)
		gotSecret, err2 := url.QueryUnescape(escapedSecret)
		return basic && err == nil && err2 == nil && gotID == s.o.ClientID && gotSecret == s.o.ClientSecret && id == "" && !hasSecret
	case "post":
		return !basic && id == s.o.ClientID && r.PostForm.Get("client_secret") == s.o.ClientSecret
	}
	return !basic && id == s.o.ClientID && !hasSecret
}

// grant answers one request.
func (s *Server) grant(form url.Values) (given map[string]any, code string) {
	for name, values := range form {
		if len(values) != 1 && name != "resource" && name != "audience" {
			return nil, "invalid_request"
		}
	}
	switch form.Get("grant_type") {
	case "client_credentials":
		if s.o.Auth == "none" {
			return nil, "unauthorized_client"
		}
		return s.issue(s.o.ClientID, ""), ""
	case "refresh_token":
		return s.rotate(form.Get("refresh_token"))
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		subject, err := s.verify(form.Get("assertion"))
		if err != nil {
			return nil, "invalid_grant"
		}
		return s.issue(subject, ""), ""
	case "urn:ietf:params:oauth:grant-type:token-exchange":
		return s.exchange(form)
	}
	return nil, "unsupported_grant_type"
}

func (s *Server) issue(subject, refreshToken string) map[string]any {
	token := "at-" + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[token] = issued{subject, time.Now().Add(s.o.Lifetime)}
	given := map[string]any{"access_token": token, "token_type": "bearer"}
	if !s.o.Silent {
		given["expires_in"] = int(s.o.Lifetime / time.Second)
	}
	if refreshToken != "" {
		given["refresh_token"] = refreshToken
		s.refresh = append(s.refresh, refreshToken)
	}
	return given
}

func (s *Server) rotate(token string) (map[string]any, string) {
	next := ""
	s.mu.Lock()
	of := s.families[token]
	switch {
	case of == nil || of.revoked:
		s.mu.Unlock()
		return nil, "invalid_grant"
	case of.current != token:
		of.revoked = true
		s.mu.Unlock()
		return nil, "invalid_grant"
	case !s.o.Static:
		next = "rt-" + rand.Text()
		of.current = next
		s.families[next] = of
	}
	s.mu.Unlock()
	return s.issue("the one who authorised", next), ""
}

func (s *Server) exchange(form url.Values) (map[string]any, string) {
	subject, err := "", errors.New("unknown kind")
	switch form.Get("subject_token_type") {
	case "urn:ietf:params:oauth:token-type:jwt":
		subject, err = s.verify(form.Get("subject_token"))
	case "urn:ietf:params:oauth:token-type:access_token":
		if found, ok := s.o.SubjectTokens[form.Get("subject_token")]; ok {
			subject, err = found, nil
		}
	}
	if err != nil {
		return nil, "invalid_request" // RFC 8693, section 2.2.2
	}
	given := s.issue(subject, "")
	given["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
	return given, ""
}

// verify checks a JWT (RFC 7523, section 3) and returns its subject.
func (s *Server) verify(text string) (string, error) {
	if s.o.AssertionKey == nil {
		return "", errors.New("no key")
	}
	token, err := jwt.Parse(text, func(*jwt.Token) (any, error) { return s.o.AssertionKey, nil },
		jwt.WithAudience(s.o.Audience), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithValidMethods([]string{"EdDSA", "ES256", "ES384", "RS256"}))
	if err != nil {
		return "", err
	}
	issuer, err := token.Claims.GetIssuer()
	if err != nil || issuer == "" {
		return "", errors.New("no issuer")
	}
	subject, err := token.Claims.GetSubject()
	if err != nil || subject == "" {
		return "", errors.New("no subject")
	}
	return subject, nil
}

package providertest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Endpoint is one of the addresses of a provider.
type Endpoint string

// The endpoints.
const (
	// Document is the discovery document of OpenID Connect, below the issuer's path.
	Document Endpoint = "/.well-known/openid-configuration"
	// OAuthDocument is the one of RFC 8414, in front of the issuer's path.
	OAuthDocument Endpoint = "/.well-known/oauth-authorization-server"
	// JWKS is the key set.
	JWKS Endpoint = "/keys"
	// Introspection is that of RFC 7662.
	Introspection Endpoint = "/introspect"
	// Canary is where the fault [Redirect] leads. It gives what was asked for, so that only a count tells who followed.
	Canary Endpoint = "/canary"
)

// The credentials of the client that may introspect, unless [Options] has others. Both need escaping (RFC 6749, section
// 2.3.1).
const (
	ClientID     = "resource:server"
	ClientSecret = "introspection secret/100%"
)

// Options say what kind of provider it is. The zero value is one with TLS on a port of loopback and keys of all kinds.
type Options struct {
	// Plain serves http in place of https.
	Plain bool
	// Memory opens no port: connections are made by [Server.Dial] alone, so that a test runs in a bubble of
	// testing/synctest. The issuer is then https://idp.test, or http://localhost if it is plain.
	Memory bool
	// Path is the path of the issuer, such as /realms/acme. Optional.
	Path string
	// OAuthOnly has only the document of RFC 8414.
	OAuthOnly bool
	// Algorithms are those for which it has a key. Default RS256, PS256, ES256, ES384, EdDSA.
	Algorithms []string
	// Other gives it other RSA keys than a provider without it has. Keys of other kinds are its own in any case.
	Other bool
	// Audience is what tokens are for unless their claims say otherwise. Optional.
	Audience string
	// MaxTLS is the highest version of TLS. Optional.
	MaxTLS uint16
}

// Request is what was asked.
type Request struct {
	Endpoint Endpoint
	Header   http.Header
	Form     url.Values // of the body
}

// Server is an identity provider. Make it with [New].
type Server struct {
	o        Options
	origin   string
	listener *listener
	roots    *x509.CertPool
	caFile   string

	mu       sync.Mutex // guards what follows
	faults   map[Endpoint]Fault
	bodies   map[Endpoint]string
	requests []Request
	opaque   map[string]map[string]any
	current  *generation
	before   *generation
	overlap  bool
	stranger *generation
}

// New starts a provider that ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}
	}
	s := &Server{
		o: o, faults: make(map[Endpoint]Fault), bodies: make(map[Endpoint]string), opaque: make(map[string]map[string]any),
		current: newGeneration(0, o.Other), stranger: newGeneration(-1, o.Other),
	}
	if err := s.listen(); err != nil {
		t.Fatalf("start the identity provider: %v", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(s.serve), ErrorLog: log.New(io.Discard, "", 0)}
	var serving net.Listener = s.listener
	if !o.Plain {
		certificate, roots, file := authority(t)
		s.roots, s.caFile = roots, file
		secure := &tls.Config{Certificates: []tls.Certificate{certificate}, MaxVersion: o.MaxTLS}
		if o.MaxTLS != 0 {
			secure.MinVersion = tls.VersionTLS10 // the default is above what a test may want
		}
		serving = tls.NewListener(s.listener, secure)
	}
	var done sync.WaitGroup
	done.Go(func() {
		if err := server.Serve(serving); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the identity provider: %v", err)
		}
	})
	t.Cleanup(func() {
		_ = server.Close() // the listener's error has no consequence
		done.Wait()
		s.listener.wait()
	})
	return s
}

// listen opens the port, or what stands for it, and says what the origin is.
func (s *Server) listen() error {
	scheme := "https://"
	if s.o.Plain {
		scheme = "http://"
	}
	if s.o.Memory {
		s.listener = newListener(newMemory())
		s.origin = scheme + "idp.test"
		if s.o.Plain {
			s.origin = scheme + "localhost"
		}
		return nil
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.listener = newListener(port)
	s.origin = scheme + port.Addr().String()
	return nil
}

// Issuer is the issuer's name, exactly.
func (s *Server) Issuer() string { return s.origin + s.o.Path }

// URL is where an endpoint is.
func (s *Server) URL(e Endpoint) string {
	path := strings.TrimSuffix(s.o.Path, "/")
	switch e {
	case Document:
		return s.origin + path + string(e)
	case OAuthDocument:
		return s.origin + string(e) + path
	}
	return s.origin + string(e)
}

// CAFile is a file with the certificate to trust, in PEM; empty if the provider is plain.
func (s *Server) CAFile() string { return s.caFile }

// Roots are the certificates to trust; nil if the provider is plain.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Dial connects to a provider in memory, whatever the address.
func (s *Server) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return s.listener.dial(ctx)
}

// Rotate makes new keys that sign from now on. With overlap the keys before them stay in the set until the next rotation.
func (s *Server) Rotate(overlap bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.current, s.overlap = s.current, newGeneration(s.current.number+1, s.o.Other), overlap
}

// Opaque registers an opaque token with the members of its answer: all of them, but active, which is true if it is not
// there.
func (s *Server) Opaque(token string, answer map[string]any) {
	full := map[string]any{"active": true}
	for name, value := range answer {
		full[name] = value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opaque[token] = full
}

// Requests are all that were made of an endpoint.
func (s *Server) Requests(e Endpoint) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.requests), func(r Request) bool { return r.Endpoint != e })
}

// Count is how many requests were made of an endpoint.
func (s *Server) Count(e Endpoint) int { return len(s.Requests(e)) }

func (s *Server) endpoint(path string) (e Endpoint, found bool) {
	for _, e := range []Endpoint{Document, OAuthDocument, JWKS, Introspection, Canary} {
		if s.origin+path == s.URL(e) {
			return e, e != Document || !s.o.OAuthOnly
		}
	}
	return Endpoint(path), false
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	err := r.ParseForm()
	e, found := s.endpoint(r.URL.EscapedPath())
	s.mu.Lock()
	s.requests = append(s.requests, Request{e, r.Header.Clone(), r.PostForm})
	fault := s.faults[e]
	s.mu.Unlock()
	if !found || err != nil || (e == Introspection) != (r.Method == http.MethodPost) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	if e == Introspection && !authenticated(r) {
		w.Header().Set("WWW-Authenticate", "Basic")
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	}
	asked := e
	if e == Canary {
		asked = Endpoint(r.URL.Query().Get("of"))
	}
	fault.serve(w, r, asked, s.body(asked, fault, r.PostForm.Get("token")))
}

// body is what an endpoint has to say.
func (s *Server) body(e Endpoint, fault Fault, token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if body, ok := s.bodies[e]; ok {
		return body
	}
	var what any
	switch e {
	case Document, OAuthDocument:
		what = s.document(fault)
	case JWKS:
		what = map[string]any{"keys": s.keySet(fault)}
	case Introspection:
		answer, known := s.opaque[token]
		if !known {
			answer = map[string]any{"active": false}
		}
		what = answer
	}
	text, err := json.Marshal(what)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// document holds what real ones do, so that what is not asked for is there too.
func (s *Server) document(fault Fault) map[string]any {
	issuer := s.Issuer()
	if fault == OtherIssuer {
		issuer += "/other"
	}
	return map[string]any{
		"issuer": issuer, "jwks_uri": s.URL(JWKS), "introspection_endpoint": s.URL(Introspection),
		"authorization_endpoint": s.origin + "/authorize", "token_endpoint": s.origin + "/token",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": s.o.Algorithms, "claims_parameter_supported": true,
	}
}

// authenticated checks the client's name and secret, which come escaped (RFC 6749, section 2.3.1).
func authenticated(r *http.Request) bool {
	id, secret, ok := r.BasicAuth()
	gotID, err := url.QueryUnescape(id)
	gotSecret, err2 := url.QueryUnescape(secret)
	return ok && err == nil && err2 == nil && gotID == ClientID && gotSecret == ClientSecret && !strings.Contains(id+secret, " ")
}

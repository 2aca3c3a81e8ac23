// Package vaulttest is a Vault for tests: the part of its HTTP API that secrets are read by, with the answers of the real
// one, and switches for what a hostile or broken one does. It does not know who asks it, and nothing outside tests may
// import it.
package vaulttest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// What is known to every Vault of this package.
const (
	RootToken  = "hvs.root-token-of-the-test-vault-0123456789"
	RoleID     = "role-id-0123456789"
	SecretID   = "secret-id-0123456789-abcdef"
	Role       = "sallyport"
	ServiceJWT = "header.service-account.signature"
	denied     = "permission denied"
)

// Fault is what a Vault does in place of answering.
type Fault string

// The faults.
const (
	Hang     Fault = "hang"     // until the client leaves
	Huge     Fault = "huge"     // 10 MiB
	Endless  Fault = "endless"  // a byte now and then
	Redirect Fault = "redirect" // to Elsewhere
	HTML     Fault = "html"
	Types    Fault = "types" // JSON of other types
	Sealed   Fault = "sealed"
	Echo     Fault = "echo" // an error that repeats the token
	Broken   Fault = "broken"
)

// Vault is a running one.
type Vault struct {
	// URL is its address; Client trusts its certificate.
	URL string
	// Namespace is what requests must name. Optional.
	Namespace string
	// Elsewhere is where a redirect leads.
	Elsewhere string
	// LeaseTTL and MaxTTL are those of leases; LoginTTL is that of logins.
	LeaseTTL, MaxTTL, LoginTTL time.Duration

	server *httptest.Server

	mu       sync.Mutex // guards what follows
	fault    Fault
	kv       map[string]map[string]any // by path below kv/; nil: deleted
	tokens   map[string]*login
	leases   map[string]*lease
	requests []string
	made     int
}

type login struct {
	expires time.Time
	policy  func(path string) bool
}

type lease struct {
	token          string
	expires, until time.Time
}

// New starts a Vault, over TLS if secure, that ends with the test.
func New(t testing.TB, secure bool) *Vault {
	t.Helper()
	v := &Vault{
		LeaseTTL: time.Hour, MaxTTL: 24 * time.Hour, LoginTTL: time.Hour,
		kv: make(map[string]map[string]any), leases: make(map[string]*lease),
		tokens: map[string]*login{RootToken: {expires: time.Now().Add(1000 * time.Hour), policy: func(string) bool { return true }}},
	}
	v.server = httptest.NewUnstartedServer(v)
	if secure {
		v.server.StartTLS()
	} else {
		v.server.Start()
	}
	v.URL = v.server.URL
	t.Cleanup(v.server.Close)
	return v
}

// CA is its certificate in DER, if it is over TLS.
func (v *Vault) CA() []byte { return v.server.Certificate().Raw }

// Stop makes it vanish.
func (v *Vault) Stop() { v.server.Close() }

// Put writes the newest version of a secret of the version 2 key-value engine at kv/, or, for a path below users/, at users/
// too; nil deletes it.
func (v *Vault) Put(path string, data map[string]any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kv[path] = data
}

// Misbehave makes it do something else from now on; the empty Fault ends that.
func (v *Vault) Misbehave(f Fault) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.fault = f
}

// Revoke ends all logins but the root token, and their leases.
func (v *Vault) Revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for token := range v.tokens {
		if token != RootToken {
			v.end(token)
		}
	}
}

// Requests returns the methods and paths of all requests so far.
func (v *Vault) Requests() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.requests)
}

// Count returns how many requests had this beginning.
func (v *Vault) Count(prefix string) (n int) {
	for _, r := range v.Requests() {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// Leases returns how many leases are out, and Logins how many tokens beside the root token.
func (v *Vault) Leases() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.leases)
}

// Logins is how many tokens are out beside the root token.
func (v *Vault) Logins() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.tokens) - 1
}

// ServeHTTP implements http.Handler.
func (v *Vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	v.requests = append(v.requests, r.Method+" "+strings.TrimPrefix(r.URL.EscapedPath(), "/v1/"))
	fault := v.fault
	v.mu.Unlock()
	if fault != "" && v.misbehave(w, r, fault) {
		return
	}
	if r.Header.Get("X-Vault-Request") != "true" || r.Header.Get("X-Vault-Namespace") != v.Namespace {
		refuse(w, http.StatusBadRequest, "missing or wrong header")
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok {
		refuse(w, http.StatusNotFound)
		return
	}
	var body map[string]any
	if r.Body != nil && r.Method != http.MethodGet {
		_ = json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body) // an empty body is none
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login") && r.Method == http.MethodPost {
		v.logIn(w, path, body)
		return
	}
	token := r.Header.Get("X-Vault-Token")
	who := v.tokens[token]
	if who == nil || time.Now().After(who.expires) {
		refuse(w, http.StatusForbidden, denied)
		return
	}
	v.serve(w, r.Method, path, body, token, who)
}

func (v *Vault) misbehave(w http.ResponseWriter, r *http.Request, fault Fault) bool {
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 1<<20)) // until then net/http does not see that a client leaves
	switch fault {
	case Hang:
		<-r.Context().Done()
	case Huge:
		_, _ = w.Write([]byte(`{"data":{"data":{"token":"` + strings.Repeat("x", 10<<20) + `"}}}`))
	case Endless:
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	case Redirect:
		http.Redirect(w, r, v.Elsewhere, http.StatusTemporaryRedirect)
	case HTML:
		_, _ = w.Write([]byte("<html>" + r.Header.Get("X-Vault-Token") + "</html>"))
	case Types:
		_, _ = w.Write([]byte(`{"data":{"data":["token"],"path":7},"lease_duration":"long","auth":{"client_token":7}}`))
	case Sealed:
		refuse(w, http.StatusServiceUnavailable, "Vault is sealed")
	case Echo:
		refuse(w, http.StatusInternalServerError, "failed for "+r.Header.Get("X-Vault-Token"))
	case Broken:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	return true
}

// logIn serves the four methods. v.mu is held.
func (v *Vault) logIn(w http.ResponseWriter, path string, body map[string]any) {
	var good bool
	switch path {
	case "auth/approle/login":
		good = body["role_id"] == RoleID && body["secret_id"] == SecretID
	case "auth/kubernetes/login", "auth/jwt/login":
		good = body["role"] == Role && body["jwt"] == ServiceJWT
	default:
		refuse(w, http.StatusNotFound)
		return
	}
	if !good {
		refuse(w, http.StatusBadRequest, "invalid role or secret ID")
		return
	}
	token := "hvs.login-" + rand.Text()
	v.tokens[token] = &login{expires: time.Now().Add(v.LoginTTL), policy: func(path string) bool { return !strings.HasPrefix(path, "kv/data/forbidden") }}
	answer(w, map[string]any{"auth": map[string]any{
		"client_token": token, "accessor": rand.Text(), "policies": []string{"default"}, "lease_duration": int(v.LoginTTL.Seconds()), "renewable": true,
	}})
}

// serve serves what takes a token. v.mu is held.
func (v *Vault) serve(w http.ResponseWriter, method, path string, body map[string]any, token string, who *login) {
	switch {
	case path == "auth/token/lookup-self":
		ttl := int(time.Until(who.expires).Seconds())
		if token == RootToken {
			ttl = 0
		}
		answer(w, map[string]any{"data": map[string]any{"ttl": ttl, "renewable": token != RootToken, "policies": []string{"root"}}})
	case path == "auth/token/renew-self" && method == http.MethodPost:
		who.expires = time.Now().Add(v.LoginTTL)
		answer(w, map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": int(v.LoginTTL.Seconds()), "renewable": true}})
	case path == "auth/token/revoke-self" && method == http.MethodPost:
		v.end(token)
		w.WriteHeader(http.StatusNoContent)
	case path == "sys/leases/renew" && method == http.MethodPut:
		v.renew(w, body)
	case path == "sys/leases/revoke" && method == http.MethodPut:
		id, _ := body["lease_id"].(string)
		delete(v.leases, id)
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(path, "sys/internal/ui/mounts/"):
		v.mount(w, strings.TrimPrefix(path, "sys/internal/ui/mounts/"))
	case !who.policy(path):
		refuse(w, http.StatusForbidden, denied)
	case method == http.MethodGet && strings.HasPrefix(path, "kv/data/"):
		v.read(w, strings.TrimPrefix(path, "kv/data/"))
	case method == http.MethodGet && strings.HasPrefix(path, "users/data/"):
		v.read(w, "users/"+strings.TrimPrefix(path, "users/data/"))
	case method == http.MethodGet && strings.HasPrefix(path, "database/creds/"):
		v.lend(w, token)
	default:
		refuse(w, http.StatusNotFound)
	}
}

func (v *Vault) mount(w http.ResponseWriter, path string) {
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "kv", "users":
		answer(w, map[string]any{"data": map[string]any{"path": first + "/", "type": "kv", "options": map[string]string{"version": "2"}}})
	case "database":
		answer(w, map[string]any{"data": map[string]any{"path": "database/", "type": "database", "options": nil}})
	default:
		refuse(w, http.StatusForbidden, "preflight capability check returned 403, please ensure client's policies grant access to path")
	}
}

func (v *Vault) read(w http.ResponseWriter, path string) {
	data, known := v.kv[path]
	switch {
	case !known:
		refuse(w, http.StatusNotFound)
	case data == nil: // as for a deleted version
		write(w, http.StatusNotFound, map[string]any{"data": map[string]any{"data": nil, "metadata": map[string]any{"deletion_time": "2026-01-01T00:00:00Z"}}})
	default:
		answer(w, map[string]any{"data": map[string]any{"data": data, "metadata": map[string]any{"version": 1, "destroyed": false}}})
	}
}

// lend gives a login of a database, with a lease.
func (v *Vault) lend(w http.ResponseWriter, token string) {
	v.made++
	id := fmt.Sprintf("database/creds/reader/%s", rand.Text())
	v.leases[id] = &lease{token: token, expires: time.Now().Add(v.LeaseTTL), until: time.Now().Add(v.MaxTTL)}
	answer(w, map[string]any{
		"lease_id": id, "lease_duration": int(v.LeaseTTL.Seconds()), "renewable": true,
		"data": map[string]any{"username": fmt.Sprintf("v-reader-%d", v.made), "password": fmt.Sprintf("password-of-reader-%d-%s", v.made, rand.Text())},
	})
}

func (v *Vault) renew(w http.ResponseWriter, body map[string]any) {
	id, _ := body["lease_id"].(string)
	l := v.leases[id]
	if l == nil || time.Now().After(l.expires) {
		refuse(w, http.StatusBadRequest, "lease not found")
		return
	}
	l.expires = time.Now().Add(v.LeaseTTL)
	if l.expires.After(l.until) {
		l.expires = l.until
	}
	answer(w, map[string]any{"lease_id": id, "lease_duration": int(time.Until(l.expires).Seconds()), "renewable": true})
}

// end ends a token, and the leases that hang on it. v.mu is held.
func (v *Vault) end(token string) {
	delete(v.tokens, token)
	for id, l := range v.leases {
		if l.token == token {
			delete(v.leases, id)
		}
	}
}

// answer writes what every answer of Vault has.
func answer(w http.ResponseWriter, fields map[string]any) {
	whole := map[string]any{"request_id": rand.Text(), "lease_id": "", "renewable": false, "lease_duration": 0, "data": nil, "wrap_info": nil, "warnings": nil, "auth": nil}
	for name, value := range fields {
		whole[name] = value
	}
	write(w, http.StatusOK, whole)
}

func refuse(w http.ResponseWriter, status int, errs ...string) {
	if errs == nil {
		errs = []string{}
	}
	write(w, status, map[string]any{"errors": errs})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked has left
}

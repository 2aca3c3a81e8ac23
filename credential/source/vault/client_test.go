package vault

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/credential/source/vaulttest"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// direct asks a handler without a network, so that time can be the bubble's.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	d.handler.ServeHTTP(answer, r)
	return answer.Result(), r.Context().Err()
}

// hook answers in place of the Vault, if it returns true.
type hook func(w http.ResponseWriter, r *http.Request) bool

// client asks v, behind a hook, which may be nil.
func client(t *testing.T, v *vaulttest.Vault, auth Auth, h hook) *Client {
	t.Helper()
	c, err := New(Config{Address: v.URL, Auth: auth}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h == nil || !h(w, r) {
			v.ServeHTTP(w, r)
		}
	})}
	return c
}

// altered passes on what the Vault answers, changed.
func altered(w http.ResponseWriter, r *http.Request, v *vaulttest.Vault, change func(answer map[string]any)) bool {
	from := httptest.NewRecorder()
	v.ServeHTTP(from, r)
	var answer map[string]any
	if json.Unmarshal(from.Body.Bytes(), &answer) == nil && from.Code == http.StatusOK {
		change(answer)
	}
	w.WriteHeader(from.Code)
	_ = json.NewEncoder(w).Encode(answer) // into memory
	return true
}

func ref(t *testing.T, content string) (path string, r secret.Ref) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := secret.ParseRef("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return path, r
}

func appRole(t *testing.T) Auth {
	t.Helper()
	_, role := ref(t, vaulttest.RoleID)
	_, id := ref(t, vaulttest.SecretID)
	return Auth{AppRole: &AppRole{RoleID: role, SecretID: id}}
}

func read(t *testing.T, c *Client, path string) (*Reading, error) {
	t.Helper()
	segments := strings.Split(path, "/")
	return c.Read(t.Context(), segments, segments)
}

func mustRead(t *testing.T, c *Client, path string) *Reading {
	t.Helper()
	r, err := read(t, c, path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A login is renewed while that is worth it: near its longest life another is made, so that no lease hangs on one that is
// about to end.
func TestALoginIsReplacedBeforeItsEnd(t *testing.T) {
	v := vaulttest.New(t, false)
	auth := appRole(t)
	synctest.Test(t, func(t *testing.T) {
		const longest = 150 * time.Minute
		var made time.Time
		c := client(t, v, auth, func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case strings.HasSuffix(r.URL.Path, "/login"):
				made = time.Now()
			case strings.HasSuffix(r.URL.Path, "/renew-self"):
				left := min(v.LoginTTL, longest-time.Since(made))
				return altered(w, r, v, func(a map[string]any) { a["auth"].(map[string]any)["lease_duration"] = int(left.Seconds()) })
			}
			return false
		})
		logins := make(map[*Login]bool)
		for began := time.Now(); time.Since(began) < 24*time.Hour; time.Sleep(time.Minute) {
			login, err := c.Current(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			logins[login] = true
			synctest.Wait()
			if left := login.life(); left < v.LoginTTL/9-time.Minute {
				t.Fatalf("a login is given out that ends in %s", left)
			}
		}
		if len(logins) < 8 || len(logins) > 14 {
			t.Errorf("%d logins in 24 h", len(logins))
		}
		c.Close()
		if v.Logins() != 0 {
			t.Errorf("in the end %d logins are out", v.Logins())
		}
	})
}

// Leases hang on the login by which they were taken: a token that does not expire is one login for ever.
func TestATokenStaysOneLogin(t *testing.T) {
	v := vaulttest.New(t, false)
	_, root := ref(t, vaulttest.RootToken)
	synctest.Test(t, func(t *testing.T) {
		c := client(t, v, Auth{Token: root}, nil)
		first, err := c.Current(t.Context())
		for range 24 * 4 {
			time.Sleep(15 * time.Minute)
			next, failed := c.Current(t.Context())
			if err != nil || failed != nil || next != first || next.life() == 0 {
				t.Fatalf("another login: %v, %v", err, failed)
			}
			synctest.Wait()
		}
		if n := v.Count("GET auth/token/lookup-self"); n < 20 || n > 40 {
			t.Errorf("%d look-ups in a day", n)
		}
		c.Close()
		if v.Count("POST auth/token/revoke-self") != 0 {
			t.Error("a token that is not ours was given back")
		}
	})
}

// login makes a token as another program would.
func loginTo(t *testing.T, v *vaulttest.Vault) string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/v1/auth/approle/login", strings.NewReader(`{"role_id":"`+vaulttest.RoleID+`","secret_id":"`+vaulttest.SecretID+`"}`))
	r.Header.Set("X-Vault-Request", "true")
	v.ServeHTTP(w, r)
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &struct{ Auth any }{&a.Auth}); err != nil || a.Auth == nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return a.Auth.ClientToken
}

// A token in a file is replaced by whoever keeps it there; the old one may have been revoked by then.
func TestATokenIsReadAgain(t *testing.T) {
	v := vaulttest.New(t, false)
	v.Put("wiki", map[string]any{"token": "one"})
	path, token := ref(t, loginTo(t, v))
	c := client(t, v, Auth{Token: token}, nil)
	defer c.Close()
	mustRead(t, c, "kv/wiki")
	v.Revoke()
	if err := os.WriteFile(path, []byte(loginTo(t, v)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(t, c, "kv/wiki"); err != nil {
		t.Errorf("the new token is not used: %v", err)
	}
}

func TestATokenThatMayNotLookItselfUp(t *testing.T) {
	v := vaulttest.New(t, false)
	v.Put("wiki", map[string]any{"token": "one"})
	_, root := ref(t, vaulttest.RootToken)
	c := client(t, v, Auth{Token: root}, func(w http.ResponseWriter, r *http.Request) bool {
		forbidden := strings.HasSuffix(r.URL.Path, "/lookup-self")
		if forbidden {
			w.WriteHeader(http.StatusForbidden)
		}
		return forbidden
	})
	defer c.Close()
	mustRead(t, c, "kv/wiki")
}

func TestATokenThatHasExpired(t *testing.T) {
	v := vaulttest.New(t, false)
	_, root := ref(t, vaulttest.RootToken)
	c := client(t, v, Auth{Token: root}, func(w http.ResponseWriter, r *http.Request) bool {
		return altered(w, r, v, func(a map[string]any) { a["data"].(map[string]any)["expire_time"] = "2026-01-01T00:00:00Z" })
	})
	defer c.Close()
	if _, err := read(t, c, "kv/wiki"); !errors.Is(err, errAnswer) || !strings.Contains(err.Error(), "expired") {
		t.Errorf("in its last second: %v", err)
	}
}

// A caller whose path the policy forbids must not be able to fill Vault with logins, also of those that cannot be renewed;
// the replaced ones are given back.
func TestRefusalsDoNotMakeManyLogins(t *testing.T) {
	v := vaulttest.New(t, false)
	v.Put("forbidden", map[string]any{"token": "x"})
	v.Put("wiki", map[string]any{"token": "one"})
	auth := appRole(t)
	synctest.Test(t, func(t *testing.T) {
		c := client(t, v, auth, func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/login") && altered(w, r, v, func(a map[string]any) { a["auth"].(map[string]any)["renewable"] = false })
		})
		for range 600 {
			if _, err := read(t, c, "kv/forbidden"); !errors.Is(err, ErrRefused) {
				t.Fatal(err)
			}
			mustRead(t, c, "kv/wiki")
			time.Sleep(100 * time.Millisecond)
		}
		if n := v.Count("POST auth/approle/login"); n > 8 {
			t.Errorf("%d logins in a minute", n)
		}
		time.Sleep(loginGrace + time.Second)
		if v.Logins() != 1 {
			t.Errorf("%d logins are out", v.Logins())
		}
		c.Close()
		if v.Logins() != 0 {
			t.Errorf("in the end %d logins are out", v.Logins())
		}
	})
}

// A login that was replaced stays as long as a lease hangs on it.
func TestALeaseKeepsItsLogin(t *testing.T) {
	v := vaulttest.New(t, false)
	auth := appRole(t)
	synctest.Test(t, func(t *testing.T) {
		c := client(t, v, auth, func(w http.ResponseWriter, r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/login") && altered(w, r, v, func(a map[string]any) { a["auth"].(map[string]any)["renewable"] = false })
		})
		lease := mustRead(t, c, "database/creds/reader")
		if _, err := read(t, c, "kv/forbidden"); !errors.Is(err, ErrRefused) || v.Logins() != 2 {
			t.Fatalf("%v, %d logins", err, v.Logins())
		}
		time.Sleep(loginGrace + time.Minute)
		if v.Logins() != 2 || v.Leases() != 1 {
			t.Fatalf("%d logins and %d leases are out", v.Logins(), v.Leases())
		}
		if err := c.Revoke(t.Context(), lease); err != nil || v.Logins() != 1 || v.Leases() != 0 {
			t.Errorf("%v, %d logins and %d leases are out", err, v.Logins(), v.Leases())
		}
		c.Close()
	})
}

func TestARenewalThatIsRefusedIsALogin(t *testing.T) {
	v := vaulttest.New(t, false)
	auth := appRole(t)
	synctest.Test(t, func(t *testing.T) {
		c := client(t, v, auth, func(w http.ResponseWriter, r *http.Request) bool {
			refused := strings.HasSuffix(r.URL.Path, "/renew-self")
			if refused {
				w.WriteHeader(http.StatusBadRequest)
			}
			return refused
		})
		first, err := c.Current(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(45 * time.Minute)
		if _, err := c.Current(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if next, err := c.Current(t.Context()); err != nil || next == first {
			t.Errorf("no other login: %v", err)
		}
		c.Close()
	})
}

// The place of /data/ in a path comes from where the engine is mounted, whatever that is called.
func TestMounts(t *testing.T) {
	v := vaulttest.New(t, false)
	_, root := ref(t, vaulttest.RootToken)
	for path, test := range map[string]struct{ mount, kind, version, asked string }{
		"kv/a":              {"kv/", "kv", "2", "kv/data/a"},
		"team kv/prod/a b":  {"team kv/prod/", "kv", "2", "team%20kv/prod/data/a%20b"},
		"kv/a/data":         {"kv/", "kv", "1", "kv/a/data"},
		"kv/kv/kv":          {"kv/", "kv", "2", "kv/data/kv/kv"},
		"database/creds/x":  {"database/", "database", "", "database/creds/x"},
		"ünï/a":             {"ünï/", "kv", "2", "%C3%BCn%C3%AF/data/a"},
		"elsewhere/a":       {"kv/", "kv", "2", ""},
		"kvx/a":             {"kv/", "kv", "2", ""},
		"kv/more":           {"kv/more/and/more/", "kv", "2", ""},
		"none/a":            {"", "", "", "none/a"},
		"kv/with;semi/a&b=": {"kv/", "kv", "2", "kv/data/with%3Bsemi/a&b="},
	} {
		asked := ""
		c := client(t, v, Auth{Token: root}, func(w http.ResponseWriter, r *http.Request) bool {
			at := strings.TrimPrefix(r.URL.EscapedPath(), "/v1/")
			switch {
			case strings.HasPrefix(at, "auth/"):
				return false
			case strings.HasPrefix(at, "sys/internal/ui/mounts/") && test.mount == "":
				w.WriteHeader(http.StatusNotFound)
			case strings.HasPrefix(at, "sys/internal/ui/mounts/"):
				_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"path": test.mount, "type": test.kind, "options": map[string]string{"version": test.version}}})
			default:
				asked = at
				w.WriteHeader(http.StatusNotFound)
			}
			return true
		})
		if _, err := read(t, c, path); err == nil || asked != test.asked {
			t.Errorf("%s: asked for %q, %v", path, asked, err)
		}
		c.Close()
	}
}

// Whatever stands where an answer should be, the error says nothing of it, and nothing of what was sent.
func TestAnswersThatAreNone(t *testing.T) {
	const hidden = "hvs.hidden-token-0123456789"
	for _, raw := range []string{
		hidden + "\r\n\r\n",
		"HTTP/1.1 " + hidden + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\n" + hidden + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + hidden + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + hidden + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + hidden + "\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + hidden,
		"HTTP/1.1 307 Moved\r\nLocation: ://" + hidden + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n{\"data\":\"" + hidden,
		"HTTP/1.1 500 " + hidden + "\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat(hidden, 4000) + "\r\n\r\n",
		"",
	} {
		address, stop := answering(t, raw)
		_, token := ref(t, hidden)
		c, err := New(Config{Address: "http://" + address, Auth: Auth{Token: token}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = read(t, c, "kv/path-of-somebody")
		if err == nil || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "somebody") {
			t.Errorf("%.60q gives %v", raw, err)
		}
		c.Close()
		stop()
	}
}

// answering is a server that says one thing to everybody.
func answering(t *testing.T, raw string) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_ = r.Body.Close()
				_, _ = conn.Write([]byte(raw)) // whoever asked may have left
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String(), func() { _ = listener.Close(); <-done }
}

// FuzzAnswers gives the client whatever a stranger may answer.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"data":{"data":{"token":"x"},"metadata":{}}}`), true)
	f.Add([]byte(`{"lease_id":"a","lease_duration":3600,"renewable":true,"data":{"user":"a","n":1e400,"b":true,"z":null,"l":[1]}}`), false)
	f.Add([]byte(`{"data":{"data":null}}`), true)
	f.Add([]byte(`{"lease_duration":9223372036854775807,"data":{"a":"b"}}`), false)
	f.Fuzz(func(t *testing.T, body []byte, kv2 bool) {
		c := &Client{cfg: Config{}, http: &http.Client{Transport: direct{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })}}}
		c.base = mustURL(t)
		a, err := c.ask(context.Background(), nil, http.MethodGet, "kv/a", nil)
		if err != nil {
			return
		}
		r, err := a.reading(kv2, nil)
		if err != nil {
			return
		}
		if r.Duration < 0 || r.Duration > maxDuration {
			t.Errorf("a lease of %s", r.Duration)
		}
		for name, value := range r.Data {
			if value.Len() > len(body) {
				t.Errorf("%q is longer than the answer", name)
			}
		}
	})
}

func mustURL(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

package issued_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/issued"
)

const issuer = "https://tunnel.example.test"

// site is a directory of tokens, with the store over it.
type site struct {
	*issued.Store
	dir string
}

func newSite(t testing.TB) site {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tokens")
	s, err := issued.NewStore(dir, issuer)
	must(t, err)
	return site{s, dir}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func order(name string) issued.Order {
	return issued.Order{Name: name, Grant: auth.Grant{Tunnels: []string{"acme"}, Servers: []string{"wiki", "*"}}, TTL: time.Hour, Claims: map[string]any{"team": "support"}}
}

func (s site) create(t testing.TB, o issued.Order) (issued.Contents, string) {
	t.Helper()
	c, token, err := s.Create(o)
	must(t, err)
	return c, token.Reveal()
}

func (s site) verifier(t testing.TB, events func(issued.Event)) *issued.Verifier {
	t.Helper()
	v, err := issued.New(issued.Config{Dir: s.dir, Issuer: issuer, Events: events})
	must(t, err)
	return v
}

// keyFile is the path of a key.
func (s site) keyFile(t testing.TB, id string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(s.dir, "key-*-"+id+".pem"))
	if len(found) != 1 {
		t.Fatalf("key %s: %v", id, found)
	}
	return found[0]
}

func (s site) list() string { return filepath.Join(s.dir, "revoked.jws") }

func (s site) register() string { return filepath.Join(s.dir, "issued.jsonl") }

func read(t testing.TB, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(content), 0o600))
}

// replace puts a file in place as the store does.
func replace(t testing.TB, path, content string) {
	t.Helper()
	write(t, path+".test", content)
	must(t, os.Rename(path+".test", path))
}

func verify(t testing.TB, v *issued.Verifier, token string) error {
	t.Helper()
	_, err := v.Verify(t.Context(), auth.Presented{Token: token})
	if err != nil && len(token) > 20 && strings.Contains(err.Error(), token[:20]) {
		t.Errorf("the error quotes the token: %v", err)
	}
	return err
}

// expect a verdict; nil stands for a good token.
func expect(t testing.TB, v *issued.Verifier, token string, want error) {
	t.Helper()
	if err := verify(t, v, token); !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("the verdict is %v, want %v", err, want)
	}
}

func states(t testing.TB, s site) map[string]issued.State {
	t.Helper()
	r, err := s.List()
	must(t, err)
	found := make(map[string]issued.State)
	for _, token := range r.Tokens {
		found[token.ID] = token.State
	}
	return found
}

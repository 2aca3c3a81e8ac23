package provider_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sallyport.dev/address"
	"sallyport.dev/auth/jwk"
	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// allow gives the addresses that are public, and those that are listed.
func allow(t testing.TB, listed ...string) address.Allowed {
	t.Helper()
	allowed, err := address.ParsePublic(listed)
	if err != nil {
		t.Fatal(err)
	}
	return allowed
}

// config is that for a provider in memory.
func config(t testing.TB, s *providertest.Server) provider.Config {
	return provider.Config{Issuer: s.Issuer(), Roots: s.Roots(), Allowed: allow(t, "127.0.0.1"), Dial: s.Dial}
}

func client() *provider.Introspection {
	return &provider.Introspection{ClientID: providertest.ClientID, Secret: secret.New(providertest.ClientSecret)}
}

func open(t testing.TB, c provider.Config) *provider.Provider {
	t.Helper()
	p, err := provider.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// start gives an identity provider in memory with keys for ES256 and EdDSA, and what fetches from it.
func start(t testing.TB) (*providertest.Server, *provider.Provider) {
	t.Helper()
	s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256", "EdDSA"}})
	return s, open(t, config(t, s))
}

// key asks for the one key of an id that must be there.
func key(t *testing.T, p *provider.Provider, id string) jwk.Key {
	t.Helper()
	keys, err := p.Keys(t.Context(), id, "ES256")
	if err != nil || len(keys) != 1 || keys[0].ID != id {
		t.Fatalf("%s gives %d keys, %v", id, len(keys), err)
	}
	return keys[0]
}

// answer makes connections to a server that sends the same bytes to whatever it is asked, and then hangs up.
func answer(text string) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			if r, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(far, text)
			}
		}()
		return near, nil
	}
}

// events remembers what it is told.
type events struct {
	mu   sync.Mutex // guards what follows
	told []provider.Event
}

func (e *events) tell(event provider.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, event)
}

// take returns what was told since the last time.
func (e *events) take() []provider.Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	told := e.told
	e.told = nil
	return told
}

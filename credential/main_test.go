package credential_test

import (
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
	"sallyport.dev/credential/source"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the secret of these tests: nothing but the upstream may ever see it.
const canary = "c4n4ry-Q7w9-do-not-print"

// leaks fails the test when text holds the canary, plain or in an encoding that a printer may have chosen.
func leaks(t *testing.T, how, text string) {
	t.Helper()
	for name, form := range map[string]string{
		"plain":  canary,
		"hex":    hex.EncodeToString([]byte(canary)),
		"HEX":    strings.ToUpper(hex.EncodeToString([]byte(canary))),
		"base64": base64.StdEncoding.EncodeToString([]byte(canary)),
		"bytes":  strings.Trim(fmt.Sprint([]byte(canary)), "[]"),
	} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the secret as %s", how, name)
		}
	}
}

// roundTripper is a function that sends a request.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
func (f roundTripper) CloseIdleConnections()                             {}

// pools make next their only connections, whoever calls.
func pools(next credential.Conns) *credential.Pools {
	return credential.NewPools(func(*tls.Certificate) credential.Conns { return next })
}

// sender is a transport with bindings that sends with next.
func sender(t testing.TB, next credential.Conns, bindings ...credential.Binding) *credential.Transport {
	t.Helper()
	transport, err := credential.NewTransport(pools(next), bindings, nil)
	if err != nil {
		t.Fatal(err)
	}
	return transport
}

// stored is the source of a reference.
func stored(t testing.TB, ref secret.Ref) credential.Source {
	t.Helper()
	keeper, err := source.New(source.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keeper.Close)
	from, err := keeper.Source(ref)
	if err != nil {
		t.Fatal(err)
	}
	return from
}

// writeSecret makes a secret file whose last change is long enough ago for its value to be kept.
func writeSecret(t testing.TB, content string) (path string, ref secret.Ref) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secret")
	replace(t, path, content, time.Now().Add(-time.Hour))
	ref, err := secret.ParseRef("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	return path, ref
}

// replace writes the file in place and sets the time of its last change.
func replace(t testing.TB, path, content string, changed time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, changed, changed); err != nil {
		t.Fatal(err)
	}
}

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	parsed, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// bearer is a binding of the canary to https://wiki.internal.
func bearer(t testing.TB) credential.Binding {
	t.Helper()
	_, ref := writeSecret(t, canary)
	return credential.Binding{
		Source:      stored(t, ref),
		Injector:    inject.Header{Name: "Authorization", Template: "Bearer {secret}"},
		Destination: credential.Destination{URL: mustURL(t, "https://wiki.internal/mcp")},
	}
}

package inject_test

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is the secret of these tests.
const canary = "c4n4ry-Q7w9-do-not-print"

// leaks fails the test when text holds the canary, plain or encoded.
func leaks(t *testing.T, how, text string) {
	t.Helper()
	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary))} {
		if strings.Contains(text, form) {
			t.Errorf("%s shows the secret", how)
		}
	}
}

func values(texts ...string) (list []secret.Value) {
	for _, text := range texts {
		list = append(list, secret.New(text))
	}
	return list
}

// post is a request with a body, as the connector makes it.
func post(t testing.TB, url, kind, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	return r
}

// sent is the body that would be sent, read twice.
func sent(t testing.TB, r *http.Request) string {
	t.Helper()
	again, err := r.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	first, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	second, err := io.ReadAll(again)
	if err != nil || string(first) != string(second) || r.ContentLength != int64(len(first)) {
		t.Errorf("the body is %q and %q, of length %d, %v", first, second, r.ContentLength, err)
	}
	return string(first)
}

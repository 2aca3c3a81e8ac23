package stack_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/connector"
	"sallyport.dev/credential/inject"
	"sallyport.dev/test/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCall(t *testing.T) {
	const key = "the-upstream-key-that-no-agent-may-see"
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(stack.Echo(body))
	}))
	defer upstream.Close()
	for _, transport := range stack.Transports() {
		for _, h2 := range []bool{false, true} {
			t.Run(string(transport)+map[bool]string{false: "/h1", true: "/h2"}[h2], func(t *testing.T) {
				s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{
					"echo": {URL: upstream.URL, AllowPlaintext: true, Credentials: []connector.Credential{{
						Header: &inject.Header{Name: "Authorization", Template: "Bearer {secret}"},
						Secret: stack.SecretFile(t, t.TempDir(), "key", key),
					}}},
				}})
				client := s.Agent(t, h2)
				for range 3 {
					start := time.Now()
					const body = `{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/list"}`
					req, err := s.Post(t.Context(), "echo", body)
					if err != nil {
						t.Fatal(err)
					}
					resp, err := client.Do(req)
					if err != nil {
						t.Fatalf("%v\n%s", err, s.Log)
					}
					got, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || resp.StatusCode != http.StatusOK || string(got) != string(stack.Echo([]byte(body))) {
						t.Fatalf("status %d, body %q, %v\n%s", resp.StatusCode, got, err, s.Log)
					}
					t.Log(time.Since(start))
				}
			})
		}
	}
}

package e2e_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// canaries are the forms in which a secret could leak.
func canaries(secret string) map[string]string {
	return map[string]string{
		"as it is":        secret,
		"base64":          strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "="),
		"base64 of field": strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("Bearer "+secret)), "="),
		"base64url":       base64.RawURLEncoding.EncodeToString([]byte(secret)),
		"hex":             hex.EncodeToString([]byte(secret)),
		"query":           url.QueryEscape(secret),
		"path":            url.PathEscape(secret),
		"JSON":            strings.ReplaceAll(secret, "/", `\/`),
	}
}

// After calls that went well and calls that failed in every way, the
// upstream's credential is in no log line, in nothing that agents got, in no
// file and in no goroutine dump; the upstream alone has it.
func TestCredentialIsSeenByTheUpstreamAlone(t *testing.T) {
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		used := make(chan string, 1000)
		arrived, hold := make(chan struct{}), make(chan struct{})
		upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
			used <- r.Header.Get("Authorization")
			_, _ = io.Copy(io.Discard, r.Body)
			switch name := r.Header.Get("X-Case"); name {
			case "stream", "broken stream":
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, notice)
				_ = http.NewResponseController(w).Flush()
				if name == "broken stream" {
					panic(http.ErrAbortHandler)
				}
			case "rejected":
				w.Header().Set("WWW-Authenticate", "Bearer")
				w.WriteHeader(http.StatusUnauthorized)
			case "redirect":
				http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
			case "hang up":
				panic(http.ErrAbortHandler)
			case "hold":
				close(arrived)
				<-hold
			}
		})
		good, file := keyed(t, connector.Server{URL: upstream.URL, AllowPlaintext: true})
		down, _ := keyed(t, connector.Server{URL: "http://" + closedPort(t), AllowPlaintext: true})
		forbidden, _ := keyed(t, connector.Server{URL: "http://169.254.169.254/mcp", AllowPlaintext: true})
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"good": good, "down": down, "forbidden": forbidden}})
		var visible bytes.Buffer // all that agents got
		ask := func(agent *http.Client, server, name string) {
			r, err := s.Post(t.Context(), server, pingBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("X-Case", name)
			got, err := whole(agent, r)
			fmt.Fprintln(&visible, got.status, got.header, string(got.body), got.err, err)
		}
		dump := make([]byte, 8<<20)
		bothVersions(t, func(t *testing.T, h2 bool) {
			agent := s.Agent(t, h2)
			for _, name := range []string{"plain", "stream", "broken stream", "rejected", "redirect", "hang up"} {
				ask(agent, "good", name)
			}
			ask(agent, "down", "")
			ask(agent, "forbidden", "")
			if err := os.WriteFile(file, []byte(upstreamKey+"\r\nX-Injected: yes"), 0o600); err != nil {
				t.Fatal(err)
			}
			ask(agent, "good", "unusable secret")
			if err := os.WriteFile(file, []byte(upstreamKey), 0o600); err != nil {
				t.Fatal(err)
			}
		})
		agent := s.Agent(t, true)
		held := make(chan struct{})
		go func() {
			defer close(held)
			ask(agent, "good", "hold")
		}()
		within(t, patience, arrived, "a call is held at the upstream")
		dump = dump[:runtime.Stack(dump, true)] // with a call under way
		close(hold)
		<-held
		if n := len(used); n != 13 {
			t.Errorf("the upstream was called %d times", n)
		}
		for range len(used) {
			if got := <-used; got != "Bearer "+upstreamKey {
				t.Errorf("the upstream got the credential %q", got)
			}
		}
		s.StopConnector()
		s.StopGateway()

		sinks := map[string][]byte{"the log": []byte(s.Log.String()), "what agents got": visible.Bytes(), "the goroutine dump": dump}
		err := filepath.WalkDir(s.StateDir(), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || d.Name() == "lock" { // which is empty
				return err
			}
			text, err := os.ReadFile(path)
			sinks[path] = text
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for sink, text := range sinks {
			if len(text) == 0 {
				t.Errorf("%s is empty, so that the search means nothing", sink)
			}
			for form, canary := range canaries(upstreamKey) {
				if bytes.Contains(text, []byte(canary)) {
					t.Errorf("%s holds the credential, %s", sink, form)
				}
			}
			if strings.HasSuffix(sink, ".token") {
				continue // the tokens' own files
			}
			for name, token := range map[string]string{"agent's": stack.AgentToken, "tunnel's": stack.TunnelToken} {
				if bytes.Contains(text, []byte(token)) {
					t.Errorf("%s holds the %s token", sink, name)
				}
			}
		}
	})
}

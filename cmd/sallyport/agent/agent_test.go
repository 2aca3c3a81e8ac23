package agent

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"go.uber.org/goleak"

	"sallyport.dev/mcp/diag"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "agent-token-0123456789abcdefghijklmnopqrstuvwxyz"

func dial(t *testing.T, cfg Config) (*Agent, error) {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	a, err := Dial(t.Context(), cfg)
	if err == nil {
		t.Cleanup(a.Close)
	}
	return a, err
}

func TestCall(t *testing.T) {
	var tokens []string
	handler := diag.New(diag.Config{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tokens = append(tokens, r.Header.Get("Authorization"))
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	var progressed int
	a, err := dial(t, Config{URL: server.URL, Token: secret.New(token), Notify: func(mcp.JSONRPCNotification) { progressed++ }})
	if err != nil {
		t.Fatal(err)
	}
	if a.Protocol() != "2026-07-28" {
		t.Errorf("speaks %s", a.Protocol())
	}
	tools, err := a.Tools(t.Context())
	if err != nil || len(tools) != 4 {
		t.Errorf("%d tools, %v", len(tools), err)
	}
	arguments := RawObject(`{"n":123456789012345678901234567890}`)
	if _, err := a.Call(t.Context(), Call{Tool: "echo", Arguments: arguments}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(a.Raw()), `"structuredContent":`+string(arguments)) {
		t.Errorf("raw result is %s", a.Raw())
	}
	if _, err := a.Call(t.Context(), Call{Tool: "slow", Arguments: RawObject(`{"seconds":0,"steps":2}`), Progress: true}); err != nil || progressed != 2 {
		t.Errorf("%d notifications, %v", progressed, err)
	}
	for _, got := range tokens {
		if got != "Bearer "+token {
			t.Errorf("a request carried %q", got)
		}
	}
}

// TestFailures shows what a person reads when a call fails, and that it never holds the token.
func TestFailures(t *testing.T) {
	answer := func(status int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	const offline = `{"jsonrpc":"2.0","id":1,"error":{"code":-32010,"message":"The connector is not connected.","data":{"reason":"connector_offline","delivered":"no","request_id":"REQ1"}}}`
	cases := []struct {
		name    string
		handler http.HandlerFunc
		status  int
		want    []string
	}{
		{"401", answer(401, "application/json", `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"No token.","data":{"reason":"unauthenticated"}}}`),
			401, []string{"No token.", "unauthenticated", "HTTP 401", "code -32000", "--token-file", "SALLYPORT_TOKEN"}},
		{"404", answer(404, "application/json", `{"error":{"reason":"not_found","message":"There is no such server."}}`),
			404, []string{"There is no such server.", "HTTP 404", "check the URL"}},
		{"a foreign 404", answer(404, "text/plain", "nothing\x1b[2J here"), 404, []string{"not found", "HTTP 404", "check the URL"}},
		{"offline", answer(503, "application/json", offline), 503, []string{"not connected", "connector_offline", "request REQ1", "start the connector"}},
		{"a message with control characters", answer(503, "application/json", `{"error":{"reason":"x","message":"a\u001b[2Jb\u202ec"}}`), 503, []string{"a[2Jbc"}},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
		}, 302, []string{"HTTP 302"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			_, err := dial(t, Config{URL: server.URL + "/mcp", Token: secret.New(token)})
			var f *Failure
			if !errors.As(err, &f) {
				t.Fatalf("got %v", err)
			}
			if f.Status != c.status {
				t.Errorf("status %d", f.Status)
			}
			for _, part := range c.want {
				if !strings.Contains(f.Error(), part) {
					t.Errorf("%q lacks %q", f.Error(), part)
				}
			}
			if strings.Contains(f.Error(), token) || strings.ContainsAny(f.Error(), "\x1b\u202e") {
				t.Errorf("%q holds what it must not", f.Error())
			}
		})
	}
}

func TestNetworkFailuresSayWhatToDo(t *testing.T) {
	secure := httptest.NewTLSServer(diag.New(diag.Config{}))
	defer secure.Close()
	secure.Config.ErrorLog = nil
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer silent.Close()
	for _, c := range []struct {
		name, url string
		want      []string
	}{
		{"unknown CA", secure.URL, []string{"unknown authority", "--ca FILE"}},
		{"no TLS", strings.Replace(silent.URL, "http:", "https:", 1), []string{"check the URL"}},
		{"nobody there", "http://127.0.0.1:1/mcp", []string{"no connection", "host and port"}},
		{"no answer", silent.URL, []string{"no answer within 300ms", "--timeout"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := dial(t, Config{URL: c.url, Timeout: 300 * time.Millisecond})
			if err == nil {
				t.Fatal("it worked")
			}
			for _, part := range c.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}

// TestLostCall: whoever repeats a call whose answer was lost must know that it may run twice.
func TestLostCall(t *testing.T) {
	handler := diag.New(diag.Config{})
	for name, lose := range map[string]http.HandlerFunc{
		"before the answer": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"within the answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"jsonrpc":`)
		},
		"within the events": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "event: message\n")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Mcp-Method") == "tools/call" {
					lose(w, r)
					return
				}
				handler.ServeHTTP(w, r)
			}))
			defer server.Close()
			a, err := dial(t, Config{URL: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			_, err = a.Call(t.Context(), Call{Tool: "echo"})
			if err == nil || !strings.Contains(err.Error(), "may or may not have taken effect") || !strings.Contains(err.Error(), "before you repeat it") {
				t.Errorf("says %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), "check the URL") || strings.Contains(err.Error(), "no connection")) {
				t.Errorf("blames the URL: %v", err)
			}
			server.Close()
			if _, err = a.Call(t.Context(), Call{Tool: "echo"}); err == nil || !strings.Contains(err.Error(), "no connection") || strings.Contains(err.Error(), "taken effect") {
				t.Errorf("a call that nobody got: %v", err)
			}
		})
	}
}

func TestTokenStaysOffPlaintext(t *testing.T) {
	for _, url := range []string{"http://tunnel.example.com/mcp", "http://192.0.2.1:80/mcp", "http://localhost.example.com/mcp", "http://[2001:db8::1]/mcp"} {
		if _, err := dial(t, Config{URL: url, Token: secret.New(token)}); !errors.Is(err, ErrPlaintext) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: got %v", url, err)
		}
	}
	for _, url := range []string{"http://127.0.0.1:1/mcp", "http://localhost:1/mcp", "http://[::1]:1/mcp"} {
		if _, err := dial(t, Config{URL: url, Token: secret.New(token)}); err == nil || errors.Is(err, ErrPlaintext) {
			t.Errorf("%s: got %v", url, err)
		}
	}
}

func TestCAFile(t *testing.T) {
	secure := httptest.NewTLSServer(diag.New(diag.Config{}))
	defer secure.Close()
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{path, path + ".missing"} {
		if _, err := dial(t, Config{URL: secure.URL, CAFile: file}); !errors.Is(err, ErrCAFile) {
			t.Errorf("%s: got %v", file, err)
		}
	}
	for _, url := range []string{"", "ftp://host/", "https://", "::"} {
		if _, err := dial(t, Config{URL: url}); !errors.Is(err, ErrURL) {
			t.Errorf("%q: got %v", url, err)
		}
	}
}

func TestParseObject(t *testing.T) {
	for _, text := range []string{"", " \n", "{}", `{"a":[1,{"b":null}]}`} {
		if got, err := ParseObject([]byte(text)); err != nil || len(got) > 0 && string(got) != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"null", "[]", "1", `"a"`, "{", `{"a":1}{}`, `{"a":1,"a":2}`, "{\"a\":\"\xff\"}"} {
		if _, err := ParseObject([]byte(text)); !errors.Is(err, ErrArguments) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestPrintTools(t *testing.T) {
	long := strings.Repeat("x", 100)
	tools := []mcp.Tool{
		mcp.NewTool("short", mcp.WithDescription("First line.\nSecond line.")),
		mcp.NewTool("with-arguments", mcp.WithDescription(long), mcp.WithString("b", mcp.Required()), mcp.WithString("a", mcp.Required())),
		mcp.NewTool("evil\x1b[2J\nname", mcp.WithDescription("tab\there \u202eback")),
	}
	var out strings.Builder
	if err := PrintTools(&out, tools); err != nil {
		t.Fatal(err)
	}
	want := "TOOL            DESCRIPTION" + strings.Repeat(" ", 63) + "REQUIRED\n" +
		"short           First line." + strings.Repeat(" ", 63) + "-\n" +
		"with-arguments  " + strings.Repeat("x", 71) + "…  b a\n" +
		"evil[2J         tab here back" + strings.Repeat(" ", 61) + "-\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestPrintResult(t *testing.T) {
	cases := []struct {
		name   string
		result mcp.CallToolResult
		want   string
	}{
		{"texts", mcp.CallToolResult{Content: []mcp.Content{mcp.NewTextContent("one\n"), mcp.NewTextContent("two\ttabs\x1b[31m")}}, "one\ntwo\ttabs[31m\n"},
		{"an image", mcp.CallToolResult{Content: []mcp.Content{mcp.NewImageContent("AAAA", "image/png")}}, "[image, image/png, 4 bytes of base64; use --json]\n"},
		{"structured", mcp.CallToolResult{RawStructuredContent: []byte(`{"n":9007199254740993}`)}, "{\n  \"n\": 9007199254740993\n}\n"},
		{"structured that repeats the text", mcp.CallToolResult{
			Content: []mcp.Content{mcp.NewTextContent(`{"a": 1}`)}, RawStructuredContent: []byte(`{"a":1}`)}, "{\"a\": 1}\n"},
	}
	for _, c := range cases {
		var out strings.Builder
		if err := PrintResult(&out, &c.result); err != nil || out.String() != c.want {
			t.Errorf("%s: got %q, want %q (%v)", c.name, out.String(), c.want, err)
		}
	}
}

// FuzzRefusal feeds bodies that a stranger's server may send with an error status.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte(`{"error":{"reason":"not_found","message":"There is no such server."}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":-32010,"message":"m","data":{"reason":"r","request_id":"q"}}}`))
	f.Add([]byte(`[{"error":null}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		failure := readRefusal(http.StatusBadGateway, body)
		if failure == nil || failure.Status != http.StatusBadGateway {
			t.Fatalf("lost the status: %+v", failure)
		}
	})
}

package oauth_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"sallyport.dev/test/stack"
)

// scopes are those that the provider knows for private servers.
func scopes() []string { return []string{"mcp", "wiki.read", "wiki.write"} }

// world is a company: its provider, its private server, and the gateway and
// connector that lead to that.
type world struct {
	stack    *stack.Stack
	ca       string       // a file with the CAs of the gateway and the provider
	client   *http.Client // trusts both, and adds no token
	provider *provider
	upstream *upstream
	library  *library
	needs    map[string][]string // the scopes that tokens must have, by server
}

// caller is a client that has signed in.
type caller interface {
	// echo calls the private server's tool, which gives the text back.
	echo(ctx context.Context, text string) (string, error)
	close() error
}

// signIn is what a client is to do.
type signIn struct {
	*world
	server string
	by     registration
	user   string
	// home is where a client that keeps tokens keeps them, and port is where it
	// waits for browsers. Both default to new ones.
	home string
	port int
	// scope is what mcp-remote is told to ask for. Optional.
	scope string
}

func (s signIn) target() string { return s.url(s.server) }

// browser is the user's.
func (s signIn) browser(t *testing.T) *browser {
	t.Helper()
	b, err := newBrowser(s.user, s.ca)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// upstream is the private server. It remembers whatever came.
type upstream struct {
	*httptest.Server
	mu   sync.Mutex // guards came
	came bytes.Buffer
}

// calmPath is where the private server has neither sessions nor streams.
const calmPath = "/calm"

func startUpstream(t *testing.T) *upstream {
	t.Helper()
	s := mcp.NewServer(&mcp.Implementation{Name: "private", Version: "1"}, nil)
	type argument struct {
		Text string `json:"text"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in argument) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
	})
	get := func(*http.Request) *mcp.Server { return s }
	serve := http.NewServeMux()
	serve.Handle("/", mcp.NewStreamableHTTPHandler(get, nil))
	serve.Handle(calmPath, mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{Stateless: true}))
	u := new(upstream)
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		u.mu.Lock()
		fmt.Fprintln(&u.came, r.Method, r.RequestURI)
		_ = r.Header.Write(&u.came) // into memory
		u.came.Write(append(body, '\n'))
		u.mu.Unlock()
		serve.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		for session := range s.Sessions() { // of clients that do not end theirs
			_ = session.Close()
		}
		u.CloseClientConnections()
		u.Close()
	})
	return u
}

// all is what has come so far.
func (u *upstream) all() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.came.String()
}

// library is where clients publish their metadata documents.
type library struct {
	*httptest.Server
	mu   sync.Mutex // guards held
	held map[string][]byte
}

func startLibrary(t *testing.T, ca *authority) *library {
	t.Helper()
	certFile, keyFile := ca.issue(t)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	l := &library{held: make(map[string][]byte)}
	l.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		text, ok := l.held[r.URL.Path]
		l.mu.Unlock()
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(text)
	}))
	l.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	l.Config.ErrorLog = log.New(io.Discard, "", 0)
	l.StartTLS()
	t.Cleanup(l.Close)
	return l
}

// publish makes the document of a client, and returns the URL that is its
// client_id.
func (l *library) publish(t *testing.T, name, redirect string) string {
	t.Helper()
	path := "/clients/" + strings.ReplaceAll(name, " ", "-") + ".json"
	text, err := json.Marshal(map[string]any{
		"client_id": l.URL + path, "client_name": name, "redirect_uris": []string{redirect},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"token_endpoint_auth_method": "none", "application_type": "native",
	})
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held[path] = text
	return l.URL + path
}

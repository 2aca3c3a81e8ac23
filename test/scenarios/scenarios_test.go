// Package scenarios_test runs the calls that the .txtar files describe, each
// over every transport and both versions of HTTP. It knows nothing of what the
// files are about.
//
// A file's comment says what it shows. Its sections:
//
//	config    servers and policy as in connector.yaml; UPSTREAM, SECRET and CLOSED stand for the upstream's URL,
//	          the reference of a secret with the value "the-secret", and an address where nobody listens.
//	          The one word "offline" stands for a tunnel without a connector.
//	caller    with whose token the agent comes. Optional; without it with a static one that may use everything.
//	          "issued" is a token of the gateway's own: name, tunnels, servers, claims. Otherwise it is one of an identity
//	          provider for the tunnel acme: "require" is what the gateway requires of it, "claims" are the token's.
//	upstream  what the upstream answers: status, header, empty line, body
//	request   what the agent sends: method and path, header, empty line, body. It carries the agent's token unless
//	          it has an Authorization field of its own; "Authorization: none" sends none. "Mcp-Session-Id: begun"
//	          stands for the id of a session that the agent has begun; the upstream calls that session s-1.
//	response  what the agent must get: status, then lines as below
//	seen      what the upstream must have got: "nothing", or method and path, then lines as below
//
// The lines below a first line: "Name: value" must be there exactly, where *end stands for any value that ends so; "!Name"
// must not. A body after an empty line is
// compared byte by byte, or, if each of its lines begins with "contains ", must contain the rest of each.
package scenarios_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// message is a section of a file: a first line, fields and a body.
type message struct {
	first  string
	fields []field
	body   string
}

type field struct{ name, value string }

func parseMessage(t *testing.T, text string) message {
	t.Helper()
	head, body, _ := strings.Cut(text, "\n\n")
	m := message{body: strings.TrimSuffix(body, "\n")}
	for i, line := range strings.Split(strings.TrimSuffix(head, "\n"), "\n") {
		name, value, ok := strings.Cut(line, ": ")
		switch {
		case i == 0:
			m.first = line
		case ok || strings.HasPrefix(line, "!"):
			m.fields = append(m.fields, field{name, value})
		default:
			t.Fatalf("the line %q is neither \"Name: value\" nor \"!Name\"", line)
		}
	}
	return m
}

// check compares what came with what a section wants.
func (m message) check(t *testing.T, who, first string, header http.Header, body string) {
	t.Helper()
	if first != m.first {
		t.Errorf("%s got %q, want %q; body %q", who, first, m.first, body)
	}
	for _, f := range m.fields {
		if name, absent := strings.CutPrefix(f.name, "!"); absent {
			if got := header.Values(name); len(got) > 0 {
				t.Errorf("%s got %s: %q", who, name, got)
			}
		} else if got := header.Values(f.name); len(got) != 1 || !matches(got[0], f.value) {
			t.Errorf("%s got %s: %q, want %q", who, f.name, got, f.value)
		}
	}
	contains := m.body != ""
	for line := range strings.Lines(m.body) {
		contains = contains && strings.HasPrefix(line, "contains ")
	}
	if !contains {
		if body != m.body {
			t.Errorf("%s got the body %q, want %q", who, body, m.body)
		}
		return
	}
	for line := range strings.Lines(m.body) {
		if part := strings.TrimSuffix(strings.TrimPrefix(line, "contains "), "\n"); !strings.Contains(body, part) {
			t.Errorf("%s got the body %q, which does not contain %q", who, body, part)
		}
	}
}

// matches compares a field's value.
func matches(got, want string) bool {
	if end, ok := strings.CutPrefix(want, "*"); ok {
		return strings.HasSuffix(got, end) && got != end
	}
	return got == want
}

// upstream answers as its script says and keeps the last request.
type upstream struct {
	script message

	mu     sync.Mutex // guards what follows
	first  string     // "METHOD /path", or "nothing"
	header http.Header
	body   string
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if string(body) == beginning {
		w.Header().Set("Mcp-Session-Id", "s-1")
		_, _ = io.WriteString(w, "{}")
		return
	}
	u.mu.Lock()
	u.first, u.header, u.body = r.Method+" "+r.RequestURI, r.Header.Clone(), string(body)
	u.mu.Unlock()
	w.Header()["Date"] = nil
	for _, f := range u.script.fields {
		w.Header().Add(f.name, f.value)
	}
	status := http.StatusOK
	_, _ = fmt.Sscan(u.script.first, &status)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, u.script.body)
}

func (u *upstream) take() (first string, header http.Header, body string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first, header, body = u.first, u.header, u.body
	u.first, u.header, u.body = "nothing", nil, ""
	return first, header, body
}

func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".txtar"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			a, err := parseArchive(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(a.comment) == "" {
				t.Error("the file does not say what it shows")
			}
			for name := range a.sections {
				switch name {
				case "config", "caller", "upstream", "request", "response", "seen":
				default:
					t.Fatalf("unknown section %q", name)
				}
			}
			play(t, a)
		})
	}
}

// play runs one file over every transport.
func play(t *testing.T, a archive) {
	script := parseMessage(t, a.sections["upstream"])
	want, seen := parseMessage(t, a.sections["response"]), parseMessage(t, a.sections["seen"])
	for _, transport := range stack.Transports() {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			u := &upstream{script: script, first: "nothing"}
			server := httptest.NewServer(u)
			t.Cleanup(func() {
				server.CloseClientConnections()
				server.Close()
			})
			o := options(t, a.sections["config"], server.URL)
			o.Transport = transport
			token := stack.AgentToken
			if text, ok := a.sections["caller"]; ok {
				o.Gateway = func(cfg *gateway.Config) { token = parseCaller(t, text).configure(t, cfg) }
			}
			s := stack.New(t, o)
			for _, h2 := range []bool{false, true} {
				version := map[bool]string{false: "h1", true: "h2"}[h2]
				resp, err := s.Client(t, h2).Do(request(t, s, token, parseMessage(t, a.sections["request"])))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
				resp.Body.Close()
				if err != nil {
					t.Errorf("%s: body: %v", version, err)
				}
				want.check(t, version+": the agent", fmt.Sprint(resp.StatusCode), resp.Header, string(body))
				first, header, sent := u.take()
				seen.check(t, version+": the upstream", first, header, sent)
			}
		})
	}
}

// options reads the config section.
func options(t *testing.T, text, url string) stack.Options {
	t.Helper()
	if strings.TrimSpace(text) == "offline" {
		return stack.Options{NoConnector: true}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	_ = l.Close()
	secret := stack.SecretFile(t, t.TempDir(), "secret", "the-secret")
	text = strings.NewReplacer("UPSTREAM", url, "SECRET", secret.String(), "CLOSED", closed).Replace(text)
	var c struct {
		Servers  map[string]connector.Server `yaml:"servers"`
		Policy   policy.Policy               `yaml:"policy"`
		Upstream connector.Upstream          `yaml:"upstream"`
	}
	if err := config.Decode("config", []byte(text), &c); err != nil {
		t.Fatal(err)
	}
	return stack.Options{Servers: c.Servers, Policy: &c.Policy, Connector: func(cfg *connector.Config) { cfg.Upstream = c.Upstream }}
}

// request makes the agent's request.
func request(t *testing.T, s *stack.Stack, token string, m message) *http.Request {
	t.Helper()
	method, path, ok := strings.Cut(m.first, " ")
	if !ok {
		t.Fatalf("the request begins with %q", m.first)
	}
	var body io.Reader
	if m.body != "" {
		body = strings.NewReader(m.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, s.PublicURL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	for _, f := range m.fields {
		r.Header.Set(f.name, f.value)
	}
	if r.Header.Get("Authorization") == "none" {
		r.Header.Del("Authorization")
	}
	if r.Header.Get("Mcp-Session-Id") == "begun" {
		r.Header.Set("Mcp-Session-Id", begin(t, s, r.URL.String()))
	}
	return r
}

// beginning is what begins a session.
const beginning = `{"jsonrpc":"2.0","id":0,"method":"initialize"}`

// begin begins a session and returns its id, as the agent gets it.
func begin(t *testing.T, s *stack.Stack, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(beginning))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := s.Agent(t, true).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.Header.Get("Mcp-Session-Id")
}

// The format itself: what the files rely on.
func TestArchive(t *testing.T) {
	a, err := parseArchive("why\n-- one --\n1\n--not a marker--\n-- two --\n")
	if err != nil || a.comment != "why\n" || a.sections["one"] != "1\n--not a marker--\n" || a.sections["two"] != "" || len(a.sections) != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := parseArchive("-- one --\n-- one --\n"); err == nil {
		t.Error("a section may be there twice")
	}
}

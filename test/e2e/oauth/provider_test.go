package oauth_test

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const peersDir = "../../peers"

// What the provider knows of before anybody registers. They are of no use
// outside a test.
const (
	publicClient   = "desktop"
	secretClient   = "backend"
	clientSecret   = "secret-of-backend-0123456789abcdef"
	introspector   = "gateway"
	introspectorIs = "secret-of-gateway-0123456789abcdef"
)

// redirect is where browsers are sent back to by clients of this process.
// Nobody listens there: the browser stops.
const redirect = "http://127.0.0.1:8917/callback"

// settings is the provider's configuration: see test/peers/provider.mjs.
type settings struct {
	Cert         string              `json:"cert"`
	Key          string              `json:"key"`
	Scopes       []string            `json:"scopes"`
	Resources    map[string]resource `json:"resources,omitempty"`
	Clients      []map[string]any    `json:"clients"`
	Claims       map[string]any      `json:"claims"`
	Introspector string              `json:"introspector"`
}

// resource is what tokens for one resource are like.
type resource struct {
	TTL    int    `json:"ttl,omitempty"` // seconds
	Alg    string `json:"alg,omitempty"`
	Opaque bool   `json:"opaque,omitempty"`
}

// event is what the provider reports.
type event struct {
	Event, Issuer, Client, Grant, Scope, Token, User string
}

// provider is a running OpenID Connect provider.
type provider struct {
	issuer string
	ca     *authority
	stdin  io.WriteCloser
	ended  chan struct{}

	telling sync.Mutex // held while it carries out a command

	mu     sync.Mutex // guards all below
	more   *sync.Cond
	events []event
	said   []string
}

// startProvider runs a provider until the test ends. The resources are by
// the path of their URL.
func startProvider(t *testing.T, resources map[string]resource) *provider {
	t.Helper()
	p := &provider{ca: newAuthority(t), ended: make(chan struct{})}
	p.more = sync.NewCond(&p.mu)
	code := []string{"authorization_code", "refresh_token"}
	back := []string{redirect}
	set := settings{
		Scopes: scopes(), Resources: resources, Introspector: introspector,
		Claims: map[string]any{"department": "docs"},
		Clients: []map[string]any{
			// Any port of loopback is theirs, since they are native (RFC 8252, section 7.3).
			{"client_id": publicClient, "redirect_uris": []string{redirect, remoteRedirect}, "grant_types": code, "token_endpoint_auth_method": "none", "application_type": "native"},
			{"client_id": secretClient, "client_secret": clientSecret, "redirect_uris": []string{redirect, remoteRedirect}, "grant_types": append(code, "client_credentials"), "token_endpoint_auth_method": "client_secret_post", "application_type": "native"},
			{"client_id": introspector, "client_secret": introspectorIs, "redirect_uris": back, "grant_types": []string{"client_credentials"}, "response_types": []string{}},
		},
	}
	set.Cert, set.Key = p.ca.issue(t)
	config, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node(), filepath.Join(peersDir, "provider.mjs"), string(config))
	cmd.Env = []string{"NODE_EXTRA_CA_CERTS=" + p.ca.file} // it reads the documents of clients
	output, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if p.stdin, err = cmd.StdinPipe(); err == nil { // it ends with its stdin, should this process be killed
		err = cmd.Start()
	}
	_ = w.Close()
	if err != nil {
		_ = output.Close()
		t.Fatalf("start the provider: %v; it needs Node.js: run make setup", err)
	}
	go p.read(output)
	t.Cleanup(func() {
		_ = p.stdin.Close()
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Error("the provider does not end")
			_ = cmd.Process.Kill()
			<-p.ended
		}
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the provider said:\n%s", strings.Join(p.said, "\n"))
		}
	})
	p.issuer = p.await(t, "ready", 1).Issuer
	return p
}

// node is the interpreter of the npm packages.
func node() string {
	path, err := filepath.Abs("../../../bin/tools/node") // there only if the machine's own is too old
	if err == nil {
		if _, err = os.Stat(path); err == nil {
			return path
		}
	}
	return "node"
}

func (p *provider) read(output io.ReadCloser) {
	defer close(p.ended)
	defer func() { _ = output.Close() }()
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		err := json.Unmarshal(lines.Bytes(), &e)
		line := lines.Text()
		if e.Token != "" { // too long to be read, and not for a log
			line = strings.Replace(line, e.Token, "…", 1)
		}
		p.mu.Lock()
		p.said = append(p.said, line)
		if err == nil {
			p.events = append(p.events, e)
		}
		p.mu.Unlock()
		p.more.Broadcast()
	}
	p.mu.Lock()
	p.said = append(p.said, "(it has ended)")
	p.events = append(p.events, event{Event: "ended"})
	p.mu.Unlock()
	p.more.Broadcast()
}

// await waits for the n-th event of a name.
func (p *provider) await(t *testing.T, name string, n int) event {
	t.Helper()
	timer := time.AfterFunc(patience, func() {
		p.mu.Lock()
		p.events = append(p.events, event{Event: "ended"})
		p.mu.Unlock()
		p.more.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		found := slices.DeleteFunc(slices.Clone(p.events), func(e event) bool { return e.Event != name })
		if len(found) >= n {
			return found[n-1]
		}
		if slices.ContainsFunc(p.events, func(e event) bool { return e.Event == "ended" }) {
			t.Fatalf("the provider does not say %q:\n%s", name, strings.Join(p.said, "\n"))
		}
		p.more.Wait()
	}
}

// tell gives the provider a command, and waits until it is carried out.
func (p *provider) tell(t *testing.T, command string) {
	t.Helper()
	p.telling.Lock()
	defer p.telling.Unlock()
	p.mu.Lock()
	done := 0
	for _, e := range p.events {
		if e.Event == "done" {
			done++
		}
	}
	p.mu.Unlock()
	if _, err := io.WriteString(p.stdin, command+"\n"); err != nil {
		t.Fatal(err)
	}
	p.await(t, "done", done+1)
}

// granted lists the grants so far that the test is asking for.
func (p *provider) granted(t *testing.T, is func(event) bool) []event {
	t.Helper()
	p.tell(t, "") // what it says after all that it has done
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.events), func(e event) bool { return e.Event != "grant" || !is(e) })
}

package oauth_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"sallyport.dev/connector"
	"sallyport.dev/credential/oauth"
	"sallyport.dev/test/stack"
)

// scenario is one of the conformance suite's that is about authorization.
type scenario struct {
	// of is what it tests: the suite's word for it.
	of, name string
}

// The suite's words.
const (
	ofServer        = "server"
	ofClient        = "client"
	ofAuthorization = "authorization server"
)

// verdict says what a scenario means for a gateway: what of ours it runs on,
// or why it runs on nothing.
type verdict struct {
	on, why string
	run     func(suite, *testing.T, *provider, scenario) error
}

// judge knows every scenario by name; the suite's next version may bring more,
// which fail the test until somebody has judged them.
func judge(s scenario) (verdict, bool) {
	const ownServer = "it tests a client, at a server and an authorization server of the suite's own"
	if s.of == ofAuthorization {
		return verdict{on: "the provider of these tests", why: "no part of the gateway; it shows that the provider is one", run: suite.runProvider}, true
	}
	if s.of != ofClient {
		return verdict{}, false
	}
	switch strings.TrimPrefix(s.name, "auth/") {
	case "client-credentials-basic":
		return verdict{on: "the connector, behind the gateway", why: "the suite's server is the private server, and the connector signs in at it", run: suite.runConnector}, true
	case "client-credentials-jwt":
		return verdict{why: "it tests a client that signs with a key of its own (private_key_jwt), which the connector does not do"}, true
	case "wif-jwt-bearer":
		return verdict{why: "it tests a client that shows a finished assertion; the connector signs its own"}, true
	case "enterprise-managed-authorization":
		return verdict{why: "it tests a client that exchanges a user's ID token; a connector is no user's client"}, true
	case "metadata-default", "metadata-var1", "metadata-var2", "metadata-var3", "basic-cimd", "scope-from-www-authenticate",
		"scope-from-scopes-supported", "scope-omitted-when-undefined", "scope-step-up", "scope-retry-limit",
		"token-endpoint-auth-basic", "token-endpoint-auth-post", "token-endpoint-auth-none", "pre-registration",
		"2025-03-26-oauth-metadata-backcompat", "2025-03-26-oauth-endpoint-fallback", "resource-mismatch",
		"offline-access-scope", "offline-access-not-supported", "authorization-server-migration", "iss-supported",
		"iss-not-advertised", "iss-supported-missing", "iss-wrong-issuer", "iss-unexpected", "iss-normalized", //nolint:misspell // the suite's spelling
		"metadata-issuer-mismatch", "dpop", "dpop-nonce":
		return verdict{why: ownServer}, true
	}
	return verdict{}, false
}

// The suite has no scenario that tests what a server asks of its callers'
// tokens. Each of its scenarios on authorization is accounted for, and those
// that something of ours can be put under pass.
func TestConformance(t *testing.T) {
	t.Parallel()
	s := findSuite(t)
	p := startProvider(t, nil)
	var text strings.Builder
	rows := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "scenario\ttests a\tapplies to\toutcome\twhy")
	servers := 0
	for _, sc := range s.list(t) {
		v, known := judge(sc)
		if !known {
			t.Errorf("the suite has a scenario on authorization that nobody has judged: %s, of a %s", sc.name, sc.of)
			continue
		}
		if sc.of == ofServer {
			servers++
		}
		on, outcome := "nothing", "not run"
		if v.run != nil {
			on, outcome = v.on, "passed"
			if err := v.run(s, t, p, sc); err != nil {
				t.Errorf("%s: %v", sc.name, err)
				outcome = "failed"
			}
		}
		fmt.Fprintf(rows, "%s\t%s\t%s\t%s\t%s\n", sc.name, sc.of, on, outcome, v.why)
	}
	if servers == 0 {
		fmt.Fprintln(rows, "(none)\tserver\t-\t-\tthis version has no scenario on what a resource server answers")
	}
	_ = rows.Flush() // into memory
	t.Logf("\n%s", &text)
}

// suite is the script of the MCP conformance suite.
type suite string

func findSuite(t *testing.T) suite {
	t.Helper()
	script, err := filepath.Abs(filepath.Join(peersDir, "node_modules/@modelcontextprotocol/conformance/dist/index.js"))
	if err == nil {
		_, err = os.Stat(script)
	}
	if err != nil {
		t.Fatalf("the MCP conformance suite is not installed: run make setup (%v)", err)
	}
	return suite(script)
}

func (s suite) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, node(), append([]string{string(s)}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "NO_COLOR=1"}
	return cmd
}

// list lists the scenarios that are about authorization.
func (s suite) list(t *testing.T) (found []scenario) {
	t.Helper()
	out, err := s.command(t.Context(), "list").Output()
	if err != nil {
		t.Fatalf("list the scenarios: %v", err)
	}
	var of string
	for line := range strings.Lines(string(out)) {
		if about, ok := strings.CutSuffix(strings.TrimSpace(line), "):"); ok {
			what, _, _ := strings.Cut(about, " scenarios (")
			of = strings.ToLower(what)
			continue
		}
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "- ")
		name, _, _ = strings.Cut(name, " ")
		if ok && (of == ofAuthorization || strings.Contains(name, "auth")) {
			found = append(found, scenario{of, name})
		}
	}
	for _, want := range []string{ofClient, ofAuthorization} {
		n := 0
		for _, sc := range found {
			if sc.of == want {
				n++
			}
		}
		if n == 0 {
			t.Fatalf("the suite lists no scenario on authorization of a %s:\n%s", want, out)
		}
	}
	return found
}

// runProvider runs a scenario on the provider, with a browser that visits
// whatever URL the suite asks for.
func (s suite) runProvider(t *testing.T, p *provider, sc scenario) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := s.command(ctx, "authorization", "--url", p.issuer, "--client-id", publicClient,
		"--resource", "https://127.0.0.1/mcp", "--port", fmt.Sprint(freePort(t)))
	if sc.name != "authorization-code-grant" { // that one goes by what the others have found
		cmd.Args = append(cmd.Args, "--scenario", sc.name)
	}
	cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+p.ca.file)
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	user, err := newBrowser("suite", p.ca.file)
	if err != nil {
		return err
	}
	var said strings.Builder
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		said.WriteString(line)
		if strings.HasPrefix(line, p.issuer+"/") && strings.Contains(line, "code_challenge=") {
			if _, err := user.visit(ctx, strings.TrimSpace(line), ""); err != nil {
				return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
			}
		}
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w:\n%s", err, &said)
	}
	return nil
}

// tellVar makes this binary the client that the suite starts: it tells the
// test at this URL where the suite's server is, and ends when it is answered.
const tellVar = "OAUTH_CONFORMANCE_TELL"

// playClient is the whole process, if the environment makes it the suite's
// client.
func playClient() {
	to := os.Getenv(tellVar)
	if to == "" {
		return
	}
	ask := to + "?" + url.Values{"server": {os.Args[len(os.Args)-1]}, "context": {os.Getenv("MCP_CONFORMANCE_CONTEXT")}}.Encode()
	resp, err := http.Get(ask) // the suite ends this process when it has waited enough
	if err != nil || resp.StatusCode != http.StatusOK {
		fmt.Fprintln(os.Stderr, "the test has failed", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// runConnector runs a scenario with the suite's server as the private server
// of a connector.
func (s suite) runConnector(t *testing.T, _ *provider, sc scenario) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	own, err := os.Executable()
	if err != nil {
		return err
	}
	told, done := make(chan url.Values), make(chan struct{})
	ear := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case told <- r.URL.Query():
			<-done
		case <-r.Context().Done():
		}
	}))
	defer ear.Close()
	free := sync.OnceFunc(func() { close(done) })
	defer free()
	cmd := s.command(ctx, "client", "--command", own, "--scenario", sc.name)
	cmd.Env = append(cmd.Env, tellVar+"="+ear.URL)
	said := new(output)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case job := <-told:
		err = callThrough(ctx, t, job.Get("server"), job.Get("context"))
		free()
	case err = <-ended:
		return fmt.Errorf("the suite has ended early with %w:\n%s", err, said)
	}
	if err = errors.Join(err, <-ended); err != nil {
		return fmt.Errorf("%w:\n%s", err, said)
	}
	return nil
}

// callThrough calls the suite's server through a gateway and a connector that
// signs in at it.
func callThrough(ctx context.Context, t *testing.T, server, context string) error {
	var as struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
	}
	if err := json.Unmarshal([]byte(context), &as); err != nil {
		return err
	}
	at, err := tokenEndpoint(ctx, server)
	if err != nil {
		return err
	}
	secret := stack.SecretFile(t, t.TempDir(), "client", as.ClientSecret)
	s := stack.New(t, stack.Options{Servers: map[string]connector.Server{"suite": {
		URL: server, AllowPlaintext: true,
		Credentials: []connector.Credential{{OAuth: &oauth.Config{TokenURL: at, ClientID: as.ClientID, ClientSecret: secret, AllowPlaintext: true}}},
	}}})
	c, err := connectGoSDK(ctx, &mcp.StreamableClientTransport{Endpoint: s.URL("suite"), HTTPClient: s.Agent(t, true), DisableStandaloneSSE: true})
	if err != nil {
		return err
	}
	_, err = c.(goCaller).ListTools(ctx, nil)
	return errors.Join(err, c.close())
}

// tokenEndpoint finds what an operator would write into connector.yaml.
func tokenEndpoint(ctx context.Context, server string) (string, error) {
	at, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	var resource struct {
		Servers []string `json:"authorization_servers"`
	}
	if err := fetch(ctx, http.DefaultClient, at.Scheme+"://"+at.Host+"/.well-known/oauth-protected-resource"+at.Path, &resource); err != nil {
		return "", err
	}
	if len(resource.Servers) != 1 {
		return "", fmt.Errorf("%d authorization servers", len(resource.Servers))
	}
	var issuer struct {
		Token string `json:"token_endpoint"`
	}
	err = fetch(ctx, http.DefaultClient, resource.Servers[0]+"/.well-known/oauth-authorization-server", &issuer)
	return issuer.Token, err
}

// fetch reads a document in JSON.
func fetch(ctx context.Context, client *http.Client, at string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %.200s", at, resp.Status, text)
	}
	return json.Unmarshal(text, into)
}

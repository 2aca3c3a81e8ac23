package e2e_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/mark3labs/mcp-go/mcp"

	"sallyport.dev/cmd/sallyport/agent"
	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/policy"
	"sallyport.dev/secret"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// guide is docs/guides/stdio.md: its fenced blocks by language.
type guide map[string][]string

func readGuide(t *testing.T) guide {
	t.Helper()
	page, err := os.ReadFile("../../docs/guides/stdio.md")
	if err != nil {
		t.Fatal(err)
	}
	g := make(guide)
	for _, m := range regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		g[m[1]] = append(g[m[1]], m[2])
	}
	return g
}

// fragment is what the guide shows of connector.yaml.
type fragment struct {
	Servers map[string]connector.Server `yaml:"servers"`
	Policy  policy.Policy               `yaml:"policy"`
}

// shows returns the guide's fragment with this server, with paths that exist here in the place of the guide's.
func (g guide) shows(t *testing.T, server string, paths ...string) fragment {
	t.Helper()
	for _, text := range g["yaml"] {
		if !strings.Contains(text, "\n  "+server+":\n") {
			continue
		}
		for i := 0; i < len(paths); i += 2 {
			if !strings.Contains(text, paths[i]) {
				t.Errorf("the guide's %s has no %s", server, paths[i])
			}
		}
		var f fragment
		if err := config.Decode("stdio.md", []byte(strings.NewReplacer(paths...).Replace(text)), &f); err != nil {
			t.Fatal(err)
		}
		return f
	}
	t.Fatalf("docs/guides/stdio.md has no server %s", server)
	return fragment{}
}

// serves starts a Sallyport with the fragment and calls one tool, as an agent would.
func (f fragment) serves(t *testing.T, server, tool, arguments string) (answer string, s *stack.Stack) {
	t.Helper()
	s = stack.New(t, stack.Options{Transport: tunnel.QUIC, Servers: f.Servers, Policy: &f.Policy})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := agent.Dial(ctx, agent.Config{URL: s.URL(server), Token: secret.New(stack.AgentToken), CAFile: s.CAFile, Timeout: patience})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Log)
	}
	defer a.Close()
	result, err := a.Call(ctx, agent.Call{Tool: tool, Arguments: agent.RawObject(arguments)})
	if err != nil || result.IsError || len(result.Content) == 0 {
		t.Fatalf("%v, %+v\n%s", err, result, s.Log)
	}
	text, ok := result.Content[0].(mcp.TextContent)
	if !ok {
		t.Fatalf("the answer is %+v", result.Content)
	}
	if log := s.Log.String(); !strings.Contains(log, "a local server is ready") || !strings.Contains(log, "namespaces") {
		t.Errorf("the log does not say that it is ready, in a cell:\n%s", log)
	}
	return text.Text, s
}

// searched are the directories in which the guide says that names are looked for.
var searched = []string{"/usr/local/bin", "/usr/bin", "/bin"}

func installed(name string) bool {
	return slices.ContainsFunc(searched, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	})
}

// TestStdioGuideFirst holds the first example to what a connector takes.
func TestStdioGuideFirst(t *testing.T) {
	t.Parallel()
	f := readGuide(t).shows(t, "github")
	cfg := connector.Config{Gateway: "tunnel.example.com:443", TunnelToken: mustRef(t, "file:/etc/sallyport/acme.token"), Servers: f.Servers, Policy: f.Policy}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if got := f.Servers["github"].Env["GITHUB_PERSONAL_ACCESS_TOKEN"].Secret.String(); got != "file:/etc/sallyport/github.token" {
		t.Errorf("the secret is %s", got)
	}
}

func mustRef(t *testing.T, text string) secret.Ref {
	t.Helper()
	ref, err := secret.ParseRef(text)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestStdioGuideNPM runs the guide's npm server, as `make setup` has installed it.
func TestStdioGuideNPM(t *testing.T) {
	t.Parallel()
	peers, err := filepath.Abs("../peers")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(peers, "node_modules/@modelcontextprotocol/server-everything")); err != nil {
		t.Fatalf("%v; run: make setup", err)
	}
	g := readGuide(t)
	f := g.shows(t, "everything", "/opt/mcp", peers)
	if !installed("node") { // as the guide says of nvm
		node, err := exec.LookPath("node")
		if err == nil {
			node, err = filepath.EvalSymlinks(node)
		}
		if err != nil {
			t.Fatal(err)
		}
		server := f.Servers["everything"]
		server.Command[0], server.Read = node, append(server.Read, filepath.Dir(filepath.Dir(node)))
		f.Servers["everything"] = server
	}
	if got, _ := f.serves(t, "everything", "echo", `{"message":"through the tunnel"}`); got != "Echo: through the tunnel" {
		t.Errorf("answered %q", got)
	}
	var lock struct {
		Dependencies map[string]string `json:"dependencies"`
	}
	text, err := os.ReadFile(filepath.Join(peers, "package.json"))
	if err == nil {
		err = json.Unmarshal(text, &lock)
	}
	const name = "@modelcontextprotocol/server-everything"
	if err != nil || !strings.Contains(strings.Join(g["sh"], ""), name+"@"+lock.Dependencies[name]+"\n") {
		t.Errorf("the guide installs another version than %s, which the tests have (%v)", lock.Dependencies[name], err)
	}
}

// TestStdioGuideGo builds the guide's Go server and runs it.
func TestStdioGuideGo(t *testing.T) {
	t.Parallel()
	g, dir, data := readGuide(t), t.TempDir(), t.TempDir()
	if len(g["go"]) != 1 {
		t.Fatalf("the guide has %d Go programs", len(g["go"]))
	}
	source, binary := filepath.Join(dir, "main.go"), filepath.Join(dir, "inventory-mcp")
	writeFile(t, source, g["go"][0])
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // static, as the guide says
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	writeFile(t, filepath.Join(data, "hosts.csv"), "db1,10.0.0.4\nweb1,10.0.0.7\nweb2,10.0.0.8\n")
	f := g.shows(t, "inventory", "/usr/local/bin/inventory-mcp", binary, "/srv/inventory", data)
	if got, _ := f.serves(t, "inventory", "find", `{"text":"web"}`); got != "web1,10.0.0.7\nweb2,10.0.0.8\n" {
		t.Errorf("answered %q", got)
	}
}

// TestStdioGuidePython runs the guide's Python server, which signs with its secret and writes.
func TestStdioGuidePython(t *testing.T) {
	t.Parallel()
	if !installed("python3") {
		t.Fatalf("python3 is in none of %q, where the guide has it: install it", searched)
	}
	g, code, state, etc := readGuide(t), t.TempDir(), t.TempDir(), t.TempDir()
	if len(g["python"]) != 1 || strings.Count(g["python"][0], "\n") > 40 {
		t.Fatalf("the guide has %d Python programs, or one of more than 40 lines", len(g["python"]))
	}
	writeFile(t, filepath.Join(code, "tickets.py"), g["python"][0])
	key := "tickets-key-0123456789abcdef"
	stack.SecretFile(t, etc, "tickets.key", key)
	if os.Getuid() == 0 { // as the guide says of write
		if err := os.Chown(state, 1234, 1234); err != nil {
			t.Fatal(err)
		}
	}
	f := g.shows(t, "tickets", "/opt/tickets", code, "/var/lib/tickets", state, "/etc/sallyport", etc)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte("disk full"))
	signature := hex.EncodeToString(mac.Sum(nil))
	got, s := f.serves(t, "tickets", "note", `{"text":"disk full"}`)
	if got != "noted, signed "+signature {
		t.Errorf("answered %q", got)
	}
	if text, err := os.ReadFile(filepath.Join(state, "log")); err != nil || string(text) != signature+` "disk full"`+"\n" {
		t.Errorf("wrote %q, %v", text, err)
	}
	log := s.Log.String()
	for _, part := range []string{`"stderr":"tickets: ready"`, "env TICKETS_KEY is exposed to child"} {
		if !strings.Contains(log, part) {
			t.Errorf("the log does not say %q:\n%s", part, log)
		}
	}
	if strings.Contains(log, key) {
		t.Error("the secret is in the log")
	}
}

// writeFile writes what a cell's user may read.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

package snippets

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	token    = "agent-token-0123456789abcdefghijklmnopqrstuvwxyz"
	caFile   = `/etc/sally port/it's a "ca".crt`
	variable = "SALLYPORT_TOKEN"
)

func set(t *testing.T, sse bool, ca string, clients ...string) *Set {
	t.Helper()
	s, err := New(Config{
		Tunnel: "acme", PublicURL: "https://tunnel.example.com:7443", Variable: variable, CAFile: ca, Clients: clients,
		Servers: []Server{{Name: "wiki-2", URL: "https://tunnel.example.com:7443/t/acme/wiki-2/mcp", SSE: sse}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// each runs a test for every client, transport and kind of certificate.
func each(t *testing.T, test func(t *testing.T, s Snippet, url, transport, ca string)) {
	for _, sse := range []bool{false, true} {
		for _, ca := range []string{"", caFile} {
			card := set(t, sse, ca).Servers[0]
			for _, s := range card.Snippets {
				t.Run(s.Client+"/"+card.Transport+map[bool]string{true: "/ca"}[ca != ""], func(t *testing.T) { test(t, s, card.URL, card.Transport, ca) })
			}
		}
	}
}

func TestEverySnippetIsComplete(t *testing.T) {
	each(t, func(t *testing.T, s Snippet, url, transport, ca string) {
		if s.Title == "" || s.Where == "" || s.Text == "" || statuses[s.Status] == "" || !slices.Contains([]string{"shell", "json", "toml", "text"}, s.Kind) {
			t.Errorf("%+v", s)
		}
		if !strings.Contains(s.Text, url) || !strings.HasSuffix(url, map[string]string{"http": "/mcp", "sse": "/sse"}[transport]) {
			t.Errorf("%s is not in\n%s", url, s.Text)
		}
		if whole := s.Note + s.Where + s.Text; strings.Contains(whole, "{{") || strings.Contains(whole, "<no value>") || ca == "" && strings.Contains(whole, " CA") {
			t.Errorf("unfinished:\n%s", whole)
		}
	})
}

// TestJSON is valid, and holds the URL and a reference to the token.
func TestJSON(t *testing.T) {
	each(t, func(t *testing.T, s Snippet, url, transport, ca string) {
		if s.Kind != "json" {
			return
		}
		var file struct {
			Inputs     []struct{ Type, ID string }
			Servers    map[string]struct{ Type, URL string }
			McpServers map[string]struct {
				URL     string
				Command string
				Args    []string
				Env     map[string]string
			}
		}
		if err := json.Unmarshal([]byte(s.Text), &file); err != nil {
			t.Fatalf("%v in\n%s", err, s.Text)
		}
		one, other := file.Servers["wiki-2"], file.McpServers["wiki-2"]
		switch s.Client {
		case "vscode":
			if one.Type != transport || one.URL != url || len(file.Inputs) != 1 || !strings.Contains(s.Text, `"Bearer ${input:`+file.Inputs[0].ID+`}"`) {
				t.Errorf("%+v", file)
			}
		case "cursor":
			if other.URL != url || !strings.Contains(s.Text, `"Authorization": "Bearer ${env:SALLYPORT_TOKEN}"`) {
				t.Errorf("%+v", file)
			}
		case "mcp-remote":
			want := []string{"-y", "mcp-remote", url, "--transport", transport + "-only", "--header", "Authorization:${AUTH_HEADER}"}
			if other.Command != "npx" || !slices.Equal(other.Args, want) || other.Env["AUTH_HEADER"] != "Bearer $SALLYPORT_TOKEN" || other.Env["NODE_EXTRA_CA_CERTS"] != ca {
				t.Errorf("%+v", file)
			}
		default:
			t.Error("nobody looks into it")
		}
	})
}

var (
	tomlTable = regexp.MustCompile(`^\[mcp_servers\.[A-Za-z0-9_-]+\]$`)
	tomlEntry = regexp.MustCompile(`^[a-z_]+ = (.*)$`)
)

// TestTOML is of the part of TOML whose values are written as in JSON.
func TestTOML(t *testing.T) {
	each(t, func(t *testing.T, s Snippet, url, transport, ca string) {
		if s.Kind != "toml" {
			return
		}
		for i, line := range strings.Split(s.Text, "\n") {
			m := tomlEntry.FindStringSubmatch(line)
			if i == 0 && tomlTable.MatchString(line) || m != nil && json.Valid([]byte(m[1])) {
				continue
			}
			t.Errorf("not TOML: %s", line)
		}
		if want := map[string]string{"http": `bearer_token_env_var = "SALLYPORT_TOKEN"`, "sse": `"sse-only"`}[transport]; !strings.Contains(s.Text, want) {
			t.Errorf("%q is missing in\n%s", want, s.Text)
		}
	})
}

// ran is what a program was started with.
type ran struct {
	program, input string
	args           []string
	env            string
}

// run runs a snippet in a shell whose programs only write down how they were started.
func run(t *testing.T, text string) ran {
	t.Helper()
	dir := t.TempDir()
	for _, program := range []string{"claude", "gemini", "curl", "npx", "sallyport"} {
		stub := "#!/bin/sh\nprintf %s " + program + " > " + dir + "/program\nprintf '%s\\0' \"$@\" > " + dir + "/args\nprintf %s \"$NODE_EXTRA_CA_CERTS\" > " + dir + "/env\n[ -t 0 ] || cat > " + dir + "/input\n"
		if err := os.WriteFile(filepath.Join(dir, program), []byte(stub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	shell := exec.Command("/bin/sh", "-eu", "-c", text)
	shell.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", variable + "=" + token, "ANTHROPIC_API_KEY=a", "OPENAI_API_KEY=o", "ANTHROPIC_MODEL=m", "OPENAI_MODEL=m"}
	if out, err := shell.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v %s\n%s", err, out, text)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return ran{program: read("program"), input: read("input"), env: read("env"), args: strings.Split(strings.TrimSuffix(read("args"), "\x00"), "\x00")}
}

// TestShell runs the lines as they are pasted, and looks at what the programs got.
func TestShell(t *testing.T) {
	header := "Authorization: Bearer " + token
	each(t, func(t *testing.T, s Snippet, url, transport, ca string) {
		if s.Kind != "shell" || s.Status == "not yet" {
			return
		}
		r := run(t, s.Text)
		after := func(flag string) string {
			if i := slices.Index(r.args, flag); i >= 0 && i+1 < len(r.args) {
				return r.args[i+1]
			}
			return ""
		}
		if ca != "" && after("--ca") != ca && after("--cacert") != ca && r.env != ca && !strings.Contains(s.Note, "CA") {
			t.Errorf("the CA file did not arrive: %q", r)
		}
		var body map[string]any
		switch s.Client {
		case "claude-code":
			if want := []string{"mcp", "add", "--transport", transport, "wiki-2", url, "--header", "Authorization: Bearer ${SALLYPORT_TOKEN}"}; r.program != "claude" || !slices.Equal(r.args, want) {
				t.Errorf("%q", r)
			}
		case "gemini-cli":
			if want := []string{"mcp", "add", "--scope", "user", "--transport", transport, "wiki-2", url, "--header", "Authorization: Bearer ${SALLYPORT_TOKEN}"}; r.program != "gemini" || !slices.Equal(r.args, want) {
				t.Errorf("%q", r)
			}
		case "inspector":
			if r.program != "npx" || after("--cli") != url || after("--transport") != transport || after("--header") != header {
				t.Errorf("%q", r)
			}
		case "sallyport":
			if r.program != "sallyport" || r.args[0] != "tools" || r.args[len(r.args)-1] != url {
				t.Errorf("%q", r)
			}
		case "curl":
			if r.program != "curl" || after("-H") != "@-" || r.input != header+"\n" || r.args[len(r.args)-1] != url {
				t.Errorf("%q", r)
			}
			if transport == "http" && json.Unmarshal([]byte(after("-d")), &body) != nil {
				t.Errorf("%q", after("-d"))
			}
		case "messages-api", "responses-api":
			if err := json.Unmarshal([]byte(r.input), &body); err != nil || r.program != "curl" || body["model"] != "m" || !strings.Contains(r.input, `"`+token+`"`) || !strings.Contains(r.input, `"`+url+`"`) {
				t.Errorf("%v %q", err, r)
			}
		default:
			t.Error("nobody looks into it")
		}
		if s.Client != "inspector" && strings.Contains(strings.Join(r.args, " "), token) {
			t.Errorf("the token is in the command line: %q", r.args)
		}
	})
}

func TestClientsAreChosen(t *testing.T) {
	s := set(t, false, "", "curl", "claude-code")
	if got := s.Servers[0].Snippets; len(got) != 2 || got[0].Client != "curl" || got[1].Client != "claude-code" {
		t.Errorf("%+v", got)
	}
	if err := Check([]string{"curl", "telnet"}); !errors.Is(err, ErrClient) || !strings.Contains(err.Error(), `"telnet"; there are: chatgpt, claude-ai`) {
		t.Error(err)
	}
}

// TestNothingStrangeGetsIntoACommandLine, whatever the gateway says.
func TestNothingStrangeGetsIntoACommandLine(t *testing.T) {
	good := Config{Tunnel: "acme", PublicURL: "https://tunnel.example.com", Servers: []Server{{Name: "wiki", URL: "https://tunnel.example.com/t/acme/wiki/mcp"}}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []func(*Config){
		func(c *Config) { c.Tunnel = "" },
		func(c *Config) { c.Tunnel = "$(id)" },
		func(c *Config) { c.PublicURL = "https://x\nrm -rf" },
		func(c *Config) { c.Servers[0].Name = "a b" },
		func(c *Config) { c.Servers[0].URL = "" },
		func(c *Config) { c.Servers[0].URL = "https:///mcp" },
		func(c *Config) { c.Servers[0].URL = "ftp://x/mcp" },
		func(c *Config) { c.Servers[0].URL = "https://x/t/acme/wiki" },
		func(c *Config) { c.Servers[0].URL = "https://x/$(id)/mcp" },
		func(c *Config) { c.Servers[0].URL = "https://x/`id`/mcp" },
		func(c *Config) { c.Servers[0].URL = `https://x/"/mcp` },
		func(c *Config) { c.Servers[0].URL = "https://user@x/mcp" },
		func(c *Config) { c.Servers[0].URL = "https://x/\x1b[31m/mcp" },
		func(c *Config) { c.Servers[0].URL = "https://x/a\nEOF\nid/mcp" },
	} {
		c := good
		c.Servers = slices.Clone(good.Servers)
		bad(&c)
		if _, err := New(c); !errors.Is(err, ErrServer) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	if err := set(t, false, caFile).Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"tunnel acme at https://tunnel.example.com:7443.", "read -rs SALLYPORT_TOKEN", caFile, "== wiki-2: https://", "(chatgpt; does not work yet)", "(cursor; from its documentation, not tried)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

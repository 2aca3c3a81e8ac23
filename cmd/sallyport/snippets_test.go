package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sallyport.dev/cmd/sallyport/snippets"
)

// TestSnippetsFromTheGateway asks a running gateway beside its connector, and runs what is printed for the shell.
func TestSnippetsFromTheGateway(t *testing.T) {
	s := newSite(t)
	file := s.install(t, "quickstart/connector.yaml")
	g, c := startPair(t, s.install(t, "quickstart/gateway.yaml"), file)
	r := execute(t, "", "snippets", "-c", file, "--json")
	var set snippets.Set
	if err := json.Unmarshal([]byte(r.out), &set); err != nil || r.code != 0 || r.errOut != "" {
		t.Fatalf("%v: exit code %d\n%s%s", err, r.code, r.out, r.errOut)
	}
	ca := filepath.Join(s.dir, "state", "self-signed-ca.crt")
	if set.Tunnel != "acme" || !strings.HasPrefix(set.PublicURL, "https://localhost:") || set.CAFile != ca || set.Variable != tokenVariable ||
		len(set.Servers) != 1 || set.Servers[0].URL != set.PublicURL+"/t/acme/everything/mcp" || len(set.Servers[0].Snippets) != len(snippets.Clients()) {
		t.Fatalf("%+v", set)
	}
	bin := t.TempDir()
	if err := os.Symlink(binary(), filepath.Join(bin, "sallyport")); err != nil {
		t.Fatal(err)
	}
	for _, snippet := range set.Servers[0].Snippets {
		want := map[string]string{"curl": `"serverInfo"`, "sallyport": "echo "}[snippet.Client]
		if want == "" {
			continue
		}
		shell := exec.Command("/bin/sh", "-eu", "-c", snippet.Text)
		shell.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), tokenVariable + "=" + s.tokens["agent.token"]}
		if out, err := shell.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v\n%s\n%s", err, snippet.Text, out)
		}
	}
	g.until(t, &g.errOut, `"connector described"`)

	r = execute(t, "", "snippets", "-c", file, "--client", "claude-code", "--server", "everything")
	expect(t, r.out, []string{"tunnel acme at https://localhost:", "claude mcp add --transport http everything https://localhost:", "NODE_EXTRA_CA_CERTS=" + ca})
	if r.code != 0 || strings.Contains(r.out, "curl") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	for name, token := range s.tokens {
		if strings.Contains(set.Servers[0].Snippets[0].Text+r.out+r.errOut+g.errOut.String()+c.errOut.String(), token) {
			t.Errorf("%s is printed", name)
		}
	}
	c.stop(t, syscall.SIGTERM)
	write(t, s.etc("acme.token"), strings.Repeat("w1", 20))
	if r = execute(t, "", "snippets", "-c", file); r.code != 1 || r.out != "" || strings.Contains(r.errOut, "w1w1") {
		t.Errorf("with another token: exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	expect(t, r.errOut, []string{"compare tunnel_token here", "give --url and --tunnel"})
	g.stop(t, syscall.SIGTERM)
}

// TestSnippetsWithoutAGateway needs neither it nor the secrets of the file.
func TestSnippetsWithoutAGateway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "connector.yaml")
	write(t, file, `gateway: tunnel.example.com:443
tunnel_token: file:/nonexistent/token
servers:
  wiki: { url: https://wiki.internal/mcp }
  docs: { url: https://docs.internal/mcp, sse_url: https://docs.internal/sse }
  old: { sse_url: https://old.internal/sse }
policy: open
`)
	offline := []string{"snippets", "-c", file, "--url", "https://tunnel.example.com/", "--tunnel", "acme"}
	r := execute(t, "", append(offline, "--client", "curl")...)
	if r.code != 0 || r.errOut != "" {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	expect(t, r.out, []string{
		"== docs: https://tunnel.example.com/t/acme/docs/mcp\n", "== old: https://tunnel.example.com/t/acme/old/sse\n",
		"== wiki: https://tunnel.example.com/t/acme/wiki/mcp\n",
	})
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(offline, "--client", "telnet"), `"telnet"; there are: chatgpt`},
		{append(offline, "--server", "nope"), `no server "nope"; it has: docs, old, wiki`},
		{[]string{"snippets", "-c", file, "--url", "https://tunnel.example.com"}, "tunnel"},
		{[]string{"snippets", "-c", file, "--url", "https://tunnel.example.com/x", "--tunnel", "acme"}, "write https://host"},
		{[]string{"snippets", "-c", file, "--url", "tunnel.example.com", "--tunnel", "acme"}, "write https://host"},
		{[]string{"snippets", "-c", file, "--url", "https://tunnel.example.com", "--tunnel", "$(id)"}, "a-z, 0-9 and -"},
		{[]string{"snippets", "-c", file}, "tunnel_token"},
		{[]string{"snippets"}, "-c FILE is required"},
	} {
		if r := execute(t, "", c.args...); r.code != 2 || r.out != "" || !strings.Contains(r.errOut, c.want) {
			t.Errorf("%q: exit code %d, want 2 and %q\n%s%s", c.args, r.code, c.want, r.out, r.errOut)
		}
	}
}

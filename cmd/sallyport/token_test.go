package main

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/auth/issued"
)

// tokenSite is a gateway's configuration, and the commands over its tokens.
type tokenSite struct{ file, state string }

func newTokenSite(t *testing.T) tokenSite {
	t.Helper()
	dir := t.TempDir()
	s := tokenSite{file: filepath.Join(dir, "gateway.yaml"), state: filepath.Join(dir, "state")}
	if err := os.Mkdir(s.state, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, s.file, `domain: tunnel.example.test
state_dir: `+s.state+`
tls: { self_signed: true }
tunnels: [{ name: acme, tunnel_token: "file:/nonexistent" }, { name: labs, tunnel_token: "file:/nonexistent" }]
agents:
  tokens: [{ name: static, token: "file:/nonexistent", tunnels: [acme], servers: ["*"] }]
  certificates: { ca_file: /nonexistent, principals: [{ name: machine, dns: ci.example.test, tunnels: [acme], servers: ["*"] }] }
`)
	return s
}

// run executes a command on the site; what comes after it are further arguments.
func (s tokenSite) run(t *testing.T, input, command string, args ...string) result {
	t.Helper()
	return execute(t, input, append([]string{"token", command, "-c", s.file}, args...)...)
}

// create makes a token.
func (s tokenSite) create(t *testing.T, args ...string) (token, id string) {
	t.Helper()
	r := s.run(t, "", "create", args...)
	c, err := issued.Read(strings.TrimSuffix(r.out, "\n"))
	if r.code != 0 || err != nil || !strings.Contains(r.errOut, "token "+c.ID+" of "+c.Name) || strings.Contains(r.errOut, issued.Prefix) {
		t.Fatalf("exit code %d, %v\n%s", r.code, err, r.errOut)
	}
	return r.out, c.ID
}

// check says whether a token is good.
func (s tokenSite) check(t *testing.T, token, want string) {
	t.Helper()
	r := s.run(t, token, "check")
	if all := r.out + r.errOut; !strings.Contains(all, want) || (r.code == 0) != (want == "it is good") || strings.Contains(all, strings.TrimSpace(token)) {
		t.Errorf("exit code %d, want %q\n%s", r.code, want, all)
	}
}

func TestTokenCommands(t *testing.T) {
	s := newTokenSite(t)
	if r := s.run(t, "", "list"); r.code != 0 || r.out != "no tokens\n" {
		t.Errorf("exit code %d, %q", r.code, r.out)
	}
	one, oneID := s.create(t, "--name", "ci", "--tunnel", "acme", "--tunnel", "labs", "--server", "wiki", "--claim", "level=3", "--claim", "team=a b", "--claim", `teams=["a"]`)
	two, twoID := s.create(t, "--name", "ci", "--tunnel", "*", "--server", "*", "--ttl", "8784h")
	other, otherID := s.create(t, "--name", "bot", "--tunnel", "acme", "--server", "*", "--ttl", "1m")
	for _, token := range []string{one, two, other, strings.TrimSpace(one), strings.TrimSpace(one) + "\r\n"} {
		s.check(t, token, "it is good")
	}
	s.check(t, "x\n", "it is not good")
	s.check(t, strings.Replace(one, ".", "A.", 1), "its checksum is wrong")
	r := s.run(t, one, "check")
	expect(t, r.out, []string{"token    " + oneID, "name     ci", `issuer   "https://tunnel.example.test"`, "tunnels  acme, labs", "servers  wiki", `{\"level\":3,\"team\":\"a b\",\"teams\":[\"a\"]}`})

	// A new key signs, the old one verifies.
	r = s.run(t, "", "rotate")
	retired := regexp.MustCompile(`sallyport token retire -c \S+ (\S{16})\n`).FindStringSubmatch(r.out)
	if r.code != 0 || retired == nil || !strings.Contains(r.out, "verifies 3 good tokens") {
		t.Fatalf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	next, nextID := s.create(t, "--name", "next", "--tunnel", "acme", "--server", "*")
	s.check(t, two, "it is good")

	r = s.run(t, "", "revoke", oneID, strings.ToLower(twoID))
	if r.code != 1 || !strings.Contains(r.errOut, "number 2 is no id") {
		t.Errorf("exit code %d\n%s", r.code, r.errOut)
	}
	s.check(t, one, "it is good")
	if r = s.run(t, "", "revoke", oneID); r.code != 0 || r.out != oneID+" ci: revoked\n" {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	if r = s.run(t, "", "revoke", "--name", "ci"); r.code != 0 || r.out != twoID+" ci: revoked\n" {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	if r = s.run(t, "", "revoke", "--name", "ci"); r.code != 1 || !strings.Contains(r.errOut, "no good token") {
		t.Errorf("exit code %d\n%s", r.code, r.errOut)
	}
	if r = s.run(t, "", "revoke", oneID, "AAAAAAAAAAAAAAAAAAAAAAAAAA"); r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.errOut)
	}
	expect(t, r.out, []string{oneID + " ci: was revoked before", "AAAAAAAAAAAAAAAAAAAAAAAAAA: revoked; the register does not have it"})
	s.check(t, one, "it was revoked")
	s.check(t, two, "it was revoked")
	s.check(t, other, "it is good")

	if r = s.run(t, "", "retire", retired[1]); r.code != 0 || !strings.Contains(r.out, "and with it 1 good tokens") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	s.check(t, other, "the key that has signed it is not there")
	s.check(t, next, "it is good")
	r = s.run(t, "", "list")
	expect(t, r.out, []string{oneID + "  ci    revoked  acme,labs  wiki", otherID + "  bot   retired  acme", nextID + "  next  good", "  signs\n"})

	r = s.run(t, "", "list", "--json")
	var listed struct {
		Tokens []struct{ ID, Name, State string }
		Keys   []struct {
			Kid    string
			Signs  bool
			Tokens int
		}
	}
	if err := json.Unmarshal([]byte(r.out), &listed); err != nil || len(listed.Tokens) != 4 || listed.Tokens[3].State != "good" || len(listed.Keys) != 1 || !listed.Keys[0].Signs || listed.Keys[0].Tokens != 1 {
		t.Errorf("%v in %s", err, r.out)
	}
	if r = s.run(t, "", "retire", listed.Keys[0].Kid); r.code != 1 || !strings.Contains(r.errOut, "sallyport token rotate") {
		t.Errorf("exit code %d\n%s", r.code, r.errOut)
	}
}

func TestTokenIntoAFile(t *testing.T) {
	s := newTokenSite(t)
	path := filepath.Join(t.TempDir(), "ci.token")
	args := []string{"--name", "ci", "--tunnel", "acme", "--server", "wiki", "--out", path}
	if r := s.run(t, "", "create", args...); r.code != 0 || r.out != "" || strings.Contains(r.errOut, issued.Prefix) {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if r := s.run(t, "", "check", path); r.code != 0 || !strings.Contains(r.out, "it is good") {
		t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
	}
	if r := s.run(t, "", "create", args...); r.code != 1 || !strings.Contains(r.errOut, "--out") {
		t.Errorf("exit code %d: a file is overwritten\n%s", r.code, r.errOut)
	}
	r := s.run(t, "", "list", "--json")
	if strings.Count(r.out, `"id"`) != 1 {
		t.Errorf("a token is made that nobody has:\n%s", r.out)
	}
}

// TestTornRegister is told of by whatever lists.
func TestTornRegister(t *testing.T) {
	s := newTokenSite(t)
	s.create(t, "--name", "ci", "--tunnel", "acme", "--server", "wiki")
	path := filepath.Join(s.state, "tokens", "issued.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(text)+string(text[:30])+"\n{}\n")
	for _, args := range [][]string{{"list"}, {"revoke", "--name", "ci"}} {
		r := s.run(t, "", args[0], args[1:]...)
		if r.code != 0 || !strings.Contains(r.errOut, path+": lines 2, 3 cannot be read") || !strings.Contains(r.out, "ci") {
			t.Errorf("exit code %d\n%s%s", r.code, r.out, r.errOut)
		}
	}
}

func TestWrongOrdersForTokens(t *testing.T) {
	s := newTokenSite(t)
	good := []string{"--name", "ci", "--tunnel", "acme", "--server", "wiki"}
	token, _ := s.create(t, good...)
	for _, c := range []struct {
		command string
		args    []string
		code    int
		want    string
	}{
		{"create", good[2:], 2, "--name is required"},
		{"create", good[:2], 2, "--tunnel is required"},
		{"create", good[:4], 2, "--server is required"},
		{"create", append(good, "--ttl", "59s"), 2, "--ttl: write"},
		{"create", append(good, "--ttl", "9000h"), 2, "--ttl: write"},
		{"create", append(good, "--claim", "x"), 2, "write KEY=VALUE"},
		{"create", append(good, "--claim", "=x"), 2, "write KEY=VALUE"},
		{"create", append(good, "--claim", "x=1", "--claim", "x=2"), 2, "given twice"},
		{"create", append(good, "--claim", "x="+strings.Repeat("a", 5000)), 1, "4096 are allowed"},
		{"create", append(good, "--tunnel", "nope"), 2, `has no tunnel "nope"`},
		{"create", append(good, "--server", "No"), 1, "no name of a server"},
		{"create", append(good, "--name", "static"), 2, `has the name "static" already`},
		{"create", append(good, "--name", "machine"), 2, `agents.certificates of`},
		{"create", append(good, "--name", "a b"), 1, "visible ASCII"},
		{"create", append(good, "--out", "/nonexistent/token"), 1, "--out"},
		{"create", append(good, "extra"), 2, "--help"},
		{"revoke", nil, 2, "name the tokens by id"},
		{"revoke", []string{"--name", "ci", "AAAAAAAAAAAAAAAAAAAAAAAAAA"}, 2, "name the tokens by id"},
		{"revoke", []string{strings.TrimSpace(token)}, 1, "number 1 is no id"},
		{"retire", []string{strings.TrimSpace(token)}, 2, "nobody should see"},
		{"retire", []string{"AAAAAAAAAAAAAAAA"}, 1, "no such key"},
		{"retire", nil, 2, "retire -c FILE KID"},
		{"check", []string{strings.TrimSpace(token)}, 2, "nobody should see"},
		{"check", []string{"/nonexistent"}, 2, "/nonexistent"},
		{"check", nil, 2, "no token on standard input"},
	} {
		r := s.run(t, "", c.command, c.args...)
		if r.code != c.code || r.out != "" || !strings.Contains(r.errOut, c.want) || strings.Contains(r.errOut, strings.TrimSpace(token)) {
			t.Errorf("%s %.80q: exit code %d, want %d and %q\n%s%s", c.command, c.args, r.code, c.code, c.want, r.out, r.errOut)
		}
	}
}

// TestTokensOfARunningGateway come and go without a restart, and are in no log.
func TestTokensOfARunningGateway(t *testing.T) {
	s := newSite(t)
	path := s.install(t, "quickstart/gateway.yaml")
	g, c := startPair(t, path, s.install(t, "quickstart/connector.yaml"))
	tokens := tokenSite{file: path}
	_, port, _ := net.SplitHostPort(s.gateway)
	call := func(token string) result {
		file := filepath.Join(t.TempDir(), "token")
		write(t, file, token)
		return execute(t, "", "call", "--token-file", file, "--ca", filepath.Join(s.dir, "state", "self-signed-ca.crt"),
			"https://localhost:"+port+"/t/acme/everything/mcp", "echo", `{"text":"through the tunnel"}`)
	}
	within := func(limit time.Duration, token, want string) {
		t.Helper()
		began := time.Now()
		for {
			r := call(token)
			if strings.Contains(r.out+r.errOut, want) {
				return
			}
			if time.Since(began) > limit {
				t.Fatalf("after %s no %q: exit code %d\n%s%s\n%s", limit, want, r.code, r.out, r.errOut, g.errOut.String())
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	first, firstID := tokens.create(t, "--name", "ci", "--tunnel", "acme", "--server", "everything")
	within(10*time.Second, first, "through the tunnel")
	elsewhere, _ := tokens.create(t, "--name", "ci", "--tunnel", "acme", "--server", "other")
	within(10*time.Second, elsewhere, "HTTP 404")
	if r := tokens.run(t, "", "rotate"); r.code != 0 {
		t.Fatal(r.errOut)
	}
	second, _ := tokens.create(t, "--name", "ci", "--tunnel", "*", "--server", "*")
	within(10*time.Second, second, "through the tunnel")
	within(0, first, "through the tunnel")
	if r := tokens.run(t, "", "revoke", firstID); r.code != 0 {
		t.Fatal(r.errOut)
	}
	within(10*time.Second, first, "HTTP 401")
	within(0, second, "through the tunnel")
	c.stop(t, syscall.SIGTERM)
	g.stop(t, syscall.SIGTERM)
	for _, token := range []string{first, second, elsewhere} {
		if strings.Contains(g.errOut.String()+c.errOut.String(), token[len(token)-40:len(token)-1]) {
			t.Error("a token is in a log")
		}
	}
	g.until(t, &g.errOut, "the list of revoked tokens has changed")
}

func TestTokenCompletions(t *testing.T) {
	s := newTokenSite(t)
	_, one := s.create(t, "--name", "ci", "--tunnel", "acme", "--server", "wiki")
	_, two := s.create(t, "--name", "bot", "--tunnel", "acme", "--server", "wiki")
	old := s.run(t, "", "rotate")
	expect(t, execute(t, "", "__complete", "token", "revoke", "-c", s.file, "").out, []string{one + "\tci\n", two + "\tbot\n"})
	if out := execute(t, "", "__complete", "token", "revoke", "-c", s.file, one, "").out; strings.Contains(out, one) || !strings.Contains(out, two) {
		t.Error(out)
	}
	expect(t, execute(t, "", "__complete", "token", "create", "-c", s.file, "--tunnel", "").out, []string{"acme\n", "labs\n", "*\n"})
	key, _, _ := strings.Cut(execute(t, "", "__complete", "token", "retire", "-c", s.file, "").out, "\n")
	if len(key) != 16 || !strings.Contains(old.out, "retire -c "+s.file+" "+key) {
		t.Errorf("%q is offered\n%s", key, old.out)
	}
}

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/connector/pins"
)

// pinned writes a connector.yaml with a server whose tools were seen as they were first and as they are now.
func pinned(t *testing.T) (file string, observe func(descriptions ...string) []pins.State) {
	t.Helper()
	dir := t.TempDir()
	file = filepath.Join(dir, "connector.yaml")
	write(t, file, "gateway: 127.0.0.1:1\ntunnel_token: env:TOKEN\nstate_dir: "+filepath.Join(dir, "state")+
		"\nservers:\n  wiki: { url: http://127.0.0.1:1/mcp }\n  other: { url: http://127.0.0.1:1/mcp }\npolicy: open\n")
	p, err := pins.Open(filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	return file, func(descriptions ...string) []pins.State {
		var page pins.Page
		for i := range descriptions {
			name := []string{"read", "write", "exec"}[i]
			raw, _ := json.Marshal(map[string]string{"name": name, "description": descriptions[i]})
			page.Tools = append(page.Tools, pins.Definition{Name: name, Raw: raw})
		}
		states, _ := p.Observe("wiki", page)
		return states
	}
}

func TestPins(t *testing.T) {
	file, observe := pinned(t)
	r := execute(t, "", "pins", "list", "-c", file)
	if r.code != 0 || r.out != "nothing is pinned yet\n" {
		t.Errorf("%d %q %s", r.code, r.out, r.errOut)
	}
	observe("Reads.", "Writes.")
	r = execute(t, "", "pins", "diff", "-c", file)
	if r.code != 0 || r.out != "" {
		t.Errorf("%d %q %s", r.code, r.out, r.errOut)
	}
	observe("Reads.", "Writes\u200b and sends.", "Runs.")
	r = execute(t, "", "pins", "list", "-c", file, "wiki")
	if lines := strings.Split(r.out, "\n"); r.code != 0 || len(lines) != 4 || !strings.HasPrefix(lines[0], "wiki  exec ") || !strings.HasSuffix(lines[0], "  new") ||
		!strings.HasSuffix(lines[1], "  pinned") || !strings.HasSuffix(lines[2], "  suspicious") {
		t.Errorf("%d\n%s%s", r.code, r.out, r.errOut)
	}
	r = execute(t, "", "pins", "diff", "-c", file, "wiki", "write")
	hint := "pins accept -c " + file + " -- wiki write@"
	if r.code != 1 || !strings.Contains(r.out, "\n    - Writes.\n    + Writes[U+200B] and sends.\n") || strings.Contains(r.out, "exec") || !strings.Contains(r.errOut, hint) {
		t.Errorf("%d\n%s%s", r.code, r.out, r.errOut)
	}
	_, looked, _ := strings.Cut(strings.TrimSpace(r.errOut), hint)

	r = execute(t, "", "pins", "accept", "-c", file, "wiki", "write@00000000")
	if r.code != 1 || !strings.Contains(r.errOut, "look at it anew") {
		t.Errorf("%d %s", r.code, r.errOut)
	}
	r = execute(t, "", "pins", "accept", "-c", file, "wiki", "write@"+looked)
	if r.code != 0 || r.out != "wiki write: pinned "+looked+"\n" {
		t.Errorf("%d %q %s", r.code, r.out, r.errOut)
	}
	if states := observe("Reads.", "Writes\u200b and sends.", "Runs."); states[1] != pins.Pinned || states[2] != pins.New {
		t.Error(states)
	}
	r = execute(t, "", "pins", "accept", "-c", file, "wiki", "--all")
	if r.code != 0 || !strings.HasPrefix(r.out, "wiki exec: pinned ") {
		t.Errorf("%d %q %s", r.code, r.out, r.errOut)
	}
	r = execute(t, "", "pins", "accept", "-c", file, "wiki", "--all")
	if r.code != 0 || r.out != "wiki: nothing waits to be accepted\n" {
		t.Errorf("%d %q %s", r.code, r.out, r.errOut)
	}
}

// TestPinsHintIsOneCommand: a server that names a tool as a shell would have it does not get the command that diff prints to do more than that.
func TestPinsHintIsOneCommand(t *testing.T) {
	dir := t.TempDir()
	stub := "#!/bin/sh\nprintf '%s\\0' \"$@\" > " + dir + "/args\n"
	if err := os.WriteFile(filepath.Join(dir, "sallyport"), []byte(stub), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"x'; touch pwned; echo '", `x"; touch pwned; echo "`, "x`touch pwned`", "x$(touch pwned)", "x\ntouch pwned\n", "x\x1b[2Jtouch pwned", "x; touch pwned", "--all", "it's", `\'; touch pwned; '`} {
		file, observe := pinned(t)
		observe("Reads.")
		p, err := pins.Open(filepath.Join(filepath.Dir(file), "state"))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(map[string]string{"name": name, "description": "x"})
		if err != nil {
			t.Fatal(err)
		}
		if states, _ := p.Observe("wiki", pins.Page{Tools: []pins.Definition{{Name: name, Raw: raw}}}); states[0] != pins.Suspicious {
			t.Errorf("%q is %s", name, states[0])
		}
		r := execute(t, "", "pins", "diff", "-c", file, "wiki")
		_, hint, ok := strings.Cut(strings.TrimSuffix(r.errOut, "\n"), "to accept one: ")
		if !ok || strings.ContainsAny(hint, "\n\x1b") {
			t.Fatalf("%q: %d %q", name, r.code, r.errOut)
		}
		shell := exec.CommandContext(t.Context(), "/bin/sh", "-eu", "-c", hint)
		shell.Dir, shell.Env = dir, []string{"PATH=" + dir + ":/usr/bin:/bin"}
		if out, err := shell.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%q: %v %s", hint, err, out)
		}
		if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
			t.Fatalf("%q did what the name says", hint)
		}
		args, err := os.ReadFile(filepath.Join(dir, "args"))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")
		if len(got) != 7 || !strings.HasPrefix(got[6], pins.Escape(name)+"@") {
			t.Fatalf("%q has the arguments %q", hint, got)
		}
		if r := execute(t, "", got...); r.code != 0 || !strings.Contains(r.out, ": pinned ") {
			t.Errorf("%q: %d %s%s", got, r.code, r.out, r.errOut)
		}
	}
}

func TestPinsJSON(t *testing.T) {
	file, observe := pinned(t)
	observe("Reads.")
	observe("Sends.", "Writes.")
	var rows []struct {
		Server, Tool, State, Hash string
		FirstSeen                 string `json:"first_seen"`
		Pending                   struct{ Hash string }
		Changes                   []struct {
			At    string
			Lines []string
		}
	}
	r := execute(t, "", "pins", "list", "-c", file, "--json")
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil || r.code != 0 || len(rows) != 2 || rows[0].Tool != "read" || rows[0].State != "changed" || len(rows[0].Hash) != 64 {
		t.Errorf("%v %d\n%s%s", err, r.code, r.out, r.errOut)
	}
	r = execute(t, "", "pins", "diff", "-c", file, "--json", "wiki", "read")
	if err := json.Unmarshal([]byte(r.out), &rows); err != nil || r.code != 1 || len(rows) != 1 || rows[0].Changes[0].At != "/description" || len(rows[0].Changes[0].Lines) != 2 {
		t.Errorf("%v %d\n%s%s", err, r.code, r.out, r.errOut)
	}
	r = execute(t, "", "pins", "diff", "-c", file, "--json", "other")
	if r.code != 0 || r.out != "[]\n" {
		t.Errorf("%d %q", r.code, r.out)
	}
}

func TestPinsThatCannotBeRead(t *testing.T) {
	file, observe := pinned(t)
	observe("Reads.")
	state := filepath.Join(filepath.Dir(file), "state", "pins", "wiki.json")
	if err := os.WriteFile(state, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"list"}, {"diff"}, {"accept", "wiki", "--all"}} {
		r := execute(t, "", append([]string{"pins", args[0], "-c", file}, args[1:]...)...)
		if r.code != 1 || !strings.Contains(r.errOut, state+": it is damaged") {
			t.Errorf("%v: %d %s", args, r.code, r.errOut)
		}
	}
}

func TestWrongUsageOfPins(t *testing.T) {
	file, _ := pinned(t)
	bare := filepath.Join(t.TempDir(), "connector.yaml")
	write(t, bare, "gateway: 127.0.0.1:1\ntunnel_token: env:TOKEN\nservers:\n  wiki: { url: http://127.0.0.1:1/mcp }\npolicy: open\n")
	for _, c := range []struct{ args, want string }{
		{"pins list", "-c FILE is required"},
		{"pins list a b -c " + file, "--help"},
		{"pins nope", "unknown command"},
		{"pins list nope -c " + file, `there is no server "nope"`},
		{"pins list -c " + bare, "state_dir"},
		{"pins accept -c " + file, "expected sallyport pins accept"},
		{"pins accept wiki -c " + file, "--all"},
		{"pins accept wiki read --all -c " + file, "--all"},
	} {
		r := execute(t, "", strings.Fields(c.args)...)
		if r.code != 2 || !strings.Contains(r.errOut, c.want) || r.out != "" {
			t.Errorf("%s: exit code %d, want 2 and %q\n%s%s", c.args, r.code, c.want, r.out, r.errOut)
		}
	}
	for _, args := range []string{"pins accept wiki nope -c " + file, "pins diff wiki nope -c " + file} {
		if r := execute(t, "", strings.Fields(args)...); r.code != 1 || !strings.Contains(r.errOut, "nope") {
			t.Errorf("%s: exit code %d %s", args, r.code, r.errOut)
		}
	}
}

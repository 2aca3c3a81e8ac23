package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport.dev/audit"
)

// writeAudit writes a log with three calls below stateDir. It returns its path and that of a configuration which names it.
func writeAudit(t *testing.T, stateDir string) (path, config string) {
	t.Helper()
	config = filepath.Join(t.TempDir(), "connector.yaml")
	if err := os.WriteFile(config, []byte("gateway: 127.0.0.1:1\nstate_dir: "+stateDir+"\naudit: strict\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := audit.Open(audit.Config{Mode: audit.Strict}, audit.Options{StateDir: stateDir, Version: "v1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	for i, decision := range []string{"allow", "deny", "allow"} {
		e := audit.Event{
			RequestID: fmt.Sprint("r", i), Issuer: "https://idp.example.com", Subject: []string{"alice", "bob\x1b[31m", "alice"}[i], Server: "wiki", Method: "tools/call",
			Tool: "search", Rule: fmt.Sprint("rule ", i), Decision: decision, Outcome: "answered", Delivered: "yes", Status: 200, Duration: time.Millisecond,
		}
		if err := log.End(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(stateDir, "audit", "audit.jsonl"), config
}

func TestAuditVerify(t *testing.T) {
	dir := t.TempDir()
	path, config := writeAudit(t, dir)
	kept := filepath.Join(t.TempDir(), "kept")
	last, err := os.ReadFile(path + ".checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kept, last, 0o600); err != nil {
		t.Fatal(err)
	}
	key := execute(t, "", "audit", "key", "-c", config)
	if key.code != 0 || !strings.HasPrefix(key.out, "sallyport-audit-ed25519:") {
		t.Fatalf("%+v", key)
	}
	public := strings.TrimSpace(key.out)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	short := bytes.Join(lines[:4], nil)

	for name, c := range map[string]struct {
		content []byte
		args    []string
		code    int
		want    []string
	}{
		"intact":                {content, []string{"-c", config}, 0, []string{"intact: 6 lines in 1 files, numbers 1 to 6", "3 events, 0 begun; 1 starts, 2 checkpoints", "up to number 6", "no checkpoint was given"}},
		"intact, by folder":     {content, []string{"--key", public, "--checkpoint", kept, filepath.Dir(path)}, 0, []string{"intact", "1 checkpoints are in the log"}},
		"edited":                {bytes.Replace(content, []byte("alice"), []byte("carol"), 1), []string{"--key", public, path}, 1, []string{path + ":3: edited: number 3", "NOT INTACT"}},
		"cut":                   {short, []string{"--key", public, path}, 0, []string{"intact", "2 lines behind it are not signed yet", "an end that was cut off does not show"}},
		"cut, checkpoint kept":  {short, []string{"--key", public, "--checkpoint", kept, path}, 1, []string{"truncated", "NOT INTACT"}},
		"cut within a line":     {content[:len(content)-5], []string{"--key", public, path}, 0, []string{"unfinished  the last line has no end"}},
		"escapes in the file":   {append(bytes.Clone(content), "\x1b[2J\n"...), []string{"--key", public, path}, 1, []string{"edited"}},
		"kept is no checkpoint": {content, []string{"--key", public, "--checkpoint", path, path}, 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, c.content, 0o600); err != nil {
				t.Fatal(err)
			}
			r := execute(t, "", append([]string{"audit", "verify"}, c.args...)...)
			if r.code != c.code || strings.Contains(r.out, "\x1b") {
				t.Errorf("exit code %d, want %d\n%s%s", r.code, c.code, r.out, r.errOut)
			}
			for _, want := range c.want {
				if !strings.Contains(r.out, want) {
					t.Errorf("it does not say %q:\n%s%s", want, r.out, r.errOut)
				}
			}
		})
	}
}

func TestAuditTailAndGrep(t *testing.T) {
	dir := t.TempDir()
	path, config := writeAudit(t, dir)
	for _, c := range []struct {
		args       string
		lines      int
		want, lack string
	}{
		{"tail " + path, 6, "-- start 1, opened, version v1.2.3", "\x1b"},
		{"tail -n 2 -c " + config, 2, "allow wiki         tools/call search", "bob"},
		{"tail -n 0 " + path, 0, "", "wiki"},
		{"tail --json -n 1 " + path, 1, `{"seq":6,"prev":"`, "--"},
		{"grep " + path, 3, `bob\u001b[31m`, "\x1b"},
		{"grep --decision deny " + path, 1, "rule 1", "rule 0"},
		{"grep --principal alice -c " + config, 2, "https://idp.example.com|alice", "bob"},
		{"grep --principal https://idp.example.com|alice --tool search --server wiki --method tools/call --outcome answered " + path, 2, "alice", "bob"},
		{"grep --principal https://other|alice " + path, 0, "", "alice"},
		{"grep --request-id r2 --json " + path, 1, `"request_id":"r2"`, "r1"},
		{"grep --since 1h --until 2099-01-01T00:00:00Z " + path, 3, "alice", ""},
		{"grep --until 1h " + path, 0, "", "alice"},
		{"grep --since 2099-01-01T00:00:00Z " + path, 0, "", "alice"},
	} {
		r := execute(t, "", append([]string{"audit"}, strings.Fields(c.args)...)...)
		if r.code != 0 || strings.Count(r.out, "\n") != c.lines || !strings.Contains(r.out, c.want) || c.lack != "" && strings.Contains(r.out, c.lack) {
			t.Errorf("%s: exit code %d, want %d lines with %q and without %q\n%s%s", c.args, r.code, c.lines, c.want, c.lack, r.out, r.errOut)
		}
	}
	if r := execute(t, "", "audit", "grep", "--rule", "rule 2", path); r.code != 0 || strings.Count(r.out, "\n") != 1 {
		t.Errorf("%+v", r)
	}
}

// TestAuditFollow shows what is written later, and ends with a signal.
func TestAuditFollow(t *testing.T) {
	dir := t.TempDir()
	path, _ := writeAudit(t, dir)
	p := start(t, "audit", "tail", "-f", "-n", "1", path)
	p.until(t, &p.out, "checkpoint 6")
	writeAudit(t, dir)
	p.until(t, &p.out, "checkpoint 12")
	p.stop(t, syscall.SIGTERM)
	if strings.Count(p.out.String(), "\n") != 7 {
		t.Errorf("it printed\n%s%s", p.out.String(), p.errOut.String())
	}
}

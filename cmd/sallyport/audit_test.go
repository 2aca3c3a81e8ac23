package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sallyport.dev/audit"
)

// auditRig is a configuration with an audit log of some events.
func auditRig(t *testing.T) (config, log string, kept audit.Checkpoint) {
	t.Helper()
	state := t.TempDir()
	config = filepath.Join(t.TempDir(), "connector.yaml")
	text := "gateway: 127.0.0.1:1\ntunnel_token: file:/none\npolicy: open\nservers: { wiki: { url: \"https://wiki.internal/mcp\" } }\nstate_dir: " + state + "\naudit: best_effort\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := audit.Open(audit.Config{Mode: audit.BestEffort}, audit.Options{StateDir: state, Publish: func(c audit.Checkpoint) { kept = c }})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []audit.Event{
		{RequestID: "r1", Issuer: "https://i", Subject: "olga", Server: "wiki", Method: "tools/call", Tool: "read", Rule: "open", Decision: "allow", Outcome: "upstream", Delivered: "yes", Status: 200, Duration: time.Millisecond},
		{RequestID: "r2", Issuer: "https://i", Subject: "mallory\x1b[2J", Server: "wiki", Method: "tools/call", Tool: "dr\nop", Rule: "default", Decision: "deny", Outcome: "denied", Delivered: "no", Status: 403},
	} {
		if err := l.End(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return config, audit.Config{Mode: audit.BestEffort}.Path(state), kept
}

func TestAuditCommands(t *testing.T) {
	config, log, kept := auditRig(t)
	key := strings.TrimSpace(execute(t, "", "audit", "key", "-c", config).out)
	checkpoints := filepath.Join(t.TempDir(), "kept.jsonl")
	if err := os.WriteFile(checkpoints, []byte(kept.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct {
		code int
		says string
	}{
		"audit verify -c " + config:                                         {0, "the log is as it was written"},
		"audit verify -c " + config + " --checkpoint " + checkpoints:        {0, "1 of 1 checkpoints that were kept elsewhere are in it"},
		"audit verify --key " + key + " " + log:                             {0, "lines 1 to 4, 2 events"},
		"audit verify " + log:                                               {2, "--key is required"},
		"audit verify":                                                      {2, "-c FILE, or the files of the log, are required"},
		"audit verify --key x " + log:                                       {2, "not a public key"},
		"audit verify --key " + key + " --checkpoint " + config + " " + log: {2, "not a checkpoint"},
		"audit verify --key " + key + " /none":                              {1, "no such file"},
		"audit tail -c " + config + " -n 2":                                 {0, `deny   tools/call "dr\nop" at wiki by "mallory\x1b[2J", rule default, denied, delivered no, status 403`},
		"audit tail -c " + config + " -n 1 --json":                          {0, `"type":"checkpoint"`},
		"audit grep -c " + config + " --decision allow":                     {0, "allow  tools/call read at wiki by olga"},
		"audit grep -c " + config + " --principal https://i|olga --json":    {0, `"request_id":"r1"`},
		"audit grep -c " + config + " --since 2100-01-01T00:00:00Z":         {1, "no event matches"},
		"audit grep -c " + config + " --since yesterday":                    {2, "--since: write it as in"},
	} {
		r := execute(t, "", strings.Fields(args)...)
		if r.code != want.code || !strings.Contains(r.out+r.errOut, want.says) || strings.ContainsRune(r.out, '\x1b') {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", args, r.code, want.code, want.says, r.out, r.errOut)
		}
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(log, []byte(strings.Replace(string(text), "olga", "otto", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := execute(t, "", "audit", "verify", "-c", config); r.code != 1 || !strings.Contains(r.out, "audit.jsonl:3: the line before, 2, is not the one that was written") {
		t.Errorf("an altered log: %d\n%s%s", r.code, r.out, r.errOut)
	}
}

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sallyport.dev/audit"
	"sallyport.dev/connector"
	"sallyport.dev/gateway"
	"sallyport.dev/policy"
	"sallyport.dev/test/stack"
	"sallyport.dev/tunnel"
)

// auditedEvents reads the events of a log, and verifies it.
func auditedEvents(t *testing.T, state string) (events []audit.Event) {
	t.Helper()
	path := audit.Config{Mode: audit.Strict}.Path(state)
	key, err := audit.ReadPublicKey(state)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(context.Background(), []string{path}, audit.VerifyOptions{PublicKey: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Errorf("the log: %s", p)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := audit.Scan(file, func(line []byte) error {
		r, err := audit.ParseRecord(line)
		if err == nil && r.Type == "event" {
			events = append(events, r.Event)
		}
		if strings.Contains(string(line), "canary") {
			t.Errorf("an argument or a credential is in the log: %s", line)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return events
}

// Each decision is one event: who, what, by which rule, with which credential, and what became of it. No argument and no
// credential is in it.
func TestAuditLog(t *testing.T) {
	t.Parallel()
	rules, err := policy.New([]policy.Rule{
		{Name: "reading", Servers: []string{"wiki"}, When: `mcp.tool == "read"`, Allow: true},
		{Name: "reported", Servers: []string{"wiki"}, When: `mcp.tool == "read"`, Report: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		for _, mode := range []audit.Mode{audit.Strict, audit.BestEffort} {
			upstream := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":9007199254740993,"result":{}}`)
			})
			server, _ := keyed(t, connector.Server{URL: upstream.URL, AllowPlaintext: true})
			state := t.TempDir()
			s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"wiki": server}, Connector: func(c *connector.Config) {
				c.Policy, c.StateDir, c.Audit = rules, state, audit.Config{Mode: mode}
			}})
			agent := s.Agent(t, true)
			call := func(tool string) string {
				return fmt.Sprintf(`{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call","params":{"name":%q,"arguments":{"text":"canary"}}}`, tool)
			}
			if got := post(t, s, agent, "wiki", call("read")); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			mustRefuse(t, post(t, s, agent, "wiki", call("drop")), 403, -32003, "no")
			s.StopConnector()
			events := auditedEvents(t, state)
			if len(events) != 2 {
				t.Fatalf("%d events: %+v", len(events), events)
			}
			allowed, denied := events[0], events[1]
			if allowed.Decision != "allow" || allowed.Rule != "reading" || strings.Join(allowed.WouldDeny, " ") != "reported" || allowed.Tool != "read" || allowed.Server != "wiki" ||
				allowed.Outcome != "upstream" || allowed.Delivered != "yes" || allowed.Status != 200 || strings.Join(allowed.Credentials, " ") != "wiki/1" || allowed.Subject == "" || allowed.RequestID == "" || allowed.Duration <= 0 {
				t.Errorf("an allowed call: %+v", allowed)
			}
			if denied.Decision != "deny" || denied.Rule != "default" || denied.Tool != "drop" || denied.Outcome != "denied" || denied.Delivered != "no" || denied.Status != 403 || denied.Credentials != nil {
				t.Errorf("a denied call: %+v", denied)
			}
			if allowed.Arguments != audit.ArgumentsHash([]byte(`{"text":"canary"}`)) || allowed.Arguments != denied.Arguments {
				t.Errorf("the arguments: %s, %s", allowed.Arguments, denied.Arguments)
			}
		}
	})
}

// Under strict nothing is called that cannot be recorded; in best effort calls go on. What was written stays good.
func TestAuditOnAFullDisk(t *testing.T) {
	t.Parallel()
	binary := build(t)
	for _, mode := range []string{"strict", "best_effort"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			d := deploy(t, echoes(t), "quic")
			state := t.TempDir()
			text, err := os.ReadFile(d.connector)
			if err != nil {
				t.Fatal(err)
			}
			writeFile(t, d.connector, string(text)+"state_dir: "+state+"\naudit: "+mode+"\n")
			start(t, binary, "gateway", d.gateway).says(t, `"gateway is up"`, 1)
			p := start(t, limited(t, binary), "connector", d.connector)
			p.says(t, `"attached"`, 2)
			refused := 0
			for range 40 {
				if got := d.post(t); got.status != http.StatusOK {
					refused++
					if e := mustRefuse(t, got, http.StatusServiceUnavailable, -32018, "no"); e.Error.Data.Reason != "audit_unavailable" {
						t.Errorf("%+v", e)
					}
				}
			}
			if (refused > 0) != (mode == "strict") || refused == 40 {
				t.Errorf("%d of 40 calls were refused", refused)
			}
			p.kill(t)
			if events := auditedEventsOf(t, filepath.Join(state, "audit", "audit.jsonl"), state); events == 0 || events > 39 {
				t.Errorf("%d events were written", events)
			}
			out, err := exec.CommandContext(t.Context(), binary, "audit", "tail", "-c", d.connector, "-n", "3").CombinedOutput()
			if err != nil || !strings.Contains(string(out), " allow echo ") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// limited is the program with files of at most 16 KiB, as on a disk that is nearly full.
func limited(t *testing.T, binary string) string {
	t.Helper()
	script := filepath.Join(t.TempDir(), "limited")
	if err := os.WriteFile(script, []byte("#!/bin/bash\nulimit -f 16\nexec "+binary+" \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return script
}

// auditedEventsOf counts the events of a log whose writer was killed: only its last line may be cut.
func auditedEventsOf(t *testing.T, path, state string) (events int64) {
	t.Helper()
	key, err := audit.ReadPublicKey(state)
	if err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(context.Background(), []string{path}, audit.VerifyOptions{PublicKey: key})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Problems {
		t.Errorf("the log: %s", p)
	}
	return report.Events
}

// What the gateway denies by itself is in an audit log of its own.
func TestAuditOfTheGateway(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, transport tunnel.Transport) {
		s := stack.New(t, stack.Options{Transport: transport, Servers: map[string]connector.Server{"wiki": {URL: echoes(t)}}, Gateway: func(cfg *gateway.Config) {
			cfg.Audit = audit.Config{Mode: audit.BestEffort}
		}})
		if got := post(t, s, s.Agent(t, true), "wiki", pingBody); got.status != http.StatusOK {
			t.Fatalf("%d", got.status)
		}
		if got := post(t, s, s.AgentWith(t, true, "canary-no-such-token-0123456789abcdefghijklm"), "wiki", pingBody); got.status != http.StatusUnauthorized {
			t.Errorf("a token that is none: %d", got.status)
		}
		if got := post(t, s, s.Agent(t, true), "vault", pingBody); got.status != http.StatusNotFound {
			t.Errorf("a server that is not there: %d", got.status)
		}
		var events []audit.Event
		until(t, patience, "two denials are on record", func() bool {
			events = nil
			file, err := os.Open(audit.Config{Mode: audit.BestEffort}.Path(s.StateDir()))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			_ = audit.Scan(file, func(line []byte) error {
				if r, err := audit.ParseRecord(line); err == nil && r.Type == "event" {
					events = append(events, r.Event)
				}
				if strings.Contains(string(line), "canary") {
					t.Error("a token is on record")
				}
				return nil
			})
			return len(events) == 2
		})
		if e := events[0]; e.Outcome != "unauthenticated" || e.Status != 401 || e.Rule != "gateway" || e.Decision != "deny" || e.Subject != "" {
			t.Errorf("%+v", e)
		}
		if e := events[1]; e.Outcome != "not_found" || e.Status != 404 || e.Subject == "" || e.Server != stack.Tunnel+"/vault" {
			t.Errorf("%+v", e)
		}
	})
}

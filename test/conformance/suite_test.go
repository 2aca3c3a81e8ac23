package conformance_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// suite is the command line of the MCP conformance suite.
type suite struct {
	node, script string
}

// The suite imports what Node has since this version.
const oldestNode = 22

// patience is for one run of a set of scenarios, which takes seconds.
const patience = 2 * time.Minute

// findSuite finds what make setup has installed.
func findSuite(t *testing.T) suite {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := suite{
		node:   filepath.Join(root, "bin/tools/node"), // there only if the machine's own is too old
		script: filepath.Join(root, "test/peers/node_modules/@modelcontextprotocol/conformance/dist/index.js"),
	}
	if _, err := os.Stat(s.script); err != nil {
		t.Fatalf("the MCP conformance suite is not installed: run make setup (%v)", err)
	}
	if _, err := os.Stat(s.node); err != nil {
		s.node = "node"
	}
	version, err := exec.CommandContext(t.Context(), s.node, "--version").Output()
	major, _, _ := strings.Cut(strings.TrimPrefix(string(version), "v"), ".")
	if n, _ := strconv.Atoi(major); err != nil || n < oldestNode {
		t.Fatalf("the MCP conformance suite needs Node.js %d or newer: run make setup (%s is %q, %v)", oldestNode, s.node, version, err)
	}
	return s
}

// check is how one check of a scenario has ended.
type check struct {
	scenario, id, status, message string
}

func (c check) String() string {
	if c.message == "" {
		return c.id + " ends with " + c.status
	}
	return c.id + " ends with " + c.status + ` ("` + c.message + `")`
}

func (c check) compare(d check) int {
	return cmp.Or(cmp.Compare(c.scenario, d.scenario), cmp.Compare(c.id, d.id), cmp.Compare(c.status, d.status), cmp.Compare(c.message, d.message))
}

// report is what one run has found.
type report struct {
	checks         map[check]int // how many times each came
	passed, failed int
	took           time.Duration
	summary        string // for people
	err            error  // a check that counts has failed, or the suite itself
}

// call runs all scenarios of a revision against a URL.
func (s suite) call(t *testing.T, rev revision, url string) report {
	t.Helper()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.node, s.script, "server", "--url", url, "--requirements", rev.name, "--output-dir", dir)
	cmd.Dir = dir
	r := report{checks: make(map[check]int)}
	start := time.Now()
	output, err := cmd.CombinedOutput()
	r.took, r.summary, r.err = time.Since(start), string(output), err
	if _, summary, ok := strings.Cut(r.summary, "=== SUMMARY ==="); ok {
		r.summary = summary
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if err := r.read(file); err != nil {
			t.Fatalf("%v\n%s", err, r.summary)
		}
	}
	return r
}

// read adds the checks of one scenario, which lie in a folder that is named
// after it and the time: server-ping-2026-01-31T12-34-56-789Z.
func (r *report) read(file string) error {
	const prefix, stamp = "server-", "-2006-01-02T15-04-05-000Z"
	folder := filepath.Base(filepath.Dir(file))
	scenario, ok := strings.CutPrefix(folder, prefix)
	if !ok || len(scenario) <= len(stamp) {
		return fmt.Errorf("the folder %q does not name a scenario", folder)
	}
	scenario = scenario[:len(scenario)-len(stamp)]
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var found []struct {
		ID, Status   string
		ErrorMessage string
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return fmt.Errorf("read the checks of %s: %w", scenario, err)
	}
	for _, c := range found {
		r.checks[check{scenario, c.ID, c.Status, c.ErrorMessage}]++
		switch c.Status {
		case "SUCCESS":
			r.passed++
		case "FAILURE":
			r.failed++
		}
	}
	return nil
}

package oauth_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// guide has the table between two comments.
const (
	guide    = "../../../docs/guides/clients.md"
	tableTop = "<!-- Seen by test/e2e/oauth; make compatibility writes it anew. -->\n"
	tableEnd = "<!-- The end of what was seen. -->\n"
)

// column is what a client can, or cannot.
type column string

const (
	starting column = "is connected at once where a server has scopes of its own"
	renewing column = "renews tokens"
	stepping column = "asks for more while connected"
)

func columns() (all []column) {
	for _, by := range registrations() {
		all = append(all, column(by))
	}
	return append(all, renewing, starting, stepping)
}

func yes(can bool) string {
	if can {
		return "yes"
	}
	return "no"
}

// table collects what clients can.
type table struct {
	mu   sync.Mutex // guards seen
	seen map[string]map[column]string
}

func (tb *table) set(client string, c column, can string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if tb.seen == nil {
		tb.seen = make(map[string]map[column]string)
	}
	if tb.seen[client] == nil {
		tb.seen[client] = make(map[column]string)
	}
	tb.seen[client][c] = can
}

// render writes the table. It reports false if something has not been seen.
func (tb *table) render(t *testing.T) (string, bool) {
	var b strings.Builder
	b.WriteString(tableTop + "| client |")
	for _, c := range columns() {
		fmt.Fprintf(&b, " %s |", c)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(columns())) + "\n")
	whole := true
	for _, client := range []string{goSDK, mcpGo, mcpRemote} {
		fmt.Fprintf(&b, "| %s %s |", client, version(t, client))
		for _, c := range columns() {
			can, ok := tb.seen[client][c]
			whole = whole && ok
			fmt.Fprintf(&b, " %s |", can)
		}
		b.WriteString("\n")
	}
	return b.String() + tableEnd, whole
}

// version is a client's, as the tests' own files lock it.
func version(t *testing.T, client string) string {
	t.Helper()
	if client == mcpRemote {
		var lock struct {
			Packages map[string]struct{ Version string }
		}
		text, err := os.ReadFile(filepath.Join(peersDir, "package-lock.json"))
		if err == nil {
			err = json.Unmarshal(text, &lock)
		}
		if err != nil {
			t.Fatal(err)
		}
		return lock.Packages["node_modules/"+mcpRemote].Version
	}
	mod, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*github\.com/\S*/` + client + ` v(\S+)`).FindSubmatch(mod)
	if found == nil {
		t.Fatalf("go.mod does not name %s", client)
	}
	return string(found[1])
}

// compare holds the guide to what was seen, or writes it where the environment
// says so. A run of part of the tests has no say.
func (tb *table) compare(t *testing.T) {
	t.Helper()
	seen, whole := tb.render(t)
	if !whole {
		t.Log("not all has been tried: the guide is left alone")
		return
	}
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, top := strings.Cut(string(text), tableTop)
	kept, after, end := strings.Cut(rest, tableEnd)
	if !top || !end {
		t.Fatalf("%s has no place for the table, between these lines:\n%s%s", guide, tableTop, tableEnd)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(guide, []byte(before+seen+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if tableTop+kept+tableEnd != seen {
		t.Errorf("%s differs from what was seen: run make compatibility, and review the change; seen is\n%s", guide, seen)
	}
}

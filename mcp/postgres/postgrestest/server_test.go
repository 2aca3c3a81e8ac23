package postgrestest

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestStart(t *testing.T) {
	folder := ""
	t.Run("server", func(t *testing.T) {
		start := time.Now()
		s := Start(t)
		t.Logf("started in %s", time.Since(start))
		folder = s.folder
		s.Role(t, Attacker, "it's")
		s.Database(t, "odd name")
		s.SQL(t, "odd name", Schema)
		if left := s.Traces(t, "odd name"); left != nil {
			t.Errorf("before any attack there is %q", left)
		}
		s.SQL(t, "odd name", "DELETE FROM victim WHERE id = 1; CREATE TABLE loot (n int)")
		if left := strings.Join(s.traces(t, "odd name"), ", "); left != "rows in victim, new table loot" {
			t.Errorf("traces: %q", left)
		}
		if dsn := s.DSN("a@b", "odd name"); !strings.HasPrefix(dsn, "postgres://a%40b@127.0.0.1:") || !strings.HasSuffix(dsn, "/odd%20name") {
			t.Errorf("DSN: %s", dsn)
		}
		if _, err := s.Try("odd name", "SELECT nowhere"); err == nil {
			t.Error("no error")
		}
	})
	if _, err := os.Stat(folder); err == nil {
		t.Error("the folder is left")
	}
}

func TestAttacksHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Attacks() {
		if a.Name == "" || seen[a.Name] {
			t.Errorf("the name %q is used twice or empty", a.Name)
		}
		seen[a.Name] = true
	}
	t.Log(len(seen), "attacks")
}

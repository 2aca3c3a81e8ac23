package mysql

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/mysql/mysqltest"
	"sallyport.dev/secret"
)

// TestAttacks: each attack fails with an error that says why, or leaves nothing behind, although its login may do everything.
func TestAttacks(t *testing.T) {
	s := mysqltest.Start(t)
	s.MakeTarget(t, password)
	d := newDriver(t, s, Config{DSN: s.DSN("mighty", "target")}, database.Options{MaxConnections: 2, MaxBytes: 1 << 20})
	as := database.Login{Key: "mighty", User: "mighty", Password: secret.New(password)}
	const limit = 500 * time.Millisecond
	before := s.State(t)
	attack := func(a mysqltest.Attack) (shown string, err error) {
		began := time.Now()
		out := database.NewRows(1000, 1<<20)
		err = d.Run(t.Context(), as, database.Statement{SQL: a.SQL, Params: raw(a.Params), Timeout: limit}, out)
		took := time.Since(began)
		shown = text(out)
		t.Logf("%-55s %6d ms  %.100s %v", a.Name, took.Milliseconds(), shown, err)
		if known, ok := errors.AsType[*database.Error](err); err != nil && (!ok || len(known.Error()) > 3<<10) {
			t.Errorf("%s: %v is no error for an agent", a.Name, err)
		}
		if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "mighty")) {
			t.Errorf("%s: the error has the login: %v", a.Name, err)
		}
		if took > 10*limit {
			t.Errorf("%s took %s", a.Name, took)
		}
		if strings.Contains(shown, "root:") {
			t.Errorf("%s has read a file", a.Name)
		}
		s.AwaitNoConnections(t, "mighty", 5*time.Second)
		if after := s.State(t); after != before {
			t.Errorf("%s has left something: %s", a.Name, difference(before, after))
			before = after
		}
		return shown, err
	}
	for _, a := range mysqltest.Attacks() {
		_, err := attack(a)
		if err == nil || !strings.Contains(err.Error(), "only what begins with") {
			continue
		}
		d.anyWord = true
		shown, _ := attack(a)
		d.anyWord = false
		// The server refuses it too, but for those that the package's comment names, and two that only read.
		if shown != "" && !slices.Contains([]string{"analyse", "check", "checksum", "help"}, a.Name) {
			t.Errorf("%s returns %s", a.Name, shown)
		}
	}
	out := database.NewRows(10, 1<<20)
	if err := d.Run(t.Context(), as, database.Statement{SQL: "SELECT COUNT(*) FROM t", Timeout: limit}, out); err != nil || text(out) != "2" {
		t.Errorf("after all that: %s, %v", text(out), err)
	}
}

func difference(before, after string) string {
	old := map[string]bool{}
	for line := range strings.Lines(before) {
		old[line] = true
	}
	var b strings.Builder
	for line := range strings.Lines(after) {
		if !old[line] {
			b.WriteString(line)
		}
	}
	return b.String()
}

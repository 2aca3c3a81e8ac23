package postgres

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/postgres/postgrestest"
	"sallyport.dev/secret"
)

// settingsQuery is what no attack may change for the next query.
const settingsQuery = `SELECT concat_ws('|', current_setting('transaction_read_only'), current_setting('default_transaction_read_only'),
	current_setting('statement_timeout'), current_setting('search_path'), current_setting('client_encoding'), current_setting('DateStyle'),
	current_setting('standard_conforming_strings'), current_user, session_user, current_setting('role'), coalesce(current_setting('app.user', true), ''),
	(SELECT count(*) FROM pg_prepared_statements WHERE name NOT LIKE 'sallyport_%'), (SELECT count(*) FROM pg_cursors WHERE is_holdable),
	(SELECT count(*) FROM pg_listening_channels()), pg_my_temp_schema(), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'))`

// TestAttacks makes each attack as a query and as an explain. Between them, one connection serves all.
func TestAttacks(t *testing.T) {
	b := newBench(t, func(o *database.Options) { o.MaxConnections = 1 })
	b.server.Role(t, postgrestest.Attacker, password)
	b.sql(t, postgrestest.Schema)
	as := database.Login{Key: "attacker", User: postgrestest.Attacker, Password: secret.New(password)}
	rest := func(t *testing.T) string {
		t.Helper()
		out := database.NewRows(1, 1000)
		if err := b.driver.Run(t.Context(), as, statement(settingsQuery), out); err != nil {
			t.Fatalf("the next query: %v: %v", err, errors.Unwrap(err))
		}
		return string(out.All()[0][0])
	}
	before := rest(t)
	for _, a := range postgrestest.Attacks() {
		t.Run(a.Name, func(t *testing.T) {
			if a.Setup != "" {
				b.sql(t, a.Setup)
			}
			s := statement(a.SQL)
			s.Params, s.Timeout = a.Params, time.Second
			start := time.Now()
			err := b.driver.Run(t.Context(), as, s, database.NewRows(1000, b.options.MaxBytes))
			if took := time.Since(start); took > s.Timeout+grace+time.Second {
				t.Errorf("it took %s", took)
			}
			if err == nil && !a.MayWork {
				t.Error("no error")
			}
			harmless(t, err)
			t.Logf("run: %v", err)
			if got := rest(t); got != before {
				t.Errorf("the session is %s, and was %s", got, before)
			}
			_, err = b.driver.Explain(t.Context(), as, s)
			harmless(t, err)
			if got := rest(t); got != before {
				t.Errorf("after explain, the session is %s, and was %s", got, before)
			}
			if left := b.server.Traces(t, b.database); left != nil {
				t.Errorf("it leaves %q", left)
			}
			t.Logf("explain: %v", err)
		})
	}
	if _, err := os.Stat("/tmp/loot"); err == nil {
		t.Error("a file was written")
	}
}

// harmless checks what an agent reads of an error.
func harmless(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	e, ok := errors.AsType[*database.Error](err)
	if !ok {
		t.Errorf("an error that only the log gets: %v", err)
		return
	}
	text := e.Error()
	if len(text) > maxText+len("00000: ") || !utf8.ValidString(text) {
		t.Errorf("a text of %d bytes", len(text))
	}
	for _, word := range []string{password, "127.0.0.1", "postgres://"} {
		if strings.Contains(text, word) {
			t.Errorf("the error holds %q: %v", word, text)
		}
	}
	if strings.Contains(text, "was lost") || strings.Contains(text, "cannot be reached") {
		t.Errorf("%v: %v", err, e.Err)
	}
}

// TestExplain shows that a plan is all there is.
func TestExplain(t *testing.T) {
	b := newBench(t)
	b.sql(t, `CREATE TABLE t (n int PRIMARY KEY, s text); GRANT ALL ON t TO PUBLIC`)
	for _, test := range []struct {
		sql    string
		params []string
		want   string
	}{
		{"SELECT * FROM t", nil, "Seq Scan on t"},
		{"SELECT * FROM t WHERE n = $1", []string{"42"}, "Index Cond: (n = 42)"},
		{"SELECT * FROM t WHERE s = $1", []string{`"o'\\x"`}, `Filter: (s = 'o''\x'::text)`},
		{"SELECT * FROM t WHERE n = ANY($1)", []string{"[1,null]"}, "{1,NULL}"},
		{"SELECT * FROM t WHERE s IS NOT DISTINCT FROM $1", []string{"null"}, "Filter"},
		{"DELETE FROM t", nil, "Delete on t"},
		{"INSERT INTO t VALUES (1) RETURNING n", nil, "Insert on t"},
		{"CREATE TABLE u AS SELECT 1", nil, "Result"},
		{"EXPLAIN ANALYZE INSERT INTO t VALUES (1)", nil, "Utility statements have no plan structure"},
		{"COMMIT", nil, "Utility statements have no plan structure"},
		{"COPY t FROM STDIN", nil, "Utility statements have no plan structure"},
		{"DO 'BEGIN INSERT INTO t VALUES (1); END'", nil, "Utility statements have no plan structure"},
	} {
		plan, err := b.driver.Explain(t.Context(), b.login, statement(test.sql, test.params...))
		if err != nil || !strings.Contains(plan, test.want) {
			t.Errorf("%s: %v, %s", test.sql, err, plan)
		}
	}
	for sql, want := range map[string]string{
		"ANALYZE INSERT INTO t VALUES (1)":               "42601",
		"ANALYZE":                                        "Utility",
		"(ANALYZE) INSERT INTO t VALUES (1)":             "42601",
		"/* */ ANALYZE DELETE FROM t":                    "42601",
		"VERBOSE SELECT 1":                               "42601",
		"SELECT 1; INSERT INTO t VALUES (1)":             "more than one statement",
		"SELECT * FROM t WHERE n = $1":                   "1 parameters, and 0 were given",
		"EXECUTE sallyport_types":                        "does not exist",
		"SELECT nowhere":                                 "42703",
		"SELECT 1) ; INSERT INTO t VALUES (1) --":        "42601",
		"EXPLAIN (ANALYZE) EXECUTE x":                    "Utility",
		"DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t": "Seq Scan",
		"CREATE MATERIALIZED VIEW v AS SELECT * FROM t":  "Seq Scan",
		"PREPARE x AS INSERT INTO t VALUES (1)":          "Utility",
	} {
		plan, err := b.driver.Explain(t.Context(), b.login, statement(sql))
		if err != nil {
			plan = err.Error()
		}
		if !strings.Contains(plan, want) {
			t.Errorf("%s: %s", sql, plan)
		}
	}
	if n := b.sql(t, "SELECT count(*) FROM t")[0][0]; n != "0" {
		t.Errorf("%s rows were written", n)
	}
}

package sqlite

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/sqlite/sqlitetest"
)

var options = database.Options{MaxConnections: 2, MaxBytes: 1 << 20}

func sample(t testing.TB, writable bool) (*Driver, string) {
	t.Helper()
	path := sqlitetest.Sample(t)
	d, err := New(Config{File: path, Writable: writable}, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d, path
}

func statement(sql string, params ...string) database.Statement {
	s := database.Statement{SQL: sql, Timeout: 5 * time.Second}
	for _, p := range params {
		s.Params = append(s.Params, json.RawMessage(p))
	}
	return s
}

func run(t testing.TB, d *Driver, s database.Statement) (*database.Rows, error) {
	t.Helper()
	out := database.NewRows(100, options.MaxBytes)
	return out, d.Run(t.Context(), database.Login{}, s, out)
}

// table is a result in one line: columns with their types, and rows.
func table(out *database.Rows) string {
	var b strings.Builder
	for _, c := range out.Columns() {
		b.WriteString(c.Name + " " + c.Type + ", ")
	}
	for _, r := range out.All() {
		text, _ := json.Marshal(r)
		b.Write(text)
	}
	return b.String()
}

func TestValuesAreExact(t *testing.T) {
	d, _ := sample(t, false)
	for _, test := range []struct {
		sql    string
		params []string
		want   string
	}{
		{"SELECT id, name, city FROM customers ORDER BY id", nil, `id INTEGER, name TEXT, city TEXT, [1,"Anna","Graz"][2,"Bert",null][3,"Chloé","Linz"]`},
		{"SELECT 9007199254740991 a, 9007199254740992 b, -9223372036854775808 c", nil, `a INTEGER, b INTEGER, c INTEGER, [9007199254740991,"9007199254740992","-9223372036854775808"]`},
		{"SELECT total FROM orders ORDER BY id", nil, `total NUMERIC, [19.9][5]["9007199254740993"]`},
		{"SELECT 1.0 a, 0.1 b, 1e300 c, 1e999 d, -1e999 e, 5e-324 f, -0.0 g", nil, `a REAL, b REAL, c REAL, d REAL, e REAL, f REAL, g REAL, [1.0,0.1,1e+300,"Infinity","-Infinity",5e-324,-0.0]`},
		{"SELECT x'00ff' a, x'' b, zeroblob(2) c, NULL d", nil, `a BLOB, b BLOB, c BLOB, d , ["\\x00ff","\\x","\\x0000",null]`},
		{"SELECT char(1, 34, 92, 8364) a, CAST(x'41ff42' AS TEXT) b, '' c", nil, `a TEXT, b TEXT, c TEXT, ["\u0001\"\\€","A\ufffdB",""]`},
		{"SELECT ? a, typeof(?1) b", []string{`"x\u0000y"`}, `a TEXT, b TEXT, ["x\u0000y","text"]`},
		{"SELECT typeof(?), typeof(?), typeof(?), typeof(?), typeof(?)", []string{`1`, `9223372036854775808`, `0.1`, `0.1000000000000000000001`, `1e400`},
			`typeof(?) TEXT, typeof(?) TEXT, typeof(?) TEXT, typeof(?) TEXT, typeof(?) TEXT, ["integer","real","real","text","text"]`},
		{"SELECT ?, ?, ?, ?, ?", []string{`true`, `false`, `null`, `[1, 2]`, `{"a":1}`}, `? INTEGER, ? INTEGER, ? , ? TEXT, ? TEXT, [1,0,null,"[1, 2]","{\"a\":1}"]`},
		{"SELECT ?, ?, ?", []string{`9223372036854775807`, `1e3`, `99999999999999999999`}, `? INTEGER, ? REAL, ? TEXT, ["9223372036854775807",1000.0,"99999999999999999999"]`},
		{"SELECT name FROM customers WHERE id > 99", nil, `name TEXT, `},
		{"SELECT 1; -- that is all\n /* really */ ; ", nil, `1 INTEGER, [1]`},
		{"VALUES (1), (2)", nil, `column1 INTEGER, [1][2]`},
	} {
		out, err := run(t, d, statement(test.sql, test.params...))
		if err != nil || table(out) != test.want {
			t.Errorf("%s gives %s, %v; want %s", test.sql, table(out), err, test.want)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	d, path := sample(t, false)
	for _, test := range []struct {
		sql    string
		params []string
		code   string
		says   string
	}{
		{"SELECT * FRM x", nil, "SQLITE_ERROR", `near "FRM": syntax error`},
		{"SELECT nope FROM orders", nil, "SQLITE_ERROR", "no such column: nope"},
		{"SELECT ?", nil, "", "1 placeholders, and 0 parameters"},
		{"SELECT ?2", []string{"1"}, "", "2 placeholders, and 1 parameters"},
		{"", nil, "", "no statement"},
		{";; -- SELECT 1", nil, "", "no statement"},
		{"SELECT 1; SELECT 2", nil, "", "more than one statement"},
		{"SELECT 1; /* */ x", nil, "", "more than one statement"},
		{"SELECT 'a\x00b'", nil, "", "NUL"},
		{"SELECT '\xff'", nil, "", "UTF-8"},
		{"DELETE FROM orders", nil, "SQLITE_AUTH", "only queries are run"},
		{"BEGIN", nil, "SQLITE_AUTH", "only queries are run"},
		{"SELECT zeroblob(1000000000)", nil, "SQLITE_TOOBIG", "too long"},
		{"SELECT hex(zeroblob(900000))", nil, "", "more than 1048576 bytes"},
		{"SELECT abs(-9223372036854775808)", nil, "SQLITE_ERROR", "integer overflow"},
	} {
		_, err := run(t, d, statement(test.sql, test.params...))
		known, ok := errors.AsType[*database.Error](err)
		if !ok || known.Code != test.code || !strings.Contains(known.Text, test.says) || strings.Contains(known.Error(), path) {
			t.Errorf("%s gives %v", test.sql, err)
		}
	}
}

func TestRunStopsWhenItIsTimeOrTheCallerLeaves(t *testing.T) {
	d, _ := sample(t, false)
	endless := statement("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n")
	endless.Timeout = 100 * time.Millisecond
	_, err := run(t, d, endless)
	if err == nil || err.Error() != database.TimedOut(endless.Timeout).Error() {
		t.Errorf("at its timeout it gives %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	endless.Timeout = time.Minute
	if err := d.Run(ctx, database.Login{}, endless, database.NewRows(1, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without its caller it gives %v", err)
	}
	if out, err := run(t, d, statement("SELECT 1")); err != nil || len(out.All()) != 1 {
		t.Errorf("afterwards: %v", err)
	}
}

func TestRowsAreTruncated(t *testing.T) {
	d, _ := sample(t, false)
	out, err := run(t, d, statement("SELECT value FROM generate_series(1, 1000000000)"))
	if err != nil || len(out.All()) != 100 || !strings.Contains(out.Truncated(), "100 rows") {
		t.Errorf("%d rows, %q, %v", len(out.All()), out.Truncated(), err)
	}
}

func TestMemory(t *testing.T) {
	d, err := NewMemory(sqlitetest.Script, options)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := run(t, d, statement("SELECT name, total FROM spent ORDER BY name"))
	if want := `name TEXT, total REAL, ["Anna",24.9]["Chloé","9007199254740993"]`; err != nil || table(out) != want {
		t.Errorf("%s, %v", table(out), err)
	}
	write := statement("DELETE FROM orders")
	write.Write = true
	if _, err := run(t, d, write); err == nil {
		t.Error("it was written")
	}
	if _, err := NewMemory("CREATE TABLE", options); err == nil {
		t.Error("a wrong script makes a database")
	}
}

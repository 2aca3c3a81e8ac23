package mysql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/secret"
)

func testExplain(t *testing.T, b *bench) {
	ctx := t.Context()
	explain := func(sql string, params ...string) (string, error) {
		return b.Driver.Explain(ctx, b.writer, database.Statement{SQL: sql, Params: raw(params), Timeout: 10 * time.Second})
	}
	for sql, params := range map[string][]string{
		"SELECT * FROM items WHERE id = ?;": {"1"}, "/* c */ (select * from items)": nil, "WITH x AS (SELECT * FROM items) SELECT * FROM x": nil,
	} {
		plan, err := explain(sql, params...)
		if err != nil || !json.Valid([]byte(plan)) || !strings.Contains(plan, `"items"`) {
			t.Errorf("%s: %s, %v", sql, plan, err)
		}
	}
	for sql, part := range map[string]string{
		"ANALYZE SELECT * FROM items":            "there is no plan",
		"ANALYZE DELETE FROM items":              "",
		"/*!ANALYZE*/ SELECT * FROM items":       "there is no plan",
		"FORMAT=JSON SELECT 1":                   "1064",
		"FOR CONNECTION 1":                       "1064",
		"EXTENDED SELECT 1":                      "1064",
		"PARTITIONS SELECT 1":                    "1064",
		"items":                                  "1064",
		"SHOW TABLES":                            "there is no plan",
		"EXPLAIN SELECT 1":                       "there is no plan",
		"CALL add_one()":                         "there is no plan",
		"SELECT 1; DELETE FROM items":            "more than one statement",
		"SELECT 1 FROM hidden.t":                 "denied",
		"SELECT '\x00'":                          "NUL",
		"SET STATEMENT a=1 FOR DELETE FROM w":    "",
		"SELECT * FROM items WHERE id = ? AND ?": "2 placeholders",
	} {
		plan, err := explain(sql, "1")
		if part == "" && err == nil {
			t.Errorf("%s: %s", sql, plan)
		} else if part != "" {
			says(t, err, part)
		}
	}
	for _, sql := range []string{"DELETE FROM items", "UPDATE items SET name = 'x'", "INSERT INTO items (name) VALUES ('x')"} {
		_, err := explain(sql)
		says(t, err, "explain the SELECT that finds the same rows")
	}
	if n := b.Query(t, "SELECT COUNT(*), SUM(name = 'x') FROM shop.items")[0]; n[0] != "3" || n[1] != "0" {
		t.Errorf("explain has changed rows: %q", n)
	}
}

func testBrowse(t *testing.T, b *bench) {
	b.Exec(t, "CREATE DATABASE store COMMENT 'a store'", "GRANT SELECT ON store.* TO reader@'127.0.0.1'",
		"CREATE TABLE store.parent (a INT, b INT, PRIMARY KEY (a, b)) COMMENT 'the parent'", "INSERT INTO store.parent VALUES (1, 1), (1, 2)",
		"CREATE TABLE store.child (id BIGINT UNSIGNED PRIMARY KEY AUTO_INCREMENT, x INT NOT NULL DEFAULT 7 COMMENT 'an ex', y INT, "+
			"`odd ``name` VARCHAR(20) DEFAULT 'it''s', t DATETIME(3) DEFAULT CURRENT_TIMESTAMP(3), UNIQUE KEY u (`odd ``name`(5), t), "+
			"CONSTRAINT f FOREIGN KEY (x, y) REFERENCES store.parent (a, b))",
		"CREATE VIEW store.looks AS SELECT id FROM store.child", "CREATE TABLE store.Parent (a INT)", "CREATE SEQUENCE store.seq")
	ctx := t.Context()
	schemas, err := b.Schemas(ctx, b.reader)
	if got := fmt.Sprint(schemas); err != nil || got != "[{shop } {store a store}]" {
		t.Errorf("schemas: %s, %v", got, err)
	}
	var names []string
	for after := ""; ; {
		tables, err := b.Tables(ctx, b.reader, "store", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(tables) == 0 {
			break
		}
		for _, table := range tables {
			names = append(names, fmt.Sprint(table.Name, " ", table.Kind, " ", table.Comment, " ", table.EstimatedRows))
			after = table.Name
		}
	}
	if got := strings.Join(names, ", "); got != "Parent table  0, child table  0, looks view  -1, parent table the parent 2" {
		t.Errorf("tables: %s", got)
	}
	table, err := b.Describe(ctx, b.reader, "store", "child")
	got, _ := json.Marshal(table) // it can be
	want := `{"schema":"store","name":"child","kind":"table","estimated_rows":0,"columns":[` +
		`{"name":"id","type":"bigint(20) unsigned","nullable":false,"default":"auto_increment"},` +
		`{"name":"x","type":"int(11)","nullable":false,"default":"7","comment":"an ex"},` +
		`{"name":"y","type":"int(11)","nullable":true,"default":"NULL"},` +
		"{\"name\":\"odd `name\",\"type\":\"varchar(20)\",\"nullable\":true,\"default\":\"'it''s'\"}," +
		`{"name":"t","type":"datetime(3)","nullable":true,"default":"current_timestamp(3)"}],` +
		"\"indexes\":[{\"name\":\"PRIMARY\",\"columns\":[\"id\"],\"unique\":true,\"primary\":true},{\"name\":\"f\",\"columns\":[\"x\",\"y\"]}," +
		"{\"name\":\"u\",\"columns\":[\"odd `name(5)\",\"t\"],\"unique\":true}]," +
		`"foreign_keys":[{"columns":["x","y"],"foreign_schema":"store","foreign_table":"parent","foreign_columns":["a","b"]}]}`
	if err != nil || string(got) != want {
		t.Errorf("describe: %v\n%s\nwant\n%s", err, got, want)
	}
	view, err := b.Describe(ctx, b.reader, "store", "looks")
	if err != nil || view.Kind != "view" || len(view.Columns) != 1 {
		t.Errorf("a view: %+v, %v", view, err)
	}
	for _, name := range [][2]string{{"hidden", "t"}, {"store", "nothing"}, {"mysql", "user"}, {"information_schema", "tables"}, {"nowhere", "x"}, {"store", "CHILD"}} {
		if _, err := b.Describe(ctx, b.reader, name[0], name[1]); !errors.Is(err, database.ErrNoTable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if tables, err := b.Tables(ctx, b.reader, "mysql", "", 10); err != nil || len(tables) != 0 {
		t.Errorf("tables of the system: %v, %v", tables, err)
	}
}

func testWarnings(t *testing.T, b *bench) {
	for _, as := range []database.Login{b.reader, b.writer} {
		warnings, err := b.Warnings(t.Context(), as)
		if err != nil || as.User == "reader" && len(warnings) != 0 {
			t.Errorf("%s: %q, %v", as.User, warnings, err)
		}
	}
	b.CreateUser(t, "rich", password, "SUPER, FILE, PROCESS, RELOAD, CREATE USER, SHUTDOWN ON *.*", "EVENT, TRIGGER ON shop.*")
	b.Exec(t, "GRANT SELECT ON shop.* TO rich@'127.0.0.1' WITH GRANT OPTION")
	rich := database.Login{Key: "rich", User: "rich", Password: secret.New(password)}
	warnings, err := b.Warnings(t.Context(), rich)
	all := strings.Join(warnings, "\n")
	for _, part := range []string{"SUPER on *.*", "FILE", "PROCESS", "RELOAD", "CREATE USER", "SHUTDOWN", "EVENT on `shop`.*", "TRIGGER", "GRANT OPTION"} {
		if err != nil || !strings.Contains(all, part) {
			t.Errorf("no warning of %s (%v):\n%s", part, err, all)
		}
	}
	if strings.Contains(all, "*"+"8") || strings.Contains(all, "IDENTIFIED") {
		t.Errorf("a hash is shown: %s", all)
	}
	d := newDriver(t, b.Server, Config{DSN: b.DSN("reader", "shop") + "?tls=disable", AllowPlaintext: true}, database.Options{MaxConnections: 1, MaxBytes: 1})
	if warnings, err := d.Warnings(t.Context(), b.reader); err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "not encrypted") {
		t.Errorf("without TLS: %q, %v", warnings, err)
	}
}

// testFile: a login with the FILE privilege reads nothing, by whatever way it has got it, until that is taken away.
func testFile(t *testing.T, b *bench) {
	b.CreateUser(t, "filer", password, "SELECT ON shop.*", "FILE ON *.*")
	b.CreateUser(t, "rolled", password, "SELECT ON shop.*")
	b.Exec(t, "CREATE ROLE filing", "GRANT FILE ON *.* TO filing", "GRANT filing TO rolled@'127.0.0.1'", "SET DEFAULT ROLE filing FOR rolled@'127.0.0.1'")
	for _, user := range []string{"filer", "rolled"} {
		as := database.Login{Key: user, User: user, Password: secret.New(password)}
		for _, sql := range []string{"SELECT LOAD_FILE('/etc/passwd')", "SELECT 'x' INTO OUTFILE 'attack.out'", "SELECT 1"} {
			got, err := b.run(t, as, database.Statement{SQL: sql})
			says(t, err, "FILE privilege")
			if got != "" {
				t.Errorf("%s returns %s", sql, got)
			}
			_, err = b.Driver.Explain(t.Context(), as, database.Statement{SQL: sql, Timeout: time.Second})
			says(t, err, "FILE privilege")
		}
		if warnings, err := b.Warnings(t.Context(), as); err != nil || !strings.Contains(strings.Join(warnings, "\n"), "FILE on *.*") {
			t.Errorf("warnings: %q, %v", warnings, err)
		}
	}
	b.Exec(t, "REVOKE FILE ON *.* FROM filer@'127.0.0.1'", "DROP ROLE filing")
	for _, user := range []string{"filer", "rolled"} {
		as := database.Login{Key: user, User: user, Password: secret.New(password)}
		if got, err := b.run(t, as, database.Statement{SQL: "SELECT LOAD_FILE('/etc/passwd')"}); err != nil || got != "null" {
			t.Errorf("without the privilege: %s, %v", got, err)
		}
	}
}

// testLong: neither memory nor time depends on how much there is.
func testLong(t *testing.T, b *bench) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, test := range []struct{ sql, says string }{
		{"SELECT REPEAT('x', 10000000)", "more than 1048576 bytes"},
		{"SELECT REPEAT('x', 10000000) FROM seq_1_to_1000", "more than 1048576 bytes"},
		{"SELECT REPEAT('x', 3000000)", "more than 1048576 bytes"},
		{"SELECT 1, REPEAT('x', IF(seq = 5, 9000000, 1)) FROM seq_1_to_1000", "more than 1048576 bytes"},
		{"SELECT seq FROM seq_1_to_1000000", "there are more than 1000 rows"},
		{"SELECT REPEAT('x', 10000) FROM seq_1_to_1000000", "the result has more than 1048576 bytes"},
		{"SELECT seq, REPEAT('x', 900), IF(seq > 1050, SLEEP(20), 0) FROM seq_1_to_1100", "there are more than 1000 rows"},
	} {
		began := time.Now()
		out := database.NewRows(1000, 1<<20)
		err := b.Driver.Run(ctx, b.reader, database.Statement{SQL: test.sql, Timeout: 5 * time.Second}, out)
		if err != nil {
			says(t, err, test.says)
		} else if !strings.Contains(out.Truncated(), test.says) {
			t.Errorf("%s: %q, want %q", test.sql, out.Truncated(), test.says)
		}
		t.Logf("%s: %s", test.sql, time.Since(began))
		b.AwaitNoConnections(t, "reader", 2*time.Second)
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 120 {
		t.Errorf("%d MiB were allocated", n)
	}
}

package mysql

import "testing"

func testRun(t *testing.T, b *bench) {
	for sql, want := range map[string]string{
		"SELECT name, price FROM items WHERE id < 3 ORDER BY id;": "\"one\" \"1.10\"\n\"two\" \"2.20\"",
		"/* c */ select 1 ; -- that is all":                       "1",
		"WITH x AS (SELECT 1 AS n) SELECT n FROM x":               "1",
		"(SELECT 1) UNION (SELECT 2)":                             "1\n2",
		"SELECT * FROM items WHERE id = 99":                       "",
		"SHOW TABLES LIKE 'items'":                                `"items"`,
		"SHOW WARNINGS":                                           "",
		"SELECT '\\';'":                                           `"';"`,
		"SELECT ';' AS `a;b` -- ;":                                `";"`,
		"SELECT @@tx_isolation IS NULL":                           "0",
		"DESCRIBE items":                                          "",
	} {
		if got, err := b.ask(t, sql); err != nil || got != want && sql != "DESCRIBE items" {
			t.Errorf("%s gives %s, %v; want %s", sql, got, err, want)
		}
	}
	for sql, part := range map[string]string{
		"SELECT 1; SELECT 2":          "more than one statement",
		"SELECT FROM":                 "1064 (42000): You have an error",
		"SELECT * FROM nothing":       "1146 (42S02)",
		"SELECT * FROM hidden.t":      "command denied to a login for table",
		"":                            "only what begins with",
		"-- nothing":                  "",
		"DELETE FROM items":           "",
		"SELECT 1 INTO @a":            "returns no rows, and was not run",
		"SELECT '\x00'":               "NUL byte",
		"SELECT '\xff'":               "not valid UTF-8",
		"SELECT CAST('x' AS INT) ; ;": "",
	} {
		if _, err := b.ask(t, sql); err == nil && part != "" {
			t.Errorf("%s runs", sql)
		} else if part != "" {
			says(t, err, part)
		}
	}
}

package mysql

import (
	"strings"
	"testing"

	"sallyport.dev/mcp/database"
)

func testValues(t *testing.T, b *bench) {
	b.Exec(t, "CREATE TABLE shop.v (a DATE, b DATETIME(6), c TIMESTAMP NULL, d TIME(3), e YEAR, f BIT(9), g ENUM('x','y'), h SET('p','q'), i BLOB, "+
		"j VARBINARY(9), k JSON, l GEOMETRY, m BOOL, n FLOAT, o DOUBLE, p BIGINT UNSIGNED, q DECIMAL(65,30), r CHAR(3), s MEDIUMTEXT)",
		"SET sql_mode=''; INSERT INTO shop.v VALUES ('0000-00-00', '2024-02-29 23:59:59.123456', '2000-01-02 03:04:05', '-838:59:58.5', 1999, b'100000001', "+
			"'y', 'p,q', x'00ff', x'', '{\"a\": 1}', POINT(1, 2), TRUE, 0.1, 1e300, 18446744073709551615, "+
			"12345678901234567890123456789012345.000000000000000000000000000001, 'é', 'a\"\\n\\\\')")
	for _, test := range []struct{ sql, want, kind string }{
		{"SELECT a FROM v", `"0000-00-00"`, "date"},
		{"SELECT b FROM v", `"2024-02-29 23:59:59.123456"`, "datetime(6)"},
		{"SELECT c FROM v", `"2000-01-02 03:04:05"`, "timestamp"},
		{"SELECT d FROM v", `"-838:59:58.500"`, "time(3)"},
		{"SELECT e FROM v", `1999`, "year"},
		{"SELECT f FROM v", `257`, "bit"},
		{"SELECT g FROM v", `"y"`, "enum"},
		{"SELECT h FROM v", `"p,q"`, "set"},
		{"SELECT i FROM v", `"\\x00ff"`, "blob"},
		{"SELECT j FROM v", `"\\x"`, "varbinary"},
		{"SELECT k FROM v", `"{\"a\": 1}"`, "text"},
		{"SELECT l FROM v", `"\\x000000000101000000000000000000f03f0000000000000040"`, "geometry"},
		{"SELECT m FROM v", `1`, "tinyint"},
		{"SELECT n FROM v", `0.1`, "float"},
		{"SELECT o FROM v", `1e+300`, "double"},
		{"SELECT p FROM v", `"18446744073709551615"`, "bigint unsigned"},
		{"SELECT q FROM v", `"12345678901234567890123456789012345.000000000000000000000000000001"`, "decimal(65,30)"},
		{"SELECT r FROM v", `"é"`, "char"},
		{"SELECT s FROM v", `"a\"\n\\"`, "text"},
		{"SELECT NULL", `null`, "null"},
		{"SELECT 9007199254740991", `9007199254740991`, "bigint"},
		{"SELECT 9007199254740992", `"9007199254740992"`, "bigint"},
		{"SELECT -9223372036854775808", `"-9223372036854775808"`, "bigint"},
		{"SELECT CAST(1.10 AS DECIMAL(5,2))", `"1.10"`, "decimal(5,2)"},
		{"SELECT 0.1e0 + 0.2e0", `0.30000000000000004`, "double"},
		{"SELECT CAST(16777217 AS FLOAT)", `16777216`, "float"},
		{"SELECT 1e-7", `1e-07`, "double"},
		{"SELECT UNHEX('ff')", `"\\xff"`, "varbinary"},
		{"SELECT '\U0001F600'", "\"\U0001F600\"", "varchar"},
		{"SELECT @@time_zone", `"+00:00"`, "varchar"},
		{"VALUES (1, 2), (3, 4)", "1 2\n3 4", "int"},
		{"SHOW CREATE TABLE hidden.t", "", ""},
	} {
		out, err := b.rows(t, b.reader, database.Statement{SQL: test.sql})
		if test.kind == "" {
			says(t, err, "1142")
			continue
		}
		if err != nil || text(out) != test.want {
			t.Errorf("%s: %s, %v; want %s", test.sql, text(out), err, test.want)
			continue
		}
		if kind := out.Columns()[0].Type; kind != test.kind {
			t.Errorf("%s has type %s, want %s", test.sql, kind, test.kind)
		}
	}
}

// TestJSONDocuments: MySQL has a type for JSON, MariaDB has not.
func TestJSONDocuments(t *testing.T) {
	for in, want := range map[string]string{
		`{"a": 1, "b": [1.50, null]}`: `{"a":1,"b":[1.50,null]}`,
		`{"a": 1, "a": 2}`:            `"{\"a\": 1, \"a\": 2}"`,
		`18446744073709551616`:        `18446744073709551616`,
		`no`:                          `"no"`,
	} {
		if got := string(jsonOf([]byte(in), "JSON")); got != want {
			t.Errorf("%s gives %s, want %s", in, got, want)
		}
	}
}

func testParams(t *testing.T, b *bench) {
	for _, test := range []struct{ sql, param, want string }{
		{"SELECT ?", `"a\u00e9\"'"`, `"aé\"'"`},
		{"SELECT ?", `9007199254740993`, `"9007199254740993"`},
		{"SELECT ?", `18446744073709551615`, `"18446744073709551615"`},
		{"SELECT ?", `18446744073709551616`, `"18446744073709551616"`},
		{"SELECT CAST(? AS DECIMAL(65,30))", `0.123456789012345678901234567891`, `"0.123456789012345678901234567891"`},
		{"SELECT ?", `1.10`, `"1.10"`},
		{"SELECT ?", `true`, `1`},
		{"SELECT ?", `false`, `0`},
		{"SELECT ?", `null`, `null`},
		{"SELECT ?", `[1, {"a": "é"}]`, `"[1, {\"a\": \"é\"}]"`},
		{"SELECT id FROM items ORDER BY id LIMIT ?", `2`, "1\n2"},
		{"SELECT name FROM items WHERE price = ?", `1.10`, `"one"`},
		{"SELECT ? = CAST(9007199254740993 AS SIGNED)", `9007199254740993`, "1"},
		{"SELECT ? = CAST(9007199254740993 AS SIGNED)", `9007199254740992`, "0"},
	} {
		if got, err := b.ask(t, test.sql, test.param); err != nil || got != test.want {
			t.Errorf("%s with %s gives %s, %v; want %s", test.sql, test.param, got, err, test.want)
		}
	}
	_, err := b.ask(t, "SELECT ?, ?", "1")
	says(t, err, "2 placeholders (?) and there are 1 parameters")
	_, err = b.ask(t, "SELECT ?", `{"a":1,"a":2}`)
	says(t, err, "parameter 1 is not valid JSON")
	big := `"` + strings.Repeat("x", 500_000) + `"`
	if got, err := b.ask(t, "SELECT LENGTH(?)", big); err != nil || got != "500000" {
		t.Errorf("a long parameter: %s, %v", got, err)
	}
}

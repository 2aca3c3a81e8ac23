package sqlitetest

import "strings"

// Attack is a statement that has to fail with a clear error, or to be without effect.
type Attack struct {
	Name   string
	SQL    string
	Params []string // JSON values
	// Fails says that it must not return anything.
	Fails bool
}

// Attacks returns the statements: none may write, make a file, take more than some 64 MiB, or outlive its time by more than a second.
func Attacks() []Attack {
	long := `"` + strings.Repeat("a", 1_900_000) + `"`
	half := `"` + strings.Repeat("a", 900_000) + `b"`
	return join(
		fails("several statements",
			"SELECT 1; DELETE FROM orders",
			"SELECT 1; SELECT 2",
			"SELECT 1;;DELETE FROM orders",
			"SELECT 1 -- \n; DELETE FROM orders",
			"SELECT 1; /* SELECT */ DELETE FROM orders",
			"SELECT 1; -- hidden\rDELETE FROM orders -- not a line end\nDELETE FROM orders",
			"SELECT 1; COMMIT; DROP TABLE orders; --",
			"SELECT 1;\u00a0DELETE FROM orders",
		),
		fails("writes",
			"INSERT INTO customers VALUES (4, 'Mallory', NULL)",
			"INSERT INTO customers VALUES (4, 'Mallory', NULL) RETURNING *",
			"UPDATE orders SET total = 0",
			"UPDATE orders SET total = 0 RETURNING id",
			"DELETE FROM orders RETURNING *",
			"REPLACE INTO customers VALUES (1, 'Mallory', NULL) RETURNING id",
			"WITH x AS (SELECT 1) DELETE FROM orders RETURNING id",
			"WITH x AS (DELETE FROM orders RETURNING id) SELECT * FROM x",
			"EXPLAIN DELETE FROM orders",
			"EXPLAIN QUERY PLAN DELETE FROM orders",
			"CREATE TABLE t (a)",
			"CREATE TABLE t AS SELECT * FROM orders",
			"CREATE TEMP TABLE t (a)",
			"CREATE TEMP VIEW v AS SELECT 1",
			"CREATE TEMP TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END",
			"CREATE INDEX i ON orders (note)",
			"CREATE VIEW v AS SELECT 1",
			"CREATE TRIGGER t AFTER INSERT ON orders BEGIN SELECT 1; END",
			"CREATE VIRTUAL TABLE v USING fts5(a)",
			"CREATE VIRTUAL TABLE v USING generate_series",
			"ALTER TABLE orders RENAME TO other",
			"ALTER TABLE orders ADD COLUMN x",
			"DROP TABLE orders",
			"DROP VIEW spent",
			"REINDEX", "ANALYZE", "VACUUM",
			"VACUUM INTO 'copy.db'",
			"VACUUM main INTO '/tmp/copy.db'",
			"INSERT INTO sqlite_master VALUES ('table', 'x', 'x', 2, 'CREATE TABLE x (a)')",
			"UPDATE sqlite_master SET sql = 'CREATE TABLE orders (x)'",
			"DELETE FROM sqlite_schema",
			"DELETE FROM sqlite_stat1",
		),
		fails("other files and code",
			"ATTACH 'other.db' AS other",
			"ATTACH ':memory:' AS other",
			"ATTACH '' AS other",
			"ATTACH 'file:other.db?mode=rwc' AS other",
			"DETACH main",
			"SELECT load_extension('x')",
			"SELECT load_extension('/lib/x86_64-linux-gnu/libc.so.6', 'puts')",
			"SELECT fts3_tokenizer('simple')",
			"SELECT fts3_tokenizer('simple', x'4141414142424242')",
			"SELECT readfile('/etc/passwd')",
			"SELECT writefile('out.txt', 'x')",
			"SELECT edit('x', 'sh')",
			"SELECT * FROM fsdir('/')",
			"SELECT eval('DELETE FROM orders')",
			"SELECT sqlite_log(1, 'x')",
			"SELECT * FROM dbstat",
			"SELECT * FROM sqlite_dbpage",
			"SELECT * FROM pragma_database_list",
			"SELECT * FROM other.orders",
			"SELECT * FROM temp.sqlite_master m, temp.nope",
		),
		fails("settings and transactions",
			"PRAGMA writable_schema = 1",
			"PRAGMA journal_mode = WAL",
			"PRAGMA journal_mode",
			"PRAGMA query_only = 0",
			"PRAGMA trusted_schema = 1",
			"PRAGMA temp_store_directory = '/tmp'",
			"PRAGMA temp_store = 1",
			"PRAGMA hard_heap_limit = 0",
			"PRAGMA mmap_size = 1000000000",
			"PRAGMA cache_size = 1000000000",
			"PRAGMA user_version = 7",
			"PRAGMA wal_checkpoint(TRUNCATE)",
			"PRAGMA incremental_vacuum(1)",
			"PRAGMA optimize",
			"PRAGMA database_list",
			"PRAGMA locking_mode = EXCLUSIVE",
			"SELECT * FROM pragma_journal_mode('wal')",
			"SELECT * FROM pragma_user_version",
			"SELECT * FROM pragma_wal_checkpoint",
			"SELECT * FROM pragma_optimize",
			"SELECT * FROM pragma_writable_schema('1')",
			"BEGIN", "BEGIN EXCLUSIVE", "COMMIT", "END", "ROLLBACK", "SAVEPOINT a", "RELEASE a",
		),
		fails("without end",
			"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
			"WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT max(i) FROM n",
			"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n WHERE i = 2",
			"SELECT sum(a.value * b.value) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b",
			"SELECT count(*) FROM generate_series(1, 9223372036854775807)",
			"SELECT 1 FROM customers a, customers b, customers c, customers d, customers e, customers f, customers g, customers h, customers i, "+
				"customers j, customers k, customers l, customers m, customers n, customers o, customers p, customers q, customers r, customers s WHERE a.id + s.id > 99",
		),
		fails("memory",
			"SELECT group_concat(x) FROM (WITH RECURSIVE n(x) AS (SELECT 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' UNION ALL SELECT x FROM n) SELECT x FROM n)",
			"WITH RECURSIVE n(x) AS (SELECT 'x' UNION ALL SELECT x || x FROM n) SELECT max(x) FROM n",
			"WITH RECURSIVE n(i, x) AS (SELECT 1, zeroblob(500000) UNION ALL SELECT i + 1, randomblob(500000) FROM n LIMIT 100000) SELECT count(*) FROM (SELECT x FROM n ORDER BY x)",
			"SELECT value FROM generate_series(1, 100000000) ORDER BY random()",
			"SELECT randomblob(1000) FROM generate_series(1, 10000000) ORDER BY 1",
			"SELECT count(*) FROM (SELECT DISTINCT hex(randomblob(100)) FROM generate_series(1, 100000000))",
			"SELECT value % 1000003, count(*) FROM generate_series(1, 100000000) GROUP BY 1, hex(randomblob(50))",
			"SELECT count(*) FROM (SELECT value FROM generate_series(1, 100000000) UNION SELECT -value FROM generate_series(1, 100000000))",
			"SELECT sum(value) OVER (ORDER BY value ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM generate_series(1, 100000000)",

			"SELECT json_group_array(hex(randomblob(100))) FROM generate_series(1, 100000000)",
			"WITH x AS MATERIALIZED (SELECT randomblob(500) FROM generate_series(1, 100000000)) SELECT count(*) FROM x a, x b",
			"SELECT zeroblob(1e9)",
			"SELECT length(zeroblob(1000000000))",
			"SELECT zeroblob(9223372036854775807)",
			"SELECT randomblob(1000000000)",
			"SELECT hex(zeroblob(100000000))",
			"SELECT printf('%.*c', 1000000000, 'x')",
			"SELECT printf('%2147483647d', 1)",
			"SELECT format('%.1000000000f', 1.0)",
			"SELECT replace(replace(replace(replace(hex(zeroblob(1000)), '0', hex(zeroblob(100))), '0', hex(zeroblob(100))), '0', hex(zeroblob(100))), '0', 'xx')",
			"SELECT quote(zeroblob(100000000))",
			"SELECT zeroblob(900000), zeroblob(900000), zeroblob(900000)",
		),
		either("numbers", "SELECT 9007199254740993, -9007199254740993, 9223372036854775807, 1e308 * 10, -1e308 * 10, 0.1 + 0.2, 9223372036854775807 + 1"),
		fails("texts",
			"SELECT 'a\x00'; DELETE FROM orders",
			"\x00SELECT 1",
			"SELECT '\xff\xfe'",
			"SELECT \xc3\x28",
			"SELECT '"+strings.Repeat("x", 1<<20)+"'",
			"SELECT 1 "+strings.Repeat(" ", 2<<20),
			"SELECT "+strings.Repeat("1,", 9_999)+"1",
			"SELECT "+strings.Repeat("(", 100_000)+"1"+strings.Repeat(")", 100_000),
			"SELECT "+strings.Repeat("-", 1)+strings.Repeat("+", 200_000)+"1",
			"SELECT "+strings.Repeat("NOT ", 100_000)+"1",
			"SELECT 1"+strings.Repeat("+1", 200_000),
			"SELECT "+strings.Repeat("abs(", 10_000)+"1"+strings.Repeat(")", 10_000),
			strings.Repeat("SELECT * FROM (", 5_000)+"SELECT 1"+strings.Repeat(")", 5_000),
			"SELECT 1"+strings.Repeat(" UNION ALL SELECT 1", 10_000),
			"SELECT CASE "+strings.Repeat("WHEN 1 THEN CASE ", 20_000),
			"WITH a AS (SELECT 1)"+strings.Repeat(", b AS (SELECT 1)", 20_000)+" SELECT 1",
			"SELECT * FROM "+strings.Repeat("orders,", 1_000)+"orders",
			"SELECT ?999999999",
			"SELECT max("+strings.Repeat("1,", 5_000)+"1)",
			"SELECT 'unended",
			"/* unended",
			"SELECT 1 REGEXP",
			"-- SELECT 1",
		),
		either("patterns",
			"SELECT hex(zeroblob(500000)) LIKE '"+strings.Repeat("%0", 100)+"1'",
			"SELECT hex(zeroblob(500000)) LIKE '%"+strings.Repeat("_", 250)+"1'",
			"SELECT hex(zeroblob(500000)) GLOB '"+strings.Repeat("*0", 100)+"1'",
			"SELECT hex(zeroblob(500000)) GLOB '"+strings.Repeat("*[0-9]", 40)+"x'",
			"SELECT hex(zeroblob(500000)) LIKE hex(zeroblob(500000))",
			"SELECT hex(zeroblob(500000)) REGEXP '(0|00|000)*1'",
			"SELECT hex(zeroblob(500000)) REGEXP '"+strings.Repeat("0?", 80)+strings.Repeat("0", 80)+"1'",
			"SELECT count(*) FROM generate_series(1, 10000) WHERE hex(zeroblob(500000)) LIKE '%"+strings.Repeat("_", 250)+"1'",
			"SELECT instr(hex(zeroblob(500000)), hex(zeroblob(250000)) || '1')",
			"SELECT instr(zeroblob(1000000), zeroblob(500000) || x'01')",
			"SELECT replace(hex(zeroblob(500000)), hex(zeroblob(250000)) || '1', '')",
			"SELECT length(trim(hex(zeroblob(500000)), replace(hex(zeroblob(250000)), '0', '1')))",
			"SELECT length(rtrim(hex(zeroblob(500000)), replace(hex(zeroblob(250000)), '0', '1') || '0'))",
			"SELECT length(decimal_mul(hex(zeroblob(250000)) || '1', hex(zeroblob(250000)) || '1'))",
			"SELECT length(decimal_add(hex(zeroblob(250000)) || '1', hex(zeroblob(250000)) || '1'))",
			"SELECT length(decimal('1e999999999')), length(decimal('1e-999999999'))",
			"SELECT decimal_pow2(100000)",
			"SELECT json_extract('['||replace(hex(zeroblob(250000)), '0', '1,')||'1]', '$[499999]')",
			"SELECT json_valid(replace(hex(zeroblob(250000)), '0', '['))",
			"SELECT count(*) FROM json_tree('['||replace(hex(zeroblob(100000)), '0', '1,')||'1]')",
			"SELECT length(json_patch('{\"a\":'||replace(hex(zeroblob(100)), '0', '{\"a\":')||'1', '{}'))",
			"SELECT count(*) FROM generate_series(1, 10000) WHERE length(replace(hex(zeroblob(250000)), '0', 'ab')) = value",
			"SELECT soundex(hex(zeroblob(500000))), unicode('x'), length(char(1, 2, 3)), length(upper(hex(zeroblob(400000))))",
			"SELECT strftime(replace(hex(zeroblob(100000)), '0', '%f'), 'now') IS NULL",
			"SELECT 1 FROM orders WHERE note REGEXP '(((((((a*)*)*)*)*)*)*)*$'",
		),
		[]Attack{
			{Name: "parameters: SQL in one", SQL: "SELECT ?", Params: []string{`"1; DELETE FROM orders"`}},
			{Name: "parameters: too many", SQL: "SELECT 1", Params: []string{`1`}, Fails: true},
			{Name: "parameters: too few", SQL: "SELECT ?, ?", Params: []string{`1`}, Fails: true},
			{Name: "parameters: a long exponent", SQL: "SELECT ?", Params: []string{`1e999999999`}},
			{Name: "parameters: a longer exponent", SQL: "SELECT ?", Params: []string{`1e99999999999999999999`}},
			{Name: "parameters: many digits", SQL: "SELECT length(?)", Params: []string{strings.Repeat("9", 500_000)}},
			{Name: "patterns: LIKE", SQL: "SELECT ? LIKE '%" + strings.Repeat("a", 250) + "b'", Params: []string{long}},
			{Name: "patterns: LIKE in a loop", SQL: "SELECT count(*) FROM generate_series(1, 100) WHERE ?1 LIKE '%" + strings.Repeat("a", 250) + "b' || value", Params: []string{long}},
			{Name: "patterns: GLOB", SQL: "SELECT ? GLOB '*" + strings.Repeat("[a-c]", 49) + "d'", Params: []string{long}},
			{Name: "patterns: REGEXP", SQL: "SELECT ? REGEXP '" + strings.Repeat(".*a", 40) + "b'", Params: []string{long}, Fails: true},
			{Name: "patterns: instr", SQL: "SELECT instr(?, ?)", Params: []string{long, half}},
			{Name: "patterns: replace", SQL: "SELECT length(replace(?, ?, 'x'))", Params: []string{long, half}},
			{Name: "patterns: trim", SQL: "SELECT length(trim(?, ?))", Params: []string{long, half}},
			{Name: "patterns: json_extract", SQL: "SELECT json_extract(?" + strings.Repeat(", '$[399999]'", 100) + ")", Params: []string{"[" + strings.Repeat("1,", 400_000) + "1]"}},
			{Name: "patterns: json_patch", SQL: "SELECT json_patch(?1, ?1)", Params: []string{"{}"}, Fails: true},
			{Name: "parameters: too long", SQL: "SELECT ?", Params: []string{`"` + strings.Repeat("x", 4<<20) + `"`}, Fails: true},
		},
	)
}

func join(lists ...[]Attack) []Attack {
	var all []Attack
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func fails(group string, statements ...string) []Attack {
	made := either(group, statements...)
	for i := range made {
		made[i].Fails = true
	}
	return made
}

func either(group string, statements ...string) []Attack {
	var made []Attack
	for _, s := range statements {
		label := s
		if len(label) > 60 {
			label = label[:60] + "…"
		}
		made = append(made, Attack{Name: group + ": " + strings.ToValidUTF8(label, "?"), SQL: s})
	}
	return made
}

package mysqltest

import (
	"strconv"
	"strings"
)

// Attack is a statement that must fail with an error that says why, or leave nothing behind: see [Server.State].
type Attack struct {
	Name, SQL string
	// Params are JSON values.
	Params []string
}

// Attacks returns all attacks. They are meant for the database of [Server.MakeTarget].
func Attacks() []Attack {
	var all []Attack
	for _, part := range [][]Attack{severals, writes, sessions, files, definitions, others, long()} {
		all = append(all, part...)
	}
	return all
}

// severals are more than one statement, or look like it.
var severals = []Attack{
	{Name: "two statements", SQL: "SELECT 1; DELETE FROM t"},
	{Name: "commit between", SQL: "SELECT 1;COMMIT;DELETE FROM t"},
	{Name: "after a comment", SQL: "SELECT 1 /* ; */; DELETE FROM t -- "},
	{Name: "after a comment that is none", SQL: "SELECT 1 --; \n; DELETE FROM t"},
	{Name: "after a string with a backslash", SQL: `SELECT '\'; DELETE FROM t; -- '`},
	{Name: "executable comment", SQL: "SELECT 1 /*!; DELETE FROM t */"},
	{Name: "statement in an executable comment", SQL: "/*! DELETE FROM t */"},
	{Name: "statement in an executable comment of MariaDB", SQL: "/*M! DELETE FROM t */"},
	{Name: "statement in a versioned comment", SQL: "/*!50000 DELETE FROM t */"},
	{Name: "show in front of an executable comment", SQL: "SHOW /*! TABLES; DELETE FROM t */"},
	{Name: "other delimiter", SQL: "DELIMITER //\nDELETE FROM t//"},
	{Name: "compound statement", SQL: "BEGIN NOT ATOMIC DELETE FROM t; SELECT 1; END"},
	{Name: "condition that deletes", SQL: "IF 1 THEN DELETE FROM t; END IF"},
}

// writes change rows.
var writes = []Attack{
	{Name: "insert", SQL: "INSERT INTO t VALUES (100, 'x')"},
	{Name: "insert with a parameter", SQL: "INSERT INTO t VALUES (?, ?)", Params: []string{"101", `"x"`}},
	{Name: "insert returning", SQL: "INSERT INTO t VALUES (102, 'x') RETURNING a"},
	{Name: "insert returning into a table without transactions", SQL: "INSERT INTO m VALUES (103, 'x') RETURNING a"},
	{Name: "replace returning", SQL: "REPLACE INTO t VALUES (1, 'x') RETURNING a"},
	{Name: "update", SQL: "UPDATE t SET b = 'x'"},
	{Name: "delete", SQL: "DELETE FROM t"},
	{Name: "delete returning", SQL: "DELETE FROM t RETURNING a"},
	{Name: "delete of another engine", SQL: "DELETE FROM m RETURNING a"},
	{Name: "truncate", SQL: "TRUNCATE t"},
	{Name: "explained delete that runs", SQL: "ANALYZE DELETE FROM t"},
	{Name: "explained delete that runs, as JSON", SQL: "ANALYZE FORMAT=JSON UPDATE t SET b = 'x'"},
	{Name: "explained insert returning that runs", SQL: "ANALYZE INSERT INTO m VALUES (104, 'x') RETURNING a"},
	{Name: "procedure that writes", SQL: "CALL p()"},
	{Name: "function that writes", SQL: "SELECT w()"},
	{Name: "function that writes elsewhere", SQL: "SELECT wm()"},
	{Name: "function that writes in a view", SQL: "SELECT * FROM writing"},
	{Name: "function that commits", SQL: "SELECT wd()"},
	{Name: "next of a sequence", SQL: "SELECT NEXT VALUE FOR s"},
	{Name: "next of a sequence, called", SQL: "SELECT NEXTVAL(s)"},
	{Name: "value of a sequence", SQL: "SELECT SETVAL(s, 1000)"},
	{Name: "immediate", SQL: "EXECUTE IMMEDIATE 'DELETE FROM t'"},
	{Name: "prepare", SQL: "PREPARE x FROM 'DELETE FROM t'"},
	{Name: "statement with a setting", SQL: "SET STATEMENT tx_read_only=0 FOR DELETE FROM t RETURNING a"},
	{Name: "statement with a setting, of another engine", SQL: "SET STATEMENT tx_read_only=0 FOR DELETE FROM m RETURNING a"},
	{Name: "function under a setting", SQL: "SET STATEMENT tx_read_only=0 FOR SELECT w()"},
}

// sessions try to change or to keep something of the session, or others'.
var sessions = []Attack{
	{Name: "read write session", SQL: "SET SESSION TRANSACTION READ WRITE"},
	{Name: "read write transaction", SQL: "SET TRANSACTION READ WRITE"},
	{Name: "session variable", SQL: "SET SESSION tx_read_only = 0"},
	{Name: "global variable", SQL: "SET GLOBAL max_connections = 10"},
	{Name: "global variable of a user", SQL: "SET @attack = 1"},
	{Name: "user variable", SQL: "SELECT @attack := 1"},
	{Name: "into a variable", SQL: "SELECT a INTO @attack FROM t LIMIT 1"},
	{Name: "start", SQL: "START TRANSACTION READ WRITE"},
	{Name: "begin", SQL: "BEGIN"},
	{Name: "commit", SQL: "COMMIT"},
	{Name: "commit and chain", SQL: "COMMIT AND CHAIN"},
	{Name: "savepoint", SQL: "SAVEPOINT x"},
	{Name: "distributed", SQL: "XA START 'attack'"},
	{Name: "user lock", SQL: "SELECT GET_LOCK('attack', 1)"},
	{Name: "row locks", SQL: "SELECT * FROM t FOR UPDATE"},
	{Name: "shared row locks", SQL: "SELECT * FROM t LOCK IN SHARE MODE"},
	{Name: "table lock", SQL: "LOCK TABLES t WRITE"},
	{Name: "global lock", SQL: "FLUSH TABLES WITH READ LOCK"},
	{Name: "backup lock", SQL: "BACKUP STAGE START"},
	{Name: "flush", SQL: "FLUSH PRIVILEGES"},
	{Name: "reset", SQL: "RESET QUERY CACHE"},
	{Name: "handler", SQL: "HANDLER t OPEN"},
	{Name: "handler read", SQL: "HANDLER t READ FIRST"},
	{Name: "use", SQL: "USE mysql"},
	{Name: "kill", SQL: "KILL 1"},
	{Name: "kill of all", SQL: "KILL USER root"},
	{Name: "shutdown", SQL: "SHUTDOWN"},
	{Name: "role", SQL: "SET ROLE NONE"},
	{Name: "password", SQL: "SET PASSWORD = PASSWORD('attack')"},
	{Name: "help", SQL: "HELP 'SELECT'"},
	{Name: "do", SQL: "DO RELEASE_ALL_LOCKS()"},
	{Name: "no time limit", SQL: "SET STATEMENT max_statement_time=0 FOR SELECT SLEEP(60)"},
}

// files read or write files.
var files = []Attack{
	{Name: "load local", SQL: "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t (b)"},
	{Name: "load", SQL: "LOAD DATA INFILE '/etc/passwd' INTO TABLE t (b)"},
	{Name: "load XML", SQL: "LOAD XML LOCAL INFILE '/etc/passwd' INTO TABLE t"},
	{Name: "outfile", SQL: "SELECT * FROM t INTO OUTFILE 'attack.out'"},
	{Name: "outfile before from", SQL: "SELECT a INTO OUTFILE 'attack.out' FROM t"},
	{Name: "dumpfile", SQL: "SELECT 'x' INTO DUMPFILE 'attack.out'"},
	{Name: "outfile in a union", SQL: "SELECT 1 UNION SELECT 2 INTO OUTFILE 'attack.out'"},
	{Name: "outfile in a subquery", SQL: "SELECT * FROM (SELECT 1 INTO OUTFILE 'attack.out') x"},
	{Name: "outfile of a common table", SQL: "WITH x AS (SELECT 1 AS a) SELECT * FROM x INTO OUTFILE 'attack.out'"},
	{Name: "outfile in an executable comment", SQL: "SELECT 1 /*! INTO OUTFILE 'attack.out' */"},
	{Name: "outfile that is explained", SQL: "ANALYZE SELECT 1 INTO OUTFILE 'attack.out'"},
	{Name: "load file", SQL: "SELECT LOAD_FILE('/etc/passwd')"},
	{Name: "table of another place", SQL: "CREATE TABLE attack (a INT) DATA DIRECTORY = '/tmp'"},
	{Name: "plug-in", SQL: "INSTALL SONAME 'ha_connect'"},
	{Name: "loadable function", SQL: "CREATE FUNCTION attack RETURNS INTEGER SONAME 'attack.so'"},
}

// definitions change what there is, and commit.
var definitions = []Attack{
	{Name: "create", SQL: "CREATE TABLE attack (a INT)"},
	{Name: "create as select", SQL: "CREATE TABLE attack AS SELECT * FROM t"},
	{Name: "create or replace", SQL: "CREATE OR REPLACE TABLE t (x INT)"},
	{Name: "temporary table", SQL: "CREATE TEMPORARY TABLE attack (a INT)"},
	{Name: "drop", SQL: "DROP TABLE t"},
	{Name: "alter", SQL: "ALTER TABLE t ADD x INT"},
	{Name: "index", SQL: "CREATE INDEX attack ON t (b)"},
	{Name: "view", SQL: "CREATE VIEW attack AS SELECT 1"},
	{Name: "procedure", SQL: "CREATE PROCEDURE attack() DELETE FROM t"},
	{Name: "trigger", SQL: "CREATE TRIGGER attack BEFORE INSERT ON t FOR EACH ROW SET NEW.b = 'x'"},
	{Name: "event", SQL: "CREATE EVENT attack ON SCHEDULE EVERY 1 SECOND DO DELETE FROM t"},
	{Name: "sequence", SQL: "CREATE SEQUENCE attack"},
	{Name: "database", SQL: "CREATE DATABASE attack"},
	{Name: "user", SQL: "CREATE USER attack"},
	{Name: "grant", SQL: "GRANT SELECT ON target.* TO reader@'127.0.0.1'"},
	{Name: "analyse", SQL: "ANALYZE TABLE t PERSISTENT FOR ALL"},
	{Name: "optimise", SQL: "OPTIMIZE TABLE m"},
	{Name: "repair", SQL: "REPAIR TABLE m"},
	{Name: "check", SQL: "CHECK TABLE t"},
	{Name: "checksum", SQL: "CHECKSUM TABLE t"},
	{Name: "binary log", SQL: "BINLOG 'AAAA'"},
	{Name: "purge", SQL: "PURGE BINARY LOGS TO 'x'"},
	{Name: "replica", SQL: "CHANGE MASTER TO MASTER_HOST='127.0.0.1'"},
	{Name: "server", SQL: "CREATE SERVER attack FOREIGN DATA WRAPPER mysql OPTIONS (HOST '127.0.0.1')"},
}

// others are bytes and numbers.
var others = []Attack{
	{Name: "NUL byte", SQL: "SELECT 'a\x00b'"},
	{Name: "NUL byte after the statement", SQL: "SELECT 1\x00; DELETE FROM t"},
	{Name: "invalid UTF-8", SQL: "SELECT '\xbf\x27 OR 1=1'"},
	{Name: "nothing", SQL: ""},
	{Name: "a comment alone", SQL: "/* nothing */"},
	{Name: "a semicolon alone", SQL: ";"},
	{Name: "numbers beyond 2^53", SQL: "SELECT 9007199254740993, -9223372036854775808, 18446744073709551615, ?", Params: []string{"9007199254740993"}},
	{Name: "longest decimal", SQL: "SELECT CAST('12345678901234567890123456789012345.123456789012345678901234567891' AS DECIMAL(65,30))"},
	{Name: "procedure analyse", SQL: "SELECT * FROM t PROCEDURE ANALYSE()"},
	{Name: "parameter that is an object", SQL: "SELECT ?", Params: []string{`{"a":"'; DELETE FROM t"}`}},
	{Name: "parameter that closes a string", SQL: "SELECT * FROM t WHERE b = ?", Params: []string{`"' OR 1=1; DELETE FROM t -- "`}},
	{Name: "too few parameters", SQL: "SELECT ?, ?", Params: []string{"1"}},
	{Name: "users and their hashes", SQL: "SELECT COUNT(*) FROM mysql.global_priv"},
}

// long take long, or are.
func long() []Attack {
	const many = 70_000
	var params []string
	for i := range many {
		params = append(params, strconv.Itoa(i))
	}
	return []Attack{
		{Name: "sleep", SQL: "SELECT SLEEP(60)"},
		{Name: "sleep for each row", SQL: "SELECT SLEEP(60) FROM t"},
		{Name: "benchmark", SQL: "SELECT BENCHMARK(1000000000000, MD5('x'))"},
		{Name: "recursion without end", SQL: "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT COUNT(*) FROM r"},
		{Name: "10 GiB of rows", SQL: "SELECT x.a, y.a, z.a, REPEAT('x', 10) FROM many x, many y, many z"},
		{Name: "10 GiB of long rows", SQL: "SELECT REPEAT('x', 100000) FROM many x, many y"},
		{Name: "one huge value", SQL: "SELECT REPEAT('x', 15000000)"},
		{Name: "many huge values", SQL: "SELECT REPEAT('x', 15000000) FROM many"},
		{Name: "value too large for the server", SQL: "SELECT REPEAT('x', 4000000000)"},
		{Name: "concatenation of all", SQL: "SELECT GROUP_CONCAT(REPEAT('x', 10000)) FROM many"},
		{Name: "10,000 columns", SQL: "SELECT 1" + strings.Repeat(", 1", 9_999)},
		{Name: "4,096 columns", SQL: "SELECT 1" + strings.Repeat(", 1", 4_095)},
		{Name: "2 MiB of comment", SQL: "SELECT 1 /*" + strings.Repeat("x", 2<<20) + "*/"},
		{Name: "2 MiB of text", SQL: "SELECT '" + strings.Repeat("x", 2<<20) + "'"},
		{Name: "2 MiB of conditions", SQL: "SELECT 1" + strings.Repeat(" + 1", 1<<19)},
		{Name: "deep parentheses", SQL: "SELECT " + strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000)},
		{Name: "70,000 parameters", SQL: "SELECT 1 WHERE 1 IN (?" + strings.Repeat(",?", many-1) + ")", Params: params},
		{Name: "70,000 parameters for none", SQL: "SELECT 1", Params: params},
	}
}

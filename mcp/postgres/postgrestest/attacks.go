package postgrestest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Attacker is the role that attacks are made as. Make it with Server.Role before Schema is run.
const Attacker = "attacker"

// Schema is what the attacks are made on: run it as superuser in a database of its own.
const Schema = `
CREATE TABLE public.victim (id int PRIMARY KEY, n int NOT NULL);
INSERT INTO public.victim VALUES (1, 1), (2, 2);
CREATE TABLE public.secrets (word text);
INSERT INTO public.secrets VALUES ('hidden');
CREATE SEQUENCE public.counter;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.victim TO attacker;
GRANT USAGE, UPDATE, SELECT ON SEQUENCE public.counter TO attacker;
GRANT CREATE ON SCHEMA public TO attacker;
CREATE FUNCTION public.write_as_owner() RETURNS int LANGUAGE plpgsql VOLATILE SECURITY DEFINER AS
	'BEGIN INSERT INTO public.victim VALUES (666, 666); RETURN 1; END';
CREATE FUNCTION public.write_pretending() RETURNS int LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER AS
	'BEGIN EXECUTE ''INSERT INTO public.victim VALUES (667, 667)''; RETURN 1; END';
CREATE FUNCTION public.make_writable() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS
	'BEGIN SET TRANSACTION READ WRITE; INSERT INTO public.victim VALUES (668, 668); RETURN 1; END';
CREATE FUNCTION public.temporary() RETURNS int LANGUAGE plpgsql AS
	'BEGIN CREATE TEMP TABLE left_behind (n int); RETURN 1; END';
CREATE FUNCTION public.listener() RETURNS int LANGUAGE plpgsql AS
	'BEGIN EXECUTE ''LISTEN ears''; PERFORM pg_notify(''ears'', ''x''); RETURN 1; END';
CREATE FUNCTION public.loud() RETURNS int LANGUAGE plpgsql AS
	'BEGIN RAISE EXCEPTION ''%'', repeat(''loud '', 1000000); END';
CREATE FUNCTION public.noisy() RETURNS int LANGUAGE plpgsql AS
	'BEGIN FOR i IN 1..10000 LOOP RAISE WARNING ''%'', repeat(''noise '', 100); END LOOP; RETURN 1; END';
CREATE PROCEDURE public.commits(INOUT n int) LANGUAGE plpgsql AS
	'BEGIN COMMIT; INSERT INTO public.victim VALUES (669, 669); COMMIT; END';
CREATE EXTENSION IF NOT EXISTS dblink;
`

// Attack is one statement that tries to do what a query must not.
type Attack struct {
	Name   string
	SQL    string
	Params []json.RawMessage
	// Setup is run as superuser before it. Optional.
	Setup string
	// MayWork says that it may succeed, and must only leave nothing behind. All others end in an error.
	MayWork bool
}

// Attacks are to be run as Attacker on what Schema has made, with a timeout of a second or so. After each, Server.Traces
// finds nothing, a setting of the session is what it was, and the next query is answered.
func Attacks() []Attack {
	all := slicesOf(statements(), settings(), sessions(), sizes(), values())
	for i := range all {
		all[i].Name = strings.ReplaceAll(all[i].Name, " ", "_")
	}
	return all
}

func slicesOf(lists ...[]Attack) (all []Attack) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// statements change data, or are more than one.
func statements() []Attack {
	const row = "INSERT INTO victim VALUES (3, 3)"
	return []Attack{
		{Name: "two statements", SQL: "SELECT 1; " + row},
		{Name: "two statements with comments", SQL: "SELECT 1 /* ; */ -- ;\n; " + row},
		{Name: "commit between", SQL: "SELECT 1; COMMIT; " + row + "; SELECT 1"},
		{Name: "leading semicolon", SQL: "; COMMIT; " + row},
		{Name: "nested comments", SQL: "SELECT 1 /* a /* b */ ; */ ; DELETE FROM victim"},
		{Name: "unfinished comment", SQL: "SELECT 1 /* a /* b */ ; DELETE FROM victim"},
		{Name: "dollar quotes", SQL: "SELECT $a$ $b$ $a$; DELETE FROM victim; SELECT $a$ $a$"},
		{Name: "backslash quotes", SQL: `SELECT '\'; DELETE FROM victim; --'`, MayWork: true},
		{Name: "unicode quotes", SQL: `SELECT U&'\0027'; DELETE FROM victim`},
		{Name: "wide quotes", SQL: "SELECT ＇＇; DELETE FROM victim"},
		{Name: "only a comment", SQL: "-- nothing"},
		{Name: "nothing", SQL: ""},
		{Name: "insert", SQL: row},
		{Name: "insert returning", SQL: row + " RETURNING id"},
		{Name: "update returning", SQL: "UPDATE victim SET n = 0 RETURNING n"},
		{Name: "delete returning", SQL: "DELETE FROM victim RETURNING n"},
		{Name: "merge", SQL: "MERGE INTO victim v USING (SELECT 1 AS id) s ON v.id = s.id WHEN MATCHED THEN DELETE"},
		{Name: "truncate", SQL: "TRUNCATE victim"},
		{Name: "writing CTE", SQL: "WITH w AS (DELETE FROM victim RETURNING n) SELECT * FROM w"},
		{Name: "writing CTE that is not read", SQL: "WITH w AS (DELETE FROM victim RETURNING n) SELECT 1"},
		{Name: "select into", SQL: "SELECT * INTO loot FROM victim"},
		{Name: "create table as", SQL: "CREATE TABLE loot AS SELECT * FROM victim"},
		{Name: "create temp table", SQL: "CREATE TEMP TABLE loot AS SELECT 1"},
		{Name: "explain analyze", SQL: "EXPLAIN ANALYZE DELETE FROM victim"},
		{Name: "explain analyze create", SQL: "EXPLAIN ANALYZE CREATE TABLE loot AS SELECT 1", MayWork: true}, // PostgreSQL 15 looks away, and rolls it back
		{Name: "explain analyze select into temp", SQL: "EXPLAIN ANALYZE SELECT 1 INTO TEMP loot", MayWork: true},
		{Name: "for update", SQL: "SELECT * FROM victim FOR UPDATE"},
		{Name: "lock table", SQL: "LOCK TABLE victim IN ACCESS EXCLUSIVE MODE"},
		{Name: "nextval", SQL: "SELECT nextval('counter')"},
		{Name: "setval", SQL: "SELECT setval('counter', 42)"},
		{Name: "do block", SQL: "DO 'BEGIN DELETE FROM public.victim; END'"},
		{Name: "call that commits", SQL: "CALL commits(1)"},
		{Name: "query_to_xml", SQL: "SELECT query_to_xml('INSERT INTO victim VALUES (4, 4) RETURNING 1', true, true, '')"},
		{Name: "query_to_xml of several", SQL: "SELECT query_to_xml('SELECT 1; COMMIT; DELETE FROM victim', true, true, '')"},
		{Name: "cursor_to_xml", SQL: "SELECT cursor_to_xml('c', 1, true, true, '')"},
		{Name: "security definer", SQL: "SELECT write_as_owner()"},
		{Name: "pretending to be immutable", SQL: "SELECT write_pretending()"},
		{Name: "security definer set transaction", SQL: "SELECT make_writable()"},
		{Name: "temp table in a function", SQL: "SELECT temporary()"},
		{Name: "lo_create", SQL: "SELECT lo_create(4711)", MayWork: true}, // PostgreSQL 15 allows it, and rolls it back
		{Name: "lo_from_bytea", SQL: `SELECT lo_from_bytea(0, '\x00')`, MayWork: true},
		{Name: "lo_import", SQL: "SELECT lo_import('/etc/passwd')"},
		{Name: "lo_export", SQL: "SELECT lo_export(1, '/tmp/loot')"},
		{Name: "pg_read_file", SQL: "SELECT pg_read_file('/etc/passwd')"},
		{Name: "pg_ls_dir", SQL: "SELECT pg_ls_dir('/')"},
		{Name: "copy to stdout", SQL: "COPY victim TO STDOUT"},
		{Name: "copy from stdin", SQL: "COPY victim FROM STDIN"},
		{Name: "copy to program", SQL: "COPY victim TO PROGRAM 'cat > /tmp/loot'"},
		{Name: "copy to file", SQL: "COPY victim TO '/tmp/loot'"},
		{Name: "dblink by its superuser", SQL: "SELECT dblink_exec('dbname=postgres', 'DELETE FROM victim')"},
		{Name: "dblink over TCP", SQL: "SELECT dblink_exec('host=127.0.0.1 user=attacker', 'DELETE FROM victim')"},
		{Name: "dblink_connect_u", SQL: "SELECT dblink_connect_u('dbname=postgres')"},
		{Name: "other's table", SQL: "SELECT * FROM secrets"},
		{Name: "password hashes", SQL: "SELECT rolpassword FROM pg_authid"},
	}
}

// settings try to lift the read-only transaction, the timeout or the role.
func settings() []Attack {
	return []Attack{
		{Name: "set transaction", SQL: "SET TRANSACTION READ WRITE"},
		{Name: "set session characteristics", SQL: "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"},
		{Name: "set role", SQL: "SET ROLE postgres"},
		{Name: "reset role", SQL: "RESET ROLE"},
		{Name: "set session authorization", SQL: "SET SESSION AUTHORIZATION postgres"},
		{Name: "reset all", SQL: "RESET ALL"},
		{Name: "discard all", SQL: "DISCARD ALL"},
		{Name: "set_config read only", SQL: "SELECT set_config('transaction_read_only', 'off', false)"},
		{Name: "set_config read only in a CTE", SQL: "WITH s AS MATERIALIZED (SELECT set_config('transaction_read_only', 'off', true)) SELECT nextval('counter') FROM s"},
		{Name: "set_config default read only", SQL: "SELECT set_config('default_transaction_read_only', 'off', false)", MayWork: true},
		{Name: "set_config timeout", SQL: "WITH s AS MATERIALIZED (SELECT set_config('statement_timeout', '0', false)) SELECT pg_sleep(60) FROM s"},
		{Name: "set_config role", SQL: "SELECT set_config('role', 'postgres', false)"},
		{Name: "set_config session authorization", SQL: "SELECT set_config('session_authorization', 'postgres', false)"},
		{Name: "set_config search_path", SQL: "SELECT set_config('search_path', 'evil', false)", MayWork: true},
		{Name: "set_config encoding", SQL: "SELECT set_config('client_encoding', 'LATIN1', false), 'é'", MayWork: true},
		{Name: "set_config DateStyle", SQL: "SELECT set_config('DateStyle', 'German', false), now()", MayWork: true},
		{Name: "set_config strings", SQL: "SELECT set_config('standard_conforming_strings', 'off', false)", MayWork: true},
		{Name: "set_config application", SQL: "SELECT set_config('app.user', 'root', false)", MayWork: true},
		{Name: "update pg_settings", SQL: "UPDATE pg_settings SET setting = 'off' WHERE name = 'transaction_read_only' RETURNING name"},
		{Name: "security definer set_config", SQL: "SELECT count(set_config('transaction_read_only', 'off', true)) FROM victim"},
	}
}

// sessions try to leave something in the session, to end it, or to reach others.
func sessions() []Attack {
	return []Attack{
		{Name: "begin", SQL: "BEGIN"},
		{Name: "commit", SQL: "COMMIT"},
		{Name: "commit and chain", SQL: "COMMIT AND CHAIN"},
		{Name: "rollback", SQL: "ROLLBACK"},
		{Name: "savepoint", SQL: "SAVEPOINT s"},
		{Name: "prepare transaction", SQL: "PREPARE TRANSACTION 'x'"},
		{Name: "prepare", SQL: "PREPARE p AS DELETE FROM victim"},
		{Name: "execute", SQL: "EXECUTE p"},
		{Name: "execute itself", SQL: "EXECUTE sallyport_types"},
		{Name: "declare with hold", SQL: "DECLARE c CURSOR WITH HOLD FOR SELECT 1"},
		{Name: "fetch", SQL: "FETCH ALL FROM c"},
		{Name: "listen", SQL: "LISTEN ears"},
		{Name: "notify", SQL: "NOTIFY ears, 'x'"},
		{Name: "pg_notify", SQL: "SELECT pg_notify('ears', 'x')", MayWork: true},
		{Name: "listen in a function", SQL: "SELECT listener()", MayWork: true},
		{Name: "advisory lock", SQL: "SELECT pg_advisory_lock(1), pg_advisory_lock_shared(2)", MayWork: true},
		{Name: "advisory lock of the transaction", SQL: "SELECT pg_advisory_xact_lock(3)", MayWork: true},
		{Name: "many advisory locks", SQL: "SELECT count(pg_advisory_lock(n)) FROM generate_series(1, 1000) n", MayWork: true},
		{Name: "end itself", SQL: "SELECT pg_terminate_backend(pg_backend_pid())"},
		{Name: "end the others", SQL: "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'"},
		{Name: "cancel itself", SQL: "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(60)"},
		{Name: "sleep", SQL: "SELECT pg_sleep(60)"},
		{Name: "loop", SQL: "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"},
		{Name: "long error", SQL: "SELECT loud()"},
		{Name: "many notices", SQL: "SELECT noisy()", MayWork: true},
		{Name: "dblink is kept", SQL: "SELECT dblink_connect('kept', 'host=127.0.0.1 user=attacker')"},
		{Name: "export snapshot", SQL: "SELECT pg_export_snapshot()", MayWork: true},
		{Name: "vacuum", SQL: "VACUUM victim"},
		{Name: "checkpoint", SQL: "CHECKPOINT"},
		{Name: "alter system", SQL: "ALTER SYSTEM SET work_mem = '1GB'"},
		{Name: "load", SQL: "LOAD 'auto_explain'"},
		{Name: "replication slot", SQL: "SELECT pg_create_physical_replication_slot('slot', true)"},
		{Name: "replication command", SQL: "IDENTIFY_SYSTEM"},
	}
}

// sizes try to take memory or time.
func sizes() []Attack {
	columns := make([]string, 10_000)
	params := make([]string, 70_000)
	given := make([]json.RawMessage, len(params))
	for i := range columns {
		columns[i] = "1"
	}
	for i := range params {
		params[i], given[i] = fmt.Sprintf("$%d", i+1), json.RawMessage("1")
	}
	return []Attack{
		{Name: "10 GiB of rows", SQL: "SELECT repeat('x', 1000) FROM generate_series(1, 10000000)", MayWork: true},
		{Name: "one value of 500 MiB", SQL: "SELECT repeat('x', 500 * 1024 * 1024)"},
		{Name: "10000 columns", SQL: "SELECT " + strings.Join(columns, ", ")},
		{Name: "2 MiB of SQL", SQL: "SELECT 1 /* " + strings.Repeat("x", 2<<20) + " */", MayWork: true},
		{Name: "2 MiB of brackets", SQL: "SELECT " + strings.Repeat("(", 1<<20) + "1" + strings.Repeat(")", 1<<20)},
		{Name: "70000 parameters", SQL: "SELECT ARRAY[" + strings.Join(params, ",") + "]", Params: given},
		{Name: "70000 parameters and none given", SQL: "SELECT ARRAY[" + strings.Join(params, ",") + "]"},
		{Name: "parameter 99999999", SQL: "SELECT $99999999::int"},
		{Name: "parameter 2147483648", SQL: "SELECT $2147483648::int"},
		{Name: "too few parameters", SQL: "SELECT $1::int, $2::int", Params: []json.RawMessage{json.RawMessage("1")}},
		{Name: "too many parameters", SQL: "SELECT 1", Params: []json.RawMessage{json.RawMessage("1")}},
	}
}

// values are texts that are none.
func values() []Attack {
	one := func(text string) []json.RawMessage { return []json.RawMessage{json.RawMessage(text)} }
	return []Attack{
		{Name: "NUL in the text", SQL: "SELECT 1\x00; DELETE FROM victim"},
		{Name: "NUL in a parameter", SQL: "SELECT $1::text", Params: one(`"a\u0000b"`)},
		{Name: "no UTF-8 in the text", SQL: "SELECT '\xff\xfe'"},
		{Name: "overlong quote", SQL: "SELECT '\xc0\xa7; DELETE FROM victim; --'"},
		{Name: "no UTF-8 in a parameter", SQL: "SELECT $1::text", Params: one("\"\xff\"")},
		{Name: "half a surrogate in a parameter", SQL: "SELECT $1::text", Params: one(`"\ud800"`)},
		{Name: "no JSON in a parameter", SQL: "SELECT $1::text", Params: one(`{"a":1,"a":2}`)},
		{Name: "quotes in a parameter", SQL: "SELECT $1::text", Params: one(`"'; DELETE FROM victim; --"`), MayWork: true},
		{Name: "quotes in an array", SQL: "SELECT $1::text[]", Params: one(`["\"},{\\\"", "'; DELETE FROM victim"]`), MayWork: true},
		{Name: "too deep an array", SQL: "SELECT $1::int[]", Params: one("[[[[[[[1]]]]]]]")},
		{Name: "wrong type", SQL: "SELECT $1::int", Params: one(`"x"`)},
	}
}

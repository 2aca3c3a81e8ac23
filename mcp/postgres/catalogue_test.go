package postgres

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/mcp/database"
)

func TestCatalogue(t *testing.T) {
	b := newBench(t)
	b.sql(t, fmt.Sprintf(`
		CREATE SCHEMA shop; COMMENT ON SCHEMA shop IS 'what is sold'; GRANT USAGE ON SCHEMA shop TO %[1]s;
		CREATE SCHEMA hidden; CREATE TABLE hidden.t (n int); GRANT SELECT ON hidden.t TO %[1]s;
		CREATE TABLE shop.customer (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, secret text);
		CREATE TYPE shop.state AS ENUM ('open');
		CREATE TABLE shop.orders (
			id bigint, line int, customer int REFERENCES shop.customer, price numeric(12,2) DEFAULT 1.50, state shop.state,
			twice numeric GENERATED ALWAYS AS (price * 2) STORED, gone int, PRIMARY KEY (id, line));
		ALTER TABLE shop.orders DROP COLUMN gone;
		COMMENT ON TABLE shop.orders IS 'all orders'; COMMENT ON COLUMN shop.orders.price IS 'in euros';
		CREATE UNIQUE INDEX orders_low ON shop.orders (lower(line::text), customer) INCLUDE (price);
		CREATE TABLE shop.refund (id bigint, line int, FOREIGN KEY (line, id) REFERENCES shop.orders (line, id));
		CREATE VIEW shop.view AS SELECT 1 AS one; CREATE MATERIALIZED VIEW shop.mat AS SELECT 1 AS one;
		CREATE TABLE shop.parts (n int) PARTITION BY RANGE (n); CREATE TABLE shop.parts1 PARTITION OF shop.parts FOR VALUES FROM (0) TO (10);
		CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
		CREATE FOREIGN TABLE shop.file (line text) SERVER files OPTIONS (filename '/dev/null');
		CREATE TABLE shop."Odd ""name""" (n int);
		CREATE TABLE shop.forbidden (n int);
		GRANT SELECT ON ALL TABLES IN SCHEMA shop TO %[1]s; REVOKE SELECT ON shop.forbidden, shop.customer FROM %[1]s;
		GRANT SELECT (id, name) ON shop.customer TO %[1]s;
		INSERT INTO shop.customer (name) SELECT 'x' FROM generate_series(1, 7); ANALYZE shop.customer`, b.login.User))
	ctx := t.Context()
	schemas, err := b.driver.Schemas(ctx, b.login)
	if got, want := fmt.Sprint(schemas), "[{public standard public schema} {shop what is sold}]"; err != nil || got != want {
		t.Errorf("schemas: %v, %v", got, err)
	}
	var names []string
	after := ""
	for {
		page, err := b.driver.Tables(ctx, b.login, "shop", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page {
			names = append(names, fmt.Sprintf("%s|%s|%s|%d", x.Name, x.Kind, x.Comment, x.EstimatedRows))
			after = x.Name
		}
		if len(page) < 3 {
			break
		}
	}
	want := []string{`Odd "name"|table||-1`, "customer|table||7", "file|foreign table||-1", "mat|materialized view||-1", "orders|table|all orders|-1", "parts|table||-1", "refund|table||-1", "view|view||-1"}
	if got := strings.Join(names, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("tables:\n%s", got)
	}
	for _, schema := range []string{"hidden", "pg_catalog", "information_schema", "nowhere", "", "a\x00", "'; SELECT 1; --"} {
		if page, err := b.driver.Tables(ctx, b.login, schema, "", 10); err != nil || len(page) != 0 {
			t.Errorf("tables of %q: %v, %v", schema, page, err)
		}
	}
	for table, want := range map[string]string{
		"orders": `{"schema":"shop","name":"orders","kind":"table","comment":"all orders","estimated_rows":-1,"columns":[` +
			`{"name":"id","type":"bigint","nullable":false},{"name":"line","type":"integer","nullable":false},{"name":"customer","type":"integer","nullable":true},` +
			`{"name":"price","type":"numeric(12,2)","nullable":true,"default":"1.50","comment":"in euros"},{"name":"state","type":"shop.state","nullable":true},` +
			`{"name":"twice","type":"numeric","nullable":true,"default":"generated always as (price * (2)::numeric)"}],` +
			`"indexes":[{"name":"orders_pkey","columns":["id","line"],"unique":true,"primary":true},` +
			`{"name":"orders_low","columns":["lower(line::text)","customer"],"unique":true}],` +
			`"foreign_keys":[{"columns":["customer"],"foreign_schema":"shop","foreign_table":"customer","foreign_columns":["id"]}]}`,
		"customer": `{"schema":"shop","name":"customer","kind":"table","estimated_rows":7,"columns":[` +
			`{"name":"id","type":"integer","nullable":false,"default":"generated always as identity"},{"name":"name","type":"text","nullable":false}],` +
			`"indexes":[{"name":"customer_pkey","columns":["id"],"unique":true,"primary":true}]}`,
		"refund": `{"schema":"shop","name":"refund","kind":"table","estimated_rows":-1,"columns":[` +
			`{"name":"id","type":"bigint","nullable":true},{"name":"line","type":"integer","nullable":true}],` +
			`"foreign_keys":[{"columns":["line","id"],"foreign_schema":"shop","foreign_table":"orders","foreign_columns":["line","id"]}]}`,
		"parts1":     `{"schema":"shop","name":"parts1","kind":"table","estimated_rows":-1,"columns":[{"name":"n","type":"integer","nullable":true}]}`,
		`Odd "name"`: `{"schema":"shop","name":"Odd \"name\"","kind":"table","estimated_rows":-1,"columns":[{"name":"n","type":"integer","nullable":true}]}`,
	} {
		got, err := b.driver.Describe(ctx, b.login, "shop", table)
		text, _ := json.Marshal(got)
		if err != nil || string(text) != want {
			t.Errorf("%s: %v\n%s\n%s", table, err, text, want)
		}
	}
	for _, name := range [][2]string{{"shop", "forbidden"}, {"hidden", "t"}, {"shop", "nowhere"}, {"pg_catalog", "pg_class"}, {"shop", "ORDERS"}, {"shop", "a\x00"}} {
		if _, err := b.driver.Describe(ctx, b.login, name[0], name[1]); !errors.Is(err, database.ErrNoTable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWarnings(t *testing.T) {
	b := newBench(t)
	text := func() string {
		t.Helper()
		lines, err := b.driver.Warnings(t.Context(), b.login)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(lines, "\n")
	}
	first := text()
	for _, revoke := range []string{"pg_catalog.pg_terminate_backend(integer,bigint)", "pg_catalog.pg_cancel_backend(integer)"} {
		sql := "REVOKE EXECUTE ON FUNCTION " + revoke + " FROM PUBLIC"
		if !strings.Contains(first, sql) {
			t.Fatalf("no %q in:\n%s", sql, first)
		}
		b.sql(t, sql)
	}
	if got := text(); got != "" {
		t.Errorf("a login that may nothing gets:\n%s", got)
	}
	user := b.login.User
	b.sql(t, fmt.Sprintf(`ALTER ROLE %[1]s CREATEROLE CREATEDB BYPASSRLS REPLICATION; CREATE ROLE %[1]s_top; CREATE ROLE %[1]s_mid;
		GRANT pg_execute_server_program TO %[1]s_top; GRANT %[1]s_top TO %[1]s_mid; GRANT %[1]s_mid TO %[1]s;
		CREATE TABLE own (n int); ALTER TABLE own OWNER TO %[1]s; CREATE EXTENSION dblink; CREATE EXTENSION postgres_fdw`, user))
	got := text()
	for _, want := range []string{"has CREATEROLE", "has CREATEDB", "has BYPASSRLS", "has REPLICATION", "member of " + user + "_mid", "member of " + user + "_top",
		"pg_execute_server_program: it can run programs", "owns 1 tables or views (public.own)", "extension dblink", "extension postgres_fdw"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	b.sql(t, "ALTER ROLE "+user+" SUPERUSER")
	if got := text(); !strings.Contains(got, "has SUPERUSER") {
		t.Errorf("no SUPERUSER in:\n%s", got)
	}
}

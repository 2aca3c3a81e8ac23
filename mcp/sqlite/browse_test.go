package sqlite

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/sqlite/sqlitetest"
)

func TestBrowse(t *testing.T) {
	d, err := NewMemory(sqlitetest.Script+`
		CREATE TABLE "we""ird.näme" (a, b TEXT, c AS (a + 1), PRIMARY KEY (b, a)) WITHOUT ROWID;
		CREATE TABLE refs (x, y, FOREIGN KEY (y, x) REFERENCES "we""ird.näme" (b, a));`, options)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, as := t.Context(), database.Login{}
	if schemas, err := d.Schemas(ctx, as); err != nil || len(schemas) != 1 || schemas[0].Name != "main" {
		t.Errorf("%v, %v", schemas, err)
	}
	names := func(after string, limit int) string {
		tables, err := d.Tables(ctx, as, "main", after, limit)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, table := range tables {
			text, _ := json.Marshal([]any{table.Name, table.Kind, table.EstimatedRows})
			b.Write(text)
		}
		return b.String()
	}
	if got, want := names("", 2), `["customers","table",3]["orders","table",3]`; got != want {
		t.Error(got)
	}
	if got, want := names("orders", 10), `["refs","table",-1]["spent","view",-1]["we\"ird.näme","table",-1]`; got != want {
		t.Error(got)
	}
	if tables, err := d.Tables(ctx, as, "temp", "", 10); err != nil || tables != nil {
		t.Errorf("%v, %v", tables, err)
	}
	for name, want := range map[string]string{
		"ORDERS": `{"schema":"main","name":"orders","kind":"table","estimated_rows":3,"columns":[` +
			`{"name":"id","type":"INTEGER","nullable":false},{"name":"customer_id","type":"INTEGER","nullable":false},` +
			`{"name":"total","type":"NUMERIC","nullable":false},{"name":"note","type":"TEXT","nullable":true}],` +
			`"indexes":[{"name":"","columns":["id"],"unique":true,"primary":true},{"name":"orders_by_total","columns":["total","(expression)"]},` +
			`{"name":"sqlite_autoindex_orders_1","columns":["customer_id","note"],"unique":true}],` +
			`"foreign_keys":[{"columns":["customer_id"],"foreign_schema":"main","foreign_table":"customers","foreign_columns":["id"]}]}`,
		`we"ird.näme`: `{"schema":"main","name":"we\"ird.näme","kind":"table","estimated_rows":-1,"columns":[` +
			`{"name":"a","type":"","nullable":false},{"name":"b","type":"TEXT","nullable":false},{"name":"c","type":"","nullable":true}],` +
			`"indexes":[{"name":"sqlite_autoindex_we\"ird.näme_1","columns":["b","a"],"unique":true,"primary":true}]}`,
		"spent": `{"schema":"main","name":"spent","kind":"view","estimated_rows":-1,"columns":[` +
			`{"name":"name","type":"TEXT","nullable":true},{"name":"total","type":"","nullable":true}]}`,
	} {
		found, err := d.Describe(ctx, as, "main", name)
		if text, _ := json.Marshal(found); err != nil || string(text) != want {
			t.Errorf("%s, %v", text, err)
		}
	}
	for _, name := range [][2]string{{"main", "nope"}, {"main", "sqlite_schema"}, {"main", "sqlite_stat1"}, {"temp", "orders"}, {"", "orders"}} {
		if _, err := d.Describe(ctx, as, name[0], name[1]); !errors.Is(err, database.ErrNoTable) {
			t.Errorf("%v: %v", name, err)
		}
	}
}

func TestExplain(t *testing.T) {
	d, _ := sample(t, false)
	plan, err := d.Explain(t.Context(), database.Login{}, statement("SELECT * FROM (SELECT customer_id FROM orders UNION SELECT 1) WHERE customer_id = ?"))
	if err != nil || !strings.HasPrefix(plan, "CO-ROUTINE (subquery-2)\n  MERGE (UNION)\n    LEFT\n      SEARCH orders") {
		t.Errorf("%s, %v", plan, err)
	}
	for _, sql := range []string{"DELETE FROM orders", "SELECT 1; SELECT 2", "QUERY PLAN SELECT 1", "", "SELECT 1;\x00"} {
		if plan, err := d.Explain(t.Context(), database.Login{}, statement(sql)); err == nil {
			t.Errorf("%s: %s", sql, plan)
		}
	}
}

// TestFunctionsAreKnown fails when the library has functions or modules that nobody has looked at: does one reach out of the
// database, or take longer than its arguments are long? Then deny it, and bring testdata/functions.txt up to date.
func TestFunctionsAreKnown(t *testing.T) {
	d, _ := sample(t, false)
	var got []string
	err := d.do(t.Context(), lookLimit, false, func(c *conn) error {
		c.ours = true
		s, _, err := c.db.Prepare("SELECT DISTINCT name FROM pragma_function_list UNION ALL SELECT name || ' (module)' FROM pragma_module_list ORDER BY 1")
		if err != nil {
			return err
		}
		for s.Step() {
			got = append(got, s.ColumnText(0))
		}
		return s.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	const path = "testdata/functions.txt"
	text := strings.Join(got, "\n") + "\n"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(path); err != nil || string(want) != text {
		t.Errorf("%v: the library has now:\n%s", err, text)
	}
}

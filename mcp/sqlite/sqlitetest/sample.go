// Package sqlitetest has a small database and the statements that may do no harm to it, for the tests of whatever runs SQL.
// It does not know who runs them.
package sqlitetest

import (
	"path/filepath"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// Script makes the sample: customers, their orders, and a view.
const Script = `
CREATE TABLE customers (
	id INTEGER PRIMARY KEY,
	name TEXT NOT NULL,
	city TEXT DEFAULT 'Wien'
);
CREATE TABLE orders (
	id INTEGER PRIMARY KEY,
	customer_id INTEGER NOT NULL REFERENCES customers,
	total NUMERIC NOT NULL CHECK (total >= 0),
	note TEXT,
	UNIQUE (customer_id, note)
);
CREATE INDEX orders_by_total ON orders (total, lower(note));
CREATE VIEW spent AS SELECT name, sum(total) AS total FROM customers JOIN orders ON customer_id = customers.id GROUP BY customers.id;
INSERT INTO customers VALUES (1, 'Anna', 'Graz'), (2, 'Bert', NULL), (3, 'Chloé', 'Linz');
INSERT INTO orders VALUES (1, 1, 19.9, 'first'), (2, 1, 5, NULL), (3, 3, 9007199254740993, 'large');
ANALYZE;
`

// Sample makes the sample in a new directory, and returns the file.
func Sample(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "orders.db")
	Exec(t, path, Script)
	return path
}

// Exec runs a script that is trusted on a database file, which is made if it is not there.
func Exec(t testing.TB, path, script string) {
	t.Helper()
	db, err := sqlite3.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := db.Exec(script); err != nil {
		t.Fatal(err)
	}
}

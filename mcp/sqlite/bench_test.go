package sqlite

import (
	"testing"

	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
)

// BenchmarkSelect is one row by its key, with the connection that every statement has of its own.
func BenchmarkSelect(b *testing.B) {
	d, _ := sample(b, false)
	s := statement("SELECT * FROM customers WHERE id = ?", "1")
	for b.Loop() {
		if err := d.Run(b.Context(), database.Login{}, s, database.NewRows(10, 1<<10)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOpen is the connection of it.
func BenchmarkOpen(b *testing.B) {
	d, _ := sample(b, false)
	for b.Loop() {
		if err := d.do(b.Context(), lookLimit, false, func(*conn) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLike is a scan of 100,000 rows with a pattern.
func BenchmarkLike(b *testing.B) {
	d, _ := sample(b, false)
	s := statement("SELECT count(*) FROM generate_series(1, 100000) WHERE 'order ' || value LIKE '%77%'")
	for b.Loop() {
		if err := d.Run(b.Context(), database.Login{}, s, database.NewRows(10, 1<<10)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLikeOfSQLite is the same without what replaces SQLite's functions.
func BenchmarkLikeOfSQLite(b *testing.B) {
	db, err := sqlite3.Open(":memory:")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for b.Loop() {
		if err := db.Exec("SELECT count(*) FROM generate_series(1, 100000) WHERE 'order ' || value LIKE '%77%'"); err != nil {
			b.Fatal(err)
		}
	}
}

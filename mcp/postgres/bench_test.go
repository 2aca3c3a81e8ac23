package postgres

import (
	"testing"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/postgres/postgrestest"
	"sallyport.dev/secret"
)

// BenchmarkRun is a query on a connection that is there: four round trips, over TLS on loopback.
func BenchmarkRun(b *testing.B) {
	s := postgrestest.Start(b)
	s.Role(b, "bench", password)
	d, err := New(Config{DSN: s.DSN("bench", "postgres")}, options(s))
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	as := database.Login{Key: "k", User: "bench", Password: secret.New(password)}
	for name, sql := range map[string]string{"one": "SELECT 1", "1000 rows": "SELECT n, n::text, n::numeric FROM generate_series(1, 1000) n"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Run(b.Context(), as, statement(sql), database.NewRows(1000, 1<<20)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

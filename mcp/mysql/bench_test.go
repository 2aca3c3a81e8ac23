package mysql

import (
	"testing"
	"time"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/mysql/mysqltest"
	"sallyport.dev/secret"
)

// BenchmarkRun is a call with its connection: with TLS, without, and with a result that is cut off and so stopped on the server.
func BenchmarkRun(b *testing.B) {
	s := mysqltest.Start(b)
	s.Exec(b, "CREATE DATABASE shop")
	s.CreateUser(b, "reader", password, "SELECT ON shop.*")
	as := database.Login{Key: "reader", User: "reader", Password: secret.New(password)}
	for _, bench := range []struct{ name, parameters, sql string }{
		{"tls", "", "SELECT 1"}, {"plain", "?tls=disable", "SELECT 1"}, {"1000 rows", "", "SELECT seq, 'text', seq * 2 FROM seq_1_to_1000"},
		{"cut off", "", "SELECT seq, 'text' FROM seq_1_to_1000000"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			d, err := New(Config{DSN: s.DSN("reader", "shop") + bench.parameters, AllowPlaintext: true},
				database.Options{Dial: s.Dial, Roots: s.Roots, MaxConnections: 4, MaxBytes: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer d.Close()
			b.ReportAllocs()
			for b.Loop() {
				out := database.NewRows(1000, 1<<20)
				if err := d.Run(b.Context(), as, database.Statement{SQL: bench.sql, Timeout: 10 * time.Second}, out); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

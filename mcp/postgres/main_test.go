package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/postgres/postgrestest"
	"sallyport.dev/secret"
)

// shared is one server for all tests, each of which has a database of its own.
var shared = sync.OnceValues(postgrestest.New)

// runner ends the server before goroutines are counted.
type runner struct{ m *testing.M }

func (r runner) Run() int {
	code := r.m.Run()
	if databases.Load() > 0 { // it was used
		if s, err := shared(); err == nil {
			s.Close()
		}
	}
	return code
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(runner{m}) }

const password = "corr3ct-Horse'\\x"

var databases = new(atomic.Int64)

// bench is a database with a role, and a driver for it.
type bench struct {
	server   *postgrestest.Server
	database string
	login    database.Login
	driver   *Driver
	options  database.Options
}

func newBench(t *testing.T, change ...func(*database.Options)) *bench {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	n := databases.Add(1)
	b := &bench{server: s, database: fmt.Sprintf("db%d", n), login: database.Login{Key: "k", User: fmt.Sprintf("user%d", n), Password: secret.New(password)}}
	s.Database(t, b.database)
	s.Role(t, b.login.User, password)
	b.options = options(s)
	for _, f := range change {
		f(&b.options)
	}
	b.driver = newDriver(t, Config{DSN: s.DSN(b.login.User, b.database)}, b.options)
	return b
}

func options(s *postgrestest.Server) database.Options {
	return database.Options{Dial: (&net.Dialer{}).DialContext, Roots: s.CA, MaxConnections: 2, MaxBytes: 1 << 20}
}

func newDriver(t *testing.T, c Config, o database.Options) *Driver {
	t.Helper()
	d, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func (b *bench) sql(t *testing.T, sql string) [][]string {
	t.Helper()
	return b.server.SQL(t, b.database, sql)
}

func statement(sql string, params ...string) database.Statement {
	s := database.Statement{SQL: sql, Timeout: 5 * time.Second}
	for _, p := range params {
		s.Params = append(s.Params, json.RawMessage(p))
	}
	return s
}

func (b *bench) run(ctx context.Context, s database.Statement) (*database.Rows, error) {
	out := database.NewRows(100, b.options.MaxBytes)
	err := b.driver.Run(ctx, b.login, s, out)
	return out, err
}

// value runs a query for one value.
func (b *bench) value(t *testing.T, sql string, params ...string) string {
	t.Helper()
	out, err := b.run(t.Context(), statement(sql, params...))
	if err != nil {
		t.Fatalf("%.200s: %v (%v)", sql, err, errors.Unwrap(err))
	}
	if len(out.All()) != 1 || len(out.All()[0]) == 0 {
		t.Fatalf("%.200s: %d rows", sql, len(out.All()))
	}
	return string(out.All()[0][0])
}

func fails(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got error %v, want %q", err, want)
	}
}

package mysql

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/mysql/mysqltest"
	"sallyport.dev/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "pw-of-the-agent-é'\\"

// bench is a driver for a server, and logins to use it with.
type bench struct {
	*mysqltest.Server
	*Driver
	reader, writer database.Login
}

// TestServer runs all tests that need a server with one.
func TestServer(t *testing.T) {
	s := mysqltest.Start(t)
	s.Exec(t, "CREATE DATABASE shop", "CREATE DATABASE hidden", "CREATE TABLE hidden.t (a INT)",
		"CREATE TABLE shop.items (id BIGINT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(100) NOT NULL, price DECIMAL(12,2)) COMMENT 'what is sold'",
		"INSERT INTO shop.items (name, price) VALUES ('one', 1.10), ('two', 2.20), ('three', NULL)")
	s.CreateUser(t, "reader", password, "SELECT, EXECUTE ON shop.*")
	s.CreateUser(t, "writer", password, "ALL ON shop.*")
	b := &bench{Server: s, Driver: newDriver(t, s, Config{DSN: s.DSN("reader", "shop")}, database.Options{MaxConnections: 4, MaxBytes: 1 << 20})}
	b.reader = database.Login{Key: "reader", User: "reader", Password: secret.New(password)}
	b.writer = database.Login{Key: "writer", User: "writer", Password: secret.New(password)}
	for name, test := range map[string]func(*testing.T, *bench){
		"values": testValues, "params": testParams, "run": testRun, "write": testWrite, "login": testLogin, "limits": testLimits,
		"cancel": testCancel, "explain": testExplain, "browse": testBrowse, "warnings": testWarnings, "file": testFile,
		"session": testSession, "long": testLong,
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
	for _, user := range []string{"reader", "writer"} {
		s.AwaitNoConnections(t, user, 5*time.Second)
	}
}

func newDriver(t *testing.T, s *mysqltest.Server, cfg Config, o database.Options) *Driver {
	t.Helper()
	if o.Dial == nil {
		o.Dial = s.Dial
	}
	if o.Roots == nil {
		o.Roots = s.Roots
	}
	d, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// ask runs a query and returns its rows as one text.
func (b *bench) ask(t *testing.T, sql string, params ...string) (string, error) {
	t.Helper()
	return b.run(t, b.reader, database.Statement{SQL: sql, Params: raw(params)})
}

func (b *bench) run(t *testing.T, as database.Login, st database.Statement) (string, error) {
	t.Helper()
	out, err := b.rows(t, as, st)
	return text(out), err
}

func (b *bench) rows(t *testing.T, as database.Login, st database.Statement) (*database.Rows, error) {
	t.Helper()
	if st.Timeout == 0 {
		st.Timeout = 20 * time.Second
	}
	out := database.NewRows(1000, 1<<20)
	err := b.Driver.Run(t.Context(), as, st, out)
	if err != nil && strings.Contains(fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), password) {
		t.Errorf("the error has the password: %v", err)
	}
	return out, err
}

func raw(params []string) []json.RawMessage {
	var made []json.RawMessage
	for _, p := range params {
		made = append(made, json.RawMessage(p))
	}
	return made
}

func text(out *database.Rows) string {
	var b strings.Builder
	for i, row := range out.All() {
		if i > 0 {
			b.WriteByte('\n')
		}
		for j, v := range row {
			if j > 0 {
				b.WriteByte(' ')
			}
			b.Write(v)
		}
	}
	return b.String()
}

// says fails unless an error's text has a part.
func says(t *testing.T, err error, part string) {
	t.Helper()
	known, ok := errors.AsType[*database.Error](err)
	if !ok || !strings.Contains(known.Error(), part) {
		t.Errorf("error %v (%T) does not say %q", err, err, part)
	}
}

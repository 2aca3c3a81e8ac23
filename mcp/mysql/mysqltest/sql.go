package mysqltest

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// open connects as root, through the socket.
func (s *Server) open() (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = "root", rootPassword, "unix", s.Socket
	cfg.MultiStatements, cfg.InterpolateParams, cfg.Logger = true, true, &mysql.NopLogger{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(2) // so that most are used again
	return db, nil
}

func (s *Server) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.root.PingContext(ctx)
}

// Exec runs statements as root.
func (s *Server) Exec(tb testing.TB, statements ...string) {
	tb.Helper()
	for _, statement := range statements {
		if _, err := s.root.Exec(statement); err != nil {
			tb.Fatalf("%s: %v", statement, err)
		}
	}
}

// Query runs a statement as root and returns its rows, each value as text, NULL for none.
func (s *Server) Query(tb testing.TB, statement string, args ...any) [][]string {
	tb.Helper()
	rows, err := s.root.Query(statement, args...)
	if err != nil {
		tb.Fatalf("%s: %v", statement, err)
	}
	defer func() { _ = rows.Close() }() // Err has said what there is to say
	names, err := rows.Columns()
	if err != nil {
		tb.Fatal(err)
	}
	var all [][]string
	for rows.Next() {
		values, into := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			tb.Fatal(err)
		}
		row := make([]string, len(names))
		for i, v := range values {
			row[i] = "NULL"
			if v.Valid {
				row[i] = v.String
			}
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		tb.Fatal(err)
	}
	return all
}

// CreateUser makes a login that may connect from 127.0.0.1, and gives it rights, such as "SELECT ON shop.*".
func (s *Server) CreateUser(tb testing.TB, name, password string, rights ...string) {
	tb.Helper()
	s.Exec(tb, fmt.Sprintf("CREATE USER %s@'127.0.0.1' IDENTIFIED BY %s", quote(name), quote(password)))
	for _, right := range rights {
		s.Exec(tb, fmt.Sprintf("GRANT %s TO %s@'127.0.0.1'", right, quote(name)))
	}
}

// SetPassword changes the password of a login.
func (s *Server) SetPassword(tb testing.TB, name, password string) {
	tb.Helper()
	s.Exec(tb, fmt.Sprintf("ALTER USER %s@'127.0.0.1' IDENTIFIED BY %s", quote(name), quote(password)))
}

// Connections returns what the connections of a login are doing: their ids and statements.
func (s *Server) Connections(tb testing.TB, name string) [][]string {
	tb.Helper()
	return s.Query(tb, "SELECT id, command, info FROM information_schema.processlist WHERE user = ?", name)
}

// AwaitNoConnections fails if a login still has a connection after a while.
func (s *Server) AwaitNoConnections(tb testing.TB, name string, within time.Duration) {
	tb.Helper()
	deadline := time.Now().Add(within)
	for {
		left := s.Connections(tb, name)
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("connections left after %s: %q", within, left)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// quote writes a text as a literal.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

package postgrestest

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// sqlTimeout bounds what a test runs as superuser.
const sqlTimeout = 60 * time.Second

// SQL runs statements as superuser, and returns the rows of the last one that has some. NULL is an empty text.
func (s *Server) SQL(t testing.TB, database, sql string) [][]string {
	t.Helper()
	rows, err := s.Try(database, sql)
	if err != nil {
		t.Fatalf("as superuser: %v", err)
	}
	return rows
}

// Try is SQL for those who have no test at hand.
func (s *Server) Try(database, sql string) (rows [][]string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	pg, err := s.connect(ctx, database)
	if err != nil {
		return nil, err
	}
	defer func() { _ = pg.Close(ctx) }() // it has done its work
	results, err := pg.Exec(ctx, sql).ReadAll()
	for _, r := range results {
		if len(r.FieldDescriptions) == 0 {
			continue
		}
		rows = nil
		for _, values := range r.Rows {
			row := make([]string, len(values))
			for i, v := range values {
				row[i] = string(v)
			}
			rows = append(rows, row)
		}
	}
	return rows, err
}

// Database makes a database that nobody but the superuser may make anything in.
func (s *Server) Database(t testing.TB, name string) {
	t.Helper()
	s.SQL(t, superuser, "CREATE DATABASE "+quote(name))
	s.SQL(t, name, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
}

// Role makes a role that may log in, with attributes such as CREATEDB.
func (s *Server) Role(t testing.TB, name, password string, attributes ...string) {
	t.Helper()
	s.SQL(t, superuser, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s' %s", quote(name), strings.ReplaceAll(password, "'", "''"), strings.Join(attributes, " ")))
}

// DSN is where a user finds a database, with TLS and no password.
func (s *Server) DSN(user, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(user), Host: fmt.Sprintf("127.0.0.1:%d", s.Port), Path: "/" + database}
	return u.String()
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// tracesQuery finds what sessions of a user have left: state of theirs that outlives a statement, and what was written.
const tracesQuery = `
SELECT 'advisory lock' FROM pg_locks WHERE locktype = 'advisory'
UNION ALL SELECT 'lock on ' || relation::regclass FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE locktype = 'relation' AND a.usename = 'attacker'
UNION ALL SELECT 'prepared transaction' FROM pg_prepared_xacts
UNION ALL SELECT 'temporary object ' || c.relname FROM pg_class c WHERE c.relpersistence = 't'
UNION ALL SELECT 'open transaction: ' || a.query FROM pg_stat_activity a WHERE a.usename = 'attacker' AND a.state <> 'idle'
UNION ALL SELECT 'rows in victim' FROM public.victim HAVING count(*) <> 2 OR sum(n) <> 3
UNION ALL SELECT 'sequence moved' FROM public.counter WHERE last_value <> 1 OR is_called
UNION ALL SELECT 'large object' FROM pg_largeobject_metadata
UNION ALL SELECT 'new table ' || c.oid::regclass FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.oid >= 16384
	AND c.relnamespace = 'public'::regnamespace AND c.relname NOT IN ('victim', 'counter', 'secrets')
UNION ALL SELECT 'secrets changed' FROM public.secrets HAVING count(*) <> 1`

// Traces says what is left after attacks on a database that Schema has made; nothing if all is well. Sessions that are
// just being closed are waited for.
func (s *Server) Traces(t testing.TB, database string) []string {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; {
		found := s.traces(t, database)
		if len(found) == 0 || time.Now().After(end) {
			return found
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (s *Server) traces(t testing.TB, database string) (found []string) {
	t.Helper()
	for _, row := range s.SQL(t, database, tracesQuery) {
		found = append(found, row[0])
	}
	return found
}

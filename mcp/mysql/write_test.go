package mysql

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/mcp/database"
)

func testWrite(t *testing.T, b *bench) {
	b.Exec(t, "CREATE TABLE shop.w (a INT PRIMARY KEY AUTO_INCREMENT, b VARCHAR(5)) ENGINE=InnoDB",
		"CREATE PROCEDURE shop.add_one() BEGIN INSERT INTO shop.w (b) VALUES ('proc'); SELECT 'from', 'it'; END")
	count := func() string { return b.Query(t, "SELECT COUNT(*) FROM shop.w")[0][0] }
	for _, test := range []struct {
		sql, params, want string
		affected          int64
		after             string
	}{
		{"INSERT INTO w (b) VALUES (?), (?)", `"x" "y"`, "", 2, "2"},
		{"INSERT INTO w (b) VALUES ('z') RETURNING a, b", "", `3 "z"`, 1, "3"},
		{"UPDATE w SET b = 'q' WHERE a > ?", "1", "", 2, "3"},
		{"UPDATE w SET b = 'q' WHERE a > 1", "", "", 0, "3"},
		{"DELETE FROM w WHERE a = 1;", "", "", 1, "2"},
		{"CALL add_one()", "", `"from" "it"`, 1, "3"},
		{"SELECT 1", "", "1", -1, "3"},
		{"TRUNCATE w", "", "", 0, "0"},
		{"INSERT INTO w (b) SELECT 'n' FROM seq_1_to_2000 RETURNING a", "", "TRUNCATED", 2000, "2000"},
	} {
		out, err := b.rows(t, b.writer, database.Statement{SQL: test.sql, Params: raw(strings.Fields(test.params)), Write: true})
		got := text(out)
		if test.want == "TRUNCATED" && out.Truncated() != "" {
			got = test.want
		}
		if err != nil || got != test.want || count() != test.after {
			t.Errorf("%s: %s, %v, then %s rows; want %s and %s", test.sql, got, err, count(), test.want, test.after)
		}
		if n := out.Affected(); n != test.affected {
			t.Errorf("%s has changed %d rows, want %d", test.sql, n, test.affected)
		}
	}
	for sql, part := range map[string]string{
		"INSERT INTO w (b) VALUES ('ok'), ('too long')": "1406",
		"INSERT INTO w VALUES (9000, 'a'), (9000, 'b')": "1062",
		"DELETE FROM w; DELETE FROM w":                  "more than one statement",
		"INSERT INTO hidden.t VALUES (1)":               "command denied to a login",
		"UPDATE w SET b = ?":                            "1 placeholders",
	} {
		_, err := b.run(t, b.writer, database.Statement{SQL: sql, Write: true})
		says(t, err, part)
		if known, ok := errors.AsType[*database.Error](err); ok && known.Unknown {
			t.Errorf("%s: it is known what came of it", sql)
		}
	}
	_, err := b.run(t, b.reader, database.Statement{SQL: "DELETE FROM w", Write: true})
	says(t, err, "1142")
	if count() != "2000" {
		t.Errorf("%s rows are left", count())
	}
	t.Run("commit", func(t *testing.T) { testLostCommit(t, b) })
}

// testLostCommit loses the connection before and after COMMIT has arrived: what has become of the change is said to be unknown.
func testLostCommit(t *testing.T, b *bench) {
	for _, arrives := range []bool{false, true} {
		cut := &cutter{at: "COMMIT", arrives: arrives}
		d := newDriver(t, b.Server, Config{DSN: b.DSN("writer", "shop") + "?tls=disable", AllowPlaintext: true},
			database.Options{MaxConnections: 1, MaxBytes: 1 << 20, Dial: cut.dial})
		out := database.NewRows(10, 1<<20)
		err := d.Run(t.Context(), b.writer, database.Statement{SQL: "UPDATE w SET b = 'cut'", Write: true, Timeout: 10 * time.Second}, out)
		known, ok := errors.AsType[*database.Error](err)
		if !ok || !known.Unknown || !cut.done.Load() {
			t.Errorf("a COMMIT that is lost (arrived: %v): %v", arrives, err)
		}
	}
}

// cutter makes connections that end when a text is written.
type cutter struct {
	at      string
	arrives bool
	done    atomic.Bool
}

func (c *cutter) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	return &cutConn{Conn: conn, cutter: c}, err
}

type cutConn struct {
	net.Conn
	cutter *cutter
}

func (c *cutConn) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte(c.cutter.at)) {
		return c.Conn.Write(b)
	}
	if c.cutter.arrives {
		_, _ = c.Conn.Write(b) // then there is more to lose
	}
	c.cutter.done.Store(true)
	c.Conn.Close()
	return len(b), nil
}

func testSession(t *testing.T, b *bench) {
	b.Exec(t, "CREATE ROLE clerk", "GRANT SELECT ON hidden.* TO clerk", "GRANT clerk TO reader@'127.0.0.1'", "CREATE ROLE `odd``role`",
		"GRANT `odd``role` TO reader@'127.0.0.1'")
	st := database.Statement{SQL: "SELECT CURRENT_ROLE(), @tenant, @`a.b`", Role: "clerk",
		Session: []database.Variable{{Name: "tenant", Value: "it's"}, {Name: "a.b", Value: `\`}}}
	if got, err := b.run(t, b.reader, st); err != nil || got != `"clerk" "it's" "\\"` {
		t.Errorf("role and variables: %s, %v", got, err)
	}
	if got, err := b.run(t, b.reader, database.Statement{SQL: "SELECT CURRENT_ROLE()", Role: "odd`role"}); err != nil || got != "\"odd`role\"" {
		t.Errorf("a role with a quote: %s, %v", got, err)
	}
	if got, err := b.ask(t, "SELECT CURRENT_ROLE(), @tenant"); err != nil || got != "null null" {
		t.Errorf("they are left for the next one: %s, %v", got, err)
	}
	_, err := b.run(t, b.reader, database.Statement{SQL: "SELECT 1", Role: "nobody"})
	says(t, err, "1959")
	_, err = b.run(t, b.reader, database.Statement{SQL: "SELECT 1", Session: []database.Variable{{Name: "a`=1, sql_log_bin", Value: "0"}}})
	says(t, err, "other characters")
	if got, err := b.ask(t, "SELECT GET_LOCK('mine', 0), @a := 1"); err != nil || got != "1 1" {
		t.Errorf("a lock: %s, %v", got, err)
	}
	b.AwaitNoConnections(t, "reader", 5*time.Second)
	if got := b.Query(t, "SELECT IS_FREE_LOCK('mine')"); got[0][0] != "1" {
		t.Error("a lock outlives its call")
	}
	warnings, err := b.Warnings(t.Context(), b.reader)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "roles") {
		t.Errorf("warnings of roles: %q, %v", warnings, err)
	}
	b.Exec(t, "DROP ROLE clerk", "DROP ROLE `odd``role`")
}

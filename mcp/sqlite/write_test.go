package sqlite

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
)

func writing(sql string, params ...string) database.Statement {
	s := statement(sql, params...)
	s.Write = true
	return s
}

func TestWritesAreCommittedOrNot(t *testing.T) {
	d, path := sample(t, true)
	out, err := run(t, d, writing("UPDATE orders SET note = ? WHERE customer_id = 1 RETURNING id", `"paid"`))
	if err == nil || !strings.Contains(err.Error(), "SQLITE_CONSTRAINT_UNIQUE") {
		t.Fatalf("%s, %v", table(out), err)
	}
	out = database.NewRows(1, 100) // there is room for one
	if err := d.Run(t.Context(), database.Login{}, writing("UPDATE orders SET total = total + 1 RETURNING id"), out); err != nil || len(out.All()) != 1 || out.Truncated() == "" {
		t.Errorf("%s, %v", table(out), err)
	}
	if out, err := run(t, d, statement("SELECT total FROM orders ORDER BY id LIMIT 2")); err != nil || table(out) != "total NUMERIC, [20.9][6]" {
		t.Errorf("%s, %v", table(out), err)
	}
	for _, sql := range []string{
		"DROP TABLE orders", "CREATE TABLE x (a)", "ATTACH 'x' AS x", "PRAGMA writable_schema = 1", "COMMIT", "ROLLBACK", "VACUUM",
		"DELETE FROM sqlite_stat1", "UPDATE sqlite_master SET sql = ''", "DELETE FROM orders; SELECT 1",
	} {
		if _, err := run(t, d, writing(sql)); err == nil {
			t.Errorf("%s is done", sql)
		}
	}
	slow := writing("UPDATE orders SET note = (SELECT sum(value) FROM generate_series(1, 1000000000))")
	slow.Timeout = 100 * time.Millisecond
	_, err = run(t, d, slow)
	if known, ok := errors.AsType[*database.Error](err); !ok || known.Unknown || !strings.Contains(known.Text, "took longer") {
		t.Errorf("a slow one: %v", err)
	}
	if out, err := run(t, d, statement("SELECT count(*) n FROM orders WHERE note IS NULL")); err != nil || table(out) != "n INTEGER, [1]" {
		t.Errorf("%s, %v", table(out), err)
	}
	if now := files(t, path[:strings.LastIndex(path, "/")]); now != "orders.db" {
		t.Errorf("left: %s", now)
	}
	reader, _ := sample(t, false)
	if _, err := run(t, reader, writing("DELETE FROM orders")); err == nil || !strings.Contains(err.Error(), "read only") {
		t.Errorf("without writes: %v", err)
	}
}

func TestLocksAreWaitedFor(t *testing.T) {
	d, path := sample(t, true)
	other, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if err := other.Exec("BEGIN EXCLUSIVE"); err != nil {
		t.Fatal(err)
	}
	s := statement(countOrders)
	s.Timeout = 300 * time.Millisecond
	begin := time.Now()
	_, err = run(t, d, s)
	if took := time.Since(begin); err == nil || took > 2*time.Second {
		t.Errorf("%v after %s", err, took)
	}
	t.Log(err)
	released := make(chan error)
	go func() {
		time.Sleep(100 * time.Millisecond)
		released <- other.Exec("COMMIT")
	}()
	if _, err := run(t, d, writing("DELETE FROM orders WHERE id = 1")); err != nil {
		t.Error(err)
	}
	if err := <-released; err != nil {
		t.Error(err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	d, _ := sample(t, false)
	ctx, cancel := context.WithCancel(t.Context())
	endless := statement("SELECT count(*) FROM generate_series(1, 9223372036854775807)")
	endless.Timeout = time.Minute
	var all sync.WaitGroup
	for range options.MaxConnections {
		all.Go(func() {
			if err := d.Run(ctx, database.Login{}, endless, database.NewRows(1, 1)); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	for len(d.slots) < options.MaxConnections {
		time.Sleep(time.Millisecond)
	}
	third, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := d.Run(third, database.Login{}, statement("SELECT 1"), database.NewRows(1, 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	cancel()
	all.Wait()
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	d, _ := sample(t, false)
	endless := statement("SELECT count(*) FROM generate_series(1, 9223372036854775807)")
	endless.Timeout = time.Minute
	var all sync.WaitGroup
	all.Go(func() {
		if err := d.Run(t.Context(), database.Login{}, endless, database.NewRows(1, 1)); !errors.Is(err, errClosed) {
			t.Error(err)
		}
	})
	for len(d.slots) == 0 {
		time.Sleep(time.Millisecond)
	}
	d.Close()
	all.Wait()
	if _, err := run(t, d, statement("SELECT 1")); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

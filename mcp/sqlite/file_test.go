package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
	"sallyport.dev/mcp/sqlite/sqlitetest"
)

const countOrders = "SELECT count(*) AS n FROM orders"

func TestConfigIsAPath(t *testing.T) {
	for path, ok := range map[string]bool{
		"/var/lib/orders.db": true, "/with space?&%#.db": true, "": false, "orders.db": false, "/a/../b": false, "/a//b": false, "/a/": false,
		"file:/a": false, "file:///a?mode=rwc": false, ":memory:": false, "/a\x00b": false, "/a\xff": false,
	} {
		if err := (Config{File: path}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestAFileMayAppearAndBeReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?mode=rwc&x#%41.db")
	d, err := New(Config{File: path}, options)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	unreachable := func(when string) {
		t.Helper()
		_, err := run(t, d, statement(countOrders))
		if known, ok := errors.AsType[*database.Error](err); !ok || known.Text != database.Unreachable(nil).Text || known.Err == nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	count := func(want string) {
		t.Helper()
		if out, err := run(t, d, statement(countOrders)); err != nil || table(out) != "n INTEGER, ["+want+"]" {
			t.Errorf("%s, %v", table(out), err)
		}
	}
	unreachable("no file")
	if files(t, filepath.Dir(path)) != "" {
		t.Error("a file was made")
	}
	for _, text := range []string{"", "not a database", strings.Repeat("not a database, but long enough", 100)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		unreachable("no database")
	}
	for want, script := range map[string]string{"3": sqlitetest.Script, "2": sqlitetest.Script + "DELETE FROM orders WHERE id = 1"} {
		if err := os.Rename(sampleOf(t, script), path); err != nil {
			t.Fatal(err)
		}
		count(want)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	unreachable("a directory")
}

// sampleOf returns the file of a database that a script makes.
func sampleOf(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.db")
	sqlitetest.Exec(t, path, script)
	return path
}

func TestWriteAheadLog(t *testing.T) {
	path := sampleOf(t, "PRAGMA journal_mode = WAL;"+sqlitetest.Script)
	d, err := New(Config{File: path}, options)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	count := func(when, want string) {
		t.Helper()
		if out, err := run(t, d, statement(countOrders)); err != nil || table(out) != "n INTEGER, ["+want+"]" {
			t.Errorf("%s: %s, %v", when, table(out), err)
		}
	}
	count("closed by its writer", "3")
	if now := files(t, filepath.Dir(path)); now != "made.db" {
		t.Errorf("a reader made files: %s", now)
	}

	writer, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close() }()
	if err := writer.Exec("DELETE FROM orders WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	count("while it is open", "2")
	if err := writer.Exec("BEGIN IMMEDIATE; DELETE FROM orders"); err != nil {
		t.Fatal(err)
	}
	count("in the middle of a change", "2")
	if err := writer.Exec("COMMIT"); err != nil {
		t.Fatal(err)
	}
	count("after it", "0")

	// A copy with the log alone, as a crash and a careless backup leave it.
	left := filepath.Join(t.TempDir(), "made.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(left+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	orphan, err := New(Config{File: left}, options)
	if err != nil {
		t.Fatal(err)
	}
	defer orphan.Close()
	if _, err := run(t, orphan, statement(countOrders)); err == nil || !strings.Contains(err.Error(), "left open") {
		t.Errorf("left open: %v", err)
	}
	if now := files(t, filepath.Dir(left)); now != "made.db made.db-wal" {
		t.Errorf("a reader made files: %s", now)
	}

	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if now := files(t, filepath.Dir(path)); now != "made.db" {
		t.Errorf("the reader kept the writer from cleaning up: %s", now)
	}
	count("closed again", "0")
}

func TestAChangeWhileReadingIsNoticed(t *testing.T) {
	path := sampleOf(t, "PRAGMA journal_mode = WAL;"+sqlitetest.Script)
	_, still, err := file(path).look(false)
	if err != nil || still == nil || !still() {
		t.Fatal(err)
	}
	sqlitetest.Exec(t, path, "DELETE FROM orders")
	if still() {
		t.Error("the change was not noticed")
	}
}

func TestHotJournal(t *testing.T) {
	path := sampleOf(t, sqlitetest.Script)
	writer, err := sqlite3.Open("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Exec("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN EXCLUSIVE; UPDATE orders SET note = hex(randomblob(20000)) WHERE id = 1; UPDATE customers SET name = hex(randomblob(20000))"); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(t.TempDir(), "made.db")
	for _, suffix := range []string{"", "-journal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(left+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := New(Config{File: left}, options)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := run(t, d, statement(countOrders))
	t.Log(table(out), err)
	if err != nil && !strings.Contains(err.Error(), "middle of a change") {
		t.Errorf("%v", err)
	}
	if now := files(t, filepath.Dir(left)); now != "made.db made.db-journal" {
		t.Errorf("a reader changed the files: %s", now)
	}
}

func TestWarnings(t *testing.T) {
	path := sampleOf(t, sqlitetest.Script)
	all := func() string { return strings.Join(file(path).warnings(), "\n") }
	if found := all(); found != "" {
		t.Errorf("of a safe file: %s", found)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if found := all(); strings.Count(found, "\n") != 1 || !strings.Contains(found, "may write "+path) || !strings.Contains(found, "may write the directory") {
		t.Errorf("of an unsafe one: %s", found)
	}
}

package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/ncruces/go-sqlite3"
)

const (
	// maxMemory bounds the memory of one connection in bytes, all of SQLite's and the values in it: what would be spilled to a
	// temporary file is there too. It is given back when the statement has ended.
	maxMemory = 48 << 20
	// heapLimit is where SQLite says that it is out of memory; what is left is for its stack and constants.
	heapLimit = maxMemory - 2<<20
	// minLength is the least bound of a value in bytes, so that a small result can be computed from longer values.
	minLength = 1 << 20
	// maxSQL bounds a statement's text in bytes.
	maxSQL = 1 << 20
	// busyWait is how long a statement waits for a lock of another program.
	busyWait = 5 * time.Second
)

// conn is one connection, for one statement. One goroutine uses it at a time.
type conn struct {
	db        *sqlite3.Conn
	write     bool
	ours      bool // a statement of this package is being prepared, which is not asked what it does
	maxLength int
}

// open makes a connection, which ctx interrupts, and bounds what it may do. It has to be closed.
func open(ctx context.Context, uri string, write bool, maxBytes int64) (*conn, error) {
	db, err := sqlite3.OpenContext(sqlite3.WithMaxMemory(ctx, maxMemory), uri)
	if err != nil {
		return nil, unreachable(err)
	}
	c := &conn{db: db, write: write, maxLength: int(min(max(2*maxBytes, minLength), maxMemory))}
	db.SetInterrupt(ctx)
	if err := c.bound(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// bound sets everything that SQLite has to keep a statement in its place: https://sqlite.org/security.html.
func (c *conn) bound() error {
	c.db.HardHeapLimit(heapLimit)
	for _, l := range []struct {
		what  sqlite3.LimitCategory
		value int
	}{
		{sqlite3.LIMIT_LENGTH, c.maxLength},
		{sqlite3.LIMIT_SQL_LENGTH, maxSQL},
		{sqlite3.LIMIT_COLUMN, 2000},
		{sqlite3.LIMIT_EXPR_DEPTH, 500},
		{sqlite3.LIMIT_COMPOUND_SELECT, 100},
		{sqlite3.LIMIT_VDBE_OP, 250_000},
		{sqlite3.LIMIT_FUNCTION_ARG, 127},
		{sqlite3.LIMIT_ATTACHED, 0},
		{sqlite3.LIMIT_LIKE_PATTERN_LENGTH, maxPattern},
		{sqlite3.LIMIT_VARIABLE_NUMBER, 1000},
		{sqlite3.LIMIT_TRIGGER_DEPTH, 100},
		{sqlite3.LIMIT_WORKER_THREADS, 0},
	} {
		c.db.Limit(l.what, l.value)
	}
	for _, o := range []struct {
		what sqlite3.DBConfig
		on   bool
	}{
		{sqlite3.DBCONFIG_DEFENSIVE, true},
		{sqlite3.DBCONFIG_TRUSTED_SCHEMA, false},
		{sqlite3.DBCONFIG_WRITABLE_SCHEMA, false},
		{sqlite3.DBCONFIG_ENABLE_LOAD_EXTENSION, false},
		{sqlite3.DBCONFIG_ENABLE_FTS3_TOKENIZER, false},
		{sqlite3.DBCONFIG_NO_CKPT_ON_CLOSE, !c.write}, // a reader leaves the files of the write-ahead log alone
	} {
		if on, err := c.db.Config(o.what, o.on); err != nil || on != o.on {
			return fmt.Errorf("set option %d: %w", o.what, err)
		}
	}
	if err := c.db.BusyTimeout(busyWait); err != nil {
		return err
	}
	settings := "PRAGMA temp_store=2; PRAGMA mmap_size=0; PRAGMA cell_size_check=1; PRAGMA query_only=1"
	if c.write {
		settings = "PRAGMA temp_store=2; PRAGMA mmap_size=0; PRAGMA cell_size_check=1; PRAGMA foreign_keys=1"
	}
	if err := c.db.Exec(settings); err != nil {
		return err
	}
	if readOnly, _ := c.db.ReadOnly("main"); readOnly == c.write {
		return errWrongMode
	}
	if err := c.replaceSlow(); err != nil {
		return err
	}
	return c.db.SetAuthorizer(c.authorize)
}

// close ends the connection and gives its memory back.
func (c *conn) close() {
	// What fails here has panicked before, inside SQLite's code, and has been reported then.
	_ = caught(func() error {
		for {
			var open *sqlite3.Stmt
			for open = range c.db.Stmts() {
				break
			}
			if open == nil {
				return c.db.Close()
			}
			_ = open.Close() // the error of its last step again
		}
	})
}

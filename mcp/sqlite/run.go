package sqlite

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
)

// Run runs one statement.
func (d *Driver) Run(ctx context.Context, _ database.Login, s database.Statement, out *database.Rows) error {
	to := &outlet{out: out}
	defer to.shut()
	return d.do(ctx, s.Timeout, s.Write, func(c *conn) error {
		if s.Write {
			return c.change(s, to)
		}
		return c.ask(s, to)
	})
}

// outlet hands rows on, until nobody waits for them any more.
type outlet struct {
	// mu guards out, which is nil when nothing is wanted any more.
	mu  sync.Mutex
	out *database.Rows
}

func (o *outlet) shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.out = nil
}

// with calls use, unless nobody waits any more, and reports what it returned.
func (o *outlet) with(use func(*database.Rows) bool) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.out != nil && use(o.out)
}

// one prepares a text that has to be one statement.
func (c *conn) one(sql string) (*sqlite3.Stmt, error) {
	switch {
	case len(sql) > maxSQL:
		return nil, &database.Error{Text: "the statement has more than 1 MiB, and was not run: give long values as parameters"}
	case strings.ContainsRune(sql, 0):
		return nil, &database.Error{Text: "the statement holds a NUL character, and was not run: take it out"}
	case !utf8.ValidString(sql):
		return nil, &database.Error{Text: "the statement is not valid UTF-8, and was not run"}
	}
	s, tail, err := c.db.Prepare(sql)
	switch {
	case err != nil:
		return nil, err
	case s == nil:
		return nil, &database.Error{Text: "there is no statement here, and nothing was run: send one"}
	case !blank(tail):
		return nil, database.Several()
	}
	return s, nil
}

// blank reports whether there are only white space, comments and semicolons in a text: https://sqlite.org/lang_comment.html.
func blank(text string) bool {
	for {
		text = strings.TrimLeft(text, " \t\n\f\r;")
		switch {
		case text == "":
			return true
		case strings.HasPrefix(text, "--"):
			_, text, _ = strings.Cut(text, "\n")
		case strings.HasPrefix(text, "/*"):
			_, text, _ = strings.Cut(text[2:], "*/")
		default:
			return false
		}
	}
}

// query prepares a text that has to be one statement that asks, and changes nothing.
func (c *conn) query(sql string) (*sqlite3.Stmt, error) {
	s, err := c.one(sql)
	if err != nil {
		return nil, err
	}
	if !s.ReadOnly() || s.ColumnCount() == 0 {
		return nil, database.NoResult()
	}
	return s, nil
}

// ask runs a statement that changes nothing.
func (c *conn) ask(s database.Statement, to *outlet) error {
	q, err := c.query(s.SQL)
	if err != nil {
		return err
	}
	if err := bind(q, s.Params); err != nil {
		return err
	}
	return read(q, to, false)
}

// change runs a statement in a transaction of its own. If it fails, or is interrupted, nothing was changed: SQLite rolls back,
// or the end of the connection does.
func (c *conn) change(s database.Statement, to *outlet) error {
	if err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	q, err := c.one(s.SQL)
	if err != nil {
		return err
	}
	if err := bind(q, s.Params); err != nil {
		return err
	}
	if err := read(q, to, true); err != nil {
		return err
	}
	if err := q.Close(); err != nil {
		return err
	}
	if err := c.exec("COMMIT"); err != nil {
		return commitFailed(err)
	}
	to.with(func(out *database.Rows) bool {
		out.SetAffected(c.db.Changes())
		return true
	})
	return nil
}

// exec runs a statement of this package.
func (c *conn) exec(sql string) error {
	c.ours = true
	defer func() { c.ours = false }()
	return c.db.Exec(sql)
}

// read hands on what a statement returns: until no more is wanted, or if it writes, until its end.
func read(s *sqlite3.Stmt, to *outlet, toEnd bool) error {
	columns := make([]database.Column, s.ColumnCount())
	for i := range columns {
		columns[i] = database.Column{Name: s.ColumnName(i), Type: s.ColumnDeclType(i)}
	}
	var maxBytes int64
	if len(columns) > 0 {
		to.with(func(out *database.Rows) bool {
			maxBytes = out.MaxBytes()
			return true
		})
	}
	first, wanted := true, len(columns) > 0
	for s.Step() {
		if first {
			first = false
			named(s, columns)
			to.with(func(out *database.Rows) bool {
				out.SetColumns(columns)
				return true
			})
		}
		if wanted {
			var values []json.RawMessage
			if values, wanted = row(s, len(columns), maxBytes); !wanted {
				return database.TooLong(maxBytes)
			}
			wanted = to.with(func(out *database.Rows) bool { return out.Add(values) })
		}
		if !wanted && !toEnd {
			return nil
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	if first && len(columns) > 0 {
		to.with(func(out *database.Rows) bool {
			out.SetColumns(columns)
			return true
		})
	}
	return nil
}

// named gives columns without a declared type that of their value.
func named(s *sqlite3.Stmt, columns []database.Column) {
	for i := range columns {
		if columns[i].Type == "" {
			columns[i].Type = typeOf(s.ColumnType(i))
		}
	}
}

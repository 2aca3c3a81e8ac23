package mysql

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sallyport.dev/mcp/database"
)

// commitTime is how long a COMMIT may take, which is not given up with the call: then nobody would know.
const commitTime = 10 * time.Second

// Run implements database.Driver.
func (d *Driver) Run(ctx context.Context, as database.Login, st database.Statement, out *database.Rows) error {
	if err := checkText(st.SQL); err != nil {
		return err
	}
	args, err := arguments(st.Params)
	if err != nil {
		return err
	}
	return d.with(ctx, as, func(s *session) error {
		ctx, cancel := within(ctx, st.Timeout)
		defer cancel()
		if st.Write {
			return d.write(ctx, s, st, args, out)
		}
		return d.failure(ctx, s, st.Timeout, d.read(ctx, s, st, args, out))
	})
}

// read runs a statement that changes nothing.
func (d *Driver) read(ctx context.Context, s *session, st database.Statement, args []driver.NamedValue, out *database.Rows) error {
	if err := s.begin(ctx, st); err != nil {
		return err
	}
	if err := d.checkFile(ctx, s, st.Role != ""); err != nil {
		return err
	}
	if !d.anyWord && !asks(st.SQL) {
		return &database.Error{Text: "only what begins with SELECT, WITH, VALUES, TABLE, SHOW, DESCRIBE or EXPLAIN is run, with nothing but plain comments " +
			"before it; this was not"}
	}
	stmt, sql, err := s.prepareOne(ctx, st.SQL)
	if said, ok := asServer(err); ok && said.Number == notPrepared {
		return database.NoResult()
	}
	if err != nil {
		return err
	}
	// Some SHOW statements have columns only when they run.
	if s.wire.columns == 0 && firstWord(sql) != "SHOW" {
		return database.NoResult()
	}
	rows, err := d.start(ctx, s, stmt, args)
	if err != nil {
		return err
	}
	switch _, err = s.take(rows, out); {
	case err == nil:
		s.busy = false
		return rows.Close()
	case errors.Is(err, errLong):
		return database.TooLong(out.MaxBytes())
	case errors.Is(err, errFull):
		return nil // what is still under way is stopped
	}
	return err
}

// write runs a statement in a transaction, and commits it.
func (d *Driver) write(ctx context.Context, s *session, st database.Statement, args []driver.NamedValue, out *database.Rows) error {
	err := s.begin(ctx, st)
	if err != nil {
		return d.failure(ctx, s, st.Timeout, err)
	}
	stmt, sql, err := s.prepareOne(ctx, st.SQL)
	if err != nil {
		return d.failure(ctx, s, st.Timeout, err)
	}
	err = d.change(ctx, s, stmt, sql, args, out)
	if err != nil {
		err := d.failure(ctx, s, st.Timeout, err)
		if !s.busy {
			_ = s.exec(ctx, "ROLLBACK") // closing the connection does the same, later
			return err
		}
		if errors.Is(s.wire.failure, errTooLong) {
			return &database.Error{Text: fmt.Sprintf("the statement returns more than %d bytes, and was rolled back: let it return less", d.budget())}
		}
		// The server may have committed by itself, as it does for DDL and for tables without transactions.
		if known, ok := errors.AsType[*database.Error](err); ok {
			unknown := *known
			unknown.Unknown = true
			return &unknown
		}
		return err
	}
	sure, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	err = s.exec(sure, "COMMIT")
	if said, ok := asServer(err); ok {
		return d.failure(sure, s, st.Timeout, said)
	}
	if err != nil {
		return &database.Error{Text: "the connection to the database was lost while the change was committed", Unknown: true, Err: err}
	}
	return nil
}

// change runs a statement to its end, and says how many rows it has changed.
func (d *Driver) change(ctx context.Context, s *session, stmt driver.Stmt, sql string, args []driver.NamedValue, out *database.Rows) error {
	rows, err := d.start(ctx, s, stmt, args)
	if err != nil {
		return err
	}
	returns := len(rows.Columns()) > 0
	n, err := s.take(rows, out)
	if errors.Is(err, errFull) {
		err = s.skip(rows, &n)
	}
	if err != nil {
		return err
	}
	if err := rows.Close(); err != nil { // with further results, as of a procedure
		return err
	}
	s.busy = false
	switch firstWord(sql) {
	case "INSERT", "REPLACE", "DELETE":
		if returns { // by RETURNING, of which the server counts nothing
			out.SetAffected(n)
			return nil
		}
	case "CALL":
	default:
		if returns {
			return nil
		}
	}
	n, err = s.rowCount(ctx)
	if err == nil && n >= 0 {
		out.SetAffected(n)
	}
	return err
}

// prepareOne has the server read one statement. It returns the text without a last semicolon.
func (s *session) prepareOne(ctx context.Context, text string) (driver.Stmt, string, error) {
	sql, one := single(text)
	stmt, err := s.prepare(ctx, sql)
	if said, ok := asServer(err); ok && said.Number == syntax && !one {
		return nil, "", database.Several()
	}
	return stmt, sql, err
}

// start runs a prepared statement.
func (d *Driver) start(ctx context.Context, s *session, stmt driver.Stmt, args []driver.NamedValue) (driver.Rows, error) {
	if n := stmt.NumInput(); n != len(args) {
		return nil, &database.Error{Text: fmt.Sprintf("the statement has %d placeholders (?) and there are %d parameters, and it was not run", n, len(args))}
	}
	s.wire.allow(d.budget())
	return s.query(ctx, stmt, args)
}

// errFull says that there are more rows than are wanted, and errLong, which is one, that the first has no room.
var (
	errFull = errors.New("mysql: there is no room for more rows")
	errLong = fmt.Errorf("%w: not even for the first", errFull)
)

// take hands rows to out until it has enough, which is errFull, and returns how many there were.
func (s *session) take(rows driver.Rows, out *database.Rows) (int64, error) {
	columns, kinds := columnsOf(rows)
	if len(columns) > 0 {
		out.SetColumns(columns)
	}
	line := make([]driver.Value, len(columns))
	for n := int64(0); ; n++ {
		switch err := rows.Next(line); {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			s.done(err)
			return n, err
		}
		values := make([]json.RawMessage, len(line))
		for i, v := range line {
			values[i] = jsonOf(v, kinds[i])
		}
		if !out.Add(values) {
			if n == 0 && length(values) > out.MaxBytes() {
				return n + 1, errLong
			}
			return n + 1, errFull
		}
	}
}

func length(values []json.RawMessage) (n int64) {
	for _, v := range values {
		n += int64(len(v)) + 1
	}
	return n
}

// skip reads the rows that are left, and counts them.
func (s *session) skip(rows driver.Rows, n *int64) error {
	line := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(line); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			s.done(err)
			return err
		}
		*n++
	}
}

// rowCount is how many rows the last statement has changed; less than none if it is none that changes rows.
func (s *session) rowCount(ctx context.Context) (n int64, err error) {
	stmt, err := s.prepare(ctx, "SELECT ROW_COUNT()")
	if err != nil {
		return 0, err
	}
	rows, err := s.query(ctx, stmt, nil)
	if err != nil {
		return 0, err
	}
	line := make([]driver.Value, 1)
	if err := rows.Next(line); err != nil {
		return 0, err
	}
	n, _ = line[0].(int64)
	if err := rows.Close(); err != nil {
		return 0, err
	}
	s.busy = false
	return n, nil
}

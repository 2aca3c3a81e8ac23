package mysql

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport.dev/mcp/database"
)

// browseTime is how long the server may take to say what there is.
const browseTime = 15 * time.Second

// errEnd ends rows.
var errEnd = io.EOF

// systemSchemas are the server's own.
var systemSchemas = []string{"information_schema", "mysql", "performance_schema", "sys"}

// Schemas implements database.Driver: a schema is what the server calls a database.
func (d *Driver) Schemas(ctx context.Context, as database.Login) ([]database.Schema, error) {
	var schemas []database.Schema
	err := d.browse(ctx, as, func(ctx context.Context, s *session) error {
		found, err := d.ask(ctx, s, "SELECT * FROM information_schema.schemata ORDER BY schema_name")
		for _, r := range found {
			if name := r["schema_name"]; !isSystem(name) {
				schemas = append(schemas, database.Schema{Name: name, Comment: r["schema_comment"]}) // MariaDB alone has comments
			}
		}
		return err
	})
	return schemas, err
}

// Tables implements database.Driver. The names are in the order of their bytes. The server shows tables on which the login has
// any right; one that it may only write to is among them.
func (d *Driver) Tables(ctx context.Context, as database.Login, schema, after string, limit int) ([]database.Table, error) {
	if isSystem(schema) || limit < 1 {
		return nil, nil
	}
	var tables []database.Table
	err := d.browse(ctx, as, func(ctx context.Context, s *session) error {
		found, err := d.ask(ctx, s, tablesOf+" AND BINARY table_name > BINARY ? ORDER BY BINARY table_name LIMIT ?", d.schema(schema), after, int64(limit))
		for _, r := range found {
			tables = append(tables, tableOf(r))
		}
		return err
	})
	return tables, err
}

const tablesOf = "SELECT table_schema, table_name, table_type, table_comment, table_rows FROM information_schema.tables " +
	"WHERE table_schema = ? AND table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')"

func tableOf(r record) database.Table {
	t := database.Table{Schema: r["table_schema"], Name: r["table_name"], Kind: "table", Comment: r["table_comment"], EstimatedRows: -1}
	if r["table_type"] == "VIEW" {
		t.Kind, t.Comment = "view", "" // it says VIEW, or that the view is broken
		return t
	}
	if n, err := strconv.ParseInt(r["table_rows"], 10, 64); err == nil {
		t.EstimatedRows = n
	}
	return t
}

// schema is the database that is meant: no name stands for the configured one.
func (d *Driver) schema(name string) string {
	if name == "" {
		return d.at.database
	}
	return name
}

func isSystem(schema string) bool { return slices.Contains(systemSchemas, strings.ToLower(schema)) }

// browse hands f a session that reads, and has its error put into words.
func (d *Driver) browse(ctx context.Context, as database.Login, f func(context.Context, *session) error) error {
	return d.with(ctx, as, func(s *session) error {
		ctx, cancel := within(ctx, browseTime)
		defer cancel()
		err := s.begin(ctx, database.Statement{Timeout: browseTime})
		if err == nil {
			err = f(ctx, s)
		}
		return d.failure(ctx, s, browseTime, err)
	})
}

// record is a row: its values by the names of their columns in lower case. NULL is not in it.
type record map[string]string

// ask runs a query of ours and returns all rows. Its parameters are texts and integers.
func (d *Driver) ask(ctx context.Context, s *session, sql string, params ...driver.Value) ([]record, error) {
	stmt, err := s.prepare(ctx, sql)
	if err != nil {
		return nil, err
	}
	args := make([]driver.NamedValue, len(params))
	for i, p := range params {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: p}
	}
	rows, err := d.start(ctx, s, stmt, args)
	if err != nil {
		return nil, err
	}
	names := rows.Columns()
	line := make([]driver.Value, len(names))
	var found []record
	for {
		err := rows.Next(line)
		if errors.Is(err, errEnd) {
			s.busy = false
			return found, rows.Close()
		}
		if err != nil {
			s.done(err)
			return nil, err
		}
		r := record{}
		for i, v := range line {
			if v != nil {
				r[strings.ToLower(names[i])] = strings.ToValidUTF8(textOf(v), "\uFFFD")
			}
		}
		found = append(found, r)
	}
}

// textOf is a value as text. NULL is empty.
func textOf(v driver.Value) string {
	switch v := v.(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	}
	return fmt.Sprint(v)
}

package sqlite

import (
	"context"
	"strings"

	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
)

// mainSchema is the name of the only schema that there ever is: nothing can be attached, and nothing temporary be made.
const mainSchema = "main"

// Schemas returns the only one.
func (d *Driver) Schemas(ctx context.Context, _ database.Login) ([]database.Schema, error) {
	err := d.do(ctx, lookLimit, false, func(c *conn) error {
		return c.each("SELECT 1 FROM sqlite_schema LIMIT 1", nil, func(*sqlite3.Stmt) {}) // is there a database?
	})
	if err != nil {
		return nil, err
	}
	return []database.Schema{{Name: mainSchema}}, nil
}

// visible selects what there is to see: no tables of SQLite's own, and none of those in which a full-text or R-tree index keeps
// itself. Those are shadow tables only to who has the module: without it they are told by their names.
const visible = `
WITH listed AS (SELECT name, type FROM pragma_table_list WHERE schema = 'main')
SELECT name, type FROM listed
WHERE type IN ('table', 'view', 'virtual') AND substr(lower(name), 1, 7) <> 'sqlite_'
  AND NOT EXISTS (SELECT 1 FROM listed AS v WHERE v.type = 'virtual' AND listed.name IN (
    v.name || '_data', v.name || '_idx', v.name || '_content', v.name || '_docsize', v.name || '_config', v.name || '_segments',
    v.name || '_segdir', v.name || '_stat', v.name || '_node', v.name || '_rowid', v.name || '_parent'))`

// Tables returns tables and views.
func (d *Driver) Tables(ctx context.Context, _ database.Login, schema, after string, limit int) ([]database.Table, error) {
	if schema != mainSchema || limit <= 0 {
		return nil, nil
	}
	var tables []database.Table
	err := d.do(ctx, lookLimit, false, func(c *conn) error {
		var found []database.Table
		err := c.each(visible+" AND name > ?1 ORDER BY name LIMIT ?2", []any{after, int64(limit)}, func(s *sqlite3.Stmt) {
			found = append(found, database.Table{Schema: mainSchema, Name: s.ColumnText(0), Kind: kind(s.ColumnText(1)), EstimatedRows: -1})
		})
		if err != nil {
			return err
		}
		for i := range found {
			if err := c.estimate(&found[i]); err != nil {
				return err
			}
		}
		tables = found
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tables, nil
}

func kind(of string) string {
	if of == "virtual" {
		return "virtual table"
	}
	return of
}

// estimate fills in what ANALYZE has found out last: https://sqlite.org/fileformat2.html#stat1tab.
func (c *conn) estimate(t *database.Table) error {
	counted := false
	err := c.each("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'", nil, func(*sqlite3.Stmt) { counted = true })
	if err != nil || !counted {
		return err
	}
	// stat begins with the number of rows; that of a partial index is smaller.
	return c.each("SELECT max(CAST(stat AS INTEGER)) FROM sqlite_stat1 WHERE tbl = ?1", []any{t.Name}, func(s *sqlite3.Stmt) {
		if s.ColumnType(0) == sqlite3.INTEGER {
			t.EstimatedRows = s.ColumnInt64(0)
		}
	})
}

// Describe returns one table. Names of tables are the same in capitals and small letters.
func (d *Driver) Describe(ctx context.Context, _ database.Login, schema, table string) (database.Table, error) {
	if schema != mainSchema {
		return database.Table{}, database.ErrNoTable
	}
	var found database.Table
	err := d.do(ctx, lookLimit, false, func(c *conn) error {
		t := database.Table{Schema: mainSchema, EstimatedRows: -1}
		err := c.each(visible+" AND name = ?1 COLLATE NOCASE", []any{table}, func(s *sqlite3.Stmt) {
			t.Name, t.Kind = s.ColumnText(0), kind(s.ColumnText(1))
		})
		if err != nil {
			return err
		}
		if t.Name == "" {
			return database.ErrNoTable
		}
		for _, fill := range []func(*database.Table) error{c.estimate, c.columns, c.indexes, c.foreignKeys} {
			if err := fill(&t); err != nil {
				return err
			}
		}
		found = t
		return nil
	})
	if err != nil {
		return database.Table{}, err
	}
	return found, nil
}

// columns fills in the columns, and the primary key as an index, by the name of the one that SQLite has made for it if it has.
func (c *conn) columns(t *database.Table) error {
	key := map[int64]string{}
	err := c.each("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid", []any{t.Name}, func(s *sqlite3.Stmt) {
		t.Columns = append(t.Columns, database.Column{
			Name: s.ColumnText(0), Type: s.ColumnText(1), Nullable: !s.ColumnBool(2), Default: s.ColumnText(3),
		})
		if at := s.ColumnInt64(4); at > 0 {
			key[at] = s.ColumnText(0)
		}
	})
	if err != nil || len(key) == 0 {
		return err
	}
	primary := database.Index{Unique: true, Primary: true}
	for at := int64(1); at <= int64(len(key)); at++ {
		primary.Columns = append(primary.Columns, key[at])
	}
	made := false
	err = c.each("SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'", []any{t.Name}, func(s *sqlite3.Stmt) {
		primary.Name, made = s.ColumnText(0), true
	})
	if !made && len(key) == 1 { // it is the rowid
		for i := range t.Columns {
			t.Columns[i].Nullable = t.Columns[i].Nullable && t.Columns[i].Name != key[1]
		}
	}
	t.Indexes = append(t.Indexes, primary)
	return err
}

// indexes fills in those that are not the primary key.
func (c *conn) indexes(t *database.Table) error {
	const indexes = `SELECT l.name, l."unique", x.name FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS x
		WHERE l.origin <> 'pk' AND x.key = 1 ORDER BY l.name, x.seqno`
	return c.each(indexes, []any{t.Name}, func(s *sqlite3.Stmt) {
		last := len(t.Indexes) - 1
		if last < 0 || t.Indexes[last].Primary || t.Indexes[last].Name != s.ColumnText(0) {
			t.Indexes = append(t.Indexes, database.Index{Name: s.ColumnText(0), Unique: s.ColumnBool(1)})
			last++
		}
		column := s.ColumnText(2)
		if s.ColumnType(2) == sqlite3.NULL {
			column = "(expression)" // SQLite tells it in the text of CREATE INDEX only
		}
		t.Indexes[last].Columns = append(t.Indexes[last].Columns, column)
	})
}

// foreignKeys fills them in; one that names no columns refers to the other table's primary key.
func (c *conn) foreignKeys(t *database.Table) error {
	const keys = `SELECT f.id, f."table", f."from", coalesce(f."to", (SELECT name FROM pragma_table_info(f."table") WHERE pk = f.seq + 1))
		FROM pragma_foreign_key_list(?1) AS f ORDER BY f.id, f.seq`
	before := int64(-1)
	return c.each(keys, []any{t.Name}, func(s *sqlite3.Stmt) {
		if id := s.ColumnInt64(0); id != before {
			before = id
			t.ForeignKeys = append(t.ForeignKeys, database.ForeignKey{ForeignSchema: mainSchema, ForeignTable: s.ColumnText(1)})
		}
		f := &t.ForeignKeys[len(t.ForeignKeys)-1]
		f.Columns = append(f.Columns, s.ColumnText(2))
		f.ForeignColumns = append(f.ForeignColumns, s.ColumnText(3))
	})
}

// each calls use for each row of a query of this package.
func (c *conn) each(sql string, params []any, use func(*sqlite3.Stmt)) error {
	q, err := c.query(strings.TrimSpace(sql))
	if err != nil {
		return err
	}
	for i, p := range params {
		switch p := p.(type) {
		case string:
			err = q.BindText(i+1, p)
		case int64:
			err = q.BindInt64(i+1, p)
		}
		if err != nil {
			return err
		}
	}
	for q.Step() {
		use(q)
	}
	if err := q.Err(); err != nil {
		return err
	}
	return q.Close()
}

// Warnings says who else may decide what is in the database.
func (d *Driver) Warnings(context.Context, database.Login) ([]string, error) {
	return d.source.warnings(), nil
}

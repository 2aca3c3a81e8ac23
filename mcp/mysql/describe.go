package mysql

import (
	"context"
	"strings"

	"sallyport.dev/mcp/database"
)

// Describe implements database.Driver.
func (d *Driver) Describe(ctx context.Context, as database.Login, schema, table string) (database.Table, error) {
	if isSystem(schema) {
		return database.Table{}, database.ErrNoTable
	}
	schema = d.schema(schema)
	var t database.Table
	err := d.browse(ctx, as, func(ctx context.Context, s *session) error {
		found, err := d.ask(ctx, s, tablesOf+" AND BINARY table_name = BINARY ?", schema, table)
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return database.ErrNoTable
		}
		t = tableOf(found[0])
		columns, err := d.ask(ctx, s, "SELECT column_name, column_type, is_nullable, column_default, extra, data_type, column_comment "+
			"FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position", schema, table)
		if err != nil {
			return err
		}
		for _, r := range columns {
			t.Columns = append(t.Columns, columnOf(r, s.isMariaDB()))
		}
		if len(t.Columns) == 0 {
			return database.ErrNoTable // it may not be read
		}
		indexes, err := d.ask(ctx, s, "SELECT * FROM information_schema.statistics WHERE table_schema = ? AND table_name = ? "+
			"ORDER BY index_name <> 'PRIMARY', index_name, seq_in_index", schema, table)
		if err != nil {
			return err
		}
		t.Indexes = indexesOf(indexes)
		keys, err := d.ask(ctx, s, "SELECT constraint_name, column_name, referenced_table_schema, referenced_table_name, referenced_column_name "+
			"FROM information_schema.key_column_usage WHERE table_schema = ? AND table_name = ? AND referenced_table_name IS NOT NULL "+
			"ORDER BY constraint_name, ordinal_position", schema, table)
		t.ForeignKeys = foreignKeysOf(keys)
		return err
	})
	return t, err
}

func columnOf(r record, isMariaDB bool) database.Column {
	c := database.Column{Name: r["column_name"], Type: r["column_type"], Nullable: r["is_nullable"] == "YES", Comment: r["column_comment"]}
	value, has := r["column_default"]
	switch {
	case isMariaDB:
		c.Default = value // an expression already
	case has && !strings.Contains(r["extra"], "DEFAULT_GENERATED") && !numeric(r["data_type"]):
		c.Default = "'" + strings.ReplaceAll(value, "'", "''") + "'"
	default:
		c.Default = value
	}
	if c.Default == "" && strings.Contains(r["extra"], "auto_increment") {
		c.Default = "auto_increment"
	}
	return c
}

func numeric(kind string) bool {
	return strings.HasSuffix(kind, "int") || kind == "decimal" || kind == "float" || kind == "double" || kind == "bit" || kind == "year"
}

// indexesOf makes indexes of rows for each of their columns.
func indexesOf(rows []record) (indexes []database.Index) {
	for _, r := range rows {
		name := r["index_name"]
		if len(indexes) == 0 || indexes[len(indexes)-1].Name != name {
			indexes = append(indexes, database.Index{Name: name, Unique: r["non_unique"] == "0", Primary: name == "PRIMARY"})
		}
		last := &indexes[len(indexes)-1]
		column := r["column_name"]
		if part := r["sub_part"]; part != "" {
			column += "(" + part + ")" // so many characters of it
		}
		if column == "" {
			column = r["expression"] // MySQL alone
		}
		last.Columns = append(last.Columns, column)
	}
	return indexes
}

// foreignKeysOf makes foreign keys of rows for each of their columns.
func foreignKeysOf(rows []record) (keys []database.ForeignKey) {
	name := ""
	for _, r := range rows {
		if len(keys) == 0 || name != r["constraint_name"] {
			name = r["constraint_name"]
			keys = append(keys, database.ForeignKey{ForeignSchema: r["referenced_table_schema"], ForeignTable: r["referenced_table_name"]})
		}
		last := &keys[len(keys)-1]
		last.Columns = append(last.Columns, r["column_name"])
		last.ForeignColumns = append(last.ForeignColumns, r["referenced_column_name"])
	}
	return keys
}

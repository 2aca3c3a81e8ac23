package sqlite

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"

	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
)

// row returns the values of the row that a statement is at; ok is false if they have more than maxBytes bytes.
func row(s *sqlite3.Stmt, columns int, maxBytes int64) (values []json.RawMessage, ok bool) {
	values = make([]json.RawMessage, columns)
	var size int64
	for i := range values {
		switch s.ColumnType(i) {
		case sqlite3.INTEGER:
			values[i] = database.Integer(s.ColumnInt64(i))
		case sqlite3.FLOAT:
			values[i] = float(s.ColumnFloat(i))
		case sqlite3.TEXT:
			text := s.ColumnRawText(i)
			if size+int64(len(text)) > maxBytes {
				return nil, false
			}
			values[i] = database.Text(string(text))
		case sqlite3.BLOB:
			bytes := s.ColumnRawBlob(i)
			if size+2*int64(len(bytes)) > maxBytes {
				return nil, false
			}
			values[i] = blob(bytes)
		default:
			values[i] = database.Null
		}
		size += int64(len(values[i]))
	}
	return values, true
}

// float is a number as a JSON value: the shortest that is read as the same number, and with a point or an exponent, as SQLite
// writes it. What JSON has no number for is a text, written as PostgreSQL does.
func float(f float64) json.RawMessage {
	switch {
	case math.IsNaN(f):
		return json.RawMessage(`"NaN"`)
	case math.IsInf(f, 1):
		return json.RawMessage(`"Infinity"`)
	case math.IsInf(f, -1):
		return json.RawMessage(`"-Infinity"`)
	}
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		return strconv.AppendFloat(nil, f, 'e', -1, 64)
	}
	digits := strconv.AppendFloat(nil, f, 'f', -1, 64)
	for _, c := range digits {
		if c == '.' {
			return digits
		}
	}
	return append(digits, ".0"...)
}

// blob is bytes as a JSON text, in the form of PostgreSQL's bytea: \x and lower-case hexadecimal digits.
func blob(b []byte) json.RawMessage {
	made := make([]byte, 0, 2*len(b)+len(`"\\x"`))
	made = append(made, `"\\x`...)
	made = hex.AppendEncode(made, b)
	return append(made, '"')
}

// typeOf names the type of a value as SQLite's typeof() does, in capitals like declared types; empty for NULL.
func typeOf(t sqlite3.Datatype) string {
	switch t {
	case sqlite3.INTEGER:
		return "INTEGER"
	case sqlite3.FLOAT:
		return "REAL"
	case sqlite3.TEXT:
		return "TEXT"
	case sqlite3.BLOB:
		return "BLOB"
	}
	return ""
}

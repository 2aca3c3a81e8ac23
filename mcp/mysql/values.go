package mysql

import (
	"bytes"
	"database/sql/driver"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/mcp/database"
)

var errNotJSON = errors.New("mysql: not valid JSON")

// columnsOf returns the columns of a result, and what the library calls their types.
func columnsOf(rows driver.Rows) ([]database.Column, []string) {
	names := rows.Columns()
	columns, kinds := make([]database.Column, len(names)), make([]string, len(names))
	for i, name := range names {
		kinds[i] = rows.(driver.RowsColumnTypeDatabaseTypeName).ColumnTypeDatabaseTypeName(i)
		precision, scale, _ := rows.(driver.RowsColumnTypePrecisionScale).ColumnTypePrecisionScale(i)
		columns[i] = database.Column{Name: strings.ToValidUTF8(name, "\uFFFD"), Type: typeName(kinds[i], precision, scale)}
	}
	return columns, kinds
}

// typeName writes a type as the server does in SHOW COLUMNS.
func typeName(kind string, precision, scale int64) string {
	if rest, ok := strings.CutPrefix(kind, "UNSIGNED "); ok {
		kind = rest + " UNSIGNED"
	}
	name := strings.ToLower(kind)
	switch kind {
	case "DECIMAL":
		return fmt.Sprintf("%s(%d,%d)", name, precision, scale)
	case "DATETIME", "TIMESTAMP", "TIME":
		if scale > 0 && scale <= 6 {
			return fmt.Sprintf("%s(%d)", name, scale)
		}
	}
	return name
}

// jsonOf is a value of a column as JSON. The library's bytes are those of its buffer, and are copied.
func jsonOf(v driver.Value, kind string) json.RawMessage {
	switch v := v.(type) {
	case nil:
		return database.Null
	case int64:
		return database.Integer(v)
	case uint64:
		return unsigned(v)
	case float32:
		return float(float64(v), 32)
	case float64:
		return float(v, 64)
	case string:
		return database.Text(v)
	case []byte:
		return bytesOf(v, kind)
	}
	return database.Text(fmt.Sprint(v)) // none is known
}

func bytesOf(b []byte, kind string) json.RawMessage {
	switch kind {
	case "BIT":
		var wide [8]byte
		copy(wide[8-min(8, len(b)):], b)
		return unsigned(binary.BigEndian.Uint64(wide[:]))
	case "BLOB", "TINYBLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY", "VARBINARY", "GEOMETRY", "VECTOR", "":
		made := make([]byte, 0, 2*len(b)+5)
		made = append(made, `"\\x`...)
		return append(hex.AppendEncode(made, b), '"')
	case "JSON":
		document := jsontext.Value(bytes.Clone(b))
		if document.IsValid() && document.Compact() == nil { // it is not if a name is there twice
			return json.RawMessage(document)
		}
	}
	return database.Text(string(b))
}

func unsigned(n uint64) json.RawMessage {
	if n > math.MaxInt64 {
		return database.Text(strconv.FormatUint(n, 10))
	}
	return database.Integer(int64(n))
}

// float is the shortest number that is read as the same one again. The server knows no other than finite ones.
func float(f float64, bits int) json.RawMessage {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return database.Text(strconv.FormatFloat(f, 'g', -1, bits))
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(nil, f, format, -1, bits)
}

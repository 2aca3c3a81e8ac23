package database

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Rows takes the result of one statement, within its bounds. Make it with [NewRows].
type Rows struct {
	maxRows  int
	maxBytes int64

	columns  []Column
	rows     [][]json.RawMessage
	bytes    int64
	affected int64
	full     string // why there is no room for more; empty if there is
}

// NewRows returns room for as many rows and bytes of values.
func NewRows(maxRows int, maxBytes int64) *Rows {
	return &Rows{maxRows: maxRows, maxBytes: maxBytes, affected: -1}
}

// SetColumns gives the names and types of the columns. It is called once, before the first row.
func (r *Rows) SetColumns(columns []Column) { r.columns = columns }

// SetAffected gives how many rows a write has changed.
func (r *Rows) SetAffected(n int64) { r.affected = n }

// Add takes a row of JSON values. It returns false if there was no room for it: then the result is truncated, and nothing more
// is wanted. The values are the receiver's from then on.
func (r *Rows) Add(values []json.RawMessage) bool {
	var size int64
	for _, v := range values {
		size += int64(len(v)) + 1
	}
	switch {
	case r.full != "":
	case len(r.rows) == r.maxRows:
		r.full = fmt.Sprintf("there are more than %d rows", r.maxRows)
	case r.bytes+size > r.maxBytes:
		r.full = fmt.Sprintf("the result has more than %d bytes", r.maxBytes)
	default:
		r.rows = append(r.rows, values)
		r.bytes += size
		return true
	}
	return false
}

// MaxBytes is how many bytes of values there is room for.
func (r *Rows) MaxBytes() int64 { return r.maxBytes }

// Columns returns what SetColumns was given.
func (r *Rows) Columns() []Column { return r.columns }

// All returns the rows.
func (r *Rows) All() [][]json.RawMessage { return r.rows }

// Affected returns what SetAffected was given; -1 without.
func (r *Rows) Affected() int64 { return r.affected }

// Truncated says why there are not all rows; empty if there are.
func (r *Rows) Truncated() string { return r.full }

// result is a result as structured content has it.
type result struct {
	Columns []resultColumn      `json:"columns"`
	Rows    [][]json.RawMessage `json:"rows"`
	// RowCount is how many rows there are here.
	RowCount int `json:"row_count"`
	// Truncated says that there are more.
	Truncated bool   `json:"truncated"`
	Note      string `json:"note,omitempty"`
	// Affected is how many rows were changed; a write alone has it.
	Affected *int64 `json:"affected,omitempty"`
}

type resultColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// structured returns the result as JSON may have it.
func (r *Rows) structured() result {
	made := result{Columns: []resultColumn{}, Rows: r.rows, RowCount: len(r.rows), Truncated: r.full != "", Note: r.note()}
	if made.Rows == nil {
		made.Rows = [][]json.RawMessage{}
	}
	for _, c := range r.columns {
		made.Columns = append(made.Columns, resultColumn{c.Name, c.Type})
	}
	if r.affected >= 0 {
		made.Affected = &r.affected
	}
	return made
}

func (r *Rows) note() string {
	if r.full == "" {
		return ""
	}
	return "TRUNCATED: " + r.full + "; these are the first ones: narrow the query, or page with LIMIT and OFFSET"
}

// text returns the result for models that read no structured content: the names of the columns as a JSON array in the first
// line, a JSON array for each row, and what there is to say in the last line.
func (r *Rows) text() string {
	var b bytes.Buffer
	if len(r.columns) > 0 {
		b.WriteByte('[')
		for i, c := range r.columns {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(Text(c.Name))
		}
		b.WriteString("]\n")
	}
	for _, row := range r.rows {
		b.WriteByte('[')
		for i, v := range row {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(v)
		}
		b.WriteString("]\n")
	}
	switch {
	case r.full != "":
		b.WriteString("-- " + r.note() + "\n")
	case r.affected >= 0:
		fmt.Fprintf(&b, "-- %d rows affected\n", r.affected)
	case len(r.rows) == 0:
		b.WriteString("-- no rows\n")
	}
	return b.String()
}

// Null is the JSON value for what a database does not know.
var Null = json.RawMessage("null")

// Text is a text as a JSON value. Bytes that are no UTF-8 become U+FFFD.
func Text(s string) json.RawMessage {
	if plain(s) {
		b := make([]byte, 0, len(s)+2)
		return append(append(append(b, '"'), s...), '"')
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always can be
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// plain reports whether a text needs no escape.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// maxExact is the greatest integer that every reader of JSON takes as it is written (RFC 8259, section 6).
const maxExact = 1<<53 - 1

// Integer is an integer as a JSON value: a number where all readers keep it exactly, else its digits as a text.
func Integer(n int64) json.RawMessage {
	digits := strconv.AppendInt(nil, n, 10)
	if n > maxExact || n < -maxExact {
		return Text(string(digits))
	}
	return digits
}

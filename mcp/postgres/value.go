package postgres

import (
	"encoding/json"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/mcp/database"
)

// OIDs of the types that are not given as text (pg_type.dat). They never change.
const (
	oidBool   = 16
	oidInt8   = 20
	oidInt2   = 21
	oidInt4   = 23
	oidOID    = 26
	oidJSON   = 114
	oidFloat4 = 700
	oidFloat8 = 701
	oidJSONB  = 3802
)

// maxDepth is how deep json is embedded; what is deeper stays a text, because readers of JSON have bounds of their own.
const maxDepth = 100

// decoder makes a JSON value of a value's text, which it does not keep.
type decoder func(text []byte) json.RawMessage

// describe returns the columns of a result, and how the values of each become JSON.
func describe(fields []field, kinds map[typeKey]typeInfo) ([]database.Column, []decoder) {
	columns := make([]database.Column, 0, len(fields))
	decode := make([]decoder, 0, len(fields))
	for _, f := range fields {
		info := kinds[f.kind]
		columns = append(columns, database.Column{Name: f.name, Type: info.name})
		scalar := scalarDecoder(f.kind.oid)
		if info.element != 0 && info.comma {
			scalar = arrayDecoder(scalarDecoder(info.element))
		}
		decode = append(decode, scalar)
	}
	return columns, decode
}

// scalarDecoder returns how the values of a type become JSON: whole numbers exactly, floats as the shortest number that
// means the same, json as it is, and all else as the server's text: numeric, so that it keeps its scale, dates, bytes and the rest.
func scalarDecoder(oid uint32) decoder {
	switch oid {
	case oidBool:
		return boolean
	case oidInt2, oidInt4, oidInt8, oidOID:
		return integer
	case oidFloat4, oidFloat8:
		return float
	case oidJSON, oidJSONB:
		return embedded
	}
	return func(b []byte) json.RawMessage { return database.Text(string(b)) }
}

func boolean(b []byte) json.RawMessage {
	switch string(b) {
	case "t":
		return json.RawMessage("true")
	case "f":
		return json.RawMessage("false")
	}
	return database.Text(string(b))
}

func integer(b []byte) json.RawMessage {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		return database.Text(string(b))
	}
	return database.Integer(n)
}

// float takes the server's digits, which are the fewest that mean the value. NaN and Infinity are no numbers in JSON.
func float(b []byte) json.RawMessage {
	if v := jsontext.Value(b); v.Kind() == '0' && v.IsValid() {
		return append(json.RawMessage(nil), b...)
	}
	return database.Text(string(b))
}

// embedded takes json in if it is strict: type json keeps what it was given, repeated names too, which readers disagree on.
func embedded(b []byte) json.RawMessage {
	if deeper(b, maxDepth) {
		return database.Text(string(b))
	}
	v := jsontext.Value(append([]byte(nil), b...))
	if !v.IsValid() || v.Compact() != nil { // Compact is less strict
		return database.Text(string(b))
	}
	return json.RawMessage(v)
}

// deeper reports whether brackets are nested deeper than a limit. In text that is no JSON it may be wrong.
func deeper(b []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

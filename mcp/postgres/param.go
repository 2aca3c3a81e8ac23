package postgres

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/mcp/database"
)

// bind makes the texts that the server reads as the types it expects. Nil stands for NULL.
func bind(oids []uint32, kinds map[typeKey]typeInfo, params []json.RawMessage) ([][]byte, error) {
	if len(oids) != len(params) {
		return nil, &database.Error{Text: fmt.Sprintf("the statement has %d parameters, and %d were given: it was not run", len(oids), len(params))}
	}
	values := make([][]byte, len(params))
	for i, raw := range params {
		info := kinds[typeKey{oids[i], -1}]
		value, err := paramText(jsontext.Value(raw), info)
		if err != nil {
			return nil, &database.Error{Text: fmt.Sprintf("parameter %d %s: the statement was not run", i+1, err)}
		}
		values[i] = value
	}
	return values, nil
}

// paramError says what is wrong with a parameter, without its value.
type paramError string

func (e paramError) Error() string { return string(e) }

const (
	errNotJSON  = paramError("is not JSON")
	errNUL      = paramError("has a character U+0000, which PostgreSQL does not take")
	errTooDeep  = paramError("has more dimensions than an array of PostgreSQL")
	literalNull = "NULL"
)

func paramText(v jsontext.Value, info typeInfo) ([]byte, error) {
	if !v.IsValid() {
		return nil, errNotJSON
	}
	v = jsontext.Value(strings.TrimSpace(string(v)))
	var text []byte
	switch v.Kind() {
	case 'n':
		return nil, nil
	case '[':
		if info.element == 0 {
			text = v
			break
		}
		literal, err := arrayLiteral(v, info.comma)
		if err != nil {
			return nil, err
		}
		text = literal
	default:
		text = scalarText(v)
	}
	if strings.ContainsRune(string(text), 0) {
		return nil, errNUL
	}
	return text, nil
}

// scalarText is a string's text, and what stands there of all else, so that no number loses a digit.
func scalarText(v jsontext.Value) []byte {
	if v.Kind() != '"' {
		return v
	}
	text, _ := jsontext.AppendUnquote([]byte{}, []byte(v)) // it is valid
	return text
}

// arrayLiteral writes a JSON array as an array of PostgreSQL. Every element but NULL is quoted, so that none means anything else.
func arrayLiteral(v jsontext.Value, comma bool) ([]byte, error) {
	separator := byte(',')
	if !comma {
		separator = ';' // of type box, and of no other
	}
	var b []byte
	d := jsontext.NewDecoder(strings.NewReader(string(v)))
	depth, first := 0, true
	for {
		kind := d.PeekKind()
		if kind == 0 { // the end: it is valid
			return b, nil
		}
		if kind == ']' {
			if _, err := d.ReadToken(); err != nil {
				return nil, errNotJSON
			}
			b = append(b, '}')
			if depth--; depth == 0 {
				return b, nil
			}
			continue
		}
		if !first && b[len(b)-1] != '{' {
			b = append(b, separator)
		}
		first = false
		switch kind {
		case '[':
			if depth++; depth > maxDimensions {
				return nil, errTooDeep
			}
			if _, err := d.ReadToken(); err != nil {
				return nil, errNotJSON
			}
			b = append(b, '{')
		default:
			element, err := d.ReadValue()
			if err != nil {
				return nil, errNotJSON
			}
			b = appendElement(b, element)
		}
	}
}

func appendElement(b []byte, v jsontext.Value) []byte {
	if v.Kind() == 'n' {
		return append(b, literalNull...)
	}
	b = append(b, '"')
	for _, c := range scalarText(v) {
		if c == '"' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

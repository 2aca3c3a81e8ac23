package mysql

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"sallyport.dev/mcp/database"
)

// arguments makes of JSON values what is bound to placeholders. Integers are bound as such where they have 64 bits, because
// LIMIT takes nothing else, and the server compares a column of integers with a text inexactly. Other numbers are bound as the
// text of their digits: as DECIMAL takes it, none is lost.
func arguments(params []json.RawMessage) ([]driver.NamedValue, error) {
	args := make([]driver.NamedValue, len(params))
	for i, p := range params {
		value, err := argument(bytes.TrimSpace(p))
		if err != nil {
			return nil, &database.Error{Text: fmt.Sprintf("parameter %d is not valid JSON, and nothing was run", i+1), Err: err}
		}
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: value}
	}
	return args, nil
}

func argument(p jsontext.Value) (driver.Value, error) {
	if !p.IsValid() {
		return nil, errNotJSON
	}
	switch p.Kind() {
	case 'n':
		return nil, nil
	case 't':
		return int64(1), nil
	case 'f':
		return int64(0), nil
	case '"':
		text, err := jsontext.AppendUnquote(nil, p)
		return string(text), err
	case '0':
		if n, err := strconv.ParseInt(string(p), 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(string(p), 10, 64); err == nil {
			return n, nil
		}
	}
	return string(p), nil
}

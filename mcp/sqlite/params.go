package sqlite

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/ncruces/go-sqlite3"

	"sallyport.dev/mcp/database"
)

// maxDigits is how many digits after its first one a double has at most if it is written exactly.
const maxDigits = 766

// bind gives a statement its parameters, in order.
func bind(s *sqlite3.Stmt, params []json.RawMessage) error {
	if want := s.BindCount(); want != len(params) {
		return &database.Error{Text: fmt.Sprintf("the statement has %d placeholders, and %d parameters were given: give one for each", want, len(params))}
	}
	for i, p := range params {
		if err := bindOne(s, i+1, p); err != nil {
			return err
		}
	}
	return nil
}

func bindOne(s *sqlite3.Stmt, at int, value json.RawMessage) error {
	text := strings.TrimSpace(string(value))
	switch {
	case text == "" || text == "null":
		return s.BindNull(at)
	case text == "true":
		return s.BindInt64(at, 1)
	case text == "false":
		return s.BindInt64(at, 0)
	case text[0] == '"':
		inside, err := jsontext.AppendUnquote(nil, text)
		if err != nil {
			return &database.Error{Text: fmt.Sprintf("parameter %d is not a JSON value: %s", at, err)}
		}
		return s.BindText(at, string(inside))
	case text[0] == '[' || text[0] == '{':
		return s.BindText(at, text)
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return s.BindInt64(at, n)
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && (sameNumber(text, strconv.FormatFloat(f, 'e', -1, 64)) ||
		sameNumber(text, strconv.FormatFloat(f, 'e', maxDigits, 64))) {
		return s.BindFloat(at, f)
	}
	return s.BindText(at, text)
}

// sameNumber reports whether two JSON numbers are the same. It takes no more time for 1e999999999 than for 1.
func sameNumber(a, b string) bool {
	x, okX := scientific(a)
	y, okY := scientific(b)
	return okX && okY && x == y
}

// number is 0.digits times ten to the power of exponent, digits without zeros at either end; zero has none.
type number struct {
	negative bool
	digits   string
	exponent int
}

func scientific(text string) (n number, ok bool) {
	rest, negative := strings.CutPrefix(text, "-")
	mantissa, power, has := strings.Cut(strings.ToLower(rest), "e")
	if has {
		var err error
		if n.exponent, err = strconv.Atoi(power); err != nil {
			return number{}, false
		}
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	n.negative = negative
	n.exponent += len(whole)
	n.digits = strings.TrimRight(whole+fraction, "0")
	trimmed := strings.TrimLeft(n.digits, "0")
	n.exponent -= len(n.digits) - len(trimmed)
	n.digits = trimmed
	if trimmed == "" {
		n.exponent = 0
	}
	return n, true
}

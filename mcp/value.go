package mcp

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrValue means that a JSON text is not one value that every reader reads alike.
var ErrValue = errors.New("mcp: not a JSON value that is read alike by all")

// Value decodes one JSON value, such as the arguments of a call: into nil, bool, string, int64, float64, []any and
// map[string]any. A number without fraction and exponent that an int64 holds is one, exactly; another is a float64. What
// Parse refuses is refused, and an object with two names that differ only in case, of which some readers take one and some
// the other. The error matches [ErrValue] and quotes nothing.
func Value(raw []byte) (any, error) { return new(Values).Value(raw) }

// Values decodes values as [Value] does, and keeps what that needs for the next one. The zero Values is ready, and safe for
// concurrent use.
type Values struct{ pool sync.Pool }

// valueDecoder is a decoder with what it reads.
type valueDecoder struct {
	dec jsontext.Decoder
	buf bytes.Buffer // it lends out the text itself, without a copy
}

// Value decodes one value. See [Value].
func (vs *Values) Value(raw []byte) (any, error) {
	d, ok := vs.pool.Get().(*valueDecoder)
	if !ok {
		d = new(valueDecoder)
	}
	d.buf = *bytes.NewBuffer(raw)
	d.dec.Reset(&d.buf)
	defer func() {
		if len(raw) <= maxPooled { // else it may have grown large tables
			d.buf = bytes.Buffer{}
			d.dec.Reset(&d.buf)
			vs.pool.Put(d)
		}
	}()
	value, err := decodeValue(&d.dec, 0)
	if err != nil {
		return nil, ErrValue
	}
	if _, err := d.dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, ErrValue
	}
	return value, nil
}

// decodeValue reads a value below depth objects and arrays. Its recursion is bounded by maxDepth.
func decodeValue(d *jsontext.Decoder, depth int) (any, error) {
	token, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch token.Kind() {
	case 'n':
		return nil, nil
	case 't', 'f':
		return token.Bool(), nil
	case '"':
		return token.String(), nil
	case '0':
		return number(token.String())
	}
	if depth == maxDepth {
		return nil, ErrValue
	}
	if token.Kind() == '[' {
		return decodeArray(d, depth)
	}
	return decodeObject(d, depth)
}

func decodeArray(d *jsontext.Decoder, depth int) (any, error) {
	elements := []any{}
	for d.PeekKind() != ']' {
		element, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	_, err := d.ReadToken()
	return elements, err
}

func decodeObject(d *jsontext.Decoder, depth int) (any, error) {
	members := make(map[string]any)
	upper := false // a name has another case
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		name := token.String()
		if strings.IndexByte(name, 0) >= 0 {
			return nil, ErrValue
		}
		upper = upper || fold(name) != name
		if members[name], err = decodeValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	if !upper {
		return members, nil
	}
	folded := make(map[string]bool, len(members))
	for name := range members {
		key := fold(name)
		if folded[key] {
			return nil, ErrValue
		}
		folded[key] = true
	}
	return members, nil
}

// fold maps names that differ only in case to one text. Upper case first: it joins what has two lower cases, such as the
// Kelvin sign and the long s.
func fold(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= 'A' && c <= 'Z' || c >= 0x80 {
			return strings.ToLower(strings.ToUpper(strings.NewReplacer("ı", "i", "İ", "i").Replace(name)))
		}
	}
	return name
}

// number reads a JSON number.
func number(text string) (any, error) {
	if !strings.ContainsAny(text, ".eE") {
		if whole, err := strconv.ParseInt(text, 10, 64); err == nil && text != "-0" {
			return whole, nil
		}
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(value, 0) {
		return nil, ErrValue
	}
	return value, nil
}

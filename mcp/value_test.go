package mcp_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"sallyport.dev/mcp"
)

func TestValue(t *testing.T) {
	for text, want := range map[string]any{
		`null`:                 nil,
		` true `:               true,
		`"a\u00e9"`:            "aé",
		`9007199254740993`:     int64(9007199254740993),
		`-9223372036854775808`: int64(-9223372036854775808),
		`9223372036854775808`:  float64(9223372036854775808),
		`1.0`:                  1.0,
		`1e2`:                  100.0,
		`[1,["x"],{}]`:         []any{int64(1), []any{"x"}, map[string]any{}},
		`{"a":{"b":[]},"B":0}`: map[string]any{"a": map[string]any{"b": []any{}}, "B": int64(0)},
	} {
		got, err := mcp.Value([]byte(text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestValueRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                 ``,
		"two values":              `1 2`,
		"a name twice":            `{"a":1,"a":2}`,
		"a name in two cases":     `{"path":"/tmp","Path":"/etc"}`,
		"an escaped other case":   `{"path":1,"\u0050ath":2}`,
		"a dotless i":             `{"limit":1,"lımıt":2}`,
		"a long s":                `{"user":1,"uſer":2}`,
		"a Kelvin sign":           `{"key":1,"\u212aey":2}`,
		"two cases below":         `[{"x":{"id":1,"ID":2}}]`,
		"a NUL in a name":         `{"a\u0000":1}`,
		"more than a number":      `1e999`,
		"too deep":                strings.Repeat("[", 66) + strings.Repeat("]", 66),
		"an open object":          `{"a":1`,
		"bad UTF-8":               "\"\xff\"",
		"a lone surrogate":        `"\ud800"`,
		"a byte order mark first": "\xef\xbb\xbf1",
	} {
		if got, err := mcp.Value([]byte(text)); !errors.Is(err, mcp.ErrValue) {
			t.Errorf("%s: %#v, %v", name, got, err)
		}
	}
}

// What is accepted means what encoding/json reads.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2.5,"x",null,true]}`, `1e999`, `{"A":1,"a":2}`, `-0`, `[[[]]]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := mcp.Value(text)
		if err != nil {
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is accepted: %v", text, err)
		}
		if !alike(got, want) {
			t.Errorf("%q gives %#v, want %#v", text, got, want)
		}
	})
}

func alike(got, want any) bool {
	switch want := want.(type) {
	case json.Number:
		switch got := got.(type) {
		case int64:
			whole, err := want.Int64()
			return err == nil && whole == got
		case float64:
			value, err := want.Float64()
			return err == nil && value == got
		}
		return false
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			return false
		}
		for i := range want {
			if !alike(list[i], want[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		members, ok := got.(map[string]any)
		if !ok || len(members) != len(want) {
			return false
		}
		for name := range want {
			if !alike(members[name], want[name]) {
				return false
			}
		}
		return true
	}
	return got == want
}

package config

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// ownModule is the prefix of types whose errors are known to repeat no value.
const ownModule = "sallyport.dev/"

// checkTypes compares node with the type that it is for and reports every difference with its line, which the YAML
// library does only in part and with the values in its texts. where is the path of keys that led here.
func checkTypes(node *yaml.Node, t reflect.Type, where string, found *problems) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if isNull(node) {
		return // keeps its default
	}
	switch {
	case decodesItself(t):
		checkLeaf(node, t, where, found)
	case t.Kind() == reflect.Interface:
	case t.Kind() == reflect.Struct:
		checkStruct(node, t, where, found)
	case t.Kind() == reflect.Map:
		if node.Kind != yaml.MappingNode {
			found.add(node.Line, expected(where, t))
			return
		}
		for i := 0; i < len(node.Content); i += 2 {
			checkTypes(node.Content[i+1], t.Elem(), join(where, named("entry", node.Content[i].Value)), found)
		}
	case t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		if node.Kind != yaml.SequenceNode {
			found.add(node.Line, expected(where, t))
			return
		}
		for i, child := range node.Content {
			checkTypes(child, t.Elem(), fmt.Sprintf("%s[%d]", where, i), found)
		}
	default:
		checkLeaf(node, t, where, found)
	}
}

// checkLeaf decodes node for the sake of the error.
func checkLeaf(node *yaml.Node, t reflect.Type, where string, found *problems) {
	err := node.Decode(reflect.New(t).Interface())
	if err == nil {
		return
	}
	var mismatch *yaml.TypeError
	if errors.As(err, &mismatch) || !strings.HasPrefix(t.PkgPath()+"/", ownModule) {
		found.add(node.Line, expected(where, t))
		return
	}
	found.addError(node.Line, where, err)
}

func checkStruct(node *yaml.Node, t reflect.Type, where string, found *problems) {
	if node.Kind != yaml.MappingNode {
		found.add(node.Line, expected(where, t))
		return
	}
	fields, rest := fieldsOf(t)
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		field, known := fields[key.Value]
		switch {
		case known:
			checkTypes(value, field, join(where, key.Value), found)
		case rest != nil:
			checkTypes(value, rest, join(where, named("entry", key.Value)), found)
		default:
			found.add(key.Line, "unknown "+named("key", key.Value)+suggest(key.Value, fields))
		}
	}
}

// fieldsOf maps the keys of a struct to their types, as the YAML library names them; rest is the element type of an
// inlined map, which takes every other key.
func fieldsOf(t reflect.Type) (fields map[string]reflect.Type, rest reflect.Type) {
	fields = make(map[string]reflect.Type, t.NumField())
	for i := range t.NumField() {
		field := t.Field(i)
		if !field.IsExported() {
			continue
		}
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		inner := field.Type
		for inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case slices.Contains(strings.Split(options, ","), "inline") && inner.Kind() == reflect.Map:
			rest = inner.Elem()
		case slices.Contains(strings.Split(options, ","), "inline"):
			embedded, inlined := fieldsOf(inner)
			for key, of := range embedded {
				fields[key] = of
			}
			if inlined != nil {
				rest = inlined
			}
		case name == "":
			fields[strings.ToLower(field.Name)] = field.Type
		default:
			fields[name] = field.Type
		}
	}
	return fields, rest
}

func decodesItself(t reflect.Type) bool {
	pointer := reflect.PointerTo(t)
	return pointer.Implements(reflect.TypeFor[yaml.Unmarshaler]()) ||
		pointer.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// expected says in an operator's words what a type takes.
func expected(where string, t reflect.Type) string {
	want := "a value of type " + t.String()
	switch {
	case t == reflect.TypeFor[time.Duration]():
		want = "a duration such as 30s or 5m"
	case decodesItself(t):
	case t.Kind() == reflect.Struct, t.Kind() == reflect.Map:
		want = "keys with values"
	case t.Kind() == reflect.Slice, t.Kind() == reflect.Array:
		want = "a list"
	case t.Kind() == reflect.String:
		want = "a text"
	case t.Kind() == reflect.Bool:
		want = "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		want = "a whole number"
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		want = "a whole number, 0 or more"
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		want = "a number"
	}
	if where == "" {
		return "expected " + want
	}
	return where + ": expected " + want
}

func join(where, key string) string {
	if where == "" {
		return key
	}
	return where + "." + key
}

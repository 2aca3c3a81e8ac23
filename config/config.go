// Package config decodes one YAML file strictly into the struct that a role hands it. It does not know any role, any
// key or any default: those live beside the type that they configure.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxSize bounds a configuration file in bytes.
const MaxSize = 1 << 20

// Load reads the file in path and decodes it as Decode does, with path as the name in errors.
func Load(path string, into any) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	return Decode(path, data, into)
}

// Decode reads one YAML document strictly into into, a pointer to a struct, and then calls its Validate() error if it
// has one. Keys that the struct does not know, keys given twice, aliases, tags and a second document are refused; what
// the document leaves out keeps the value that into had. The error is an *Error with every problem found. No value
// from the document is ever repeated in it, since someone may have put a secret where a reference belongs.
//
// A type that decodes itself (yaml.Unmarshaler, encoding.TextUnmarshaler) reports a line by beginning its error with
// "line N: ", and several problems with errors.Join; it must not quote values either.
func Decode(name string, data []byte, into any) error {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("config: decode %s into %T: not a pointer to a struct", name, into)
	}
	found := &problems{}
	root := parse(data, found)
	if root != nil {
		checkShape(root, 0, found)
	}
	if root != nil && found.none() {
		checkTypes(root, target.Type().Elem(), "", found)
	}
	if root != nil && found.none() {
		decoder := yaml.NewDecoder(bytes.NewReader(data))
		decoder.KnownFields(true)
		if err := decoder.Decode(into); err != nil {
			found.add(0, "does not fit the configuration") // the library's text quotes values
		}
	}
	if found.none() {
		if v, ok := into.(interface{ Validate() error }); ok {
			found.addError(0, "", v.Validate())
		}
	}
	return found.error(name)
}

// parse returns the document's root, or nil when the file is empty or no YAML.
func parse(data []byte, found *problems) *yaml.Node {
	if len(data) > MaxSize {
		found.add(0, fmt.Sprintf("is larger than %d KiB", MaxSize>>10))
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document, second yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if !errors.Is(err, io.EOF) {
			found.addSyntax(err)
		}
		return nil
	}
	if err := decoder.Decode(&second); err == nil {
		found.add(second.Line, "a second document begins; one file holds one document")
	} else if !errors.Is(err, io.EOF) {
		found.addSyntax(err)
	}
	if len(document.Content) != 1 {
		return nil
	}
	root := document.Content[0]
	if isNull(root) {
		return nil // nothing but comments: everything keeps its default
	}
	return root
}

func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer func() { _ = file.Close() }() // read-only: closing has nothing left to lose
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil {
		return nil, fileError(path, err)
	}
	return data, nil
}

func fileError(path string, err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		err = cause.Err
	}
	return fmt.Errorf("config: read %s: %w; check the path and who may read it", path, err)
}

// syntaxError matches the library's complaints about the text. Those with quotes in them repeat the file.
var syntaxError = regexp.MustCompile("^(?:yaml: )?line ([0-9]+): ([a-zA-Z ,-]+)$")

func (p *problems) addSyntax(err error) {
	if match := syntaxError.FindStringSubmatch(err.Error()); match != nil {
		line, _ := strconv.Atoi(match[1]) // digits by the expression
		p.add(line, "not valid YAML: "+match[2])
		return
	}
	line := 0
	if match := leadingLine.FindStringSubmatch(strings.TrimPrefix(err.Error(), "yaml: ")); match != nil {
		line, _ = strconv.Atoi(match[1])
	}
	p.add(line, "not valid YAML")
}

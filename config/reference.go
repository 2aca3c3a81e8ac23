package config

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Reference returns Markdown that documents the keys of the named struct types of the Go package in dir: a heading,
// the type's comment and a table of key, type, default and meaning for each. It reads the source, not the running
// program: the meaning is the field's comment; a sentence in it that begins with "Default" fills the default column,
// and the sentences "Required." and "Optional." do too. Struct types of the same package are followed, those of
// others are named. A key without a comment is an error, and so is a type that is not there.
func Reference(dir string, typeNames ...string) (string, error) {
	source, err := readSource(dir)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, name := range typeNames {
		spec := source.types[name]
		if spec == nil {
			return "", fmt.Errorf("config: document %s: no type %s there", dir, name)
		}
		structure, ok := spec.Type.(*ast.StructType)
		if !ok {
			return "", fmt.Errorf("config: document %s: type %s is not a struct", dir, name)
		}
		if out.Len() > 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(&out, "### %s\n\n", name)
		if text := oneLine(source.docs[name]); text != "" {
			fmt.Fprintf(&out, "%s\n\n", text)
		}
		out.WriteString("| Key | Type | Default | Meaning |\n|---|---|---|---|\n")
		table := &table{source: source}
		table.fields(structure, name, "", []string{name})
		if err := errors.Join(table.missing...); err != nil {
			return "", err
		}
		for _, row := range table.rows {
			fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", row.key, row.kind, row.byDefault, row.meaning)
		}
	}
	return out.String(), nil
}

// source is what the generator needs of one package.
type source struct {
	types map[string]*ast.TypeSpec
	docs  map[string]*ast.CommentGroup
	// opaque are the types that decode themselves, whose fields are no keys.
	opaque map[string]bool
}

func readSource(dir string) (*source, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("config: document %s: %w", dir, err)
	}
	found := &source{types: map[string]*ast.TypeSpec{}, docs: map[string]*ast.CommentGroup{}, opaque: map[string]bool{}}
	files := token.NewFileSet()
	for _, entry := range entries {
		name := entry.Name()
		if entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, filepath.Join(dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, fmt.Errorf("config: document %s: %w", dir, err)
		}
		for _, declaration := range file.Decls {
			found.add(declaration)
		}
	}
	return found, nil
}

func (s *source) add(declaration ast.Decl) {
	switch declaration := declaration.(type) {
	case *ast.GenDecl:
		for _, spec := range declaration.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			s.types[named.Name.Name] = named
			s.docs[named.Name.Name] = declaration.Doc
			if named.Doc != nil {
				s.docs[named.Name.Name] = named.Doc
			}
		}
	case *ast.FuncDecl:
		name := declaration.Name.Name
		if declaration.Recv == nil || name != "UnmarshalYAML" && name != "UnmarshalText" {
			return
		}
		receiver := declaration.Recv.List[0].Type
		if pointer, ok := receiver.(*ast.StarExpr); ok {
			receiver = pointer.X
		}
		if of, ok := receiver.(*ast.Ident); ok {
			s.opaque[of.Name] = true
		}
	}
}

type row struct{ key, kind, byDefault, meaning string }

type table struct {
	source  *source
	rows    []row
	missing []error
}

// fields adds the rows of one struct. path holds the types that are being followed, to stop at a cycle.
func (t *table) fields(structure *ast.StructType, owner, prefix string, path []string) {
	for _, field := range structure.Fields.List {
		key, inline := keyOf(field)
		if key == "-" {
			continue
		}
		if inline {
			t.nested(field.Type, owner, prefix, path)
			continue
		}
		if len(field.Names) == 0 {
			t.missing = append(t.missing, fmt.Errorf("config: %s embeds a type without a key; tag it yaml:\",inline\" or yaml:\"-\"", owner))
		}
		for _, name := range field.Names {
			if !name.IsExported() {
				continue
			}
			key := key
			if key == "" {
				key = strings.ToLower(name.Name)
			}
			comment := field.Doc
			if comment == nil {
				comment = field.Comment
			}
			text := oneLine(comment)
			if text == "" {
				t.missing = append(t.missing, fmt.Errorf("config: %s.%s (key %s%s) has no comment; write what it means, its unit and its default", owner, name.Name, prefix, key))
			}
			byDefault, meaning := splitDefault(text)
			kind, suffix := t.kind(field.Type)
			t.rows = append(t.rows, row{prefix + key, kind, escape(byDefault), escape(meaning)})
			t.nested(field.Type, owner, prefix+key+suffix+".", path)
		}
	}
}

// nested follows a type to the struct of this package inside it, if there is one.
func (t *table) nested(of ast.Expr, owner, prefix string, path []string) {
	switch of := of.(type) {
	case *ast.StarExpr:
		t.nested(of.X, owner, prefix, path)
	case *ast.ArrayType:
		t.nested(of.Elt, owner, prefix, path)
	case *ast.MapType:
		t.nested(of.Value, owner, prefix, path)
	case *ast.StructType:
		t.fields(of, owner, prefix, path)
	case *ast.Ident:
		spec := t.source.types[of.Name]
		if spec == nil || t.source.opaque[of.Name] || slices.Contains(path, of.Name) {
			return
		}
		t.nested(spec.Type, of.Name, prefix, append(slices.Clone(path), of.Name))
	}
}

// kind names a type in an operator's words; suffix is how its elements are written in a path of keys.
func (t *table) kind(of ast.Expr) (kind, suffix string) {
	switch of := of.(type) {
	case *ast.StarExpr:
		return t.kind(of.X)
	case *ast.ArrayType:
		element, suffix := t.kind(of.Elt)
		return "list of " + element, "[]" + suffix
	case *ast.MapType:
		element, suffix := t.kind(of.Value)
		return "named " + element, ".<name>" + suffix
	case *ast.StructType:
		return "keys", ""
	case *ast.SelectorExpr:
		if pkg, ok := of.X.(*ast.Ident); ok {
			return foreign(pkg.Name + "." + of.Sel.Name), ""
		}
	case *ast.Ident:
		if spec := t.source.types[of.Name]; spec != nil {
			if t.source.opaque[of.Name] {
				return of.Name, ""
			}
			return t.kind(spec.Type)
		}
		return basic(of.Name), ""
	}
	return "value", ""
}

func foreign(name string) string {
	switch name {
	case "time.Duration":
		return "duration"
	case "secret.Ref":
		return "secret reference"
	default:
		return name
	}
}

func basic(name string) string {
	switch {
	case name == "string":
		return "text"
	case name == "bool":
		return "true or false"
	case strings.HasPrefix(name, "int"), strings.HasPrefix(name, "uint"):
		return "number"
	case strings.HasPrefix(name, "float"):
		return "decimal number"
	default:
		return "value"
	}
}

func keyOf(field *ast.Field) (key string, inline bool) {
	if field.Tag == nil {
		return "", false
	}
	tag := reflect.StructTag(strings.Trim(field.Tag.Value, "`")).Get("yaml")
	key, options, _ := strings.Cut(tag, ",")
	return key, slices.Contains(strings.Split(options, ","), "inline")
}

func oneLine(comment *ast.CommentGroup) string {
	return strings.Join(strings.Fields(comment.Text()), " ")
}

// defaultSentence is one whole sentence; the point inside a number does not end it.
var defaultSentence = regexp.MustCompile(`(?:^|\s)(?:Defaults? (?:is |are |to )?|Default: )(.+?)\.(?:\s|$)`)

func splitDefault(text string) (byDefault, meaning string) {
	byDefault = "–"
	if at := defaultSentence.FindStringSubmatchIndex(text); at != nil {
		byDefault = text[at[2]:at[3]]
		text = text[:at[0]] + " " + text[at[1]:]
	}
	if before, after, found := strings.Cut(text, "Required."); found {
		byDefault, text = "required", before+after
	}
	if before, after, found := strings.Cut(text, "Optional."); found {
		text = before + after
	}
	return byDefault, strings.Join(strings.Fields(text), " ")
}

func escape(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

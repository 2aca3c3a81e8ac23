// Package arch checks the shape of the source tree: who imports whom, what each package promises in its doc comment, and
// which constructs are banned and why. It reads source only; it knows nothing of what the code does when it runs.
package arch

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Module is the import path of the tree's root.
const Module = "sallyport.dev"

// Tree is the parsed source of the module.
type Tree struct {
	// FS holds the module's root, for the rules that read other files than Go source.
	FS fs.FS
	// Fset resolves the positions of all files.
	Fset *token.FileSet
	// Packages are sorted by Dir; a folder without Go files has none.
	Packages []*Package
}

// Package is the Go source of one folder, its test files included.
type Package struct {
	// Dir is the folder's slash-separated path below the root.
	Dir string
	// Name is the name in the package clause of the files that are not tests.
	Name string
	// Files are sorted by Path.
	Files []*File

	types *typed
}

// File is one parsed Go file.
type File struct {
	// Path is slash-separated and relative to the root.
	Path string
	// Syntax includes comments.
	Syntax *ast.File
	// Test says that the file's name ends in _test.go.
	Test bool
	// Lines counts the file's newlines.
	Lines int
}

// Parse reads every Go file below the root of fsys. Folders that the go command ignores, and node_modules, are left out.
func Parse(fsys fs.FS) (*Tree, error) {
	tree := &Tree{FS: fsys, Fset: token.NewFileSet()}
	byDir := map[string]*Package{}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && ignoredDir(d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		file, err := tree.parseFile(name)
		if err != nil {
			return err
		}
		dir := path.Dir(name)
		if byDir[dir] == nil {
			byDir[dir] = &Package{Dir: dir}
			tree.Packages = append(tree.Packages, byDir[dir])
		}
		byDir[dir].Files = append(byDir[dir].Files, file)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("parse the source tree: %w", err)
	}
	slices.SortFunc(tree.Packages, func(a, b *Package) int { return strings.Compare(a.Dir, b.Dir) })
	for _, p := range tree.Packages {
		p.Name = packageName(p.Files)
	}
	return tree, nil
}

func (t *Tree) parseFile(name string) (*File, error) {
	source, err := fs.ReadFile(t.FS, name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(t.Fset, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &File{
		Path:   name,
		Syntax: syntax,
		Test:   strings.HasSuffix(name, "_test.go"),
		Lines:  bytes.Count(source, []byte("\n")),
	}, nil
}

func ignoredDir(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") ||
		name == "testdata" || name == "vendor" || name == "node_modules"
}

func packageName(files []*File) string {
	name := ""
	for _, f := range files {
		if !f.Test {
			return f.Syntax.Name.Name
		}
		name = strings.TrimSuffix(f.Syntax.Name.Name, "_test")
	}
	return name
}

// Production lists the package's files that are not tests.
func (p *Package) Production() []*File {
	var files []*File
	for _, f := range p.Files {
		if !f.Test {
			files = append(files, f)
		}
	}
	return files
}

// Helper says that the package exists for tests alone: it lies under test, or its last element ends in "test".
func (p *Package) Helper() bool {
	return within(p.Dir, "test") || strings.HasSuffix(path.Base(p.Dir), "test")
}

// Top is the first element of the package's folder: the unit of the import table.
func (p *Package) Top() string {
	top, _, _ := strings.Cut(p.Dir, "/")
	return top
}

// within says that dir is folder or lies below it.
func within(dir, folder string) bool {
	return dir == folder || strings.HasPrefix(dir, folder+"/")
}

// withinAny says that dir is one of the folders or lies below one.
func withinAny(dir string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return within(dir, f) })
}

// imports lists the import specs of a file with their unquoted paths.
func imports(f *File) []importSpec {
	var specs []importSpec
	for _, s := range f.Syntax.Imports {
		specs = append(specs, importSpec{path: strings.Trim(s.Path.Value, `"`), pos: s.Pos()})
	}
	return specs
}

type importSpec struct {
	path string
	pos  token.Pos
}

// local gives the folder of an import path of this module.
func (s importSpec) local() (dir string, ok bool) {
	if s.path == Module {
		return ".", true
	}
	return strings.CutPrefix(s.path, Module+"/")
}

// standard says that the import is of the standard library: its first element has no dot.
func (s importSpec) standard() bool {
	first, _, _ := strings.Cut(s.path, "/")
	return !strings.Contains(first, ".")
}

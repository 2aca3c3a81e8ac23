package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"path"
	"regexp"
	"strings"
)

// typed is what the type checker resolves without looking at any other package: which identifier names which object of the
// same package, and which names an import. That is all the rules need, and it takes milliseconds.
type typed struct {
	uses map[*ast.Ident]types.Object
	defs map[*ast.Ident]types.Object
	// scope is the package's scope; test files of package x_test have their own and are not in it.
	scope *types.Scope
}

// resolve type-checks the package once; errors are expected, because imports are empty shells.
func (t *Tree) resolve(p *Package) *typed {
	if p.types != nil {
		return p.types
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	var inside, outside []*ast.File
	for _, f := range p.Files {
		if strings.HasSuffix(f.Syntax.Name.Name, "_test") {
			outside = append(outside, f.Syntax)
		} else {
			inside = append(inside, f.Syntax)
		}
	}
	config := types.Config{Importer: shellImporter{}, Error: func(error) {}}
	pkg := types.NewPackage(Module+"/"+p.Dir, p.Name)
	_ = types.NewChecker(&config, t.Fset, pkg, info).Files(inside) // errors name what the shells lack
	other := types.NewPackage(Module+"/"+p.Dir+"_test", p.Name+"_test")
	_ = types.NewChecker(&config, t.Fset, other, info).Files(outside) // as above
	p.types = &typed{uses: info.Uses, defs: info.Defs, scope: pkg.Scope()}
	return p.types
}

// shellImporter gives an empty package for each path, so that no import needs to be built or downloaded.
type shellImporter struct{}

var versionElement = regexp.MustCompile(`^v[0-9]+$`)

func (shellImporter) Import(importPath string) (*types.Package, error) {
	if importPath == "unsafe" {
		return types.Unsafe, nil
	}
	elements := strings.Split(importPath, "/")
	if len(elements) > 1 && versionElement.MatchString(elements[len(elements)-1]) {
		elements = elements[:len(elements)-1]
	}
	pkg := types.NewPackage(importPath, path.Base(strings.Join(elements, "/")))
	pkg.MarkComplete()
	return pkg, nil
}

// selected gives the import path and the name of an expression such as http.DefaultClient.
func (ty *typed) selected(e ast.Expr) (importPath, name string, ok bool) {
	sel, ok := ast.Unparen(e).(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	id, ok := sel.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	pkg, ok := ty.uses[id].(*types.PkgName)
	if !ok {
		return "", "", false
	}
	return pkg.Imported().Path(), sel.Sel.Name, true
}

// isSelected says that e is importPath.name for one of the names.
func (ty *typed) isSelected(e ast.Expr, importPath string, names ...string) bool {
	p, n, ok := ty.selected(e)
	if !ok || p != importPath {
		return false
	}
	for _, name := range names {
		if n == name {
			return true
		}
	}
	return false
}

// position renders where a node stands, for messages.
func (t *Tree) position(pos token.Pos) (file string, line int) {
	p := t.Fset.Position(pos)
	return p.Filename, p.Line
}

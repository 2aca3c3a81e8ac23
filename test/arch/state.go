package arch

import (
	"go/ast"
	"go/token"
	"go/types"
	"strings"
)

var noInitRule = Rule{
	Name:   "no-init",
	Reason: "what runs before main cannot be configured, tested or ordered",
	Check: func(t *Tree) []Violation {
		var found []Violation
		for _, p := range t.Packages {
			for _, f := range p.Files {
				for _, d := range f.Syntax.Decls {
					if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
						found = append(found, t.violation(fn.Pos(), "func init; do it in New, or compute it where it is used"))
					}
				}
			}
		}
		return found
	},
}

var packageVarsRule = Rule{
	Name:   "package-vars",
	Reason: "package variables are error sentinels and tables that never change: anything else is state that two servers in one process share",
	Check: func(t *Tree) []Violation {
		var found []Violation
		for _, p := range t.Packages {
			ty := t.resolve(p)
			for _, f := range p.Production() {
				found = append(found, t.statefulVars(p, ty, f)...)
			}
			for _, f := range p.Files {
				found = append(found, t.writesToVars(ty, f)...)
			}
		}
		return found
	},
}

// statefulVars finds declarations that can only be meant to change.
func (t *Tree) statefulVars(p *Package, ty *typed, f *File) []Violation {
	var found []Violation
	for _, d := range f.Syntax.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.VAR {
			continue
		}
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			if spec.Names[0].Name == "_" {
				continue
			}
			name := spec.Names[0].Name
			switch {
			case len(spec.Values) == 0 && !embedded(decl, spec) && !(p.Name == "main" && name == "version"):
				found = append(found, t.violation(spec.Pos(), "package variable %s has no value, so something must set it later", name))
			case holdsLock(ty, spec):
				found = append(found, t.violation(spec.Pos(), "package variable %s is a synchronised cell, made to change", name))
			}
		}
	}
	return found
}

func embedded(decl *ast.GenDecl, spec *ast.ValueSpec) bool {
	for _, doc := range []*ast.CommentGroup{decl.Doc, spec.Doc} {
		if doc == nil {
			continue
		}
		for _, c := range doc.List {
			if strings.HasPrefix(c.Text, "//go:embed ") {
				return true
			}
		}
	}
	return false
}

// holdsLock says that the variable's type, written or taken from its literal, comes from sync or sync/atomic, or is a channel.
func holdsLock(ty *typed, spec *ast.ValueSpec) bool {
	var written []ast.Expr
	if spec.Type != nil {
		written = append(written, spec.Type)
	}
	for _, v := range spec.Values {
		if u, ok := v.(*ast.UnaryExpr); ok {
			v = u.X
		}
		switch v := v.(type) {
		case *ast.CompositeLit:
			written = append(written, v.Type)
		case *ast.CallExpr:
			if id, ok := v.Fun.(*ast.Ident); ok && id.Name == "make" && len(v.Args) > 0 {
				written = append(written, v.Args[0])
			}
		}
	}
	for _, w := range written {
		if ix, ok := w.(*ast.IndexExpr); ok { // atomic.Pointer[T]
			w = ix.X
		}
		if _, ok := w.(*ast.ChanType); ok {
			return true
		}
		if w == nil {
			continue
		}
		if from, _, ok := ty.selected(w); ok && (from == "sync" || from == "sync/atomic") {
			return true
		}
	}
	return false
}

// writesToVars finds assignments to package variables, to their elements and fields, and to those of other packages of ours.
func (t *Tree) writesToVars(ty *typed, f *File) []Violation {
	var found []Violation
	target := func(e ast.Expr) {
		if name, ok := packageVar(ty, e); ok {
			found = append(found, t.violation(e.Pos(), "package variable %s is written to", name))
		}
	}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			if n.Tok != token.DEFINE {
				for _, left := range n.Lhs {
					target(left)
				}
			}
		case *ast.IncDecStmt:
			target(n.X)
		case *ast.RangeStmt:
			if n.Tok == token.ASSIGN {
				for _, left := range []ast.Expr{n.Key, n.Value} {
					if left != nil {
						target(left)
					}
				}
			}
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				target(n.X)
			}
		case *ast.CallExpr:
			if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
				target(n.Args[0])
			}
		}
		return true
	})
	return found
}

// packageVar finds the variable at the root of an expression such as x, x[i], x.f or pkg.X. Of another module's variables
// only the assignment itself counts, hence any upper-case selector of an import.
func packageVar(ty *typed, e ast.Expr) (name string, ok bool) {
	for {
		switch x := ast.Unparen(e).(type) {
		case *ast.IndexExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.SelectorExpr:
			if from, n, ok := ty.selected(x); ok {
				return from + "." + n, true
			}
			e = x.X
		case *ast.Ident:
			v, ok := ty.uses[x].(*types.Var)
			if !ok || v.IsField() || v.Parent() != ty.scope {
				return "", false
			}
			return x.Name, true
		default:
			return "", false
		}
	}
}

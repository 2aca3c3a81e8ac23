package arch

import (
	"go/ast"
)

var boundedReadsRule = Rule{
	Name:   "bounded-reads",
	Reason: "io.ReadAll without a limit lets a stranger choose how much memory we use; wrap its argument in io.LimitReader or http.MaxBytesReader in the same call",
	Check: func(t *Tree) []Violation {
		return eachNode(t, false, func(ty *typed, n ast.Node) (string, bool) {
			call, ok := n.(*ast.CallExpr)
			if !ok || !ty.isSelected(call.Fun, "io", "ReadAll") || len(call.Args) != 1 {
				return "", false
			}
			return "io.ReadAll of an unlimited reader", !limited(ty, call.Args[0])
		})
	},
}

func limited(ty *typed, e ast.Expr) bool {
	switch e := ast.Unparen(e).(type) {
	case *ast.CallExpr:
		return ty.isSelected(e.Fun, "io", "LimitReader") || ty.isSelected(e.Fun, "net/http", "MaxBytesReader")
	case *ast.UnaryExpr:
		lit, ok := e.X.(*ast.CompositeLit)
		return ok && lit.Type != nil && ty.isSelected(lit.Type, "io", "LimitedReader")
	}
	return false
}

var tlsVerificationRule = Rule{
	Name:     "tls-verification",
	Absolute: true,
	Reason:   "a connection that is not verified goes to whoever answers; trust a private CA by RootCAs instead",
	Check: func(t *Tree) []Violation {
		return eachNode(t, false, func(_ *typed, n ast.Node) (string, bool) {
			var name, value ast.Expr
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				name, value = n.Key, n.Value
			case *ast.AssignStmt:
				if len(n.Lhs) != 1 || len(n.Rhs) != 1 {
					return "", false
				}
				sel, ok := n.Lhs[0].(*ast.SelectorExpr)
				if !ok {
					return "", false
				}
				name, value = sel.Sel, n.Rhs[0]
			default:
				return "", false
			}
			id, ok := name.(*ast.Ident)
			if !ok || id.Name != "InsecureSkipVerify" {
				return "", false
			}
			off, ok := value.(*ast.Ident)
			return "InsecureSkipVerify is set to other than false", !ok || off.Name != "false"
		})
	},
}

var noSkipRule = Rule{
	Name:   "no-skip",
	Reason: "a test that skips itself passes without having looked; let it fail and say what to install",
	Check: func(t *Tree) []Violation {
		return eachNode(t, true, func(ty *typed, n ast.Node) (string, bool) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return "", false
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return "", false
			}
			id, ok := sel.X.(*ast.Ident)
			if !ok || (id.Name != "t" && id.Name != "b" && id.Name != "f" && id.Name != "tb") {
				return "", false
			}
			name := sel.Sel.Name
			return "the test can skip itself", name == "Skip" || name == "Skipf" || name == "SkipNow"
		})
	},
}

var goleakRule = Rule{
	Name:   "goroutine-leaks",
	Reason: "when Run returns, no goroutine of it is left: a package that starts some proves it with goleak.VerifyTestMain in its tests",
	Check: func(t *Tree) []Violation {
		var found []Violation
		for _, p := range t.Packages {
			if within(p.Dir, "cmd") || p.Helper() {
				continue
			}
			start, verified := ast.Node(nil), false
			ty := t.resolve(p)
			for _, f := range p.Files {
				ast.Inspect(f.Syntax, func(n ast.Node) bool {
					switch n := n.(type) {
					case *ast.GoStmt:
						if start == nil && !f.Test {
							start = n
						}
					case *ast.CallExpr:
						verified = verified || f.Test && ty.isSelected(n.Fun, "go.uber.org/goleak", "VerifyTestMain")
					}
					return true
				})
			}
			if start != nil && !verified {
				found = append(found, t.violation(start.Pos(), "%s starts goroutines, but no TestMain of it calls goleak.VerifyTestMain", p.Dir))
			}
		}
		return found
	},
}

// eachNode asks bad about every node of the files that ship, or, with tests, of every file.
func eachNode(t *Tree, tests bool, bad func(*typed, ast.Node) (text string, is bool)) []Violation {
	var found []Violation
	for _, p := range t.Packages {
		if p.Helper() && !tests {
			continue
		}
		ty := t.resolve(p)
		for _, f := range p.Files {
			if f.Test && !tests {
				continue
			}
			ast.Inspect(f.Syntax, func(n ast.Node) bool {
				if n == nil {
					return false
				}
				if text, is := bad(ty, n); is {
					found = append(found, t.violation(n.Pos(), "%s", text))
				}
				return true
			})
		}
	}
	return found
}

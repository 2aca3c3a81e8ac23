package policy

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// guard is a part of a condition that all of it stands or falls with: a name that must have one of some texts, as in
// principal.claims.team == "ops" or mcp.tool in ["query", "explain"]. If it has another text the condition is false,
// whatever the rest says, even where the rest is an error (CEL, "Logical Operators"). Most rules are told apart by that,
// without an evaluation.
type guard struct {
	name  string // of a variable
	claim string // of one of principal.claims; "" for a variable that is a text itself
	texts []string
}

// guardsOf finds the guards of a condition.
func guardsOf(checked *cel.Ast) []guard {
	native := checked.NativeRep()
	return appendGuards(nil, native, native.Expr())
}

// appendGuards goes through what is joined by &&.
func appendGuards(found []guard, checked *ast.AST, e ast.Expr) []guard {
	if e.Kind() != ast.CallKind {
		return found
	}
	call := e.AsCall()
	switch args := call.Args(); call.FunctionName() {
	case operators.LogicalAnd:
		for _, arg := range args {
			found = appendGuards(found, checked, arg)
		}
	case operators.Equals:
		if g, ok := guardOf(checked, args[0], args[1]); ok {
			return append(found, g)
		}
		if g, ok := guardOf(checked, args[1], args[0]); ok {
			return append(found, g)
		}
	case operators.In:
		if args[1].Kind() == ast.ListKind {
			if g, ok := guardOf(checked, args[0], args[1].AsList().Elements()...); ok {
				return append(found, g)
			}
		}
	}
	return found
}

// guardOf makes the guard that a name is one of some values, if that is what is compared.
func guardOf(checked *ast.AST, name ast.Expr, values ...ast.Expr) (g guard, ok bool) {
	if variable := variableOf(checked, name); variable != "" {
		g.name = variable
	} else if name.Kind() == ast.SelectKind && !name.AsSelect().IsTestOnly() && variableOf(checked, name.AsSelect().Operand()) == varClaims {
		g.name, g.claim = varClaims, name.AsSelect().FieldName()
	} else {
		return g, false
	}
	for _, v := range values {
		if v.Kind() != ast.LiteralKind {
			return g, false
		}
		text, isText := v.AsLiteral().(types.String)
		if !isText {
			return g, false
		}
		g.texts = append(g.texts, string(text))
	}
	return g, true
}

// variableOf is the name of the variable that an expression is, or "".
func variableOf(checked *ast.AST, e ast.Expr) string {
	if e.Kind() != ast.IdentKind && e.Kind() != ast.SelectKind {
		return ""
	}
	if reference := checked.ReferenceMap()[e.ID()]; reference != nil {
		return reference.Name
	}
	return ""
}

// rulesOut reports whether the guard alone makes the condition false.
func (g *guard) rulesOut(r *Request, known knowledge) bool {
	var text string
	switch g.name {
	case varIssuer:
		text = r.Principal.Issuer
	case varSubject:
		text = r.Principal.Subject
	case varServer:
		text = r.Server
	case varClaims:
		claim, ok := r.Principal.Claims[g.claim].(string)
		if g.claim == "" || !ok {
			return false // an error, or false by CEL's own rules
		}
		text = claim
	default:
		if known == noMessage || known == noResource && g.name == varResource {
			return false
		}
		switch g.name {
		case varMethod:
			text = r.Message.Method
		case varTool:
			text = r.tool()
		case varPrompt:
			text = r.prompt()
		case varResource:
			text = r.resource()
		default:
			return false
		}
	}
	return !slices.Contains(g.texts, text)
}

package policy

import (
	"fmt"
	"strconv"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// maxShown is the most of a value that an explanation shows, in bytes.
const maxShown = 120

// Explanation says why a request is decided as it is. It holds values of the request, and is for whoever wrote that.
type Explanation struct {
	// Decision is the outcome.
	Decision Decision
	// Rules are all rules, in their order. None if the policy is open.
	Rules []ExplainedRule
}

// ExplainedRule is what one rule says of the request.
type ExplainedRule struct {
	// Name, Allow and Report are the rule's.
	Name          string
	Allow, Report bool
	// Covers is whether it is about such messages of that server.
	Covers bool
	// Holds is whether its condition is true; true also if it has none. False if it does not cover the request.
	Holds bool
	// Err is why the condition could not be evaluated. Nil if it could.
	Err error
	// Parts are the parts of the condition with what each evaluated to, the smaller ones first.
	Parts []ExplainedPart
}

// ExplainedPart is a part of a condition and its value.
type ExplainedPart struct{ Text, Value string }

// Explain decides a request, and says how each rule judged it.
func (p Policy) Explain(request Request) Explanation {
	e := Explanation{Decision: p.Decide(request)}
	for i := range p.rules {
		r := &p.rules[i]
		explained := ExplainedRule{Name: r.label, Allow: r.Allow, Report: r.Report, Covers: r.covers(&request)}
		if explained.Covers {
			explained.Holds = true
			if r.when != nil {
				explained.Holds, explained.Parts, explained.Err = r.when.explain(&facts{request: &request, values: p.values})
			}
		}
		e.Rules = append(e.Rules, explained)
	}
	return e
}

// explain evaluates all parts of the condition, also those that do not matter for the outcome.
func (c *condition) explain(f *facts) (holds bool, parts []ExplainedPart, err error) {
	program, err := c.env.Program(c.ast, cel.EvalOptions(cel.OptExhaustiveEval), cel.CostLimit(maxSpent))
	if err != nil {
		return false, nil, err
	}
	out, details, err := program.Eval(f)
	if details == nil || details.State() == nil {
		return out == types.True, nil, err
	}
	native := c.ast.NativeRep()
	seen := make(map[string]bool)
	ast.PostOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.LiteralKind || e.Kind() == ast.ListKind {
			return
		}
		value, ok := details.State().Value(e.ID())
		if !ok {
			return
		}
		text, textErr := cel.ExprToString(e, native.SourceInfo())
		if textErr != nil || seen[text] {
			return
		}
		seen[text] = true
		parts = append(parts, ExplainedPart{text, show(value)})
	}))
	return out == types.True, parts, err
}

// show gives a value in one bounded line.
func show(value ref.Val) string {
	var text string
	switch value := value.(type) {
	case types.String:
		text = strconv.Quote(string(value))
	case *types.Err:
		text = "error: " + value.Error()
	default:
		text = fmt.Sprintf("%v", value.Value())
	}
	if len(text) <= maxShown {
		return text
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

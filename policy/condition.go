package policy

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

// Bounds of a condition. A unit of cost is about one operation, and one more for every ten bytes of a text that is read.
const (
	maxCondition = 4096    // characters
	maxNesting   = 32      // of brackets and calls in it
	maxCost      = 50_000  // of one evaluation, at sizes that calls have
	maxSpent     = 200_000 // of one evaluation, whatever the call: what costs more is an error
)

// The sizes that calls are taken to have when a condition is judged before there is one.
const (
	usualText = 1000 // bytes
	usualList = 100  // elements, and what may be anything
)

// The names that a condition may use.
const (
	varIssuer   = "principal.issuer"
	varSubject  = "principal.subject"
	varClaims   = "principal.claims"
	varServer   = "server"
	varMethod   = "mcp.method"
	varTool     = "mcp.tool"
	varPrompt   = "mcp.prompt"
	varResource = "mcp.resource"
	varArgs     = "mcp.args"
	varParams   = "mcp.params"
	varSource   = "source.ip"
	varNow      = "now"
)

// language holds what conditions are compiled with. It is made once for each policy.
type language struct {
	env *cel.Env
}

func newLanguage() (*language, error) {
	env, err := cel.NewEnv(
		cel.Variable(varIssuer, cel.StringType),
		cel.Variable(varSubject, cel.StringType),
		cel.Variable(varClaims, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(varServer, cel.StringType),
		cel.Variable(varMethod, cel.StringType),
		cel.Variable(varTool, cel.StringType),
		cel.Variable(varPrompt, cel.StringType),
		cel.Variable(varResource, cel.StringType),
		cel.Variable(varArgs, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(varParams, cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable(varSource, cel.StringType),
		cel.Variable(varNow, cel.TimestampType),
		cel.ParserExpressionSizeLimit(maxCondition),
		cel.ParserRecursionLimit(maxNesting),
		ext.Network(),
	)
	return &language{env}, err
}

// condition is a compiled when: of a rule.
type condition struct {
	env  *cel.Env
	ast  *cel.Ast
	full cel.Program // for a call
	part cel.Program // for what is not known whole, such as a tool in a list

	guards []guard
}

// wrong is what is wrong with a condition, and where in it.
type wrong struct {
	line, column int // from 1; 0 where there is no place
	text         string
}

// Error implements error.
func (w *wrong) Error() string {
	if w.line == 0 {
		return "when: " + w.text
	}
	return fmt.Sprintf("when: line %d, column %d: %s", w.line, w.column, w.text)
}

// compile checks a condition: that it is CEL, that its types fit, and that it cannot cost more than a call may.
func (l *language) compile(text string) (*condition, error) {
	if strings.TrimSpace(text) == "" {
		return nil, &wrong{text: "it is empty; leave it out to cover every call"}
	}
	checked, issues := l.env.Compile(text)
	if issues.Err() != nil {
		var all []error
		for _, e := range issues.Errors() {
			place := &wrong{text: explainIssue(e.Message)}
			if e.Location.Line() > 0 {
				place.line, place.column = e.Location.Line(), e.Location.Column()+1
			}
			all = append(all, place)
		}
		return nil, errors.Join(all...)
	}
	if checked.OutputType() != cel.BoolType {
		return nil, &wrong{text: fmt.Sprintf("it gives %s, and must be true or false; compare what may be anything, as in mcp.args.force == true", typeName(checked.OutputType()))}
	}
	estimate, err := l.env.EstimateCost(checked, usual{})
	if err != nil {
		return nil, &wrong{text: "what it costs cannot be told: " + err.Error()}
	}
	if estimate.Max > maxCost {
		return nil, &wrong{text: fmt.Sprintf("it could cost %d for one call, and may cost %d: take loops out of loops", estimate.Max, maxCost)}
	}
	c := &condition{env: l.env, ast: checked, guards: guardsOf(checked)}
	var options []cel.ProgramOption
	if grows(checked) {
		options = append(options, cel.CostLimit(maxSpent))
	}
	if c.full, err = l.env.Program(checked, append(options, cel.EvalOptions(cel.OptOptimize))...); err != nil {
		return nil, &wrong{text: err.Error()}
	}
	if c.part, err = l.env.Program(checked, append(options, cel.EvalOptions(cel.OptOptimize, cel.OptPartialEval))...); err != nil {
		return nil, &wrong{text: err.Error()}
	}
	return c, nil
}

// grows reports whether what a call holds can make the condition cost much more than reading it once. All else is a fixed
// number of operations, each of which looks at a text at most once.
func grows(checked *cel.Ast) bool {
	return len(ast.MatchDescendants(ast.NavigateAST(checked.NativeRep()), func(e ast.NavigableExpr) bool {
		return e.Kind() == ast.ComprehensionKind || e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "matches"
	})) > 0
}

// explainIssue adds what to do to an error whose cause is not plain.
func explainIssue(text string) string {
	if strings.HasPrefix(text, "undeclared reference to 'principal") || strings.HasPrefix(text, "undeclared reference to 'mcp'") || strings.HasPrefix(text, "undeclared reference to 'source'") {
		return text + "; there are principal.issuer, principal.subject, principal.claims, server, mcp.method, mcp.tool, mcp.prompt, mcp.resource, mcp.args, mcp.params, source.ip and now"
	}
	return text
}

func typeName(t *cel.Type) string {
	if t == cel.DynType {
		return "a value of any type"
	}
	return "a " + t.String()
}

// usual estimates sizes at those that calls have.
type usual struct{}

// EstimateSize implements cost.Estimator.
func (usual) EstimateSize(element cost.AstNode) *cost.SizeEstimate {
	text := cost.SizeEstimate{Max: usualText}
	switch element.Type().Kind() {
	case types.StringKind, types.BytesKind:
		return &text
	case types.ListKind, types.MapKind:
		return &cost.SizeEstimate{Max: usualList}
	case types.DynKind:
		return &cost.SizeEstimate{Max: usualList}
	}
	return nil
}

// EstimateCallCost implements cost.Estimator.
func (usual) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// truth is what a condition says of a call.
type truth uint8

const (
	no truth = iota
	yes
	maybe // it depends on what is not known
)

// knowledge is what is known of a request.
type knowledge uint8

const (
	whole      knowledge = iota
	noArgs               // all but the arguments: it has not been made yet
	noResource           // nor which resource it would be about
	noMessage            // who would make it, and when: the conversation has only begun
)

// holds evaluates the condition as far as what is known decides it.
func (c *condition) holds(f *facts, known knowledge) (truth, error) {
	for i := range c.guards {
		if c.guards[i].rulesOut(f.request, known) {
			return no, nil
		}
	}
	if known == whole {
		return c.judge(c.full, f)
	}
	vars, err := cel.PartialVars(f, unknown(known)...)
	if err != nil {
		return no, err
	}
	return c.judge(c.part, vars)
}

// unknown lists what is not known.
func unknown(known knowledge) []*cel.AttributePatternType {
	patterns := []*cel.AttributePatternType{cel.AttributePattern(varArgs), cel.AttributePattern(varParams)}
	switch known {
	case noResource:
		patterns = append(patterns, cel.AttributePattern(varResource))
	case noMessage:
		patterns = append(patterns, cel.AttributePattern(varMethod), cel.AttributePattern(varTool), cel.AttributePattern(varPrompt), cel.AttributePattern(varResource))
	}
	return patterns
}

func (c *condition) judge(program cel.Program, vars any) (truth, error) {
	out, _, err := program.Eval(vars)
	switch {
	case err != nil:
		return no, err
	case out == types.True:
		return yes, nil
	case out == types.False:
		return no, nil
	case types.IsUnknown(out):
		return maybe, nil
	}
	return no, errors.New("it gives no truth value")
}

package policy_test

import (
	"strings"
	"testing"

	"sallyport.dev/policy"
)

func TestExplain(t *testing.T) {
	named := when(`principal.claims.team == "ops" && mcp.tool in ["query"] && mcp.args.limit <= 100`)
	named.Name = "ops"
	p := mustNew(t,
		deny(`mcp.tool == "drop"`),
		named,
		when(`principal.claims.tenant == "x"`),
		policy.Rule{Servers: []string{"wiki"}, Allow: true},
	)
	got := p.Explain(ask("tools/call", "query", arguments(`{"limit":500}`)))
	if got.Decision.Allow || len(got.Rules) != 4 {
		t.Fatalf("%+v", got)
	}
	if r := got.Rules[0]; !r.Covers || r.Holds || r.Err != nil || r.Allow {
		t.Errorf("the first rule: %+v", r)
	}
	if r := got.Rules[1]; r.Name != "ops" || !r.Covers || r.Holds || r.Err != nil {
		t.Errorf("the second rule: %+v", r)
	}
	var parts []string
	for _, part := range got.Rules[1].Parts {
		parts = append(parts, part.Text+" = "+part.Value)
	}
	shown := strings.Join(parts, "\n")
	for _, want := range []string{`principal.claims.team = "ops"`, `principal.claims.team == "ops" = true`, `mcp.args.limit = 500`, `mcp.args.limit <= 100 = false`} {
		if !strings.Contains(shown, want) {
			t.Errorf("%s\nlacks %s", shown, want)
		}
	}
	if r := got.Rules[2]; r.Err == nil || r.Holds || !strings.Contains(r.Err.Error(), "tenant") {
		t.Errorf("the third rule: %+v", r)
	}
	if r := got.Rules[3]; r.Covers || r.Holds {
		t.Errorf("the fourth rule: %+v", r)
	}
	long := p.Explain(ask("tools/call", strings.Repeat("é", 200)))
	for _, part := range long.Rules[0].Parts {
		if len(part.Value) > 130 {
			t.Errorf("a value of %d bytes is shown", len(part.Value))
		}
	}
	if open := policy.Open().Explain(ask("tools/call", "query")); !open.Decision.Allow || open.Rules != nil {
		t.Errorf("%+v", open)
	}
}

package policy

import (
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/mcp"
)

// A guard never says what the whole condition would not.
func TestGuardsAgreeWithConditions(t *testing.T) {
	language, err := newLanguage()
	if err != nil {
		t.Fatal(err)
	}
	conditions := []string{
		`mcp.tool == "query"`, `"query" == mcp.tool`, `mcp.tool in ["query", "explain"]`, `mcp.tool in []`, `mcp.tool != "query"`,
		`principal.claims.team == "ops"`, `principal.claims.team in ["ops", "dev"]`, `principal.claims.level == "3"`, `principal.claims.none == "x"`,
		`principal.claims.team == "ops" && mcp.tool == "query"`, `mcp.args.x == 1 && mcp.tool == "query"`, `mcp.tool == "query" && mcp.args.x == 1`,
		`(mcp.tool == "query" || mcp.tool == "drop") && principal.subject == "olga"`, `!(mcp.tool == "query") && server == "orders"`,
		`mcp.tool == principal.claims.team`, `mcp.resource == "" && mcp.prompt == "" && mcp.method == "tools/call"`,
		`principal.issuer == "https://i" && principal.claims.team == mcp.tool`, `has(principal.claims.team) && principal.claims.team == "ops"`,
		`principal.claims.deep.team == "ops"`, `principal.claims == {"team": "ops"}`, `mcp.tool in ["query", mcp.prompt]`, `mcp.tool == "query" ? mcp.method == "x" : true`,
	}
	var requests []Request
	for _, claims := range []map[string]any{nil, {"team": "ops"}, {"team": "dev", "level": 3.0}, {"team": 7.0, "level": "3"}, {"deep": map[string]any{"team": "ops"}}} {
		for _, tool := range []string{"query", "drop", ""} {
			for _, args := range []string{"", `{"x":1}`, `{"x":"1"}`} {
				r := Request{Principal: auth.Principal{Issuer: "https://i", Subject: "olga", Claims: claims}, Server: "orders"}
				r.Message = mcp.Message{Method: "tools/call", Name: tool}
				if args != "" {
					r.Message.Arguments = []byte(args)
				}
				requests = append(requests, r)
			}
		}
	}
	guarded := 0
	for _, text := range conditions {
		with, err := language.compile(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		without := *with
		without.guards = nil
		guarded += len(with.guards)
		for i := range requests {
			for _, known := range []knowledge{whole, noArgs, noResource, noMessage} {
				f := func() *facts { return &facts{request: &requests[i], values: new(mcp.Values)} }
				got, gotErr := with.holds(f(), known)
				want, wantErr := without.holds(f(), known)
				if got != want || (gotErr == nil) != (wantErr == nil) {
					t.Errorf("%s, %d, known %d: %d, %v; without guards %d, %v", text, i, known, got, gotErr, want, wantErr)
				}
			}
		}
	}
	if guarded < 15 {
		t.Errorf("only %d guards were found", guarded)
	}
}

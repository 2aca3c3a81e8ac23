package policy_test

import (
	"fmt"
	"testing"

	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// twenty are rules as a team may have them for one server: what they deny is always looked at, and the last one allows.
func twenty() []policy.Rule {
	rules := []policy.Rule{
		deny(`principal.claims.guest == true`),
		deny(`mcp.tool in ["drop", "truncate", "grant"]`),
		deny(`mcp.tool == "query" && mcp.args.sql.contains("pg_sleep")`),
		deny(`!cidr("10.0.0.0/8").containsIP(source.ip)`),
	}
	for i := range 15 {
		rules = append(rules, when(fmt.Sprintf(`principal.claims.team == "team-%d" && mcp.tool in ["query", "explain"]`, i)))
	}
	return append(rules, when(`principal.claims.team == "ops" && mcp.tool in ["query", "explain"] && mcp.args.limit <= 100`))
}

func benchmarkRequest() policy.Request {
	r := ask("tools/call", "query", arguments(`{"sql":"SELECT id, total FROM orders WHERE customer = $1 ORDER BY id","params":[42],"limit":50}`))
	r.Principal.Claims["guest"] = false
	return r
}

// BenchmarkDecide decides a call by the last of 20 rules.
func BenchmarkDecide(b *testing.B) {
	p, asked := mustNew(b, twenty()...), benchmarkRequest()
	b.ReportAllocs()
	for b.Loop() {
		if !p.Decide(asked).Allow {
			b.Fatal("denied")
		}
	}
}

// BenchmarkRule decides by one rule.
func BenchmarkRule(b *testing.B) {
	for name, condition := range map[string]string{
		"none": ``, "tool": `mcp.tool == "query"`, "claim": `principal.claims.team == "ops"`, "in": `mcp.tool in ["query", "explain"]`,
		"args": `mcp.args.limit <= 100`, "contains": `mcp.args.sql.contains("pg_sleep") || true`, "cidr": `cidr("10.0.0.0/8").containsIP(source.ip)`,
	} {
		b.Run(name, func(b *testing.B) {
			p, asked := mustNew(b, when(condition)), benchmarkRequest()
			b.ReportAllocs()
			for b.Loop() {
				if !p.Decide(asked).Allow {
					b.Fatal("denied")
				}
			}
		})
	}
}

// BenchmarkShows filters one element of a list.
func BenchmarkShows(b *testing.B) {
	p, asked := mustNew(b, twenty()...), benchmarkRequest()
	asked.Message = mcp.Message{Kind: mcp.Request, Method: "tools/call", Name: "query"}
	b.ReportAllocs()
	for b.Loop() {
		if !p.Shows(asked) {
			b.Fatal("not shown")
		}
	}
}

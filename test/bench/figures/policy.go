package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"sallyport.dev/audit"
	"sallyport.dev/auth"
	"sallyport.dev/mcp"
	"sallyport.dev/policy"
)

// policyFigures are what policy and audit cost a call, one value a round.
type policyFigures struct {
	open, twenty, shows, audit, strict []time.Duration
}

// twentyRules are rules of one server: four that deny, which every call passes, and sixteen of which the last one allows.
func twentyRules() []policy.Rule {
	rule := func(when string, allow bool) policy.Rule {
		return policy.Rule{Servers: []string{"orders"}, When: when, Allow: allow}
	}
	rules := []policy.Rule{
		rule(`principal.claims.guest == true`, false),
		rule(`mcp.tool in ["drop", "truncate", "grant"]`, false),
		rule(`mcp.tool == "query" && mcp.args.sql.contains("pg_sleep")`, false),
		rule(`!cidr("10.0.0.0/8").containsIP(source.ip)`, false),
	}
	for i := range 15 {
		rules = append(rules, rule(fmt.Sprintf(`principal.claims.team == "team-%d" && mcp.tool in ["query", "explain"]`, i), true))
	}
	return append(rules, rule(`principal.claims.team == "ops" && mcp.tool in ["query", "explain"] && mcp.args.limit <= 100`, true))
}

// measurePolicy times decisions, a filtered list and lines of the audit log, each by itself.
func (p plan) measurePolicy(context.Context) (f policyFigures, err error) {
	twenty, err := policy.New(twentyRules())
	if err != nil {
		return f, err
	}
	asked := policy.Request{
		Principal: auth.Principal{Issuer: "https://idp.example.com", Subject: "olga", Claims: map[string]any{"team": "ops", "guest": false}},
		Server:    "orders", Source: netip.MustParseAddr("10.1.2.3"), Time: time.Now(),
		Message: mcp.Message{
			Kind: mcp.Request, Method: "tools/call", Name: "query",
			Arguments: []byte(`{"sql":"SELECT id, total FROM orders WHERE customer = $1 ORDER BY id","params":[42],"limit":50}`),
		},
	}
	dir, err := os.MkdirTemp("", "sallyport-figures-")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log, err := audit.Open(audit.Config{Mode: audit.Strict}, audit.Options{StateDir: dir})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	event := audit.Event{
		Time: time.Now(), RequestID: "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Issuer: "https://idp.example.com", Subject: "olga", Server: "orders", Method: "tools/call", Tool: "query",
		Arguments: audit.ArgumentsHash(asked.Message.Arguments), Rule: "rule 20", Decision: "allow", Credentials: []string{"orders/1"}, Outcome: "upstream", Delivered: "yes", Status: 200, Duration: time.Millisecond,
	}
	must := func(ok bool) error {
		if !ok {
			return errors.New("a decision is not as it should be")
		}
		return nil
	}
	list := asked
	list.Message.Arguments = nil
	for range p.rounds {
		for _, one := range []struct {
			into *[]time.Duration
			do   func() error
		}{
			{&f.open, func() error { return must(policy.Open().Decide(asked).Allow) }},
			{&f.twenty, func() error { return must(twenty.Decide(asked).Allow) }},
			{&f.shows, func() error { return must(twenty.Shows(list)) }},
			{&f.audit, func() error { return log.End(event) }},
			{&f.strict, func() error { return errors.Join(log.Begin(event), log.End(event)) }},
		} {
			took, err := spin(one.do)
			if err != nil {
				return f, err
			}
			*one.into = append(*one.into, took)
		}
	}
	return f, nil
}

// table is what they cost, in Markdown.
func (f policyFigures) table() string {
	row := func(what string, took []time.Duration) string {
		return fmt.Sprintf("| %s | %.1f µs |\n", what, float64(middle(took).Nanoseconds())/1000)
	}
	return "| part | cost |\n|---|--:|\n" +
		row("decide a call, `policy: open`", f.open) +
		row("decide a call by the last of 20 rules", f.twenty) +
		row("decide whether a list shows a tool, 20 rules", f.shows) +
		row("a line of the audit log, `best_effort`", f.audit) +
		row("the two lines of a call, `strict`", f.strict)
}

package attack

import (
	"fmt"
	"strings"
	"testing"

	"sallyport.dev/policy"
)

// guarded is the policy of one server: whoever calls may use one tool with bounded arguments, and read below one address.
// All other servers are open to everybody.
func guarded(t *testing.T, open []string) policy.Policy {
	t.Helper()
	p, err := policy.New([]policy.Rule{
		{Name: "others", Servers: open, Allow: true},
		{Name: "others-ask", Servers: open, FromServer: true, Allow: true},
		{Name: "no-links", Servers: []string{"hostile"}, FromServer: true, When: `mcp.method == "elicitation/create" && mcp.params.mode == "url"`},
		{Name: "adding", Servers: []string{"guarded"}, When: `mcp.tool == "add" && mcp.args.all(name, name in ["note", "limit"]) && (!has(mcp.args.limit) || mcp.args.limit < 100)`, Allow: true},
		{Name: "reading", Servers: []string{"guarded"}, When: `mcp.resource.startsWith("file:///docs/")`, Allow: true},
		{Name: "no-secrets", Servers: []string{"guarded"}, When: `mcp.resource.contains("secret")`},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// policyAttacks try to get past a policy: by a name that some reader takes for another, by what the policy does not look at,
// or by making it fail.
func policyAttacks() []attack {
	denied := want{status: 403, code: -32003, reason: "denied"}
	invalid := want{status: 400, code: -32600, reason: "invalid_request"}
	syntax := want{status: 400, code: -32700, reason: "parse_error"}
	passed := want{status: 200, hits: 1}
	var list []attack
	add := func(id, what, body string, w want, fields ...field) {
		list = append(list, attack{id: id, what: what, send: request{target: guardedPath, body: body, fields: fields}, want: w})
	}
	call := func(inner string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + inner + `}}`
	}
	named := func(name string) string { return call(`"name":"` + name + `","arguments":{}`) }
	with := func(arguments string) string { return call(`"name":"add","arguments":` + arguments) }
	read := func(method, uri string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{"uri":"` + uri + `"}}`
	}

	add("71", "the tool that is allowed", named("add"), passed)
	add("71", "the same, with an escape in its name", named(`\u0061dd`), passed)
	for _, c := range []struct{ what, name string }{
		{"in another case", "Add"},
		{"in capitals", "ADD"},
		{"with a space behind", "add "},
		{"with a tab before", `\tadd`},
		{"with a no-break space", "add\u00a0"},
		{"with a zero-width space", "a\u200bdd"},
		{"with a NUL behind", `add\u0000`},
		{"with a Cyrillic а", "аdd"},
		{"in full width", "ａｄｄ"},
		{"with a combining mark", "ad\u0323d"},
		{"prefixed by a server", "guarded__add"},
		{"with a slash", "guarded/add"},
		{"without a name", ""},
		{"as a glob", "*"},
		{"as a longer name", "add_all"},
		{"as two names", "add,rm"},
		{"of 5,000 bytes", long("a", 5000)},
	} {
		add("71", "a tool "+c.what, named(c.name), denied)
	}
	add("71", "`Arguments` beside `arguments`", call(`"name":"add","arguments":{"limit":1},"Arguments":{"limit":1000}`), invalid)
	add("71", "`arg\\u0075ments`", call(`"name":"add","arg\u0075ments":{"limit":1000}`), invalid)
	add("71", "`arguments` twice", call(`"name":"add","arguments":{"limit":1},"arguments":{"limit":1000}`), syntax)
	add("71", "`_meta` with another name", call(`"name":"rm","_meta":{"name":"add"},"arguments":{}`), denied)
	add("71", "a name that is no text", call(`"name":["add"],"arguments":{}`), invalid)

	var keys strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&keys, `,"k%d":%d`, i, i)
	}
	add("P1", "arguments within bounds", with(`{"limit":99,"note":"x"}`), passed)
	for _, c := range []struct{ what, arguments string }{
		{"above the bound", `{"limit":100}`},
		{"a number as a text", `{"limit":"5"}`},
		{"an argument more", `{"limit":5,"force":true}`},
		{"another case beside it", `{"limit":5,"Limit":5000}`},
		{"another case, escaped", `{"limit":5,"\u004cimit":5000}`},
		{"a dotless i beside it", `{"limit":5,"lımit":5000}`},
		{"a list in the place of the object", `[5]`},
		{"null in its place", `null`},
		{"a number that no reader holds", `{"limit":1e999}`},
		{"an object as the number", `{"limit":{"$gt":5}}`},
		{"300 KiB of them", `{"note":"` + strings.Repeat("a", 300<<10) + `"}`},
		{"100,000 names", `{"note":1` + keys.String() + `}`},
	} {
		add("P1", "arguments: "+c.what, with(c.arguments), denied)
	}
	add("P1", "arguments: a bound twice", with(`{"limit":5,"limit":5000}`), syntax)
	add("P1", "arguments: nested 100,000 deep", with(`{"note":`+strings.Repeat("[", 100_000)+strings.Repeat("]", 100_000)+`}`), syntax)
	add("P1", "arguments: nested 60 deep", with(`{"note":`+strings.Repeat("[", 60)+strings.Repeat("]", 60)+`}`), passed)
	add("P1", "arguments: 9007199254740993, above the bound", with(`{"limit":9007199254740993}`), denied)
	add("P1", "arguments: -0.0, below it", with(`{"limit":-0.0}`), passed)

	add("P2", "a resource that is allowed", read("resources/read", "file:///docs/plan.md"), passed)
	add("P2", "the same, with letters beyond ASCII and an encoded space", read("resources/read", "file:///docs/Größe%20der%20Pläne.md"), passed)
	for _, c := range []struct{ what, uri string }{
		{"`..`", "file:///docs/../etc/passwd"},
		{"`%2e%2e`", "file:///docs/%2e%2e/etc/passwd"},
		{"`.%2E`", "file:///docs/.%2E/etc/passwd"},
		{"`..%2f`", "file:///docs/..%2fetc/passwd"},
		{"`%252e%252e`", "file:///docs/%252e%252e/etc/passwd"},
		{"a backslash", `file:///docs/..\\etc\\passwd`},
		{"`%5c`", "file:///docs/..%5cetc"},
		{"`;`", "file:///docs/..;/etc/passwd"},
		{"a broken escape", "file:///docs/%zz"},
		{"another case", "FILE:///docs/plan.md"},
		{"another host", "file://evil/docs/plan.md"},
		{"another scheme", "https://docs/plan.md"},
		{"a rule that denies it", "file:///docs/secret.md"},
		{"a space before it", " file:///docs/plan.md"},
		{"`..` with a tab in it", `file:///docs/.\t./etc/passwd`},
		{"`..` with a line end behind", `file:///docs/..\r\n/etc/passwd`},
		{"`.%09.`", "file:///docs/.%09./etc/passwd"},
		{"`%252e%250a.`", "file:///docs/%252e%250a./etc/passwd"},
		{"`..` with a NUL behind", `file:///docs/..\u0000/etc/passwd`},
		{"`..%20`", "file:///docs/..%20/etc/passwd"},
		{"`..` with a byte order mark in it", `file:///docs/.\ufeff./etc/passwd`},
		{"`..` with a soft hyphen in it", `file:///docs/.\u00ad./etc/passwd`},
		{"`..` in full width", "file:///docs/．．/etc/passwd"},
		{"`／` behind `..`", "file:///docs/..／etc/passwd"},
		{"`‥`, which is two dots in one", "file:///docs/‥/etc/passwd"},
		{"`%c0%ae%c0%ae`", "file:///docs/%c0%ae%c0%ae/etc/passwd"},
	} {
		add("P2", "a resource: "+c.what, read("resources/read", c.uri), denied)
	}
	add("P2", "a subscription to another resource", read("resources/subscribe", "file:///etc/passwd"), denied)
	add("P2", "`Uri` beside `uri`", `{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///docs/a","Uri":"file:///etc/passwd"}}`, invalid)
	add("P2", "completion of another resource", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"file:///etc/{x}"},"argument":{"name":"x","value":""}}}`, denied)
	add("P2", "completion, `Ref` beside `ref`", `{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/resource","uri":"file:///docs/{x}"},"Ref":{"type":"ref/resource","uri":"file:///etc/{x}"}}}`, invalid)

	for _, method := range []string{
		"prompts/get", "logging/setLevel", "tasks/list", "tasks/result", "subscriptions/listen", "sampling/createMessage", "vendor/anything", "Tools/Call", "tools/call2", "initialize2",
	} {
		add("P3", "`"+method+"`, which no rule allows", `{"jsonrpc":"2.0","id":1,"method":"`+method+`","params":{"name":"add"}}`, denied)
	}
	add("P3", "a notification that no rule allows", `{"jsonrpc":"2.0","method":"notifications/vendor"}`, denied)
	add("P3", "`ping`, which opens a conversation", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, passed)

	batch := field{"MCP-Protocol-Version", "2025-03-26"}
	add("67", "a batch of two that are allowed", "["+named("add")+","+with(`{"limit":1}`)+"]", passed, batch)
	add("67", "a batch: one allowed, one denied", "["+named("add")+","+named("rm")+"]", denied, batch)
	add("67", "a batch: one denied, one allowed", "["+named("rm")+","+named("add")+"]", denied, batch)
	add("67", "a batch: an allowed request, a denied notification", "["+named("add")+`,{"jsonrpc":"2.0","method":"notifications/vendor"}]`, denied, batch)

	modern := `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"}}`
	head := func(name string) []field {
		return []field{{"MCP-Protocol-Version", "2026-07-28"}, {"Mcp-Method", "tools/call"}, {"Mcp-Name", name}}
	}
	add("70", "`Mcp-Name` says the allowed tool, the body another", call(`"name":"rm",`+modern), want{status: 400, code: -32020, reason: "header_mismatch"}, head("add")...)
	add("70", "both say another tool", call(`"name":"rm",`+modern), denied, head("rm")...)
	add("70", "both say the allowed tool", call(`"name":"add","arguments":{},`+modern), passed, head("add")...)
	return list
}

// jsonAgain are the bodies that two parsers read differently, sent where a policy reads them too. What is refused there is
// refused here, and what passes there is decided here.
func jsonAgain() []attack {
	decided := map[string]want{
		"nested 64 deep":             {status: 403, code: -32003, reason: "denied"}, // the arguments are no object
		"100,000 names in an object": {status: 403, code: -32003, reason: "denied"},
		"1e999":                      {status: 403, code: -32003, reason: "denied"},
	}
	var list []attack
	for _, a := range jsonAttacks() {
		a.send.target = guardedPath
		if w, ok := decided[a.what]; ok {
			a.want = w
		}
		list = append(list, a)
	}
	for _, a := range nameAttacks() {
		a.send.target = guardedPath
		if a.want.status == 200 { // well-formed and unknown
			a.want = want{status: 403, code: -32003, reason: "denied"}
		}
		list = append(list, a)
	}
	return list
}

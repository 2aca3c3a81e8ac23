package attack

import (
	"encoding/base64"
	"strings"
	"testing"
)

const revision = "2026-07-28"

// modern is an honest call of 2026-07-28; params is what comes before _meta,
// and fields replace the mirrored ones or are added to them.
func modern(method, params string, fields ...field) request {
	body := `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"` + revision + `"}}}`
	q := request{body: body}
	given := func(name string) bool {
		for _, f := range fields {
			if f.name == name {
				return true
			}
		}
		return false
	}
	for _, f := range []field{{"MCP-Protocol-Version", revision}, {"Mcp-Method", method}} {
		if !given(f.name) {
			q.fields = append(q.fields, f)
		}
	}
	for _, f := range fields {
		if f.value == absent {
			q.drop = append(q.drop, f.name)
			continue
		}
		q.fields = append(q.fields, f)
	}
	return q
}

// absent as a value leaves a field out.
const absent = "\x00absent"

// mirrorAttacks say one thing in the head and another in the body.
func mirrorAttacks() []attack {
	mismatch := want{status: 400, code: -32020, reason: "header_mismatch"}
	passed := want{status: 200, hits: 1}
	const add = `"name":"add"`
	name := field{"Mcp-Name", "add"}
	encode := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	call := func(fields ...field) request { return modern("tools/call", add, fields...) }
	withoutMeta := call(name)
	withoutMeta.body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}}`
	undated := call(field{"Mcp-Name", "rm"}, field{"MCP-Protocol-Version", "1"})
	undated.body = strings.Replace(undated.body, revision, "1", 1)
	batch := call(name)
	batch.body = "[" + batch.body + "]"
	session := call(name, field{"Mcp-Session-Id", "evil"})
	return []attack{
		{id: "70", what: "an honest call of 2026-07-28", send: call(name), want: passed},
		{id: "70", what: "Mcp-Method: tools/list over tools/call", send: call(name, field{"Mcp-Method", "tools/list"}), want: mismatch},
		{id: "70", what: "Mcp-Method in another case", send: call(name, field{"Mcp-Method", "Tools/Call"}), want: mismatch},
		{id: "70", what: "Mcp-Method missing", send: call(name, field{"Mcp-Method", absent}), want: mismatch},
		{id: "70", what: "Mcp-Method twice", send: call(name, field{"Mcp-Method", "tools/call"}, field{"Mcp-Method", "tools/call"}), want: mismatch},
		{id: "70", what: "Mcp-Name of another tool", send: call(field{"Mcp-Name", "rm"}), want: mismatch},
		{id: "70", what: "Mcp-Name missing", send: call(), want: mismatch},
		{id: "70", what: "Mcp-Name twice", send: call(name, field{"Mcp-Name", "rm"}), want: mismatch},
		{id: "70", what: "Mcp-Name in base64", send: call(field{"Mcp-Name", encode("add")}), want: passed},
		{id: "70", what: "Mcp-Name in base64, of another tool", send: call(field{"Mcp-Name", encode("rm")}), want: mismatch},
		{id: "70", what: "the base64 marker in capitals", send: call(field{"Mcp-Name", "=?BASE64?YWRk?="}), want: mismatch},
		{id: "70", what: "the base64 marker in mixed case", send: call(field{"Mcp-Name", "=?Base64?YWRk?="}), want: mismatch},
		{id: "70", what: "base64 of the URL alphabet or without padding", send: modern("tools/call", `"name":"a>"`, field{"Mcp-Name", "=?base64?YT4?="}), want: mismatch},
		{id: "70", what: "base64 with bits that do not count", send: modern("tools/call", `"name":"a"`, field{"Mcp-Name", "=?base64?YR==?="}), want: mismatch},
		{id: "70", what: "base64 markers that overlap", send: modern("tools/call", `"name":""`, field{"Mcp-Name", "=?base64?="}), want: mismatch},
		{id: "70", what: "a name that spells a marker, unencoded", send: modern("tools/call", `"name":"=?base64?YWRk?="`, field{"Mcp-Name", "=?base64?YWRk?="}), want: mismatch},
		{id: "70", what: "the version header missing", send: missingVersion(call(name)), want: mismatch},
		{id: "70", what: "an older version header over a body of 2026-07-28", send: call(name, field{"MCP-Protocol-Version", "2025-11-25"}), want: mismatch},
		{id: "70", what: "a later version header over a body of 2026-07-28", send: call(name, field{"MCP-Protocol-Version", "2027-01-01"}), want: mismatch},
		{id: "70", what: "the version header over a body without a version", send: withoutMeta, want: want{status: 400, code: -32602, reason: "invalid_params"}},
		{id: "70", what: "a version header that is no date", send: call(name, field{"MCP-Protocol-Version", "latest"}), want: mismatch},
		{id: "70", what: "Mcp-Name of another tool in a revision that is no date", send: undated, want: mismatch},
		{id: "70", what: "two version headers", send: call(name, field{"MCP-Protocol-Version", revision}, field{"MCP-Protocol-Version", "2025-11-25"}), want: mismatch},
		{id: "70", what: "a batch in 2026-07-28", send: batch, want: want{status: 400, code: -32600, reason: "invalid_request"}},
		{id: "70", what: "an MCP session in 2026-07-28: dropped", send: session, want: want{status: 200, hits: 1, check: func(t *testing.T, a answer, records []received) {
			t.Helper()
			noTrace("evil")(t, a, records)
		}}},
	}
}

// missingVersion leaves the version out of the head only.
func missingVersion(q request) request {
	q.drop = append(q.drop, "MCP-Protocol-Version")
	var fields []field
	for _, f := range q.fields {
		if f.name != "MCP-Protocol-Version" {
			fields = append(fields, f)
		}
	}
	q.fields = fields
	return q
}

// nameAttacks are methods that are no words of the protocol's grammar.
func nameAttacks() []attack {
	unknown := want{status: 404, code: -32601, reason: "unknown_method"}
	var list []attack
	for _, method := range []string{
		"tools/call ", " tools/call", "tools//call", "/tools/call", "tools/call/", "rpc.discover", "tools/call\\u0000", "tools\\ncall", "tools/../call",
		"töols/call", "tools／call", "tools/$call",
	} {
		list = append(list, attack{id: "72", what: "`" + method + "`", send: request{body: `{"jsonrpc":"2.0","id":1,"method":"` + method + `"}`}, want: unknown})
	}
	return append(list,
		attack{id: "72", what: "an empty method", send: request{body: `{"jsonrpc":"2.0","id":1,"method":""}`}, want: unknown},
		attack{id: "72", what: "a method of 300 bytes", send: request{body: `{"jsonrpc":"2.0","id":1,"method":"` + long("a", 300) + `"}`}, want: unknown},
		attack{id: "72", what: "`server/frobnicate`, well-formed and unknown: the upstream's to answer", send: request{body: `{"jsonrpc":"2.0","id":1,"method":"server/frobnicate"}`},
			want: want{status: 200, hits: 1}},
		attack{id: "72", what: "a number as the method", send: request{body: `{"jsonrpc":"2.0","id":1,"method":1}`}, want: want{status: 400, code: -32600, reason: "invalid_request"}},
	)
}

func long(s string, n int) string {
	b := make([]byte, 0, n*len(s))
	for range n {
		b = append(b, s...)
	}
	return string(b)
}

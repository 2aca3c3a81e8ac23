package attack

import (
	"strings"
	"testing"

	"sallyport.dev/test/stack"
)

// metaAttacks put into params._meta and into tool lists what somebody on the
// way could act on.
func metaAttacks() []attack {
	passed := want{status: 200, hits: 1}
	call := func(meta string) request {
		return request{body: `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","_meta":{` + meta + `}}}`}
	}
	long := strings.Repeat("a=b,", 1<<18)
	spoofs := `"io.modelcontextprotocol/principal":"admin","io.modelcontextprotocol/clientInfo":{"name":"root"},"io.modelcontextprotocol/sessionId":"x",` +
		`"io.modelcontextprotocol/server":"vault","io.modelcontextprotocol/clientCapabilities":{"admin":true}`
	declared := modern("tools/call", `"name":"add"`, field{"Mcp-Name", "add"})
	declared.body = strings.Replace(declared.body, `"_meta":{`, `"_meta":{`+spoofs+`,`, 1)
	return []attack{
		{id: "77", what: "`_meta.traceparent` of 1 MiB: passed as bytes", send: call(`"traceparent":"` + long + `"`), want: passed},
		{id: "77", what: "`_meta.baggage` of 1 MiB: passed as bytes", send: call(`"baggage":"` + long + `"`), want: passed},
		{id: "77", what: "`_meta.tracestate` of 5 MiB", send: call(`"tracestate":"` + strings.Repeat(long, 5) + `"`), want: want{status: 413, code: -32005, reason: "too_large"}},
		{id: "77", what: "`_meta` with names of the protocol's own that say who and where: passed as bytes", send: call(spoofs), want: passed},
		{id: "77", what: "the same in 2026-07-28", send: declared, want: passed},
		{id: "77", what: "`_meta.tenant` and `_meta.server` of others: passed as bytes", send: call(`"tenant":"globex","tunnel":"globex","server":"vault","principal":"second"`), want: passed},
		{id: "77", what: "`_meta` with 2026-07-28 under a head of 2025-11-25", send: call(`"io.modelcontextprotocol/protocolVersion":"2026-07-28"`), want: want{status: 400, code: -32020, reason: "header_mismatch"}},
		{id: "77", what: "`baggage` and `tracestate` in the head", send: request{fields: []field{{"Baggage", "user=evil"}}}, want: want{status: 200, hits: 1, check: noTrace("evil")}},
		{id: "78", what: "`$ref` to another host in the schema of a tool: passed, and never fetched", do: schema, want: want{status: 200, hits: 1}},
	}
}

// schema has the upstream list a tool whose schema refers to a place that
// counts who asks.
func schema(t *testing.T, r *rig, p proto) (answer, error) {
	list := `{"jsonrpc":"2.0","id":1,"method":"tools/list","result":{"tools":[{"name":"add","inputSchema":{"$schema":"` + r.trap.url + `/meta","$id":"` +
		r.trap.url + `/id","type":"object","properties":{"a":{"$ref":"` + r.trap.url + `/schema.json"}}},"icons":[{"src":"` + r.trap.url + `/icon.png"}]}]}}`
	body := strings.Replace(list, `"result"`, `"params"`, 1) // which the upstream sends back
	a, err := r.perform(t, attack{send: request{body: body}}, p)
	if err == nil && string(a.body) != string(stack.Echo([]byte(body))) {
		t.Errorf("the agent got %q", a.body)
	}
	return a, err
}

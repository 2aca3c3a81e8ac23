package attack

import "testing"

// script is an honest call that the upstream answers by a script.
func script(name string, fields ...field) request {
	return request{fields: append(fields, field{scriptField, name})}
}

// unfinished fails if what a stream must not say has arrived whole.
func unfinished(texts ...string) func(*testing.T, answer, []received) {
	return func(t *testing.T, a answer, _ []received) {
		t.Helper()
		mustLack(t, "the agent's stream", a.body, texts...)
	}
}

// eventAttacks are what an upstream may try on the event stream that answers a
// call. An agent could take it for the answer to another call, or for an order.
func eventAttacks() []attack {
	stopped := func(texts ...string) want {
		return want{status: 200, hits: 1, event: "-32019 `upstream_invalid`", check: unfinished(texts...)}
	}
	cut := func(texts ...string) want {
		return want{status: 200, hits: 1, cut: true, check: unfinished(texts...)}
	}
	fine := want{status: 200, hits: 1}
	newest := func(name string) request {
		return modern("tools/call", `"name":"add"`, field{"Mcp-Name", "add"}, field{scriptField, name})
	}
	return []attack{
		{id: "84", what: "an honest stream", send: script("an honest stream"), want: fine},
		{id: "84", what: "an honest stream of 2026-07-28", send: newest("an honest stream"), want: fine},
		{id: "84", what: "a forged `endpoint` event", send: script("endpoint"), want: stopped("evil.example")},
		{id: "84", what: "an event id in 2026-07-28", send: newest("id"), want: stopped("id: 7")},
		{id: "84", what: "an event id in 2025-11-25: passes", send: script("id"), want: fine},
		{id: "84", what: "`retry: 0`", send: script("retry 0"), want: stopped("retry")},
		{id: "84", what: "a response for another id", send: script("foreign response"), want: stopped("for another")},
		{id: "84", what: "a response for another id, without the end of its event", send: script("a foreign one at the end"), want: stopped("for another")},
		{id: "84", what: "a response for another id, of 100 KiB", send: script("a foreign one of 100 KiB"), want: cut("\"id\":2}\n\n")},
		{id: "84", what: "two responses", send: script("two responses"), want: cut("again")},
		{id: "84", what: "a response, then one for another id", send: script("a response, then a foreign"), want: cut("for another")},
		{id: "84", what: "a response, then a request", send: script("a response, then a request"), want: cut("sampling")},
		{id: "84", what: "a response, then a notification: passes", send: script("a response, then a notice"), want: fine},
		{id: "84", what: "a response, then a notification in 2026-07-28", send: newest("a response, then a notice"), want: cut("notifications")},
		{id: "84", what: "a request to the client in 2026-07-28", send: newest("a request"), want: stopped("sampling")},
		{id: "84", what: "a request to the client in 2025-11-25: passes", send: script("a request"), want: fine},
		{id: "84", what: "a bare CR between two messages of one event", send: script("a bare CR"), want: stopped(`"id":2`)},
		{id: "84", what: "data that is no JSON-RPC", send: script("no JSON"), want: stopped("hello")},
		{id: "84", what: "an id twice in one message", send: script("an id twice"), want: stopped(`"id":2`)},
		{id: "84", what: "an id in another case beside it", send: script("an id in capitals"), want: stopped(`"ID"`)},
		{id: "84", what: "a response on a GET stream", send: request{method: "GET", bodiless: true, drop: []string{"Content-Type"}, fields: []field{{scriptField, "an honest stream"}}},
			want: cut("result")},
	}
}

// legacyAttacks go against HTTP+SSE, by either end.
func legacyAttacks() []attack {
	listen := func(name string) request {
		q := request{method: "GET", target: "/t/acme/wiki/sse", bodiless: true, drop: []string{"Content-Type", "MCP-Protocol-Version"}}
		if name != "" {
			q.fields = []field{{scriptField, name}}
		}
		return q
	}
	stream := func(w want) want {
		if w.check == nil {
			w.check = func(*testing.T, answer, []received) {}
		}
		return w
	}
	post := func(query string) request { return request{target: "/t/acme/wiki/messages" + query} }
	bad := want{status: 400, code: -32600, reason: "invalid_request"}
	gone := want{status: 404, code: -32001, reason: "session_not_found"}
	return []attack{
		{id: "84", what: "an endpoint of another host", send: listen("an endpoint of another host"), want: stream(want{status: 200, hits: 1, cut: true, check: unfinished("endpoint", "evil")})},
		{id: "84", what: "a message before the endpoint", send: listen("no endpoint"), want: stream(want{status: 200, hits: 1, cut: true, check: unfinished("notifications")})},
		{id: "84", what: "a second endpoint", send: listen("two endpoints"), want: stream(want{status: 200, hits: 1, cut: true})},
		{id: "73", what: "a message without a session", send: post(""), want: bad},
		{id: "75", what: "a session that nobody gave", send: post("?sessionId=one.AAAAAAAAAAAAAAAAAAAAAA.x"), want: gone},
		{id: "75", what: "the upstream's own session", send: post("?sessionId=" + upstreamSession), want: gone},
		{id: "75", what: "a session in percent encoding", send: post("?sessionId=%61"), want: bad},
		{id: "75", what: "a session under another name", send: post("?session_id=a"), want: bad},
		{id: "75", what: "two sessions", send: post("?sessionId=a&sessionId=b"), want: bad},
		{id: "75", what: "a path for a session", send: post("?sessionId=/private"), want: bad},
		{id: "75", what: "a session of 3,000 bytes", send: post("?sessionId=" + long("a", 3000)), want: bad},
		{id: "75", what: "another agent's session", do: withPlace(true, func(s string) string { return s }), want: gone},
		{id: "75", what: "an altered session", do: withPlace(false, func(s string) string { return s[:len(s)-1] }), want: gone},
		{id: "75", what: "an MCP session of streamable HTTP", do: withSession(false, func(r *rig, id string) request { return post("?sessionId=" + id) }), want: gone},
		{id: "40", what: "POST to the stream's URL", send: request{target: "/t/acme/wiki/sse"}, want: want{status: 405, code: -32600, reason: "method_not_allowed", header: []field{{"Allow", "GET"}}}},
		{id: "70", what: "2026-07-28, which has no such transport", send: func() request { q := listen(""); q.fields = []field{{"MCP-Protocol-Version", revision}}; return q }(), want: bad},
	}
}

package attack

// methodAttacks use methods and upgrades that the endpoint does not have.
func methodAttacks() []attack {
	allow := []field{{"Allow", "POST"}}
	refused := want{status: 405, code: -32600, reason: "method_not_allowed", header: allow}
	var list []attack
	for _, m := range []string{"PUT", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "post", "TRACK"} {
		list = append(list, attack{id: "40", what: m, send: request{method: m}, want: refused})
	}
	modernHead := []field{{"MCP-Protocol-Version", "2026-07-28"}}
	websocket := []field{{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}}
	h2c := []field{{"Connection", "Upgrade, HTTP2-Settings"}, {"Upgrade", "h2c"}, {"HTTP2-Settings", "AAMAAABkAAQAAP__"}}
	asIs := func(s string) string { return s }
	passed := want{status: 200, hits: 1}
	return append(list,
		attack{id: "40", what: "HEAD", send: request{method: "HEAD", bodiless: true}, want: want{status: 405, header: allow}},
		attack{id: "40", what: "CONNECT to a host of its own choice", send: request{method: "CONNECT", target: "evil.example:443", authority: "evil.example:443", bodiless: true}, want: refused},
		attack{id: "40", what: "CONNECT to our own host", send: request{method: "CONNECT", target: "{host}", bodiless: true}, want: refused},
		attack{id: "40", what: "GET in 2026-07-28", send: request{method: "GET", bodiless: true, fields: modernHead}, want: refused},
		attack{id: "40", what: "DELETE in 2026-07-28", send: request{method: "DELETE", bodiless: true, fields: modernHead}, want: refused},
		attack{id: "40", what: "GET with a body", send: request{method: "GET"}, want: want{status: 400, code: -32600, reason: "invalid_request"}},
		attack{id: "40", what: "OPTIONS from a foreign origin", send: request{method: "OPTIONS", bodiless: true, fields: []field{{"Origin", "https://evil.example"}}},
			want: want{status: 403, code: -32003, reason: "bad_origin"}},
		attack{id: "40", what: "POST from a foreign origin", send: request{fields: []field{{"Origin", "https://evil.example"}}},
			want: want{status: 403, code: -32003, reason: "bad_origin"}},
		attack{id: "41", what: "POST with Upgrade: websocket: not upgraded", over: []proto{h1}, send: request{fields: websocket}, want: passed},
		attack{id: "41", what: "GET with Upgrade: websocket in 2026-07-28", over: []proto{h1}, send: request{method: "GET", bodiless: true, fields: append(websocket, modernHead...)}, want: refused},
		attack{id: "41", what: "POST with Upgrade: h2c, then an HTTP/2 preface", over: []proto{h1}, send: request{fields: h2c,
			edit: func(s string) string { return s + preface }}, want: want{status: 200, more: []int{405}, hits: 1, closed: true}},
		attack{id: "41", what: "an HTTP/2 preface on an HTTP/1.1 connection", over: []proto{h1}, send: request{bodiless: true,
			edit: func(string) string { return preface }}, want: want{status: 405, code: -32600, reason: "method_not_allowed", header: allow, closed: true}},
		attack{id: "41", what: "HTTP/0.9", over: []proto{h1}, send: request{bodiless: true, edit: func(string) string { return "GET " + wikiPath + "\r\n\r\n" }}, want: want{status: 400, closed: true}},
		attack{id: "41", what: "HTTP/3.0 in the request line", over: []proto{h1}, send: request{edit: replace(" HTTP/1.1\r\n", " HTTP/3.0\r\n")}, want: want{status: 505, closed: true}},
		attack{id: "41", what: "Upgrade in HTTP/2", over: []proto{h2}, send: request{fields: websocket}, want: want{status: 400}},
		attack{id: "41", what: "extended CONNECT in HTTP/2", over: []proto{h2}, send: request{method: "CONNECT", bodiless: true, fields: []field{{":protocol", "websocket"}}}, want: want{reset: "PROTOCOL_ERROR"}},
		attack{id: "43", what: "an expectation that does not exist", over: []proto{h1}, send: request{fields: []field{{"Expect", "200-ok"}}, edit: asIs}, want: want{status: 417, closed: true}},
	)
}

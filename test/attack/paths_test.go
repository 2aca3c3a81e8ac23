package attack

// pathAttacks spell a server's path in other ways, which some reader could
// resolve to a server: of this tunnel or of another.
func pathAttacks() []attack {
	notFound := want{status: 404, reason: "not_found"}
	bad := want{status: 400}
	reset := want{reset: "PROTOCOL_ERROR"}
	list := []attack{
		{id: "42", what: "a space in the path", over: []proto{h1}, send: request{target: "/t/acme/wiki/m cp"}, want: bad},
		{id: "42", what: "a path without its slash", over: []proto{h1}, send: request{target: wikiPath[1:]}, want: bad},
		{id: "42", what: "a path without its slash", over: []proto{h2}, send: request{target: wikiPath[1:]}, want: reset},
		{id: "42", what: "an incomplete percent sign", over: []proto{h1}, send: request{target: "/t/acme/wiki%2/mcp"}, want: bad},
		{id: "42", what: "an incomplete percent sign", over: []proto{h2}, send: request{target: "/t/acme/wiki%2/mcp"}, want: reset},
		{id: "42", what: "the asterisk form", send: request{target: "*"}, want: notFound},
	}
	for _, target := range []string{
		"//t/acme/vault/mcp", "/t//acme/vault/mcp", "/t/acme//vault/mcp", "/t/acme/vault//mcp",
		"/./t/acme/vault/mcp", "/t/acme/./vault/mcp", "/t/acme/vault/./mcp", "/t/acme/vault/mcp/.",
		"/t/acme/wiki/../vault/mcp", "/t/acme/wiki/mcp/../../vault/mcp", "/t/acme/../globex/wiki/mcp", "/t/../t/globex/wiki/mcp",
		"/.well-known/../t/acme/vault/mcp", "/.well-known/oauth-protected-resource/../../t/globex/wiki/mcp",
		"/t/acme/wiki/%2e%2e/vault/mcp", "/t/acme/%2e%2e/globex/wiki/mcp", "/t/acme/wiki/%2E%2e%2Fvault/mcp", "/t/acme/wiki/.%2e/vault/mcp",
		"/t/acme%2fvault/mcp", "/t/acme/vault%2Fmcp", "/t%2facme/vault/mcp", "/%74/acme/vault/mcp", "/t/acme/vaul%74/mcp", "/t/acme/vault/%6dcp",
		"/t/acme%5cvault/mcp", `/t/acme\vault\mcp`, `/t/acme/wiki\..\vault/mcp`,
		"/t/acme/vault%00/mcp", "/t/acme/vault/mcp%00", "/t/acme/vault%00.wiki/mcp", "/t/acme/vault/mcp%0d%0a", "/t/acme/vault/mcp%20",
		"/t/acme;a=b/vault/mcp", "/t/acme/vault;a=b/mcp", "/t/acme/vault/mcp;a=b", "/t/acme/wiki/..;/vault/mcp",
		"/t/acme/%c0%ae%c0%ae/vault/mcp", "/t/acme/%c0%afvault/mcp", "/t/acme/%e0%80%af/mcp", "/t/acme/va\xc3\xbclt/mcp", "/t/acme/wiki\xc0\xaf..\xc0\xafvault/mcp",
		"/t/acme/vault/mcp/", "/t/acme/vault/", "/t/acme/vault", "/t/acme/mcp", "/t/acme//mcp", "/t//vault/mcp", "/", "/mcp",
		"/T/acme/vault/mcp", "/t/ACME/vault/mcp", "/t/acme/Vault/mcp", "/t/acme/vault/MCP",
		"/t/acme/vault/SSE", "/t/acme/vault/sse/", "/t/acme/vault/message", "/t/acme/vault/messages/x", "/t/acme/vault/mcp#x", "/t/acme/vault#/mcp",
		"/t/acme/vault--wiki/mcp", "/t/acme/*/mcp", "/t/*/vault/mcp", "/t/acme/vault,wiki/mcp", "/t/acme/vault:443/mcp", "/t/acme/vault@globex/mcp",
		"/t/acme/vault/mcp/t/globex/wiki/mcp", "/private", "/t/nobody/vault/mcp", "/t/acme/nothing/mcp",
	} {
		list = append(list, attack{id: "42", what: "`" + printable(target) + "`", send: request{target: target}, want: notFound})
	}
	return append(list,
		attack{id: "42", what: "`/t/acme/vault/mcp?`", send: request{target: vaultPath + "?"}, want: want{status: 400, code: -32600, reason: "invalid_request"}},
		attack{id: "42", what: "`/t/acme/vault/mcp?x=/t/globex/wiki/mcp`", send: request{target: vaultPath + "?x=/t/globex/wiki/mcp"},
			want: want{status: 400, code: -32600, reason: "invalid_request"}},
	)
}

// printable shows bytes outside ASCII as escapes.
func printable(s string) string {
	const digits = "0123456789abcdef"
	var b []byte
	for i := range len(s) {
		if c := s[i]; c > 0x7e {
			b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

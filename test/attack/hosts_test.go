package attack

// hostAttacks name another host in one of the places where a host is named.
func hostAttacks() []attack {
	misdirected := want{status: 421, code: -32600, reason: "misdirected"}
	return []attack{
		{id: "38", what: "an absolute target of a foreign host", over: []proto{h1}, send: request{target: "https://evil.example" + wikiPath}, want: misdirected},
		{id: "38", what: "an absolute target of a foreign port", over: []proto{h1}, send: request{target: "https://" + publicName + ":1" + wikiPath}, want: misdirected},
		{id: "38", what: "an absolute target that hides the host behind user data", over: []proto{h1}, send: request{target: "https://{host}@evil.example" + wikiPath}, want: misdirected},
		{id: "38", what: "an absolute target of our host, which outranks a foreign Host", over: []proto{h1}, send: request{target: "https://{host}" + wikiPath, authority: "evil.example"},
			want: want{status: 200, hits: 1, check: noTrace("evil")}},
		{id: "38", what: "an absolute target in :path", over: []proto{h2}, send: request{target: "https://evil.example" + wikiPath}, want: misdirected},
		{id: "38", what: "an absolute target of our host in :path", over: []proto{h2}, send: request{target: "https://{host}" + wikiPath}, want: misdirected},
		{id: "38", what: "an absolute target with user data", send: request{target: "https://user:evil@{host}" + wikiPath}, want: misdirected},
		{id: "38", what: "an absolute target of another scheme", send: request{target: "ftp://{host}" + wikiPath}, want: misdirected},
		{id: "38", what: "a target with a scheme and no host", send: request{target: "https:" + wikiPath}, want: want{status: 404, reason: "not_found"}},
		{id: "38", what: "an absolute target of our host with dots in its path", over: []proto{h1}, send: request{target: "https://{host}/t/acme/wiki/../vault/mcp"},
			want: want{status: 404, reason: "not_found"}},
		{id: "39", what: "a foreign host", send: request{authority: "evil.example"}, want: misdirected},
		{id: "39", what: "a foreign name in the handshake", send: request{server: "evil.example"}, want: misdirected},
		{id: "39", what: "a foreign name in the handshake, in front of its own host", send: request{server: "evil.example", authority: "evil.example"}, want: misdirected},
		{id: "39", what: "another port", send: request{authority: publicName + ":1"}, want: misdirected},
		{id: "39", what: "no port", send: request{authority: publicName}, want: misdirected},
		{id: "39", what: "a name that begins as ours does", send: request{authority: publicName + ".evil.example"}, want: misdirected},
		{id: "39", what: "an empty host", over: []proto{h1}, send: request{fields: []field{{"Host", ""}}, authority: "-"}, want: misdirected},
		{id: "39", what: "no host at all", over: []proto{h1}, send: request{authority: "-"}, want: want{status: 400}},
		{id: "39", what: "no host at all", over: []proto{h2}, send: request{authority: "-"}, want: misdirected},
		{id: "39", what: "two Host fields", over: []proto{h1}, send: request{fields: []field{{"Host", "evil.example"}}}, want: want{status: 400}},
		{id: "39", what: "a Host with a space", over: []proto{h1}, send: request{authority: "{host} evil.example"}, want: want{status: 400}},
		{id: "39", what: "a foreign Host beside :authority", over: []proto{h2}, send: request{fields: []field{{"Host", "evil.example"}}}, want: misdirected},
		{id: "39", what: "a foreign Host without :authority", over: []proto{h2}, send: request{fields: []field{{"Host", "evil.example"}}, authority: "-"}, want: misdirected},
	}
}

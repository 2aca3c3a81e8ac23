package attack

import (
	"encoding/base64"
	"fmt"
	"testing"
)

// headerAttacks try to change what the upstream sees of the head.
func headerAttacks() []attack {
	with := func(fields ...field) request { return request{fields: fields} }
	passed := want{status: 200, hits: 1, check: noTrace("evil")}
	invalid := want{status: 400, code: -32600, reason: "invalid_request"}
	reset := want{reset: "PROTOCOL_ERROR"}
	nominate := func(names string) attack {
		return attack{id: "35", what: "Connection: " + names, over: []proto{h1}, send: with(field{"Connection", names}, field{"X-Tenant", "evil"}), want: passed}
	}
	list := []attack{
		nominate("authorization, x-tenant, mcp-method"),
		nominate("sallyport-assertion, sallyport-request-id"),
		nominate("content-length, host, date"),
		{id: "35", what: "Connection: content-type, without which the connector refuses", over: []proto{h1}, send: with(field{"Connection", "content-type"}),
			want: want{status: 415, code: -32600, reason: "unsupported_media_type"}},
		{id: "35", what: "Connection: authorization in HTTP/2", over: []proto{h2}, send: with(field{"Connection", "authorization"}), want: want{status: 400}},
		{id: "35", what: "Keep-Alive, Proxy-Connection and TE: trailers", over: []proto{h1}, send: with(
			field{"Keep-Alive", "evil"}, field{"Proxy-Connection", "evil"}, field{"TE", "trailers"}), want: passed},
		{id: "36", what: "X_Forwarded_For, Mcp_Method, X_Tenant, X-Tenant_ and X_tenant", send: with(
			field{"X_Forwarded_For", "evil"}, field{"Mcp_Method", "evil"}, field{"X_Tenant", "evil"}, field{"X-Tenant_", "evil"}, field{"X_tenant", "evil"},
			field{"Content_Length", "7"}, field{"Transfer_Encoding", "chunked"}), want: passed},
		{id: "36", what: "the injected header's own name", send: with(field{"X-Tenant", "evil"}, field{"x-tenant", "evil"}, field{"X-TENANT", "evil"}), want: passed},
		{id: "36", what: "headers of the hop between gateway and connector", send: with(
			field{"Sallyport-Assertion", "evil"}, field{"Sallyport-Outcome", "evil"}, field{"Sallyport-Request-Id", "evil"}, field{"sallyport-new", "evil"}), want: passed},
		{id: "36", what: "headers of proxies and of other identities", send: with(
			field{"X-Forwarded-For", "evil"}, field{"Forwarded", "for=evil"}, field{"X-Real-IP", "evil"}, field{"X-Forwarded-Host", "evil"}, field{"Via", "1.1 evil"},
			field{"X-Original-URL", "/evil"}, field{"X-HTTP-Method-Override", "evil"}, field{"Proxy-Authorization", "evil"}, field{"Cookie", "evil=1"},
			field{"X-Amz-Security-Token", "evil"}, field{"Idempotency-Key", "evil"}, field{"X-Idempotency-Key", "evil"}, field{"Max-Forwards", "0"}), want: passed},
		{id: "44", what: "Range, If-Match, If-None-Match, If-Modified-Since, If-Range", send: with(
			field{"Range", "bytes=0-0"}, field{"If-Match", `"evil"`}, field{"If-None-Match", "*"}, field{"If-Modified-Since", "Mon, 23 Nov 2026 00:00:00 GMT"},
			field{"If-Range", `"evil"`}), want: passed},
		{id: "37", what: "a field name with a space in HTTP/2", over: []proto{h2}, send: with(field{"x a", "b"}), want: reset},
		{id: "37", what: "a field name with a line break in HTTP/2", over: []proto{h2}, send: with(field{"x\r\nx-tenant", "b"}), want: reset},
		{id: "37", what: "a pseudo field that is not one", over: []proto{h2}, send: with(field{":authorization", "b"}), want: reset},
		{id: "37", what: "obs-text in a value", send: with(field{"X-A", "caf\xe9"}), want: invalid},
		{id: "37", what: "UTF-8 in a value", send: with(field{"X-A", "café"}), want: invalid},
	}
	for _, c := range []struct{ name, value string }{
		{"CR LF", "a\r\nX-Tenant: evil"}, {"CR", "a\rX-Tenant: evil"}, {"LF", "a\nX-Tenant: evil"}, {"NUL", "a\x00b"}, {"DEL", "a\x7fb"}, {"ESC", "a\x1b[2J"},
	} {
		if c.name != "CR LF" { // in HTTP/1.1 that is two fields
			list = append(list, attack{id: "37", what: c.name + " in a value", over: []proto{h1}, send: with(field{"X-A", c.value}), want: want{status: 400}})
		}
		list = append(list, attack{id: "37", what: c.name + " in a value", over: []proto{h2}, send: with(field{"X-A", c.value}), want: reset})
	}
	return append(list, encodedNames()...)
}

// encodedNames put line breaks into Mcp-Name by its base64 form: they are
// compared decoded, and go on encoded.
func encodedNames() []attack {
	name := "a\r\nX-Tenant: evil"
	encoded := "=?base64?" + base64.StdEncoding.EncodeToString([]byte(name)) + "?="
	call := func(value string) request {
		return modern("tools/call", `"name":"a\r\nX-Tenant: evil"`, field{"Mcp-Name", value})
	}
	return []attack{
		{id: "37", what: "Mcp-Name whose base64 holds CR LF and equals the body", send: call(encoded), want: want{status: 200, hits: 1,
			check: func(t *testing.T, a answer, records []received) {
				t.Helper()
				noTrace("evil")(t, a, records)
				for _, r := range records {
					if got := r.header["Mcp-Name"]; fmt.Sprint(got) != "["+encoded+"]" {
						t.Errorf("Mcp-Name arrived as %q", got)
					}
				}
			}}},
		{id: "37", what: "the same with a line break within the base64 of HTTP/2", over: []proto{h2}, send: call(encoded[:20] + "\r\n" + encoded[20:]), want: want{reset: "PROTOCOL_ERROR"}},
	}
}

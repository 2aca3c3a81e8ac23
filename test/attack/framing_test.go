package attack

import (
	"fmt"
	"strings"
	"testing"
)

// framingAttacks make two readers disagree on where a request ends.
func framingAttacks() []attack {
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	asIs := func(s string) string { return s }
	length := fmt.Sprint(len(honestBody))
	refused := want{status: 400, closed: true}
	framed := func(body string, fields ...field) request {
		return request{fields: fields, bare: true, body: body, edit: asIs}
	}
	coded := func(values ...string) request {
		q := framed("0\r\n\r\n" + smuggled)
		for _, v := range values {
			q.fields = append(q.fields, field{"Transfer-Encoding", v})
		}
		return q
	}
	lengths := func(values ...string) request {
		q := framed(honestBody)
		for _, v := range values {
			q.fields = append(q.fields, field{"Content-Length", v})
		}
		return q
	}
	chunks := func(edit func(string) string) request { return request{chunks: true, edit: edit} }
	badBody := want{status: 400, code: -32600, reason: "invalid_request", closed: true}
	behindGood := func(bad string) request {
		return request{edit: func(s string) string { return s + strings.ReplaceAll(s, "\r\n\r\n", bad) }}
	}
	raw := []attack{
		{id: "29", what: "Content-Length and Transfer-Encoding, a request in the rest", send: framed("0\r\n\r\n"+smuggled,
			field{"Content-Length", "5"}, field{"Transfer-Encoding", "chunked"}), want: refused},
		{id: "29", what: "Transfer-Encoding and Content-Length, the length of all", send: framed("0\r\n\r\n"+smuggled,
			field{"Transfer-Encoding", "chunked"}, field{"Content-Length", fmt.Sprint(5 + len(smuggled))}), want: refused},
		{id: "30", what: "Transfer-Encoding: xchunked", send: coded("xchunked"), want: refused},
		{id: "30", what: "Transfer-Encoding: chunked, identity", send: coded("chunked, identity"), want: refused},
		{id: "30", what: "Transfer-Encoding: gzip, chunked", send: coded("gzip, chunked"), want: refused},
		{id: "30", what: "Transfer-Encoding: identity", send: coded("identity"), want: refused},
		{id: "30", what: "Transfer-Encoding twice", send: coded("chunked", "chunked"), want: refused},
		{id: "30", what: "Transfer-Encoding: chunked, then x", send: coded("chunked", "x"), want: refused},
		{id: "30", what: "a vertical tab before chunked", send: coded("\x0bchunked"), want: refused},
		{id: "30", what: "space before the colon of Transfer-Encoding", send: request{bare: true, body: "0\r\n\r\n" + smuggled,
			fields: []field{{"Transfer-Encoding ", "chunked"}}, edit: asIs}, want: refused},
		{id: "30", what: "chunked in HTTP/1.0", send: request{chunks: true, edit: replace("HTTP/1.1\r\n", "HTTP/1.0\r\n")}, want: refused},
		{id: "31", what: "Content-Length with a sign", send: lengths("+" + length), want: refused},
		{id: "31", what: "a list of equal lengths", send: lengths(length + ", " + length), want: refused},
		{id: "31", what: "two equal Content-Length fields", send: lengths(length, length), want: refused},
		{id: "31", what: "two different Content-Length fields", send: lengths("3", length), want: refused},
		{id: "31", what: "a negative Content-Length", send: lengths("-1"), want: refused},
		{id: "31", what: "a hexadecimal Content-Length", send: lengths("0x10"), want: refused},
		{id: "31", what: "an empty Content-Length", send: lengths(""), want: refused},
		{id: "31", what: "a Content-Length that overflows 64 bits", send: lengths("18446744073709551" + "999"), want: refused},
		{id: "31", what: "a Content-Length in digits of another script", send: lengths("٣"), want: refused},
		{id: "32", what: "bare LF ends every line of the head", send: request{edit: replace("\r\n", "\n")}, want: refused},
		{id: "32", what: "bare LF ends one line of the head", send: request{edit: replace("application/json\r\n", "application/json\n")}, want: refused},
		{id: "32", what: "a head that ends in LF LF", send: request{edit: replace("\r\n\r\n", "\n\n")}, want: refused},
		{id: "32", what: "bare CR ends a line of the head", send: request{edit: replace("application/json\r\n", "application/json\r")}, want: refused},
		{id: "32", what: "a folded field", send: request{edit: replace("Accept: ", "Accept:\r\n ")}, want: refused},
		{id: "32", what: "a folded first line", send: request{edit: replace("HTTP/1.1\r\nHost", "HTTP/1.1\r\n Host")}, want: refused},
		{id: "32", what: "a field without a colon", send: request{edit: replace("Accept: ", "Accept ")}, want: refused},
		{id: "32", what: "a field without a name", send: request{edit: replace("Accept: ", ": ")}, want: refused},
		{id: "32", what: "an empty line before the request", send: request{edit: func(s string) string { return "\r\n" + s }}, want: refused},
		{id: "33", what: "a chunk extension of 64 KiB", send: chunks(replace("\r\n"+honestBody, ";"+strings.Repeat("x", 64<<10)+"\r\n"+honestBody)), want: badBody},
		{id: "33", what: "a short chunk extension", send: chunks(replace("\r\n"+honestBody, ";a=b\r\n"+honestBody)), want: badBody},
		{id: "33", what: "bare LF behind the size of a chunk", send: chunks(replace("\r\n"+honestBody, "\n"+honestBody)), want: badBody},
		{id: "33", what: "bare LF behind a chunk", send: chunks(replace(honestBody+"\r\n", honestBody+"\n")), want: badBody},
		{id: "33", what: "a chunk that is longer than its size", send: chunks(replace(honestBody, honestBody+"x")), want: badBody},
		{id: "33", what: "a chunk of 17 digits", send: chunks(replace("\r\n\r\n", "\r\n\r\n000000000000000")), want: badBody},
		{id: "33", what: "a request in the place of a trailer", send: chunks(replace("\r\n0\r\n\r\n", "\r\n0\r\nGET / HTTP/1.1\r\n\r\n")), want: badBody},
		{id: "33", what: "a flood of empty trailers above 4 KiB", send: chunks(replace("\r\n0\r\n\r\n", "\r\n0\r\n"+strings.Repeat("a:\r\n", 2000)+"\r\n")), want: badBody},
		{id: "33", what: "a body that ends before its length", send: request{announced: "9999", body: "{}", target: quietPath, edit: asIs, bodiless: false,
			fields: []field{{"Content-Type", "text/plain"}}}, want: want{status: 415, code: -32600, reason: "unsupported_media_type", closed: true}},

		{id: "29", what: "an honest request, then one with both framings", send: behindGood("\r\nTransfer-Encoding: chunked\r\n\r\n"),
			want: want{status: 200, more: []int{400}, hits: 1, closed: true}},
		{id: "32", what: "an honest request, then one with bare LF", send: behindGood("\n\n"),
			want: want{status: 200, more: []int{400}, hits: 1, closed: true}},
		{id: "29", what: "three honest requests in one write", send: request{edit: func(s string) string {
			return s + s + strings.Replace(s, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
		}},
			want: want{status: 200, more: []int{200, 200}, hits: 3, closed: true}},
		{id: "29", what: "a refused request with a request for a body, then nothing", send: request{body: "GET " + vaultPath + " HTTP/1.1\r\nHost: x\r\n\r\n",
			fields: []field{{"Connection", "close"}}, edit: asIs}, want: want{status: 400, code: -32700, reason: "parse_error", closed: true}},
		{id: "33", what: "an honest request, every byte a TLS record of its own", send: request{bytewise: true}, want: want{status: 200, hits: 1}},
		{id: "33", what: "honest chunks, every byte a TLS record of its own", send: request{bytewise: true, chunks: true}, want: want{status: 200, hits: 1}},
	}
	announced := request{chunks: true, fields: []field{{"Trailer", "Authorization, X-Tenant"}}, trailer: []field{{"Authorization", "Bearer evil"}, {"X-Tenant", "evil"}}}
	for i := range raw {
		raw[i].over = []proto{h1}
	}
	return append(raw,
		attack{id: "29", what: "Transfer-Encoding in HTTP/2", over: []proto{h2}, send: request{fields: []field{{"Transfer-Encoding", "chunked"}}}, want: want{status: 400}},
		attack{id: "31", what: "Content-Length above what comes", over: []proto{h2}, send: request{announced: "9999"}, want: want{status: 400, code: -32600, reason: "invalid_request"}},
		attack{id: "31", what: "Content-Length below what comes", over: []proto{h2}, send: request{announced: "3"}, want: want{reset: "PROTOCOL_ERROR"}},
		attack{id: "34", what: "trailers Authorization, Mcp-Method and X-Tenant", send: request{chunks: true, trailer: []field{
			{"Authorization", "Bearer evil"}, {"Mcp-Method", "evil"}, {"X-Tenant", "evil"}}}, want: want{status: 200, hits: 1, check: noTrace("evil")}},
		attack{id: "34", what: "trailers that are announced", over: []proto{h1}, send: announced, want: want{status: 200, hits: 1, check: noTrace("evil")}},
		attack{id: "34", what: "trailers that are announced", over: []proto{h2}, send: announced, want: want{reset: "PROTOCOL_ERROR"}},
	)
}

// noTrace checks that a word that was sent beside the body arrived nowhere.
func noTrace(word string) func(*testing.T, answer, []received) {
	return func(t *testing.T, _ answer, records []received) {
		t.Helper()
		for _, r := range records {
			if all := fmt.Sprint(r.header, r.trailer, r.uri, r.host); strings.Contains(all, word) {
				t.Errorf("%q arrived at the upstream", word)
			}
		}
	}
}

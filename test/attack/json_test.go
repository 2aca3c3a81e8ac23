package attack

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// jsonAttacks are bodies that two parsers read differently, or that hurt one.
// What is odd but legal must arrive byte for byte.
func jsonAttacks() []attack {
	const call = `"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add"}`
	syntax := want{status: 400, code: -32700, reason: "parse_error"}
	invalid := want{status: 400, code: -32600, reason: "invalid_request"}
	tooLarge := want{status: 413, code: -32005, reason: "too_large"}
	passed := want{status: 200, hits: 1}
	var list []attack
	add := func(id, what, body string, w want) {
		list = append(list, attack{id: id, what: what, send: request{body: body}, want: w})
	}
	params := func(inner string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + inner + `}}`
	}
	id := func(token string) string { return `{"jsonrpc":"2.0","id":` + token + `,"method":"tools/list"}` }

	add("61", "`Method` beside `method`", `{`+call+`,"Method":"tools/list"}`, invalid)
	add("61", "`METHOD` alone", `{"jsonrpc":"2.0","id":1,"METHOD":"tools/list"}`, invalid)
	add("61", "`Params` beside `params`", `{`+call+`,"Params":{"name":"rm"}}`, invalid)
	add("61", "`Name` beside `name`", params(`"name":"add","Name":"rm"`), invalid)
	add("61", "`ID` beside `id`", `{`+call+`,"ID":2}`, invalid)
	for _, c := range []struct{ key, body string }{
		{"method", `{` + call + `,"method":"tools/list"}`},
		{"params", `{` + call + `,"params":{"name":"rm"}}`},
		{"id", `{` + call + `,"id":2}`},
		{"jsonrpc", `{` + call + `,"jsonrpc":"2.0"}`},
		{"name", params(`"name":"add","name":"rm"`)},
		{"arguments", params(`"name":"add","arguments":{},"arguments":{"x":1}`)},
		{"a name deep in the arguments", params(`"name":"add","arguments":{"a":[{"b":{"c":1,"c":2}}]}`)},
		{"a name, once with an escape", params(`"name":"add","arguments":{"c":1,"\u0063":2}`)},
		{"_meta", params(`"name":"add","_meta":{},"_meta":{"a":1}`)},
	} {
		add("62", "twice: "+c.key, c.body, syntax)
	}
	add("63", "an escaped NUL in a name", params(`"name":"add","arguments":{"a\u0000b":1}`), invalid)
	add("63", "`method` and an escaped NUL", `{`+call+`,"method\u0000":"x"}`, invalid)
	add("63", "a raw NUL in a name", "{"+call+",\"a\x00\":1}", syntax)
	add("63", "`paramſ`, with a long s", `{`+call+`,"paramſ":{"name":"rm"}}`, invalid)
	add("63", "`ıd`, with a dotless i", `{`+call+`,"ıd":2}`, invalid)
	add("64", "`meth\\u006fd`", `{"jsonrpc":"2.0","id":1,"meth\u006fd":"tools/list"}`, invalid)
	add("64", "`n\\u0061me` in params", params(`"n\u0061me":"add"`), invalid)
	add("65", "a byte order mark", "\xef\xbb\xbf{"+call+"}", syntax)
	add("65", "UTF-16", string(utf16Bytes("{"+call+"}")), syntax)
	add("65", "a byte that is no UTF-8, in a value", params("\"name\":\"a\xff\""), syntax)
	add("65", "an overlong slash", params("\"name\":\"a\xc0\xaf\""), syntax)
	add("65", "a lone surrogate, escaped", params(`"name":"\ud800"`), syntax)
	add("65", "a surrogate as UTF-8", params("\"name\":\"\xed\xa0\x80\""), syntax)
	add("66", "a second value", `{`+call+`}{`+call+`}`, syntax)
	add("66", "two lines of JSON", `{`+call+"}\n{"+call+`}`, syntax)
	add("66", "a comma behind the value", `{`+call+`},`, syntax)
	add("66", "a comment", `{`+call+`}//`, syntax)
	add("66", "a comma before the last brace", `{`+call+`,}`, syntax)
	add("66", "an empty body of length 1", ` `, syntax)
	add("66", "single quotes", `{'jsonrpc':'2.0'}`, syntax)
	add("67", "a batch in 2025-11-25", `[{`+call+`}]`, invalid)
	for _, c := range []struct {
		what, body string
		w          want
	}{
		{"a batch in 2025-03-26", `[{` + call + `}]`, passed},
		{"`[[]]`", `[[]]`, invalid},
		{"an empty batch", `[]`, invalid},
		{"a batch of numbers", `[1,2]`, invalid},
		{"a batch with one bad method", `[{` + call + `},{"jsonrpc":"2.0","id":2,"method":"tools//call"}]`, want{status: 404, code: -32601, reason: "unknown_method"}},
		{"a batch of 1,001", "[" + strings.Repeat(`{"jsonrpc":"2.0","method":"a"},`, 1000) + "{" + call + "}]", invalid},
	} {
		list = append(list, attack{id: "67", what: c.what, send: request{body: c.body, fields: []field{{"MCP-Protocol-Version", "2025-03-26"}}}, want: c.w})
	}
	deep := func(n int) string {
		return params(`"name":"add","arguments":` + strings.Repeat("[", n) + strings.Repeat("]", n))
	}
	var keys strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&keys, `,"k%d":%d`, i, i)
	}
	add("68", "nested 100,000 deep", deep(100_000), syntax)
	add("68", "nested 65 deep", deep(63), syntax)
	add("68", "nested 64 deep", deep(62), passed)
	add("68", "100,000 names in an object", params(`"name":"add","arguments":{"k":0`+keys.String()+`}`), passed)
	add("68", "1,000,000 names in an object, above 4 MiB", params(`"name":"add","arguments":{"k":0`+strings.Repeat(keys.String(), 10)+`}`), tooLarge)
	list = append(list, attack{id: "68", what: "a string of 100 MiB, announced", send: request{announced: "104857600"}, want: tooLarge})
	add("68", "1e999", params(`"name":"add","arguments":{"x":1e999,"y":-0.0e-0,"z":123456789012345678901234567890.5}`), passed)
	add("68", "the id 2⁵³+1", id("9007199254740993"), passed)
	add("68", "an id of 200 digits", id(strings.Repeat("9", 200)), passed)
	add("68", "an id with an exponent", id("1E+2"), passed)
	add("68", "escapes and spaces in odd places", "{ \"jsonrpc\"\t:\r\n\"2.0\" , \"id\":\"\\u0041\\/\", \"method\":\"tools\\/call\" , \"params\":{ \"name\":\"\\u0061dd\" , \"x\":[ ] } } \n", passed)
	add("68", "unknown members", `{`+call+`,"extra":{"a":[null,true]},"":0}`, passed)
	add("69", "the id null", id("null"), invalid)
	add("69", "an object as the id", id("{}"), invalid)
	add("69", "an array as the id", id("[1]"), invalid)
	add("69", "true as the id", id("true"), invalid)
	add("69", "an id of 300 bytes", id(`"`+strings.Repeat("a", 300)+`"`), invalid)
	add("73", "a response from a client without a session", `{"jsonrpc":"2.0","id":1,"result":{}}`, invalid)
	return list
}

func utf16Bytes(s string) (b []byte) {
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return b
}

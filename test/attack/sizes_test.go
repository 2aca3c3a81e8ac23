package attack

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
)

// sizeAttacks send other types than JSON, and more of everything than fits.
func sizeAttacks() []attack {
	media := want{status: 415, code: -32600, reason: "unsupported_media_type"}
	typed := func(value string) request { return request{fields: []field{{"Content-Type", value}}} }
	var many []field
	for i := range 1000 {
		many = append(many, field{fmt.Sprintf("a%d", i), "b"})
	}
	tooMany := want{status: 431, code: -32005, reason: "headers_too_large"}
	tooLong := want{reset: "COMPRESSION_ERROR"} // of the connection: a string longer than the decoder takes
	return []attack{
		{id: "45", what: "Content-Type: text/plain", send: typed("text/plain"), want: media},
		{id: "45", what: "no Content-Type", send: request{drop: []string{"Content-Type"}}, want: media},
		{id: "45", what: "Content-Type: application/json; charset=utf-16", send: typed("application/json; charset=utf-16"), want: media},
		{id: "45", what: "two Content-Type fields", send: request{fields: []field{{"Content-Type", "application/json"}, {"Content-Type", "text/plain"}}}, want: media},
		{id: "45", what: "a form", send: request{fields: []field{{"Content-Type", "application/x-www-form-urlencoded"}}, body: "a=b"}, want: media},
		{id: "46", what: "Content-Encoding: gzip, 64 MiB in 64 KiB", send: request{body: bomb(64 << 20), fields: []field{{"Content-Encoding", "gzip"}}}, want: media},
		{id: "46", what: "Content-Encoding: identity, gzip", send: request{fields: []field{{"Content-Encoding", "identity, gzip"}}}, want: media},
		{id: "47", what: "a URL of 64 KiB", over: []proto{h1}, send: request{target: "/" + strings.Repeat("a", 64<<10)}, want: want{status: 431}},
		{id: "47", what: "a URL of 64 KiB", over: []proto{h2}, send: request{target: "/" + strings.Repeat("a", 64<<10)}, want: tooLong},
		{id: "47", what: "1,000 header fields", over: []proto{h1}, send: request{fields: many}, want: tooMany},
		{id: "47", what: "1,000 header fields", over: []proto{h2}, send: request{fields: many}, want: want{status: 431}},
		{id: "47", what: "101 header fields", send: request{fields: many[:97]}, want: tooMany},
		{id: "47", what: "a header of 1 MiB", over: []proto{h1}, send: request{fields: []field{{"X-A", strings.Repeat("a", 1<<20)}}}, want: want{status: 431}},
		{id: "47", what: "a header of 1 MiB", over: []proto{h2}, send: request{fields: []field{{"X-A", strings.Repeat("a", 1<<20)}}}, want: tooLong},
		{id: "48", what: "6,000 query parameters", send: request{target: wikiPath + "?" + strings.Repeat("a=b&", 6000)}, want: want{status: 400, code: -32600, reason: "invalid_request"}},
	}
}

// bomb is a gzip stream of n zero bytes.
func bomb(n int) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	zeros := make([]byte, 1<<20)
	for range n / len(zeros) {
		_, _ = w.Write(zeros) // to memory
	}
	_ = w.Close()
	return b.String()
}

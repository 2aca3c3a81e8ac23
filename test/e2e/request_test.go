package e2e_test

import (
	"bytes"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
)

// requestBodies are bodies that a tunnel which decodes and encodes would
// change.
func requestBodies() map[string]string {
	params := func(p string) string { return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":` + p + `}` }
	id := func(id string) string { return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/list"}` }
	return map[string]string{
		"id above 2^53":     id("9007199254740993"),
		"id exponent":       id("1e3"),
		"id minus zero":     id("-0"),
		"id fraction":       id("1.0"),
		"id beyond float":   id("1e999"),
		"id string":         id(`"a b/c"`),
		"id empty string":   id(`""`),
		"id escapes":        id(`"\u0041\/\n\"\\\u00e9\ud83d\ude00"`),
		"id unicode":        id(`"` + "é😀\u2028\u2029\u00a0" + `"`),
		"id html":           id(`"<a href='x'>&amp;</a>"`),
		"numbers":           params(`{"name":"x","arguments":{"a":1.0,"b":1e999,"c":123456789012345678901234567890,"d":-0,"e":-0.0,"f":1E+2,"g":0.1e-7}}`),
		"unknown fields":    `{"zzz":{"a":[1,{"b":null}]},"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","x-y":[],"":{}},"":0}`,
		"unknown method":    `{"jsonrpc":"2.0","id":1,"method":"x-vendor/do_it/Now","params":{}}`,
		"unknown notice":    `{"jsonrpc":"2.0","method":"notifications/of_a_kind"}`,
		"whitespace":        " \t\r\n{ \"jsonrpc\" :\t\"2.0\" ,\n\"id\"\r\n: 1 , \"method\" : \"ping\" , \"params\" : { } }\r\n\t ",
		"key order":         `{"params":{"_meta":{"progressToken":1e0},"arguments":{"z":1,"a":2},"name":"x"},"method":"tools/call","id":"q","jsonrpc":"2.0"}`,
		"meta":              params(`{"name":"x","_meta":{"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","a.b/c":[1.50,"\u0000"],"":{}}}`),
		"empty containers":  params(`{"name":"x","arguments":{"a":{},"b":[],"c":"","d":null,"e":false}}`),
		"escaped slash":     params(`{"name":"x","_meta":{"io.modelcontextprotocol\/clientInfo":{"name":"a"}}}`),
		"control escapes":   params(`{"name":"x","arguments":{"t":"\b\f\n\r\t\u0000\u001f\u007f` + "\x7f" + `"}}`),
		"deep":              params(`{"name":"x","arguments":` + strings.Repeat(`[`, 50) + strings.Repeat(`]`, 50) + `}`),
		"a mebibyte":        params(`{"name":"x","arguments":{"data":"` + strings.Repeat("0123456789abcdef", 1<<16) + `"}}`),
		"above write piece": params(`{"name":"x","arguments":{"data":"` + strings.Repeat("x", 65<<10) + `"}}`),
	}
}

// A body reaches the upstream as the agent wrote it, byte for byte, with the
// same header as without a tunnel between but for what may not travel.
func TestRequestBytesPass(t *testing.T) {
	t.Parallel()
	exact := newExact(t)
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("exact", exact.url) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			for name, body := range requestBodies() {
				compareRequest(t, exact, s, agent, name, body, nil)
			}
			for name, body := range map[string]string{
				"batch":            "[\n" + `{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"} , {"jsonrpc":"2.0","method":"notifications/x"},{"id":"b","jsonrpc":"2.0","method":"tools/list"}` + " ]\n",
				"batch of one":     `[{"jsonrpc":"2.0","id":1.0,"method":"ping"}]`,
				"batch of notices": `[{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","method":"notifications/y"}]`,
			} {
				compareRequest(t, exact, s, agent, name, body, http.Header{"Mcp-Protocol-Version": {"2025-03-26"}})
				compareRequest(t, exact, s, agent, name+", no version", body, http.Header{"Mcp-Protocol-Version": nil})
			}
			session := http.Header{"Mcp-Session-Id": {exact.session(t, s, agent, "exact", "a-session~!/1")}}
			compareRequest(t, exact, s, agent, "response", `{"jsonrpc":"2.0","id":1e3,"result":{"a":1.0}}`, session)
			compareRequest(t, exact, s, agent, "error response", `{"jsonrpc":"2.0","id":"x","error":{"code":-1.0,"message":"\u00e9"}}`, session)
			compareRequest(t, exact, s, agent, "modern",
				`{"jsonrpc":"2.0","id":1e3,"method":"tools/call","params":{"name":"n\u00e4m","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`,
				http.Header{"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {"tools/call"}, "Mcp-Name": {"=?base64?bsOkbQ==?="}, "Mcp-Param-Region": {"eu west"}})
		})
}

// compareRequest sends a body directly and through the tunnel, and fails unless
// the upstream sees the same.
func compareRequest(t *testing.T, exact *exactUpstream, s *stack.Stack, agent *http.Client, name, body string, header http.Header) {
	t.Helper()
	request := func(url string) *http.Request {
		r, err := s.Post(t.Context(), "exact", body)
		if err != nil {
			t.Fatal(err)
		}
		if url != "" {
			if r.URL, err = r.URL.Parse(url); err != nil {
				t.Fatal(err)
			}
			r.Host = r.URL.Host
		}
		r.Header.Set("User-Agent", "an-agent/1.0 (tests)")
		r.Header.Set("Accept-Language", "de, en;q=0.5")
		r.Header.Set("X-Custom", "kept, as it is")
		maps.Copy(r.Header, header)
		return r
	}
	if got := call(t, exact.direct, request(exact.url)); got.status != http.StatusOK {
		t.Fatalf("%s: direct: status %d", name, got.status)
	}
	want := exact.take(t)
	if id, ok := want.header["Mcp-Session-Id"]; ok { // which the agent has from the gateway
		want.header.Set("Mcp-Session-Id", id[0][strings.LastIndex(id[0], ".")+1:])
	}
	if got := call(t, agent, request("")); got.status != http.StatusOK {
		t.Errorf("%s: status %d, body %s", name, got.status, got.body)
		return
	}
	got := exact.take(t)
	if !bytes.Equal(got.body, []byte(body)) || !bytes.Equal(want.body, []byte(body)) {
		t.Errorf("%s: the body has changed:\n got %.300q\nwant %.300q", name, got.body, body)
	}
	if encoding := got.header.Values("Accept-Encoding"); !reflect.DeepEqual(encoding, []string{"identity"}) {
		t.Errorf("%s: the upstream is asked for the encodings %q", name, encoding)
	}
	got.header.Del("Accept-Encoding")
	if !reflect.DeepEqual(got.header, want.header) {
		t.Errorf("%s: the header has changed:\n got %v\nwant %v", name, got.header, want.header)
	}
	if got.method != want.method || got.host != want.host || got.uri != want.uri || got.length != want.length {
		t.Errorf("%s: got %s %s, host %s, length %d; want %s %s, %s, %d",
			name, got.method, got.uri, got.host, got.length, want.method, want.uri, want.host, want.length)
	}
}

// What an agent may not say to an upstream does not arrive, and nothing is
// said in its place.
func TestRequestHeadersThatDoNotPass(t *testing.T) {
	t.Parallel()
	exact := newExact(t)
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("exact", exact.url) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			r, err := s.Post(t.Context(), "exact", pingBody)
			if err != nil {
				t.Fatal(err)
			}
			r.Header["User-Agent"] = []string{""} // none
			for _, name := range []string{
				"Cookie", "Idempotency-Key", "X-Idempotency-Key", "X-Forwarded-For", "X-Forwarded-Host", "Forwarded", "X-Real-Ip", "Via",
				"Proxy-Authorization", "Range", "If-None-Match", "X-Http-Method-Override", "X-Original-Url", "Referer", "Baggage", "Traceparent", "Tracestate", "B3",
				"Sallyport-Assertion", "Sallyport-Request-Id", "X_custom", "Mcp_Session_Id",
			} {
				r.Header[name] = []string{"value"}
			}
			if got := call(t, agent, r); got.status != http.StatusOK {
				t.Fatalf("status %d, body %s", got.status, got.body)
			}
			got := exact.take(t).header
			want := http.Header{
				"Accept": {"application/json, text/event-stream"}, "Accept-Encoding": {"identity"}, "Content-Type": {"application/json"},
				"Mcp-Protocol-Version": {"2025-11-25"}, "Content-Length": {"83"},
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the upstream got %v\nwant %v", got, want)
			}
		})
}

// GET, DELETE and the session's own headers reach the upstream.
func TestSessionVerbsPass(t *testing.T) {
	t.Parallel()
	exact := newExact(t)
	exact.answer("gone", "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("exact", exact.url) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			session := exact.session(t, s, agent, "exact", "the~session")
			for _, method := range []string{http.MethodGet, http.MethodDelete} {
				r, err := http.NewRequestWithContext(t.Context(), method, s.URL("exact"), nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header = http.Header{
					"Mcp-Session-Id": {session}, "Mcp-Protocol-Version": {"2025-11-25"},
					"Last-Event-Id": {"stream_7/0"}, "Accept": {"text/event-stream"}, "X-Case": {"gone"},
				}
				if got := call(t, agent, r); got.status != http.StatusNotFound || len(got.body) != 0 {
					t.Fatalf("%s: status %d, body %q: a client would not learn that its session is gone", method, got.status, got.body)
				}
				got := exact.take(t)
				if got.method != method || len(got.body) != 0 || got.uri != "/some/mcp" {
					t.Errorf("the upstream got %s %s with %d bytes", got.method, got.uri, len(got.body))
				}
				r.Header.Set("Mcp-Session-Id", "the~session")
				for name := range r.Header {
					if !reflect.DeepEqual(got.header[name], r.Header[name]) {
						t.Errorf("%s: %s arrived as %q", method, name, got.header[name])
					}
				}
			}
		})
}

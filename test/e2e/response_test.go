package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/connector"
	"sallyport.dev/test/stack"
)

// sized and chunked make raw HTTP/1.1 responses.
func sized(status int, head, body string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n%s", status, http.StatusText(status), head, len(body), body)
}

func chunked(status int, head string, pieces ...string) string {
	raw := fmt.Sprintf("HTTP/1.1 %d %s\r\nConnection: close\r\n%sTransfer-Encoding: chunked\r\n\r\n", status, http.StatusText(status), head)
	for _, piece := range pieces {
		raw += strconv.FormatInt(int64(len(piece)), 16) + "\r\n" + piece + "\r\n"
	}
	return raw + "0\r\n\r\n"
}

// rawResponses are answers that a tunnel which understands them would change.
func rawResponses() map[string]string {
	const (
		asJSON = "Content-Type: application/json\r\n"
		asSSE  = "Content-Type: text/event-stream\r\n"
		one    = `{"jsonrpc":"2.0","method":"notifications/a","params":{"n":9007199254740993}}`
		two    = `{ "method" : "notifications\/b" , "jsonrpc":"2.0", "params":{"s":"\u00e9","s":1.0} }`
	)
	responses := map[string]string{
		"odd JSON":             sized(200, asJSON, "\t{ \"id\":9007199254740993 ,\r\n\"result\" : {\"n\":[1.0,1e999,-0,123456789012345678901234567890],\"s\":\"\\u00e9\\/\"}, \"jsonrpc\":\"2.0\"}\n\n "),
		"no JSON at all":       sized(200, "Content-Type: text/plain\r\n", "\"a\":1,\"a\":2,\xff\x00 not JSON"),
		"chunked JSON":         chunked(200, asJSON, `{"jsonrpc":"2.0",`, `"id":`+bigID+`,`, `"result":{}}`),
		"until close":          "HTTP/1.1 200 OK\r\nConnection: close\r\n" + asJSON + "\r\n{\"until\":\"close\"}",
		"empty 200":            sized(200, "", ""),
		"no content type":      sized(200, "", "<html>what is it?</html>"),
		"content type, params": sized(200, "Content-Type: application/json; charset=\"utf-8\"; profile=x\r\n", "{}"),
		"type of its own":      sized(200, "Content-Type: image/PNG\r\n", "\x89PNG\r\n\x1a\n\x00"),
		"202":                  sized(202, "", ""),
		"202 with body":        sized(202, "Content-Type: text/plain\r\n", "Accepted\n"),
		"204":                  "HTTP/1.1 204 No Content\r\nConnection: close\r\nX-A: b\r\n\r\n",
		"400":                  sized(400, asJSON, `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}`),
		"403 no challenge":     sized(403, asJSON, `{"error":"forbidden"}`),
		"404":                  sized(404, "Content-Type: text/plain; charset=utf-8\r\n", "session not found\n"),
		"405":                  sized(405, "Allow: POST\r\n", ""),
		"409":                  sized(409, asJSON, `{}`),
		"410":                  sized(410, "", "gone"),
		"429":                  sized(429, "Retry-After: 17\r\n"+asJSON, `{}`),
		"500":                  sized(500, asJSON, `{"e":"oops"}`),
		"503":                  sized(503, "Retry-After: 3\r\n", "later"),
		"header that passes": sized(200, asJSON+"Mcp-Session-Id: 1868a90c-~!$\r\nCache-Control: no-cache, no-transform\r\nMcp-Protocol-Version: 2025-11-25\r\n"+
			"X-Custom: one\r\nX-Custom: two, three\r\nDate: Mon, 02 Nov 2026 10:00:00 GMT\r\nEtag: \"e\"\r\nX-Request-Id: r\r\nContent-Language: de\r\nVary: Accept\r\nExpires: 0\r\n", "{}"),
		"header that does not": sized(200, asJSON+"Set-Cookie: a=b\r\nSet-Cookie: c=d\r\nLocation: http://elsewhere/\r\nServer: nginx/1\r\nVia: 1.1 x\r\n"+
			"X-Powered-By: Express\r\nAlt-Svc: h3=\":443\"\r\nStrict-Transport-Security: max-age=1\r\nAccess-Control-Allow-Origin: *\r\nLink: </x>; rel=preload\r\n"+
			"Clear-Site-Data: \"*\"\r\nSallyport-Outcome: refused\r\nSallyport-Request-Id: x\r\nProxy-Authenticate: Basic\r\nKeep-Alive: timeout=5\r\n"+
			"X_under: 1\r\nContent-Location: /y\r\nRefresh: 0\r\nX-Accel-Redirect: /etc\r\nWww-Authenticate: Bearer\r\nTrailer: X-T\r\n", "{}"),
	}
	for name, stream := range map[string]string{
		"LF":               "event: message\ndata: " + one + "\n\ndata: " + two + "\n\n",
		"CRLF":             "event: message\r\ndata: " + one + "\r\n\r\ndata: " + two + "\r\n\r\n",
		"mixed ends":       "data: " + one + "\r\n\ndata: " + two + "\n\r\ndata: " + one + "\r\n\r\n",
		"comments":         ": hello\n\n:\n: a comment\ndata: " + one + "\n: inside\n\n: bye\n\n",
		"ids":              "id: 7\nretry: 1500\nevent: message\ndata: " + one + "\n\nid\ndata:\n\nid: \x00\ndata: " + two + "\n\n",
		"multi-line data":  "data: {\ndata:  \"method\":\ndata:   \"a/b\" }\n\n",
		"mark":             "\xef\xbb\xbfdata: " + one + "\n\n",
		"no final newline": "data: " + one + "\n\ndata: " + two,
		"no data":          "",
		"only blank lines": "\n\n\r\n\n",
		"unknown fields":   "foo: bar\nnothing\ndata\n\n",
		"unknown objects":  "event: ping\ndata: {\"time\":1}\n\n",
		"unknown events":   "event: ping\ndata: 2026-11-25 12:00:00\n\n",
		"bad UTF-8":        "data: {\"method\":\"m\",\"params\":\"\xff\xfe\"}\n\n",
		"long event":       "data: {\"method\":\"m\",\"params\":\"" + strings.Repeat("long ", 40_000) + "\"}\n\n",
		"odd response":     "data:\t{ \"result\":{\"n\":1.0,\"id\":[1e999]} ,\"jsonrpc\":\"2.0\", \"id\":9007199254740993.0 }\n\ndata: " + one + "\n\n",
		"request":          "data: {\"id\":\"s-1\",\"method\":\"sampling/createMessage\",\"params\":{}}\n\n",
	} {
		responses["SSE "+name] = chunked(200, asSSE+"Cache-Control: no-cache\r\n", pieces(stream)...)
	}
	responses["SSE with a length"] = sized(200, asSSE, "data: "+one+"\n\n")
	responses["SSE until close"] = "HTTP/1.1 200 OK\r\nConnection: close\r\n" + asSSE + "\r\ndata: " + one + "\n\nid: 1\ndata: " + two + "\n\n"
	responses["SSE, type with parameters"] = chunked(200, "Content-Type: Text/Event-Stream ; charset=utf-8\r\n", "data: "+two+"\n\n")
	return responses
}

// pieces cuts a stream where no boundary of its own is.
func pieces(stream string) []string {
	var all []string
	for size := 1; stream != ""; size = size*3 + 1 {
		n := min(size, len(stream))
		all = append(all, stream[:n])
		stream = stream[n:]
	}
	return all
}

// kept lists what of the raw responses' fields an agent sees; all others stay
// behind.
func kept(name string) bool {
	switch name {
	case "Mcp-Session-Id", "Cache-Control", "Mcp-Protocol-Version", "X-Custom", "Date", "Etag", "X-Request-Id", "Content-Language",
		"Vary", "Expires", "Content-Type", "Content-Length", "Allow", "Retry-After", "X-A":
		return true
	}
	return false
}

// An answer reaches the agent as the upstream gave it: status, bytes, and the
// fields that may pass, with nothing added.
func TestResponseBytesPass(t *testing.T) {
	t.Parallel()
	exact := newExact(t)
	for name, raw := range rawResponses() {
		exact.answer(name, raw)
	}
	eachWay(t, func(*testing.T) map[string]connector.Server { return one("exact", exact.url) },
		func(t *testing.T, s *stack.Stack, agent *http.Client) {
			for name := range rawResponses() {
				compareResponse(t, exact, s, agent, name)
			}
		})
}

func compareResponse(t *testing.T, exact *exactUpstream, s *stack.Stack, agent *http.Client, name string) {
	t.Helper()
	r, err := s.Post(t.Context(), "exact", pingBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Case", name)
	got := call(t, agent, r)

	if r, err = s.Post(t.Context(), "exact", pingBody); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Case", name)
	if r.URL, err = r.URL.Parse(exact.url); err != nil {
		t.Fatal(err)
	}
	want := call(t, exact.direct, r)
	if want.err != nil {
		t.Fatalf("%s: direct: %v", name, want.err)
	}
	if got.err != nil || got.status != want.status || !bytes.Equal(got.body, want.body) {
		t.Errorf("%s: status %d, %v, body\n     %.300q\nwant status %d, body\n     %.300q", name, got.status, got.err, got.body, want.status, want.body)
		return
	}
	expected := make(http.Header)
	for field, values := range want.header {
		if kept(field) {
			expected[field] = values
		}
	}
	if strings.HasPrefix(name, "SSE") {
		expected.Set("X-Accel-Buffering", "no") // so that no proxy in front of the gateway holds events back
		expected.Del("Content-Length")          // keep-alive comments may lengthen them
	}
	if original := expected.Get("Mcp-Session-Id"); original != "" { // the gateway's name for it ends in the upstream's
		if name := got.header.Get("Mcp-Session-Id"); strings.HasPrefix(name, s.Connector.Instance()+".") && strings.HasSuffix(name, "."+original) {
			expected.Set("Mcp-Session-Id", name)
		}
	}
	if !reflect.DeepEqual(got.header, expected) {
		t.Errorf("%s: header\n     %v\nwant %v", name, got.header, expected)
	}
}

package mcp

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/sync/semaphore"
)

const (
	listBody   = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	responding = `{"jsonrpc":"2.0","id":1,"result":{}}`
)

// modernBody is a request of 2026-07-28.
func modernBody(method, params string) string {
	if params != "" {
		params += ","
	}
	return `{"jsonrpc":"2.0","id":9007199254740993,"method":"` + method + `","params":{` + params + `"_meta":{"` + metaVersion + `":"2026-07-28"}}}`
}

// modernHead is its head; further pairs replace or, with the value "-", delete.
func modernHead(method string, pairs ...string) http.Header {
	h := http.Header{headerVersion: {"2026-07-28"}, headerMethod: {method}}
	for i := 0; i < len(pairs); i += 2 {
		if h.Del(pairs[i]); pairs[i+1] != "-" {
			h.Set(pairs[i], pairs[i+1])
		}
	}
	return h
}

func pair(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// through sends one request through Inspect and returns the answer and what the next handler saw, if anything.
func through(t *testing.T, cfg InspectConfig, r *http.Request) (*httptest.ResponseRecorder, *Call) {
	t.Helper()
	var got *Call
	w := httptest.NewRecorder()
	Inspect(cfg)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if got = CallFrom(r.Context()); got == nil {
			t.Fatal("no call behind Inspect")
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
		if err != nil || !bytes.Equal(body, got.Body) || r.ContentLength != int64(len(body)) || r.Trailer != nil || r.TransferEncoding != nil {
			t.Errorf("the next handler got %d of %d bytes, length %d, %v", len(body), len(got.Body), r.ContentLength, err)
		}
	})).ServeHTTP(w, r)
	return w, got
}

func post(body string, h http.Header) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/t/acme/wiki/mcp", strings.NewReader(body))
	r.Header = h.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if r.Header["Content-Type"] == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func TestInspectLetsLegalCallsThrough(t *testing.T) {
	tools := modernBody("tools/call", `"name":"echo"`)
	encoded := func(s string) string { return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?=" }
	tests := []struct {
		name    string
		r       *http.Request
		version Version
		session string
	}{
		{"no version", post(listBody, nil), V20250326, ""},
		{"2025-11-25 in a session", post(listBody, pair("MCP-Protocol-Version", "2025-11-25", "Mcp-Session-Id", "a!~")), V20251125, "a!~"},
		{"older revisions ignore mirrored headers", post(listBody, pair("MCP-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/call", "Mcp-Name", "x")), V20251125, ""},
		{"unpublished old revision", post(listBody, pair("MCP-Protocol-Version", "2025-09-09")), "2025-09-09", ""},
		{"batch", post("["+listBody+"]", nil), V20250326, ""},
		{"batch with its version", post("["+listBody+"]", pair("MCP-Protocol-Version", "2025-03-26")), V20250326, ""},
		{"response in a session", post(responding, pair("MCP-Protocol-Version", "2025-11-25", "Mcp-Session-Id", "s")), V20251125, "s"},
		{"notification", post(`{"jsonrpc":"2.0","method":"notifications/initialized"}`, pair("MCP-Protocol-Version", "2025-06-18")), V20250618, ""},
		{"modern", post(tools, modernHead("tools/call", "Mcp-Name", "echo", "Mcp-Param-Region", "anything")), V20260728, ""},
		{"modern with an encoded name", post(tools, modernHead("tools/call", "Mcp-Name", encoded("echo"))), V20260728, ""},
		{"modern with a name that must be encoded", post(modernBody("tools/call", `"name":"a\r\nb ä"`), modernHead("tools/call", "Mcp-Name", encoded("a\r\nb ä"))), V20260728, ""},
		{"a name that looks encoded in capitals is itself", post(modernBody("tools/call", `"name":"=?BASE64?eA==?="`), modernHead("tools/call", "Mcp-Name", "=?BASE64?eA==?=")), V20260728, ""},
		{"modern without a name to act on", post(modernBody("tools/list", ""), modernHead("tools/list")), V20260728, ""},
		{"modern task without Mcp-Name", post(modernBody("tasks/get", `"taskId":"t"`), modernHead("tasks/get")), V20260728, ""},
		{"modern task", post(modernBody("tasks/get", `"taskId":"t"`), modernHead("tasks/get", "Mcp-Name", "t")), V20260728, ""},
		{"modern resource", post(modernBody("resources/read", `"uri":"file:///a"`), modernHead("resources/read", "Mcp-Name", "file:///a")), V20260728, ""},
		{"modern notification", post(`{"jsonrpc":"2.0","method":"x/y"}`, modernHead("-", "Mcp-Method", "-")), V20260728, ""},
		{"modern ignores a session", post(modernBody("ping", ""), modernHead("ping", "Mcp-Session-Id", "stolen")), V20260728, ""},
		{"later revision", post(strings.Replace(tools, "2026-07-28", "2027-01-01", 1), modernHead("tools/call", "Mcp-Name", "echo", "MCP-Protocol-Version", "2027-01-01")), "2027-01-01", ""},
		{"revision that is no date", post(strings.Replace(tools, "2026-07-28", "v9", 1), modernHead("tools/call", "Mcp-Name", "echo", "MCP-Protocol-Version", "v9")), "v9", ""},
		{"charset", post(listBody, pair("Content-Type", "Application/JSON; charset=UTF-8")), V20250326, ""},
		{"identity", post(listBody, pair("Content-Encoding", "Identity")), V20250326, ""},
		{"GET", httptest.NewRequest(http.MethodGet, "/x", nil), V20250326, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w, call := through(t, InspectConfig{}, test.r)
			if call == nil {
				t.Fatalf("refused: %d %s", w.Code, w.Body)
			}
			if call.Version != test.version || call.SessionID != test.session {
				t.Errorf("version %q, session %q", call.Version, call.SessionID)
			}
			if !call.Version.Sessionful() && test.r.Header.Get("Mcp-Session-Id") != "" {
				t.Error("a session that nobody checks is passed on")
			}
			if (len(call.Messages) == 0) != (test.r.Method != http.MethodPost) || len(call.Messages) > 0 && call.Method() != call.Messages[0].Method {
				t.Errorf("%d messages, method %q", len(call.Messages), call.Method())
			}
		})
	}
}

func TestInspectRefuses(t *testing.T) {
	tools := modernBody("tools/call", `"name":"echo"`)
	request := func(method string, h http.Header, body string) *http.Request {
		r := httptest.NewRequest(method, "/x", strings.NewReader(body))
		r.Header = h
		return r
	}
	query := func(q string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/x"+q, strings.NewReader(listBody))
		r.Header.Set("Content-Type", "application/json")
		return r
	}
	name := func(value string) *http.Request { return post(tools, modernHead("tools/call", "Mcp-Name", value)) }
	tests := []struct {
		name   string
		r      *http.Request
		status int
		code   int
		id     string
	}{
		{"text/plain", post(listBody, pair("Content-Type", "text/plain")), 415, -32600, "null"},
		{"no type", post(listBody, pair("Content-Type", "")), 415, -32600, "null"},
		{"another charset", post(listBody, pair("Content-Type", "application/json; charset=utf-16")), 415, -32600, "null"},
		{"another parameter", post(listBody, pair("Content-Type", "application/json; v=1")), 415, -32600, "null"},
		{"two types", post(listBody, pair("Content-Type", "application/json", "Content-Type", "application/json")), 415, -32600, "null"},
		{"gzip", post(listBody, pair("Content-Encoding", "gzip")), 415, -32600, "null"},
		{"identity, then gzip", post(listBody, pair("Content-Encoding", "identity", "Content-Encoding", "gzip")), 415, -32600, "null"},
		{"query", query("?access_token=x"), 400, -32600, "null"},
		{"empty query", query("?"), 400, -32600, "null"},
		{"no body", post("", nil), 400, -32700, "null"},
		{"malformed", post("{", nil), 400, -32700, "null"},
		{"unknown method", post(`{"jsonrpc":"2.0","id":"q","method":"rpc.discover"}`, nil), 404, -32601, `"q"`},
		{"response without a session", post(responding, pair("MCP-Protocol-Version", "2025-11-25")), 400, -32600, "null"},
		{"modern response", post(responding, modernHead("x", "Mcp-Session-Id", "s")), 400, -32600, "null"},
		{"batched response without a session", post("["+responding+"]", nil), 400, -32600, "null"},
		{"batch in 2025-06-18", post("["+listBody+"]", pair("MCP-Protocol-Version", "2025-06-18")), 400, -32600, "1"},
		{"batch in 2024-11-05", post("["+listBody+"]", pair("MCP-Protocol-Version", "2024-11-05")), 400, -32600, "1"},
		{"modern batch", post("["+tools+"]", modernHead("tools/call", "Mcp-Name", "echo")), 400, -32600, "9007199254740993"},
		{"modern message in an old batch", post("["+listBody+","+tools+"]", nil), 400, -32600, "1"},
		{"version is no date, old body", post(listBody, pair("MCP-Protocol-Version", "1")), 400, -32602, "1"},
		{"version is no date, batch", post("["+listBody+"]", pair("MCP-Protocol-Version", "1")), 400, -32600, "1"},
		{"version is no date, response", post(responding, pair("MCP-Protocol-Version", "1", "Mcp-Session-Id", "s")), 400, -32600, "null"},
		{"version is no date, modern body", post(tools, modernHead("tools/call", "Mcp-Name", "echo", "MCP-Protocol-Version", "latest")), 400, -32020, "9007199254740993"},
		{"version is no date, no Mcp-Name", post(strings.Replace(tools, "2026-07-28", "1", 1), modernHead("tools/call", "MCP-Protocol-Version", "1")), 400, -32020, "9007199254740993"},
		{"version in the body is no date", post(strings.Replace(tools, "2026-07-28", "1", 1), modernHead("tools/call", "Mcp-Name", "echo")), 400, -32020, "9007199254740993"},
		{"version in the body is no date, old header", post(strings.Replace(tools, "2026-07-28", "1", 1), pair("MCP-Protocol-Version", "2025-11-25")), 400, -32020, "9007199254740993"},
		{"version in the body is no date, no header", post(strings.Replace(tools, "2026-07-28", "1", 1), nil), 400, -32020, "9007199254740993"},
		{"version is empty", post(listBody, pair("MCP-Protocol-Version", "")), 400, -32600, "1"},
		{"two versions", post(listBody, pair("MCP-Protocol-Version", "2025-11-25", "MCP-Protocol-Version", "2025-11-25")), 400, -32020, "1"},
		{"two methods", post(listBody, pair("Mcp-Method", "tools/list", "Mcp-Method", "tools/list")), 400, -32020, "1"},
		{"two params", post(listBody, pair("Mcp-Param-X", "1", "Mcp-Param-X", "2")), 400, -32020, "1"},
		{"two sessions", post(listBody, pair("Mcp-Session-Id", "a", "Mcp-Session-Id", "b")), 400, -32020, "1"},
		{"empty session", post(listBody, pair("Mcp-Session-Id", "")), 400, -32600, "1"},
		{"session with a space", post(listBody, pair("Mcp-Session-Id", "a b")), 400, -32600, "1"},
		{"session too long", post(listBody, pair("Mcp-Session-Id", strings.Repeat("a", 1025))), 400, -32600, "1"},
		{"modern body, no version header", post(tools, modernHead("tools/call", "Mcp-Name", "echo", "MCP-Protocol-Version", "-")), 400, -32020, "9007199254740993"},
		{"modern body, old header", post(tools, modernHead("tools/call", "Mcp-Name", "echo", "MCP-Protocol-Version", "2025-11-25")), 400, -32020, "9007199254740993"},
		{"modern body, later header", post(tools, modernHead("tools/call", "Mcp-Name", "echo", "MCP-Protocol-Version", "2027-01-01")), 400, -32020, "9007199254740993"},
		{"modern header, no version in the body", post(listBody, modernHead("tools/list")), 400, -32602, "1"},
		{"later header, old body", post(listBody, modernHead("tools/list", "MCP-Protocol-Version", "2030-01-01")), 400, -32602, "1"},
		{"no Mcp-Method", post(tools, modernHead("", "Mcp-Name", "echo", "Mcp-Method", "-")), 400, -32020, "9007199254740993"},
		{"Mcp-Method differs", post(tools, modernHead("tools/list", "Mcp-Name", "echo")), 400, -32020, "9007199254740993"},
		{"Mcp-Method in capitals", post(tools, modernHead("Tools/Call", "Mcp-Name", "echo")), 400, -32020, "9007199254740993"},
		{"Mcp-Method of a notification differs", post(`{"jsonrpc":"2.0","method":"x/y"}`, modernHead("x/z")), 400, -32020, "null"},
		{"version of a notification differs", post(`{"jsonrpc":"2.0","method":"x/y","params":{"_meta":{"`+metaVersion+`":"2025-11-25"}}}`, modernHead("x/y")), 400, -32020, "null"},
		{"no Mcp-Name", post(tools, modernHead("tools/call")), 400, -32020, "9007199254740993"},
		{"Mcp-Name differs", name("ech"), 400, -32020, "9007199254740993"},
		{"Mcp-Name in capitals", name("Echo"), 400, -32020, "9007199254740993"},
		{"Mcp-Name with obsolete text", name("echo\xe9"), 400, -32020, "9007199254740993"},
		{"sentinel in capitals", name("=?BASE64?ZWNobw==?="), 400, -32020, "9007199254740993"},
		{"sentinel without padding", name("=?base64?ZWNobw?="), 400, -32020, "9007199254740993"},
		{"sentinel with a line break", name("=?base64?ZWNo\r\nbw==?="), 400, -32020, "9007199254740993"},
		{"sentinel with stray bits", name("=?base64?ZWNobx==?="), 400, -32020, "9007199254740993"},
		{"sentinel in the URL alphabet", post(modernBody("tools/call", `"name":"a?>"`), modernHead("tools/call", "Mcp-Name", "=?base64?YT8-?=")), 400, -32020, "9007199254740993"},
		{"sentinel whose markers overlap", post(modernBody("tools/call", `"name":""`), modernHead("tools/call", "Mcp-Name", "=?base64?=")), 400, -32020, "9007199254740993"},
		{"sentinel of invalid UTF-8", post(modernBody("tools/call", `"name":"�"`), modernHead("tools/call", "Mcp-Name", "=?base64?/w==?=")), 400, -32020, "9007199254740993"},
		{"literal that should have been encoded", post(modernBody("tools/call", `"name":"=?base64?x?="`), modernHead("tools/call", "Mcp-Name", "=?base64?x?=")), 400, -32020, "9007199254740993"},
		{"empty Mcp-Name for a body without name", post(modernBody("tools/call", ""), modernHead("tools/call", "Mcp-Name", "")), 400, -32020, "9007199254740993"},
		{"Mcp-Name of a task differs", post(modernBody("tasks/get", `"taskId":"t"`), modernHead("tasks/get", "Mcp-Name", "u")), 400, -32020, "9007199254740993"},
		{"GET with a body", request(http.MethodGet, http.Header{}, "x"), 400, -32600, "null"},
		{"GET with a query", request(http.MethodGet, http.Header{}, ""), 400, -32600, "null"},
		{"modern GET", request(http.MethodGet, pair("MCP-Protocol-Version", "2026-07-28"), ""), 405, -32600, "null"},
		{"GET whose version is no date", request(http.MethodGet, pair("MCP-Protocol-Version", "latest", "Mcp-Session-Id", "s"), ""), 405, -32600, "null"},
		{"modern DELETE", request(http.MethodDelete, pair("MCP-Protocol-Version", "2027-07-28"), ""), 405, -32600, "null"},
		{"DELETE with a bad session", request(http.MethodDelete, pair("Mcp-Session-Id", "ä"), ""), 400, -32600, "null"},
		{"PUT", request(http.MethodPut, http.Header{}, listBody), 405, -32600, "null"},
		{"HEAD", request(http.MethodHead, http.Header{}, ""), 405, -32600, "null"},
		{"OPTIONS", request(http.MethodOptions, http.Header{}, ""), 405, -32600, "null"},
		{"CONNECT", &http.Request{Method: http.MethodConnect, URL: post("", nil).URL, Header: http.Header{}}, 405, -32600, "null"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "GET with a query" {
				test.r.URL.RawQuery = "sessionId=1"
			}
			if test.r.Method != http.MethodPost && test.name != "GET with a body" && test.name != "PUT" {
				test.r.Body, test.r.ContentLength = http.NoBody, 0
			}
			w, call := through(t, InspectConfig{}, test.r)
			if call != nil {
				t.Fatal("passed")
			}
			want := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"error":{"code":%d,`, test.id, test.code)
			if got := strings.TrimPrefix(w.Body.String(), "["); w.Code != test.status || !strings.HasPrefix(got, want) {
				t.Errorf("got %d %s, want %d %s", w.Code, w.Body, test.status, want)
			}
			if allow := w.Header().Get("Allow"); (test.status == 405) != (allow == "POST") {
				t.Errorf("Allow: %s", allow)
			}
		})
	}
}

func TestInspectAnswersABatchWithAnArray(t *testing.T) {
	w, _ := through(t, InspectConfig{}, post("["+listBody+"]", pair("MCP-Protocol-Version", "2025-06-18")))
	if body := w.Body.String(); !strings.HasPrefix(body, `[{"jsonrpc":"2.0","id":1,`) || !strings.HasSuffix(body, "}]") {
		t.Errorf("got %s", body)
	}
}

func TestInspectCapsTheBody(t *testing.T) {
	pad := func(n int) string { return listBody + strings.Repeat(" ", n-len(listBody)) }
	chunked := func(body string) *http.Request {
		r := post(body, nil)
		r.ContentLength = -1
		return r
	}
	cfg := InspectConfig{MaxBody: 100 << 10}
	for _, size := range []int{len(listBody), firstBuffer - 1, firstBuffer, firstBuffer + 1, 100<<10 - 1, 100 << 10} {
		if w, call := through(t, cfg, chunked(pad(size))); call == nil || len(call.Body) != size {
			t.Errorf("%d bytes of unknown length: %d", size, w.Code)
		}
		if w, call := through(t, cfg, post(pad(size), nil)); call == nil || len(call.Body) != size {
			t.Errorf("%d bytes: %d", size, w.Code)
		}
	}
	for name, r := range map[string]*http.Request{"announced": post(pad(100<<10+1), nil), "unannounced": chunked(pad(100<<10 + 1)), "endless": chunked(pad(1 << 20))} {
		if w, call := through(t, cfg, r); call != nil || w.Code != 413 {
			t.Errorf("%s: got %d", name, w.Code)
		}
	}
	if w, call := through(t, InspectConfig{}, post(pad(4<<20), nil)); call == nil {
		t.Errorf("4 MiB by default: %d", w.Code)
	}
	if w, _ := through(t, InspectConfig{}, post(pad(4<<20+1), nil)); w.Code != 413 {
		t.Errorf("above 4 MiB by default: %d", w.Code)
	}
}

func TestInspectHoldsABudgetWhileTheCallLasts(t *testing.T) {
	budget := semaphore.NewWeighted(64 << 10)
	cfg := InspectConfig{Budget: budget}
	large := post(listBody+strings.Repeat(" ", 30<<10), nil)
	Inspect(cfg)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if w, call := through(t, cfg, post(listBody+strings.Repeat(" ", 40<<10), nil)); call != nil || w.Code != 503 || !strings.Contains(w.Body.String(), "overloaded") {
			t.Errorf("beyond the budget: %d %s", w.Code, w.Body)
		}
		if w, call := through(t, cfg, post(listBody, nil)); call == nil {
			t.Errorf("a small call beside it: %d", w.Code)
		}
	})).ServeHTTP(httptest.NewRecorder(), large)
	if !budget.TryAcquire(64 << 10) {
		t.Error("something of the budget was not given back")
	}
}

// A stream that may last for hours must not keep others out by the body that began it.
func TestForgetGivesTheBodyBack(t *testing.T) {
	budget := semaphore.NewWeighted(64 << 10)
	cfg := InspectConfig{Budget: budget}
	r := post(`{"jsonrpc":"2.0","id":"one","method":"tools/call","params":{"name":"a","arguments":{}}}`+strings.Repeat(" ", 40<<10), nil)
	Inspect(cfg)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		call := CallFrom(r.Context())
		if m := call.Messages[0]; m.Params == nil || m.Arguments == nil {
			t.Errorf("before Forget: %+v", m)
		}
		call.Forget()
		if m := call.Messages[0]; m.Params != nil || m.Arguments != nil || m.Name != "a" {
			t.Errorf("after Forget: %+v", m)
		}
		if !budget.TryAcquire(64 << 10) {
			t.Error("the body still counts")
		}
		budget.Release(64 << 10)
		if call.Body != nil || len(call.IDs()) != 1 || string(call.IDs()[0]) != `"one"` {
			t.Errorf("after Forget: %d bytes, ids %q", len(call.Body), call.IDs())
		}
	})).ServeHTTP(httptest.NewRecorder(), r)
	if !budget.TryAcquire(64 << 10) {
		t.Error("the body was given back twice, or not at all")
	}
}

func TestInspectRefuseGetsTheCallWhereItIsKnown(t *testing.T) {
	var method, reason string
	cfg := InspectConfig{Refuse: func(w http.ResponseWriter, r *http.Request, e *Error) {
		reason = e.Reason
		if call := CallFrom(r.Context()); call != nil {
			method = call.Method()
		}
		WriteError(w, e, "req-9")
	}}
	w, _ := through(t, cfg, post(modernBody("tools/list", ""), nil))
	if method != "tools/list" || reason != "header_mismatch" || !strings.Contains(w.Body.String(), `"request_id":"req-9"`) || !strings.Contains(w.Body.String(), `"id":9007199254740993`) {
		t.Errorf("method %q, reason %q, %s", method, reason, w.Body)
	}
}

func TestCallFromIsNilWithoutInspect(t *testing.T) {
	if CallFrom(t.Context()) != nil {
		t.Error("a call from nowhere")
	}
}

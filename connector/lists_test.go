package connector

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
	"sallyport.dev/mcp"
)

// hide keeps all elements but those of these names.
func hide(names ...string) func(string, mcp.Element) bool {
	return func(_ string, e mcp.Element) bool { return !slices.Contains(names, e.Name) }
}

// shown is what an agent got to see of one call.
type shown struct {
	*httptest.ResponseRecorder
	note    *note
	aborted bool
}

// callWith makes a call behind the decision, which has set keep.
func callWith(t *testing.T, upstream http.HandlerFunc, keep func(string, mcp.Element) bool, call *mcp.Call, header http.Header) (got shown) {
	t.Helper()
	server := httptest.NewServer(upstream)
	defer server.Close()
	c, _ := newConnector(t, newFakeGateway(t), server.URL, func(cfg *Config) {
		withKey(t)(cfg)
		s := cfg.Servers["wiki"]
		s.SSEURL = server.URL + "/sse"
		cfg.Servers["wiki"] = s
	})
	now, u, leave := c.enter("wiki")
	defer leave()
	method := http.MethodPost
	if len(call.Messages) == 0 {
		method = http.MethodGet
	}
	got = shown{httptest.NewRecorder(), &note{
		requestID: "request-1", server: "wiki", endpoint: call.Endpoint, routes: now, upstream: u, call: call, keep: keep,
		principal: auth.Principal{Issuer: authtest.Issuer, Subject: authtest.Subject},
	}, false}
	r := httptest.NewRequest(method, "http://acme/t/acme/wiki/"+string(call.Endpoint), nil)
	r = r.WithContext(context.WithValue(t.Context(), noteKey{}, got.note))
	for name, values := range header {
		r.Header[name] = values
	}
	defer func() {
		what := recover()
		err, _ := what.(error)
		if got.aborted = errors.Is(err, http.ErrAbortHandler); what != nil && !got.aborted {
			panic(what)
		}
	}()
	c.callUpstream(got, r)
	return got
}

// says is an upstream that answers with a status, a type and a body.
func says(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	toolsAB = `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"a"},{"name":"b"}],"nextCursor":"x"}}`
	toolsB  = `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"b"}],"nextCursor":"x"}}`
)

func TestAListInJSONIsFiltered(t *testing.T) {
	for name, test := range map[string]struct {
		version mcp.Version
		body    string // default listTools
		media   string // default application/json
		text    string
		want    string
		dropped int
	}{
		"a list":              {text: toolsAB, want: toolsB, dropped: 1},
		"a charset":           {media: "application/JSON; charset=UTF-8", text: toolsAB, want: toolsB, dropped: 1},
		"nothing is refused":  {text: toolsB, want: toolsB},
		"an error":            {text: `{"jsonrpc":"2.0","id":7,"error":{"data":["a"]}}`, want: `{"jsonrpc":"2.0","id":7,"error":{"data":["a"]}}`},
		"a call with no list": {body: `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`, text: toolsAB, want: toolsAB},
		"another reading":     {body: `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`, text: `{"a":1,"a":[]}`, want: `{"a":1,"a":[]}`},
		"2026-07-28": {version: mcp.V20260728, text: `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"a"}],"ttlMs":5,"cacheScope":"public","resultType":"complete"}}`,
			want: `{"jsonrpc":"2.0","id":7,"result":{"tools":[],"ttlMs":5,"cacheScope":"private","resultType":"complete"}}`, dropped: 1},
		"a batch": {version: mcp.V20250326, body: `[` + listTools + `,{"jsonrpc":"2.0","id":8,"method":"tools/call"}]`,
			text: `[` + toolsAB + `,` + strings.Replace(toolsAB, "7", "8", 1) + `]`, want: `[` + toolsB + `,` + strings.Replace(toolsAB, "7", "8", 1) + `]`, dropped: 1},
	} {
		if test.version == "" {
			test.version = mcp.V20251125
		}
		if test.body == "" {
			test.body = listTools
		}
		if test.media == "" {
			test.media = "application/json"
		}
		got := callWith(t, says(200, test.media, test.text), hide("a"), callOf(t, mcp.EndpointMCP, test.version, test.body), nil)
		head := got.Result().Header
		if got.Code != 200 || got.Body.String() != test.want || got.note.dropped != test.dropped || got.note.outcome != "upstream" || got.aborted {
			t.Errorf("%s: %d %s, dropped %d, %s", name, got.Code, got.Body, got.note.dropped, got.note.outcome)
		}
		if head.Get("Content-Length") != strconv.Itoa(len(test.want)) || (head.Get("ETag") != "") != (test.text == test.want) {
			t.Errorf("%s: the head is %v", name, head)
		}
	}
}

// TestAListThatCannotBeFilteredIsRefused: 502 upstream_invalid, delivered, and nothing of the list.
func TestAListThatCannotBeFilteredIsRefused(t *testing.T) {
	const canary = `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"c4n4ry"}]}}`
	for name, upstream := range map[string]http.HandlerFunc{
		"no JSON":               says(200, "application/json", canary[:len(canary)-1]),
		"two readings":          says(200, "application/json", canary[:len(canary)-1]+`,"Result":{}}`),
		"another id":            says(200, "application/json", strings.Replace(canary, "7", "8", 1)),
		"no list":               says(200, "application/json", `{"jsonrpc":"2.0","id":7,"result":{}}`),
		"too long":              says(200, "application/json", canary[:len(canary)-1]+strings.Repeat(" ", mcp.MaxList)+"}"),
		"a text":                says(200, "text/plain", canary),
		"UTF-16":                says(200, "application/json; charset=utf-16", canary),
		"no type":               says(200, "", canary),
		"a list with an error":  says(404, "text/plain", canary),
		"an error of another":   says(400, "application/json", strings.Replace(canary, "7", "8", 1)),
		"a list with 202":       says(202, "text/html", canary),
		"an error with a list?": says(422, "application/json", `{"detail":[{"name":"c4n4ry"}]}`),
	} {
		got := callWith(t, upstream, hide("a"), callOf(t, mcp.EndpointMCP, mcp.V20251125, listTools), nil)
		if got.Code != 502 || reasonOf(got.Body.String()) != "upstream_invalid" || got.note.delivered != mcp.DeliveredYes || got.note.dropped != 0 {
			t.Errorf("%s: %d %s", name, got.Code, got.Body)
		}
		if said := fmt.Sprint(got.Body, got.Header(), got.note.cause); strings.Contains(said, "c4n4ry") || got.note.cause == nil {
			t.Errorf("%s: it says %s", name, said)
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, canary)
	}
	got := callWith(t, cut, hide("a"), callOf(t, mcp.EndpointMCP, mcp.V20251125, listTools), nil)
	if got.Code != 502 || reasonOf(got.Body.String()) != "outcome_unknown" || strings.Contains(got.Body.String(), "c4n4ry") {
		t.Errorf("cut short: %d %s", got.Code, got.Body)
	}
}

// TestWhatHoldsNoListPasses: what a client has to see of a server's refusals.
func TestWhatHoldsNoListPasses(t *testing.T) {
	for _, test := range []struct {
		endpoint    mcp.Endpoint
		status      int
		media, body string
	}{
		{mcp.EndpointMCP, 404, "text/plain", "session not found"},
		{mcp.EndpointMCP, 404, "application/json", `{"detail":"session not found"}`},
		{mcp.EndpointMCP, 400, "application/json", `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"x","data":["x"]}}`},
		{mcp.EndpointMCP, 400, "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"x","data":{"supported":["2025-11-25"]}}}`},
		{mcp.EndpointMCP, 202, "text/plain", ""},
		{mcp.EndpointMCP, 500, "text/html", "<h1>no</h1>"},
	} {
		got := callWith(t, says(test.status, test.media, test.body), hide("a"), callOf(t, test.endpoint, mcp.V20251125, listTools), nil)
		if got.Code != test.status || got.Body.String() != test.body || got.Header().Get("ETag") == "" {
			t.Errorf("%d %s became %d %s", test.status, test.body, got.Code, got.Body)
		}
	}
}

// TestWithoutKeepListsPassUnread: what is no JSON and longer than a filter reads.
func TestWithoutKeepListsPassUnread(t *testing.T) {
	long := `{"jsonrpc":"2.0","id":7,"result":{"tools":[` + strings.Repeat(" ", mcp.MaxList) + `]}}`
	got := callWith(t, says(200, "application/json", long), nil, callOf(t, mcp.EndpointMCP, mcp.V20251125, listTools), nil)
	if got.Code != 200 || got.Body.String() != long || got.Header().Get("ETag") == "" {
		t.Errorf("%d, %d bytes", got.Code, got.Body.Len())
	}
	stream := "data: {\"id\":7,\"result\":\"" + strings.Repeat("x", mcp.MaxList) + "\"}\n\n"
	got = callWith(t, says(200, "text/event-stream", stream), nil, callOf(t, mcp.EndpointMCP, mcp.V20251125, listTools), nil)
	if got.Code != 200 || got.Body.String() != stream {
		t.Errorf("%d, %d bytes", got.Code, got.Body.Len())
	}
}

func TestAListInAnEventIsFiltered(t *testing.T) {
	const place = "event: endpoint\ndata: /messages?s=1\n\n"
	bad := "data: " + strings.Replace(toolsAB, "nextCursor", "Tools", 1) + "\n\n"
	for name, test := range map[string]struct {
		endpoint mcp.Endpoint
		body     string // none: GET
		header   http.Header
		stream   string
		want     string // the end of it; "" means that the stream is aborted
		dropped  int
	}{
		"a list":              {endpoint: mcp.EndpointMCP, body: listTools, stream: notification + "id: 1\ndata: " + toolsAB + "\n\n: x\n\n", want: notification + "id: 1\ndata: " + toolsB + "\n\n: x\n\n", dropped: 1},
		"HTTP+SSE":            {endpoint: mcp.EndpointSSE, stream: place + notification + "data: " + toolsAB + "\n\n" + notification + "data: " + toolsAB + "\n\n", want: notification + "data: " + toolsB + "\n\n" + notification + "data: " + toolsB + "\n\n", dropped: 2},
		"HTTP+SSE, bad":       {endpoint: mcp.EndpointSSE, stream: place + notification + bad},
		"what was missed":     {endpoint: mcp.EndpointMCP, header: http.Header{"Last-Event-Id": {"4"}}, stream: "id: 5\ndata: " + toolsAB + "\n\n", want: "id: 5\ndata: " + toolsB + "\n\n", dropped: 1},
		"what was missed bad": {endpoint: mcp.EndpointMCP, header: http.Header{"Last-Event-Id": {"4"}}, stream: notification + bad},
		"a call":              {endpoint: mcp.EndpointMCP, body: `{"jsonrpc":"2.0","id":7,"method":"tools/call"}`, stream: bad, want: bad},
		"behind an id, bad":   {endpoint: mcp.EndpointMCP, body: listTools, stream: "id: 4\n" + notification + bad},
	} {
		got := callWith(t, says(200, "text/event-stream", test.stream), hide("a"), callOf(t, test.endpoint, mcp.V20251125, test.body), test.header)
		body := got.Body.String()
		if got.Code != 200 || got.aborted != (test.want == "") || !strings.HasSuffix(body, test.want) || got.note.dropped != test.dropped {
			t.Errorf("%s: %d, aborted %v, dropped %d, %s", name, got.Code, got.aborted, got.note.dropped, body)
		}
		if got.aborted && (got.note.outcome != "upstream_invalid" || strings.Contains(body, `"name"`) || !strings.HasSuffix(body, notification)) {
			t.Errorf("%s: %s, %s", name, got.note.outcome, body)
		}
		if test.endpoint == mcp.EndpointSSE && !strings.HasPrefix(body, "event: endpoint\ndata: /t/acme/wiki/messages?") {
			t.Errorf("%s: the place is %s", name, body)
		}
	}
	// The request still waits for its answer, so that it gets one.
	got := callWith(t, says(200, "text/event-stream", notification+bad), hide("a"), callOf(t, mcp.EndpointMCP, mcp.V20251125, listTools), nil)
	if body := got.Body.String(); got.aborted || !strings.HasPrefix(body, notification) || !strings.Contains(body, `"code":-32019`) || !strings.Contains(body, `"id":7`) || strings.Contains(body, `"name"`) {
		t.Errorf("%v %s", got.aborted, body)
	}
}

// TestListsAreScrubbedBeforeTheyAreFiltered: what decides about an element sees no secret, and what it keeps has none.
func TestListsAreScrubbedBeforeTheyAreFiltered(t *testing.T) {
	answer := `{"jsonrpc":"2.0","id":7,"result":{"tools":[{"name":"a"},{"name":"b","title":"` + testKey + `"}]}}`
	for _, upstream := range []http.HandlerFunc{says(200, "application/json", answer), says(200, "text/event-stream", "data: "+answer+"\n\n")} {
		var seen strings.Builder
		got := callWith(t, upstream, func(_ string, e mcp.Element) bool {
			seen.Write(e.Raw)
			return e.Name != "a"
		}, callOf(t, mcp.EndpointMCP, mcp.V20251125, listTools), nil)
		body := got.Body.String()
		if strings.Contains(seen.String()+body, testKey) || !strings.Contains(seen.String(), `"title"`) || !strings.Contains(body, `[{"name":"b","title":"`) || got.note.dropped != 1 {
			t.Errorf("keep saw %s, the agent %d %s", &seen, got.Code, body)
		}
	}
}

// TestDroppedElementsAreLogged: their number, and no name.
func TestDroppedElementsAreLogged(t *testing.T) {
	c, log := newConnector(t, newFakeGateway(t), nowhere, nil)
	c.logCall(&note{server: "wiki"})
	if strings.Contains(log.String(), `"dropped"`) {
		t.Error(log)
	}
	c.logCall(&note{server: "wiki", dropped: 3})
	if !strings.Contains(log.String(), `"dropped":3`) {
		t.Error(log)
	}
}

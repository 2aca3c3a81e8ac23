package mcp

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// survivors returns the names left after strip, of a head that has each name once.
func survivors(strip func(http.Header), names ...string) string {
	h := http.Header{}
	for _, name := range names {
		h[name] = []string{"v"}
	}
	strip(h)
	return strings.Join(slices.Sorted(maps.Keys(h)), " ")
}

func TestStripRequestKeepsOnlyWhatMayTravel(t *testing.T) {
	stay := []string{"Accept", "Accept-Language", "Content-Length", "Content-Type", "Last-Event-Id", "Mcp-Method", "Mcp-Name", "Mcp-Param-Region",
		"Mcp-Protocol-Version", "Mcp-Session-Id", "User-Agent", "X-Tenant"}
	gone := []string{"Authorization", "authorization", "AUTHORIZATION", "Cookie", "DPoP", "dpop", "Client-Cert", "Client-Cert-Chain", "Proxy-Authorization", "Proxy-Connection", "Connection", "Keep-Alive", "Te", "Trailer",
		"Transfer-Encoding", "Upgrade", "Http2-Settings", "X_tenant", "Mcp_method", "X-Tenant_", "_", "Idempotency-Key", "X-Idempotency-Key", "Forwarded",
		"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded", "X-Real-Ip", "Expect", "Range", "If-Match", "If-Range", "If-None-Match", "Max-Forwards",
		"X-Amz-Security-Token", "Accept-Encoding", "Content-Encoding", "Origin", "Referer", "Sec-Fetch-Mode", "Sec-Websocket-Key", "Baggage", "Traceparent", "tracestate", "B3", "X-B3-Traceid", "X-Amzn-Trace-Id", "Uber-Trace-Id",
		"Sallyport-Assertion", "sallyport-request-id", "X-Original-Url", "X-Rewrite-Url", "X-Http-Method-Override", "X-Host", "Host", "Via", "Bad Name", "Bad:Name", "Bäd", ""}
	if got := survivors(StripRequest, append(gone, stay...)...); got != strings.Join(stay, " ") {
		t.Errorf("got %s", got)
	}
}

func TestStripResponseKeepsOnlyWhatMayTravel(t *testing.T) {
	stay := []string{"Cache-Control", "Content-Length", "Content-Type", "Date", "Mcp-Session-Id", "Retry-After", "X-Accel-Buffering", "X-Custom"}
	gone := []string{"Set-Cookie", "set-cookie", "Www-Authenticate", "DPoP-Nonce", "Proxy-Authenticate", "Server", "Via", "Alt-Svc", "Clear-Site-Data", "Refresh", "Link",
		"Location", "Content-Location", "Sallyport-Outcome", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Connection", "Keep-Alive", "Trailer",
		"Transfer-Encoding", "Upgrade", "Public-Key-Pins", "X-Powered-By", "Set_cookie", "X-Accel-Redirect", "Trailer:Authorization"}
	if got := survivors(StripResponse, append(gone, stay...)...); got != strings.Join(stay, " ") {
		t.Errorf("got %s", got)
	}
}

func TestStripDeletesWhatConnectionNominates(t *testing.T) {
	for name, strip := range map[string]func(http.Header){"request": StripRequest, "response": StripResponse} {
		h := http.Header{"Connection": {"x-tenant ,\tX-Other", "close, , mcp-method"}, "X-Tenant": {"a"}, "X-Other": {"b"}, "Mcp-Method": {"c"}, "X-Stays": {"d"}}
		strip(h)
		if fmt.Sprint(h) != "map[X-Stays:[d]]" {
			t.Errorf("%s: %v", name, h)
		}
	}
}

func TestCheckHeaders(t *testing.T) {
	many := http.Header{"X": make([]string, 100)}
	tests := []struct {
		name   string
		h      http.Header
		status int
	}{
		{"ordinary", http.Header{"Accept": {"a, b"}, "X": {"tab\tand ~"}}, 0},
		{"100 fields", many, 0},
		{"101 fields", http.Header{"X": many["X"], "Y": {""}}, 431},
		{"obsolete text", http.Header{"X": {"a", "caf\xe9"}}, 400},
		{"UTF-8", http.Header{"X": {"ä"}}, 400},
		{"CR", http.Header{"X": {"a\rb"}}, 400},
		{"LF", http.Header{"X": {"a\n"}}, 400},
		{"NUL", http.Header{"X": {"\x00"}}, 400},
		{"DEL", http.Header{"X": {"\x7f"}}, 400},
	}
	for _, test := range tests {
		status := 0
		if e := CheckHeaders(test.h); e != nil {
			status = e.Status
		}
		if status != test.status {
			t.Errorf("%s: got %d, want %d", test.name, status, test.status)
		}
	}
}

// TestEventStreamNames: parameters and case do not matter.
func TestEventStreamNames(t *testing.T) {
	for value, want := range map[string]bool{"text/event-stream": true, "Text/Event-Stream ; charset=utf-8": true, "text/event-streams": false, "application/json": false, "": false} {
		if IsEventStream(http.Header{"Content-Type": {value}}) != want {
			t.Errorf("%q", value)
		}
	}
}

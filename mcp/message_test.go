package mcp

import (
	"net/http"
	"strings"
	"testing"
)

func TestPublicName(t *testing.T) {
	for _, c := range []struct {
		message Message
		want    string
	}{
		{Message{Method: "tools/call", Name: "a?b#c"}, "a?b#c"},
		{Message{Method: "prompts/get", Name: "a?b"}, "a?b"},
		{Message{Method: "completion/complete", Ref: RefPrompt, Name: "a?b"}, "a?b"},
		{Message{Method: "completion/complete", Ref: RefResource, Name: "docs://a/{x}?token=b"}, "docs://a/{x}"},
		{Message{Method: "resources/read", Name: "docs://a/b"}, "docs://a/b"},
		{Message{Method: "resources/read", Name: "docs://a/b?token=c#d"}, "docs://a/b"},
		{Message{Method: "resources/subscribe", Name: "docs://a/b#token?c"}, "docs://a/b"},
		{Message{Method: "resources/unsubscribe", Name: "docs://ann:pass@a/b@c"}, "docs://a/b@c"},
		{Message{Method: "resources/read", Name: "docs://ann:p@ss@a"}, "docs://a"},
		{Message{Method: "resources/read", Name: "mailto:ann@example.com?subject=x"}, "mailto:ann@example.com"},
		{Message{Method: "resources/read"}, ""},
	} {
		if got := c.message.PublicName(); got != c.want {
			t.Errorf("%s of %q: %q, want %q", c.message.Method, c.message.Name, got, c.want)
		}
	}
}

func TestTraceContextOfAMessage(t *testing.T) {
	for meta, want := range map[string][2]string{
		`{"traceparent":"00-a","tracestate":"a=1"}`:                     {"00-a", "a=1"},
		`{"tracestate":"a=1"}`:                                          {"", "a=1"},
		`{"traceparent":7,"tracestate":{}}`:                             {},
		`{"traceparent":"0\u0030"}`:                                     {},
		`{"Traceparent":"00-a"}`:                                        {},
		`{"traceparent":"` + strings.Repeat("0", 56) + `"}`:             {},
		`{"traceparent":"` + strings.Repeat("0", 55) + `"}`:             {strings.Repeat("0", 55), ""},
		`{"tracestate":"` + strings.Repeat("a", maxTraceState+1) + `"}`: {},
		`{}`: {},
	} {
		messages, _, err := Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":` + meta + `}}`))
		if err != nil {
			t.Fatal(meta, err)
		}
		if parent, state := messages[0].TraceContext(); [2]string{parent, state} != want {
			t.Errorf("%s: %q, %q", meta, parent, state)
		}
	}
}

// TestDetached: nothing of the body is kept.
func TestDetached(t *testing.T) {
	body := []byte(`{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"t","arguments":{"a":1},"_meta":{"traceparent":"00-1"}}}`)
	messages, _, err := Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	m := messages[0].Detached()
	clear(body)
	parent, _ := m.TraceContext()
	if string(m.ID) != `"a"` || m.Name != "t" || !strings.HasPrefix(string(m.Params), `{"name":"t"`) || m.Arguments != nil || parent != "" {
		t.Errorf("%+v, %q", m, parent)
	}
}

// TestOutcomeOf: words that a connector has not got are none.
func TestOutcomeOf(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   Outcome
	}{
		{nil, ""}, {[]string{"refused"}, OutcomeRefused}, {[]string{"delivered"}, OutcomeDelivered}, {[]string{"unknown"}, OutcomeUncertain},
		{[]string{""}, OutcomeUncertain}, {[]string{"Refused"}, OutcomeUncertain}, {[]string{strings.Repeat("x", 1<<16)}, OutcomeUncertain},
		{[]string{"refused", "refused"}, OutcomeUncertain}, {[]string{"refused", "delivered"}, OutcomeUncertain}, {[]string{}, OutcomeUncertain},
	} {
		h := http.Header{}
		if c.values != nil {
			h[HeaderOutcome] = c.values
		}
		if got := OutcomeOf(h); got != c.want {
			t.Errorf("%.50q: %q, want %q", c.values, got, c.want)
		}
	}
}

// TestSpoken: initialize comes before there is a header for its revision.
func TestSpoken(t *testing.T) {
	for _, c := range []struct {
		message Message
		want    Version
	}{
		{Message{Method: "initialize", Params: []byte(`{"protocolVersion":"2025-06-18","capabilities":{}}`)}, V20250618},
		{Message{Method: "initialize", Params: []byte(`{"protocolVersion":7}`)}, V20250326},
		{Message{Method: "initialize", Params: []byte(`{"ProtocolVersion":"2025-06-18"}`)}, V20250326},
		{Message{Method: "initialize"}, V20250326},
		{Message{Method: "tools/list", Params: []byte(`{"protocolVersion":"2025-06-18"}`)}, V20250326},
	} {
		call := Call{Messages: []Message{c.message}, Version: V20250326}
		if got := call.Spoken(); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.message.Method, c.message.Params, got, c.want)
		}
	}
	if got := (&Call{Version: V20251125}).Spoken(); got != V20251125 {
		t.Errorf("without a message: %s", got)
	}
}

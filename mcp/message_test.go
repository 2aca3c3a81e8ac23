package mcp

import "testing"

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

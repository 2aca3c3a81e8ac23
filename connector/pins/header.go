package pins

import (
	"fmt"
	"net/http"
	"strings"
)

const annotation = "x-mcp-header"

// headers judges the x-mcp-header annotations of a tool's input schema (2026-07-28, SEP-2243): a client sends the argument
// in the header Mcp-Param-NAME, and who drops the prefix sends it as NAME. It says which are no token, name
// a header with a meaning of its own, or name one twice; or returns "". Whether the argument's type may be sent is left to clients.
func headers(definition *node) string {
	schema := definition.member("inputSchema")
	if schema == nil {
		return ""
	}
	h := headerWalk{used: make(map[string]*place)}
	h.schema(schema, (*place)(nil).below("inputSchema"))
	text := strings.Join(h.found, "; ")
	if h.count > maxPlaces {
		text += fmt.Sprintf("; and %d more", h.count-maxPlaces)
	}
	return text
}

type headerWalk struct {
	used  map[string]*place // where a name was used, by its lower-case form
	found []string          // the first ones
	count int
}

// schema walks a value in whose place a schema may stand.
func (h *headerWalk) schema(n *node, at *place) {
	for i, element := range n.elements {
		h.schema(element, at.at(i))
	}
	for _, m := range n.members {
		here := at.below(m.name)
		switch m.name {
		case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
			h.named(m.value, here)
		case "const", "enum", "default", "examples", "example": // data
		default:
			if strings.EqualFold(m.name, annotation) {
				h.annotation(m.name, m.value, here)
			} else {
				h.schema(m.value, here)
			}
		}
	}
}

// named walks an object whose names are anybody's: a parameter may have the annotation's name.
func (h *headerWalk) named(n *node, at *place) {
	for _, m := range n.members {
		here := at.below(m.name)
		if strings.EqualFold(m.name, annotation) && m.value.kind != '{' && m.value.kind != 't' && m.value.kind != 'f' {
			h.annotation(m.name, m.value, here) // no schema: a reader may take it for what it says
		} else {
			h.schema(m.value, here)
		}
	}
}

func (h *headerWalk) annotation(name string, value *node, at *place) {
	say := func(format string, args ...any) {
		if h.count++; h.count <= maxPlaces {
			h.found = append(h.found, at.String()+" "+fmt.Sprintf(format, args...))
		}
	}
	text := value.text
	switch {
	case name != annotation:
		say("is almost %s, which readers take for it or not", annotation)
	case value.kind != '"':
		say("is no string")
	case text == "":
		say("is empty")
	case strings.ContainsAny(text, "\r\n\x00"):
		say("is %q, which would begin another header", shown(text, 80))
	case !token(text):
		say("is %q, which is no name of a header", shown(text, 80))
	case reserved(text):
		say("names the header %s, which has a meaning of its own", clip(text, 80))
	}
	if value.kind != '"' {
		return
	}
	lower := strings.ToLower(text)
	if other, ok := h.used[lower]; ok {
		say("names the same header as %s", other)
	}
	h.used[lower] = at
}

// token reports whether a text is a token of RFC 9110 §5.6.2.
func token(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return text != ""
}

// reserved reports whether a header's name is one of credentials, of framing or of one connection, of who calls from where,
// of the protocol or of our own hop. Some servers read _ as -.
func reserved(name string) bool {
	canonical := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	switch canonical {
	case "Authorization", "Cookie", "Cookie2", "Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Authentication-Info",
		"Host", "Content-Length", "Content-Type", "Content-Encoding", "Accept-Encoding", "Expect",
		"Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
		"Forwarded", "Via", "X-Real-Ip", "Idempotency-Key", "X-Api-Key", "X-Http-Method-Override":
		return true
	}
	for _, prefix := range []string{"Proxy-", "Mcp-", "Sallyport-", "X-Forwarded-", "X-Amz-"} {
		if strings.HasPrefix(canonical, prefix) {
			return true
		}
	}
	return false
}

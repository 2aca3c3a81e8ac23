package mcp

import (
	"bytes"
	"strings"
)

// Kind says which of the three JSON-RPC 2.0 message forms a Message has.
type Kind uint8

// The message forms. The zero Kind is none of them.
const (
	Request      Kind = iota + 1 // has an id and a method
	Notification                 // has a method and no id
	Response                     // a client's answer to a server's request: has an id and a result or an error
)

// String names the kind in lowercase, for logs and audit events.
func (k Kind) String() string {
	switch k {
	case Request:
		return "request"
	case Notification:
		return "notification"
	case Response:
		return "response"
	}
	return "invalid"
}

// Message is what was read of one JSON-RPC message. The rest of it was checked for strictness and left alone.
type Message struct {
	// Kind is the message's form.
	Kind Kind
	// ID is the raw JSON token of the id exactly as it was sent (a string with its quotes, or a number). It is nil
	// for a notification, and it shares memory with the body that was parsed.
	ID []byte
	// Method is the decoded method; it is made of slash-separated words. Empty for a response.
	Method string
	// Name is what the method acts on: params.name of tools/call and prompts/get, params.uri of resources/read,
	// resources/subscribe and resources/unsubscribe, params.taskId of tasks/*, and of completion/complete what its
	// reference names: the name of a prompt, the uri of a resource or of a template. Empty where absent.
	Name string
	// Ref is params.ref.type of completion/complete, which says what Name is: RefPrompt, RefResource, or a word that no
	// published revision has, with an empty Name. Empty for other methods and where absent.
	Ref string
	// Version is params._meta["io.modelcontextprotocol/protocolVersion"], or "" where absent.
	Version string
	// Params is the raw value of params exactly as it was sent, an object; nil where absent and for a response. It shares
	// memory with the body that was parsed.
	Params []byte
	// Arguments is the raw value of params.arguments of tools/call and prompts/get, of whatever kind; nil where absent and
	// for other methods. It shares memory with the body, too.
	Arguments []byte
	// Failed says that a response of a server is an error. It is not set for what clients send.
	Failed bool

	hasName bool // the key that Name stands for was present

	// Of params._meta, raw; they share memory with the body.
	traceParent, traceState []byte
}

// Detached returns the message without what shares memory with the body: with copies of its id and its params, and without arguments and
// trace context.
func (m Message) Detached() Message {
	m.ID, m.Params, m.Arguments, m.traceParent, m.traceState = bytes.Clone(m.ID), bytes.Clone(m.Params), nil, nil, nil
	return m
}

// TraceContext is what params._meta says of the trace that the message is part of, as W3C Trace Context has it in headers (SEP-414); empty
// where it says nothing, or nothing that could be one.
func (m *Message) TraceContext() (parent, state string) {
	return string(m.traceParent), string(m.traceState)
}

// PublicName is Name without what may be a secret or a value in the URI of a resource: the user before its host, its query and its fragment.
func (m *Message) PublicName() string {
	switch {
	case strings.HasPrefix(m.Method, "resources/"), m.Method == "completion/complete" && m.Ref == RefResource:
	default:
		return m.Name
	}
	name := m.Name
	if i := strings.IndexAny(name, "?#"); i >= 0 {
		name = name[:i]
	}
	if scheme, rest, ok := strings.Cut(name, "://"); ok {
		host, path, below := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(host, '@'); i >= 0 {
			name = scheme + "://" + host[i+1:]
			if below {
				name += "/" + path
			}
		}
	}
	return name
}

// What completion/complete can refer to (Message.Ref).
const (
	RefPrompt   = "ref/prompt"
	RefResource = "ref/resource"
)

// knownMethods holds the methods of the published revisions, so that naming one allocates nothing. It grants
// nothing: an unknown method passes too.
var knownMethods = map[string]string{
	"completion/complete":              "completion/complete",
	"initialize":                       "initialize",
	"logging/setLevel":                 "logging/setLevel",
	"notifications/cancelled":          "notifications/cancelled",
	"notifications/initialized":        "notifications/initialized",
	"notifications/progress":           "notifications/progress",
	"notifications/roots/list_changed": "notifications/roots/list_changed",
	"notifications/tasks":              "notifications/tasks",
	"notifications/tasks/status":       "notifications/tasks/status",
	"ping":                             "ping",
	"prompts/get":                      "prompts/get",
	"prompts/list":                     "prompts/list",
	"resources/list":                   "resources/list",
	"resources/read":                   "resources/read",
	"resources/subscribe":              "resources/subscribe",
	"resources/templates/list":         "resources/templates/list",
	"resources/unsubscribe":            "resources/unsubscribe",
	"server/discover":                  "server/discover",
	"subscriptions/listen":             "subscriptions/listen",
	"tasks/cancel":                     "tasks/cancel",
	"tasks/get":                        "tasks/get",
	"tasks/list":                       "tasks/list",
	"tasks/result":                     "tasks/result",
	"tasks/update":                     "tasks/update",
	"tools/call":                       "tools/call",
	"tools/list":                       "tools/list",
}

// KnownMethod reports whether a method is one of the published revisions.
func KnownMethod(method string) bool { return knownMethods[method] != "" }

// methodName decodes a method's raw string token.
func methodName(raw []byte) string {
	if known, ok := knownMethods[string(raw[1:len(raw)-1])]; ok {
		return known
	}
	return unquote(raw)
}

// wellFormed reports whether a method matches [A-Za-z0-9_$-]+(/[A-Za-z0-9_-]+)* and is short enough to log.
func wellFormed(method string) bool {
	if len(method) > maxMethod {
		return false
	}
	segment, first := 0, true
	for i := range len(method) {
		c := method[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '$' && first:
			segment++
		case c == '/' && segment > 0:
			segment, first = 0, false
		default:
			return false
		}
	}
	return segment > 0
}

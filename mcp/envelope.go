package mcp

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// metaVersion is the name in params._meta that carries the protocol revision since 2026-07-28.
const metaVersion = "io.modelcontextprotocol/protocolVersion"

// The names that are read at each level. A member spelled almost like one of them is refused, because a more
// tolerant parser behind the gateway would take it for the real one.
var (
	envelopeNames = []string{"jsonrpc", "id", "method", "params", "result", "error"}
	paramsNames   = []string{"name", "uri", "taskId", "arguments", "ref", "_meta"}
	refNames      = []string{"type", "name", "uri"}
	metaNames     = []string{metaVersion}
)

// scalar is a member's value as far as it matters: its raw bytes, or only the fact that it was there.
type scalar struct {
	kind jsontext.Kind // zero: absent
	raw  []byte
}

// envelope collects the members of one message in whatever order they come.
type envelope struct {
	version, id, method        scalar
	params, result, failure    jsontext.Kind
	name, uri, taskID, metaRev scalar
	paramsRaw, arguments       []byte
	ref                        jsontext.Kind
	refType, refName, refURI   scalar
	traceParent, traceState    scalar
}

// message reads one message object whose '{' has been read.
func (p *parser) message(m *Message) error {
	var e envelope
	for {
		name, err := p.name()
		if err != nil {
			return err
		}
		if name == nil {
			return e.finish(m)
		}
		switch string(name) {
		case `"jsonrpc"`:
			e.version.kind, e.version.raw, err = p.value()
		case `"id"`:
			e.id.kind, e.id.raw, err = p.value()
		case `"method"`:
			e.method.kind, e.method.raw, err = p.value()
		case `"params"`:
			err = p.params(&e)
		case `"result"`:
			e.result, _, err = p.value()
		case `"error"`:
			e.failure, _, err = p.value()
		default:
			err = p.other(name, envelopeNames)
		}
		if err != nil {
			return err
		}
	}
}

// params reads the value of the member params.
func (p *parser) params(e *envelope) error {
	kind, first, err := p.next()
	if err != nil {
		return err
	}
	if e.params = kind; kind != '{' {
		return p.rest(kind)
	}
	from := p.dec.InputOffset() - int64(len(first))
	for {
		name, err := p.name()
		if err != nil {
			return err
		}
		if name == nil {
			e.paramsRaw = p.body[from:p.dec.InputOffset()]
			return nil
		}
		switch string(name) {
		case `"name"`:
			e.name.kind, e.name.raw, err = p.value()
		case `"uri"`:
			e.uri.kind, e.uri.raw, err = p.value()
		case `"taskId"`:
			e.taskID.kind, e.taskID.raw, err = p.value()
		case `"arguments"`:
			e.arguments, err = p.whole()
		case `"ref"`:
			err = p.reference(e)
		case `"_meta"`:
			err = p.meta(e)
		default:
			err = p.other(name, paramsNames)
		}
		if err != nil {
			return err
		}
	}
}

// reference reads the value of params.ref.
func (p *parser) reference(e *envelope) error {
	kind, _, err := p.next()
	if err != nil {
		return err
	}
	if e.ref = kind; kind != '{' {
		return p.rest(kind)
	}
	for {
		name, err := p.name()
		if err != nil || name == nil {
			return err
		}
		switch string(name) {
		case `"type"`:
			e.refType.kind, e.refType.raw, err = p.value()
		case `"name"`:
			e.refName.kind, e.refName.raw, err = p.value()
		case `"uri"`:
			e.refURI.kind, e.refURI.raw, err = p.value()
		default:
			err = p.other(name, refNames)
		}
		if err != nil {
			return err
		}
	}
}

// meta reads the value of params._meta.
func (p *parser) meta(e *envelope) error {
	kind, _, err := p.next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return p.rest(kind)
	}
	for {
		name, err := p.name()
		if err != nil || name == nil {
			return err
		}
		switch string(name) {
		// Escaping the slash is the habit of one widespread encoder and changes nothing for any parser.
		case `"` + metaVersion + `"`, `"io.modelcontextprotocol\/protocolVersion"`:
			e.metaRev.kind, e.metaRev.raw, err = p.value()
		case `"traceparent"`: // whose lookalikes are nothing to anybody
			e.traceParent.kind, e.traceParent.raw, err = p.value()
		case `"tracestate"`:
			e.traceState.kind, e.traceState.raw, err = p.value()
		default:
			err = p.other(name, metaNames)
		}
		if err != nil {
			return err
		}
	}
}

// other passes over a member that is not read, unless its name is a lookalike of one that is.
func (p *parser) other(name []byte, read []string) error {
	if lookalike(name, read) {
		return InvalidRequest("the name of a member differs from a name of the protocol only in case or in escapes")
	}
	_, _, err := p.value()
	return err
}

// lookalike reports whether a raw name, once decoded and case folded, equals one of the names.
func lookalike(raw []byte, names []string) bool {
	for _, c := range raw {
		if c == '\\' || c >= utf8.RuneSelf {
			return folds(unquote(raw), names)
		}
	}
	text := raw[1 : len(raw)-1]
	for _, name := range names {
		if len(name) == len(text) && strings.EqualFold(string(text), name) {
			return true
		}
	}
	return false
}

// folds compares by Unicode simple folding. The dotless and the dotted form of i have none, but some runtimes fold
// them to i all the same.
func folds(text string, names []string) bool {
	text = strings.NewReplacer("ı", "i", "İ", "i").Replace(text)
	for _, name := range names {
		if strings.EqualFold(text, name) {
			return true
		}
	}
	return false
}

// finish judges the collected members and fills in the message. The method's grammar is judged by the caller, when
// the ids of all messages are known.
func (e *envelope) finish(m *Message) error {
	if string(e.version.raw) != `"2.0"` {
		return InvalidRequest(`the member jsonrpc is not "2.0"`)
	}
	switch {
	case e.id.kind == 0:
	case e.id.kind != '"' && e.id.kind != '-' && (e.id.kind < '0' || e.id.kind > '9'):
		return InvalidRequest("the id is neither a string nor a number")
	case len(e.id.raw) > maxID:
		return InvalidRequest("the id is longer than 256 bytes")
	default:
		m.ID = slices.Clip(e.id.raw) // appending to it must not write into the body
	}
	answers := e.result != 0 || e.failure != 0
	switch {
	case e.method.kind == 0 && !answers:
		return InvalidRequest("it has neither a method nor a result nor an error")
	case e.method.kind != 0 && answers:
		return InvalidRequest("it has a method and also a result or an error")
	case answers && e.result != 0 && e.failure != 0:
		return InvalidRequest("it has a result and also an error")
	case answers && m.ID == nil:
		return InvalidRequest("it is a response without an id")
	case answers:
		m.Kind = Response
		return nil
	case e.method.kind != '"':
		return InvalidRequest("the method is not a string")
	case e.params != 0 && e.params != '{':
		return InvalidRequest("the params are not an object")
	case m.ID == nil:
		m.Kind = Notification
	default:
		m.Kind = Request
	}
	return e.details(m)
}

// details fills in what a request or a notification says about itself.
func (e *envelope) details(m *Message) error {
	m.Method = methodName(e.method.raw)
	m.Params = slices.Clip(e.paramsRaw)
	m.traceParent, m.traceState = e.traceParent.text(maxTraceParent), e.traceState.text(maxTraceState)
	switch m.Method {
	case "tools/call", "prompts/get":
		m.Arguments = slices.Clip(e.arguments)
	case "completion/complete":
		if err := e.refers(m); err != nil {
			return err
		}
	}
	if acts := e.actsOn(m); acts.kind == '"' {
		m.Name, m.hasName = unquote(acts.raw), true
	} else if acts.kind != 0 {
		return InvalidRequest("the name, uri or taskId that the method acts on is not a string")
	}
	switch {
	case e.metaRev.kind == 0:
	case e.metaRev.kind != '"':
		return InvalidRequest("the protocol version in _meta is not a string")
	case string(e.metaRev.raw) == `"`+string(V20260728)+`"`:
		m.Version = string(V20260728)
	default:
		if m.Version = unquote(e.metaRev.raw); m.Version == "" {
			return InvalidRequest("the protocol version in _meta is empty")
		}
	}
	return nil
}

// The longest trace context that is read, in bytes (W3C Trace Context §3.2 and §3.3.1.5).
const (
	maxTraceParent = 55
	maxTraceState  = 512
)

// text is what is between the quotes of a string of at most so many bytes without an escape; nil for anything else.
func (s scalar) text(most int) []byte {
	if s.kind != '"' || len(s.raw) > most+2 || bytes.IndexByte(s.raw, '\\') >= 0 {
		return nil
	}
	return slices.Clip(s.raw[1 : len(s.raw)-1])
}

// refers fills in what the type of a completion's reference says it is.
func (e *envelope) refers(m *Message) error {
	switch {
	case e.ref == 0:
		return nil
	case e.ref != '{':
		return InvalidRequest("the ref of the completion is not an object")
	case e.refType.kind != '"':
		return InvalidRequest("the ref of the completion has no type that is a string")
	}
	m.Ref = unquote(e.refType.raw)
	return nil
}

// actsOn returns the member of params that names what the method acts on.
func (e *envelope) actsOn(m *Message) scalar {
	switch m.Method {
	case "tools/call", "prompts/get":
		return e.name
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		return e.uri
	case "completion/complete":
		switch m.Ref {
		case RefPrompt:
			return e.refName
		case RefResource:
			return e.refURI
		}
		return scalar{}
	}
	if strings.HasPrefix(m.Method, "tasks/") {
		return e.taskID
	}
	return scalar{}
}

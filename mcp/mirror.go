package mcp

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// The headers of MCP that are read, in the canonical form of net/http.
const (
	headerVersion = "Mcp-Protocol-Version"
	headerSession = "Mcp-Session-Id"
	headerMethod  = "Mcp-Method"
	headerName    = "Mcp-Name"
	prefixParam   = "Mcp-Param-"
)

// maxSessionID bounds Mcp-Session-Id, in bytes: an upstream's id of up to 512 and what a gateway puts before it.
const maxSessionID = 1024

// readHead reads the version and the session from the head. A protocol header in several lines is refused, because
// readers differ in which line they take.
func (c *Call) readHead(h http.Header) *Error {
	for name, values := range h {
		if len(values) != 1 && len(name) > 4 && strings.EqualFold(name[:4], "mcp-") {
			return HeaderMismatch("an Mcp-* header is given more than once")
		}
	}
	c.Version = V20250326
	if c.Endpoint != EndpointMCP {
		c.Version = V20241105
	}
	if v, ok := h[headerVersion]; ok {
		if c.Version = Version(v[0]); c.Version == "" {
			return InvalidRequest("the MCP-Protocol-Version header is empty")
		}
	}
	if c.Endpoint != EndpointMCP {
		h.Del(headerSession) // as below: nobody has checked it
		if c.Version.modern() {
			return InvalidRequest("this revision does not have the HTTP+SSE transport")
		}
		unmirrored(h)
		return nil
	}
	if !c.Version.modern() {
		unmirrored(h)
	}
	session, ok := h[headerSession]
	if !ok {
		return nil
	}
	if !sessionID(session[0]) {
		return InvalidRequest("the Mcp-Session-Id header is not 1 to 1024 visible ASCII characters")
	}
	if !c.Version.Sessionful() {
		// To be ignored (2026-07-28, "Earlier Streamable HTTP Revisions"), so an upstream must not see it either: it
		// would be a session that nobody has checked against the caller.
		h.Del(headerSession)
		return nil
	}
	c.SessionID = session[0]
	return nil
}

// unmirrored deletes the headers that mirror a body, of a call in a revision that does not have them: nobody has compared them, and
// an upstream that reads them all the same would take another call for it than was judged.
func unmirrored(h http.Header) {
	for name := range h {
		if name == headerMethod || name == headerName || strings.HasPrefix(name, prefixParam) {
			delete(h, name)
		}
	}
}

// CheckParams compares the Mcp-Param-* headers of a call with its arguments, which they mirror (2026-07-28, "Custom Headers from
// Tool Parameters"): each must have the value of an argument that is a string, a number or a boolean, at whatever depth. Which
// argument that is only the tool's schema says, which is not known here.
func CheckParams(h http.Header, c *Call) *Error {
	for name, values := range h {
		if !strings.HasPrefix(name, prefixParam) {
			continue
		}
		text, ok := decodeName(values[0])
		if !ok {
			return HeaderMismatch("an Mcp-Param-* header is malformed")
		}
		if !slices.ContainsFunc(c.Messages, func(m Message) bool { return hasScalar(m.Arguments, text) }) {
			return HeaderMismatch("an Mcp-Param-* header has a value that no argument has")
		}
	}
	return nil
}

// hasScalar reports whether a JSON text that Parse has accepted has a scalar that is written as text in a header.
func hasScalar(raw []byte, text string) bool {
	d := jsontext.NewDecoder(bytes.NewBuffer(raw))
	for {
		within, n := d.StackIndex(d.StackDepth())
		token, err := d.ReadToken()
		switch {
		case err != nil:
			return false
		case within == '{' && n%2 == 0: // a name, or the end
		case token.Kind() == '"', token.Kind() == 't', token.Kind() == 'f':
			if token.String() == text {
				return true
			}
		case token.Kind() == '0' && sameNumber(token.String(), text):
			return true
		}
	}
}

// sameNumber compares two numbers: whole ones by their digits, others by the value that a float64 has of them.
func sameNumber(a, b string) bool {
	const digits = "-0123456789"
	if a == b || strings.Trim(b, digits+"+.eE") != "" || strings.Trim(a, digits) == "" && strings.Trim(b, digits) == "" {
		return a == b
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// sessionID reports whether s consists of 1 to 1024 characters from 0x21 to 0x7E, as the revisions with sessions say.
func sessionID(s string) bool {
	for i := range len(s) {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= maxSessionID
}

// checkRevision refuses what the call's revision does not have. A body that says 2026-07-28 or later is held to that
// whatever its head says, so that leaving a header out is no way around.
func (c *Call) checkRevision(h http.Header) *Error {
	modern := c.Version.modern()
	for i := range c.Messages {
		modern = modern || Version(c.Messages[i].Version).modern()
	}
	switch {
	case c.Batch && (modern || c.Version != V20250326):
		return InvalidRequest("batches exist only in the revision 2025-03-26")
	case modern && c.Messages[0].Kind == Response:
		return InvalidRequest("this revision has no responses from clients")
	case modern:
		return checkMirror(h, &c.Messages[0])
	}
	for i := range c.Messages {
		if c.Messages[i].Kind == Response && (c.SessionID == "" || !c.Version.Sessionful()) {
			return InvalidRequest("a response from a client needs an MCP session")
		}
	}
	return nil
}

// checkMirror compares the mirrored headers with the body (2026-07-28, "Server Validation").
func checkMirror(h http.Header, m *Message) *Error {
	version, ok := h[headerVersion]
	switch {
	case !ok:
		return HeaderMismatch("the MCP-Protocol-Version header is missing")
	case m.Version == "" && m.Kind == Notification:
		// The revision defines no headers nor _meta for a notification; there is nothing to contradict.
	case m.Version == "":
		return InvalidParams("the body does not carry the protocol version in params._meta")
	case version[0] != m.Version:
		return HeaderMismatch("MCP-Protocol-Version and the version in the body differ")
	}
	method, ok := h[headerMethod]
	switch {
	case !ok && m.Kind == Request:
		return HeaderMismatch("the Mcp-Method header is missing")
	case ok && method[0] != m.Method:
		return HeaderMismatch("Mcp-Method and the method in the body differ")
	}
	return checkName(h, m)
}

// checkName compares Mcp-Name with what the method acts on. tasks/* may lack the header (SEP-2663 asks clients for it,
// clients in use omit it); a method that acts on nothing has no value to compare with, so that its header says nothing.
func checkName(h http.Header, m *Message) *Error {
	values, ok := h[headerName]
	required := false
	switch m.Method {
	case "tools/call", "prompts/get", "resources/read":
		required = m.Kind == Request
	case "resources/subscribe", "resources/unsubscribe":
	default:
		if !strings.HasPrefix(m.Method, "tasks/") {
			return nil
		}
	}
	if !ok {
		if required {
			return HeaderMismatch("the Mcp-Name header is missing")
		}
		return nil
	}
	name, ok := decodeName(values[0])
	if !ok {
		return HeaderMismatch("the Mcp-Name header is malformed")
	}
	if !m.hasName || name != m.Name {
		return HeaderMismatch("Mcp-Name and the name in the body differ")
	}
	return nil
}

// The sentinel around a value that is no plain ASCII (2026-07-28, "Value Encoding"). It is case-sensitive.
const (
	sentinelPrefix = "=?base64?"
	sentinelSuffix = "?="
)

// decodeName returns the text that a header value stands for: itself, or what its sentinel encodes. The payload is
// standard base64 with its padding and nothing else, so that one text has one encoding.
func decodeName(value string) (string, bool) {
	if strings.HasPrefix(value, sentinelPrefix) && strings.HasSuffix(value, sentinelSuffix) {
		if len(value) < len(sentinelPrefix)+len(sentinelSuffix) {
			return "", false // "=?base64?=": the two markers overlap, and readers disagree on what is between them
		}
		payload := value[len(sentinelPrefix) : len(value)-len(sentinelSuffix)]
		if strings.ContainsAny(payload, "\r\n") { // which the decoder would pass over
			return "", false
		}
		text, err := base64.StdEncoding.Strict().DecodeString(payload)
		if err != nil || !utf8.Valid(text) {
			return "", false
		}
		return string(text), true
	}
	for i := range len(value) {
		if c := value[i]; c != '\t' && (c < 0x20 || c > 0x7e) {
			return "", false
		}
	}
	return value, true
}

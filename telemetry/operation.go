package telemetry

import (
	"crypto/sha256"
	"encoding/hex"
)

// Operation is what a message asks for, as the conventions for MCP describe it.
type Operation struct {
	// Method is the JSON-RPC method, and Known that it is one of the published revisions of MCP.
	Method string
	Known  bool
	// Tool or Prompt is what tools/call or prompts/get names.
	Tool, Prompt string
	// ID is the id of a request, a raw JSON token; nil for a notification.
	ID []byte
}

// SpanName is the method with the tool or prompt that it names. An unknown method is [Other], so that strangers cannot make as many
// kinds of operations as they like; URIs of resources are never part of it.
func (o *Operation) SpanName() string {
	switch {
	case !o.Known:
		return Other
	case o.Tool != "":
		return o.Method + " " + Short(o.Tool)
	case o.Prompt != "":
		return o.Method + " " + Short(o.Prompt)
	}
	return o.Method
}

// Describe adds the attributes of the message.
func (o *Operation) Describe(attrs *Attributes) {
	attrs.Text(AttrMCPMethod, o.Method)
	if o.Tool != "" {
		attrs.Text(AttrTool, o.Tool)
		attrs.Text(AttrOperation, "execute_tool")
	}
	attrs.Text(AttrPrompt, o.Prompt)
	id := o.ID
	if n := len(id); n >= 2 && id[0] == '"' {
		id = id[1 : n-1]
	}
	attrs.Text(AttrJSONRPCID, string(id))
}

// sessionBytes is how much of the digest of a session's id is shown.
const sessionBytes = 8

// SessionID names an MCP session in telemetry, the same on all hops: by the server's id of it, of which 16 digits of the SHA-256 are
// shown. The id itself would let its reader into the session.
func SessionID(original string) string {
	if original == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(original))
	return hex.EncodeToString(sum[:sessionBytes])
}

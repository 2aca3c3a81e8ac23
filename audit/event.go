package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// Event is one decision, and what became of the call. Texts may come from strangers: each is cut to 256 bytes, and a
// list to 16 texts. What is empty is left out of the line.
type Event struct {
	// Time is when the call arrived. The line has its own time, which is when it was written.
	Time time.Time
	// RequestID is the id of the call, the same on all hops.
	RequestID string
	// Issuer and Subject say who called; a principal is both.
	Issuer, Subject string
	// Server is the MCP server that was called.
	Server string
	// Method is the JSON-RPC method.
	Method string
	// Tool is the tool, or the other name, that the call acts on. Of a URI it has neither user nor query nor fragment.
	Tool string
	// Arguments is what ArgumentsHash makes of the arguments. The arguments themselves are recorded nowhere.
	Arguments string
	// Rule names what decided.
	Rule string
	// Decision is "allow" or "deny".
	Decision string
	// WouldDeny names the rules that would have denied the call if they were enforced.
	WouldDeny []string
	// Credentials names the places that credentials were put in, or where they come from; never a value.
	Credentials []string
	// Outcome is what became of the call, a word.
	Outcome string
	// Delivered is whether the upstream got the call: "yes", "no" or "unknown".
	Delivered string
	// Status is the HTTP status of the answer; 0 if there was none.
	Status int
	// Duration is how long the call took; it is recorded in microseconds.
	Duration time.Duration
	// Alike is how many more decisions like this one it stands for, which have no line of their own.
	Alike int64
}

// ArgumentsHash is the SHA-256 of the raw bytes of a call's arguments, in hexadecimal; empty if there are none. It
// says whether two calls had the same arguments. Who can guess them can check the guess.
func ArgumentsHash(raw []byte) string {
	if len(raw) == 0 {
		return ""
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

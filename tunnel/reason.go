package tunnel

import "fmt"

// Code says why a session ended. Its values are the QUIC application error
// codes of the CONNECTION_CLOSE frame, and the code of the close frame on
// yamux and pipe.
type Code uint16

// The codes that may appear on the wire.
const (
	CodeOK          Code = 0x0 // an orderly end: nothing is wrong
	CodeDraining    Code = 0x1 // the peer is shutting down
	CodeSuperseded  Code = 0x2 // another connector took this one's place
	CodeRevoked     Code = 0x3 // the tunnel token no longer counts
	CodeAuthExpired Code = 0x4 // the identity must be renewed
	CodeProtocol    Code = 0x5 // the peer broke the rules of this package
	CodeOverload    Code = 0x6 // the peer has no room
	CodePolicy      Code = 0x7 // the peer may not do what it asked
)

// CodeLost is never sent: the connection broke, timed out or was reset
// without a reason.
const CodeLost Code = 0xffff

// Action is what a dialer does after a session ended.
type Action uint8

// What a dialer does next.
const (
	Redial          Action = iota // back off from the shortest delay, then dial
	AttachElsewhere               // dial another gateway at once
	Stop                          // give up and tell the operator
	Renew                         // renew the identity, then dial
	BackOff                       // dial after a growing delay
	BackOffLongest                // dial after the longest delay; an operator is needed
)

// codeTable maps each code to its name and to what the dialer does.
var codeTable = map[Code]struct {
	name   string
	action Action
}{
	CodeOK:          {"ok", Redial},
	CodeDraining:    {"draining", AttachElsewhere},
	CodeSuperseded:  {"superseded", Stop},
	CodeRevoked:     {"revoked", Stop},
	CodeAuthExpired: {"auth_expired", Renew},
	CodeProtocol:    {"protocol", BackOffLongest},
	CodeOverload:    {"overload", BackOff},
	CodePolicy:      {"policy", BackOffLongest},
	CodeLost:        {"lost", Redial},
}

// Known reports whether the code is one of the table: a peer can send any.
func (c Code) Known() bool {
	_, ok := codeTable[c]
	return ok
}

// String returns the code's name in lower case with underscores.
func (c Code) String() string {
	if row, ok := codeTable[c]; ok {
		return row.name
	}
	return fmt.Sprintf("code_%d", uint16(c))
}

// Action returns what a dialer does after a session ended with c. An unknown
// code is treated as one that needs an operator.
func (c Code) Action() Action {
	if row, ok := codeTable[c]; ok {
		return row.action
	}
	return BackOffLongest
}

// Reason is why one side ends a session: a code and a short text for the
// peer's operator (at most 256 bytes are sent). The text must hold no secret.
type Reason struct {
	Code Code
	Text string
}

// CloseError is what [Session.Err] and the streams of an ended session return.
type CloseError struct {
	Code   Code
	Text   string // what the closing side said; cut and cleaned if it is the peer's
	Remote bool   // the peer closed, not we
	Err    error  // the transport's own error, if any
}

// Error says who ended the session and why.
func (e *CloseError) Error() string {
	who := "closed here"
	switch {
	case e.Code == CodeLost:
		who = "connection"
	case e.Remote:
		who = "closed by the peer"
	}
	msg := "tunnel: session " + who + ": " + e.Code.String()
	if e.Text != "" {
		msg += ": " + e.Text
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Unwrap returns the transport's error.
func (e *CloseError) Unwrap() error { return e.Err }

// maxReasonText bounds the text of a reason on the wire, in bytes.
const maxReasonText = 256

// cleanText makes a stranger's reason text fit for a log line: bounded, and
// without control characters.
func cleanText(s string) string {
	if len(s) > maxReasonText {
		s = s[:maxReasonText]
	}
	b := []byte(s)
	for i, c := range b {
		if c < 0x20 || c >= 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

package mcp

import (
	"bytes"
	"strings"
)

// Bounds of what is remembered of a message that passes.
const (
	maxScannedName   = 64              // bytes of a member's raw name; the longest that spells one of the protocol has 44
	maxScannedMethod = 6*maxMethod + 2 // bytes of a raw method, each of its characters escaped
)

// scanState is where in a JSON text the next byte stands.
type scanState uint8

const (
	scanStart       scanState = iota // before the text's one value
	scanElement                      // in a batch, before a message
	scanFirstName                    // behind '{'
	scanName                         // behind ',' in an object
	scanInName                       // in a member's name
	scanColon                        // behind a name
	scanValue                        // behind ':'
	scanInString                     // in a string that is a member's value
	scanInScalar                     // in a number or a literal that is one
	scanNested                       // in an object or array that is one
	scanInNested                     // in a string there
	scanResult                       // in the result, if lists are looked for
	scanInResult                     // in a string there
	scanNext                         // behind a member's value
	scanNextElement                  // behind a message of a batch
	scanEnd                          // behind the text's value
)

// The members that tell the forms of a message apart.
const (
	memberID uint8 = 1 << iota
	memberMethod
	memberResult
	memberError
)

// The names that matter in an answer whose status says that the call has failed.
var (
	failureNames = []string{"error"}
	orderNames   = []string{"method", "result"}
)

// messageScanner reads what tells JSON-RPC messages apart, their ids and methods, from a JSON text that comes in pieces.
// Its memory does not grow with the text. What lies deeper than a message's own members is passed over: brackets are
// counted and strings are skipped, and that is all. Its zero value is ready.
//
// It is no judge of JSON: a text that it takes may still be none. But of a text that is JSON it reads what every strict
// parser does, and it refuses what parsers read differently: a name twice, or spelled almost like one of the protocol.
type messageScanner struct {
	state   scanState
	bad     bool // no JSON-RPC message, whatever follows
	other   bool // an object has none of the members that tell messages apart
	batch   bool
	escaped bool // the byte before was a backslash
	lenient bool // an error may have no id, and a name of its own
	depth   int  // of scanNested
	member  uint8
	seen    uint8
	keep    []byte // the name or the scalar that is being read, raw
	keeping bool
	list    listScan

	current  Message
	messages []Message
}

// reset makes the scanner ready for another text. The messages that it has given out stay with their owner.
func (s *messageScanner) reset() {
	*s = messageScanner{keep: s.keep[:0], lenient: s.lenient, list: listScan{wanted: s.list.wanted, failures: s.list.failures}}
}

// result returns the messages of the whole text, or false if it was none of JSON-RPC.
func (s *messageScanner) result() ([]Message, bool) {
	if s.bad || s.other || s.state != scanEnd {
		return nil, false
	}
	return s.messages, true
}

// alien reports whether the whole text is one object that no reader takes for a message: it has none of the members
// that say what one is.
func (s *messageScanner) alien() bool { return s.other && !s.bad && !s.batch && s.state == scanEnd }

// write reads the next piece.
func (s *messageScanner) write(p []byte) {
	for i := 0; i < len(p) && !s.bad; {
		switch s.state {
		case scanInName, scanInString, scanInNested, scanInResult:
			i += s.inString(p[i:])
		case scanNested:
			i += s.nested(p[i:])
		case scanResult:
			i += s.inResult(p[i:])
		case scanInScalar:
			i += s.inScalar(p[i:])
		default:
			if c := p[i]; c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				s.structure(c)
			}
			i++
		}
	}
}

// structure reads one byte that is neither white space nor inside a value.
func (s *messageScanner) structure(c byte) {
	switch {
	case s.state == scanStart && c == '[':
		s.batch, s.state = true, scanElement
	case (s.state == scanStart || s.state == scanElement) && c == '{':
		s.current, s.seen, s.state = Message{}, 0, scanFirstName
	case (s.state == scanFirstName || s.state == scanName) && c == '"':
		s.keep, s.keeping, s.state = append(s.keep[:0], c), true, scanInName
	case s.state == scanColon && c == ':':
		s.state = scanValue
	case s.state == scanValue:
		s.value(c)
	case s.state == scanNext && c == ',':
		s.state = scanName
	case (s.state == scanNext || s.state == scanFirstName) && c == '}':
		s.endMessage()
	case s.state == scanNextElement && c == ',':
		s.state = scanElement
	case s.state == scanNextElement && c == ']':
		s.state = scanEnd
	default:
		s.bad = true
	}
}

// value begins the value of a member.
func (s *messageScanner) value(c byte) {
	s.keeping = s.member == memberID || s.member == memberMethod
	s.keep = s.keep[:0]
	switch c {
	case '"':
		s.keep, s.state = append(s.keep, c), scanInString
	case '{', '[':
		s.bad = s.keeping // neither an id nor a method is one
		s.depth, s.state = 1, scanNested
		if s.list.wanted && s.member == memberResult {
			s.list.names, s.list.named, s.state = c == '{', false, scanResult
		}
	default:
		s.bad = c != '-' && (c < '0' || c > '9') && c != 't' && c != 'f' && c != 'n'
		s.keep, s.state = append(s.keep, c), scanInScalar
	}
}

// inString reads on in a string, and returns how many bytes of p belong to it.
func (s *messageScanner) inString(p []byte) int {
	n, ended := 0, false
	if s.escaped {
		n, s.escaped = 1, false
	}
	quote := -1 // the next one at or behind n, or len(p); found once for all the backslashes before it
	for n < len(p) && !ended && !s.escaped {
		if quote < n {
			if quote = bytes.IndexByte(p[n:], '"'); quote < 0 {
				quote = len(p)
			} else {
				quote += n
			}
		}
		i := bytes.IndexByte(p[n:quote], '\\')
		switch {
		case i >= 0 && n+i+1 < len(p):
			n += i + 2 // and what the backslash escapes
		case i >= 0:
			n, s.escaped = len(p), true
		case quote == len(p):
			n = quote
		default:
			n, ended = quote+1, true
		}
	}
	s.remember(p[:n])
	if !ended {
		return n
	}
	switch s.state {
	case scanInName:
		s.named()
		s.state = scanColon
	case scanInString:
		s.endScalar()
	case scanInResult:
		if s.keeping {
			s.list.named = lookalike(s.keep, listNames)
			s.list.asks = s.list.asks || lookalike(s.keep, askNames)
		}
		s.state = scanResult
	default:
		if s.keeping {
			s.list.asks = s.list.asks || lookalike(s.keep, elicitNames)
		}
		s.state = scanNested
	}
	return n
}

// nested reads on in an object or array, up to a string in it or to its end.
func (s *messageScanner) nested(p []byte) int {
	for i, c := range p {
		switch c {
		case '"':
			if s.keeping, s.state = s.list.failures && s.member == memberError, scanInNested; s.keeping {
				s.keep = append(s.keep[:0], c)
			}
			return i + 1
		case '{', '[':
			s.depth++
		case '}', ']':
			if s.depth--; s.depth == 0 {
				s.state = scanNext
				return i + 1
			}
		}
	}
	return len(p)
}

// inScalar reads on in a number or literal, up to what ends it.
func (s *messageScanner) inScalar(p []byte) int {
	for i, c := range p {
		switch c {
		case ',', '}', ' ', '\n', '\r', '\t':
			s.remember(p[:i])
			s.endScalar()
			return i
		}
	}
	s.remember(p)
	return len(p)
}

// remember keeps a piece of a name or of a scalar that matters.
func (s *messageScanner) remember(p []byte) {
	if !s.keeping {
		return
	}
	limit := maxScannedName
	switch {
	case s.state == scanInName:
	case s.state == scanInResult, s.state == scanInNested:
		limit = maxScannedMember
	case s.member == memberID:
		limit = maxID
	default:
		limit = maxScannedMethod
	}
	if s.keep = append(s.keep, p[:min(len(p), limit+1)]...); len(s.keep) > limit {
		s.keeping = false // too long a name is none of ours; too long an id or method is refused
		s.bad = s.state != scanInName && s.state != scanInResult && s.state != scanInNested
	}
}

// named judges the name of a member.
func (s *messageScanner) named() {
	s.member = 0
	if !s.keeping {
		return
	}
	switch string(s.keep) {
	case `"id"`:
		s.member = memberID
	case `"method"`:
		s.member = memberMethod
	case `"result"`:
		s.member = memberResult
	case `"error"`:
		s.member = memberError
	case `"jsonrpc"`, `"params"`:
	default:
		switch {
		case s.lenient && lookalike(s.keep, failureNames):
			s.member = memberError
		case s.lenient:
			s.bad = lookalike(s.keep, orderNames)
		default:
			s.bad = lookalike(s.keep, envelopeNames)
		}
	}
	s.bad = s.bad || s.seen&s.member != 0 && !(s.lenient && s.member == memberError)
	s.seen |= s.member
}

// endScalar judges a string, number or literal that is a member's value.
func (s *messageScanner) endScalar() {
	s.state = scanNext
	switch s.member {
	case memberID:
		s.bad = s.bad || !isID(s.keep)
		s.current.ID = bytes.Clone(s.keep)
	case memberMethod:
		s.bad = s.bad || s.keep[0] != '"'
		if !s.bad {
			s.current.Method = methodName(s.keep)
		}
	}
}

// isID reports whether a raw scalar is a string, a number or null.
func isID(raw []byte) bool {
	return raw[0] == '"' || string(raw) == "null" || strings.Trim(string(raw), "+-.0123456789eE") == ""
}

// endMessage judges a message whose '}' has been read.
func (s *messageScanner) endMessage() {
	m := &s.current
	answers := s.seen & (memberResult | memberError)
	switch {
	case s.seen&memberMethod != 0 && answers == 0 && s.seen&memberID != 0:
		m.Kind = Request
		s.bad = s.bad || string(m.ID) == "null"
	case s.seen&memberMethod != 0 && answers == 0:
		m.Kind = Notification
	case s.seen&memberMethod == 0 && (answers == memberResult || answers == memberError) && s.seen&memberID != 0:
		m.Kind = Response
	case s.seen&(memberMethod|memberResult|memberError) == 0:
		s.other = true
	case s.lenient && s.seen&(memberMethod|memberResult) == 0:
		m.Kind = Response
	default:
		s.bad = true
	}
	m.Failed = s.seen&memberError != 0
	if s.messages = append(s.messages, *m); len(s.messages) > maxBatch {
		s.bad = true
	}
	s.state = scanEnd
	if s.batch {
		s.state = scanNextElement
	}
}

package mcp

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrAnswer is an answer in JSON that no upstream may give: a client could take it for a request of the server, or for the answer
// to a request that another call has made. It quotes nothing.
var ErrAnswer = errors.New("mcp: the answer is no response to the call")

var (
	errAnswerJSON   = fmt.Errorf("%w: it is no JSON-RPC message, or one that readers take for different ones", ErrAnswer)
	errAnswerText   = fmt.Errorf("%w: it is a text that some reader could take for a message", ErrAnswer)
	errAnswerBatch  = fmt.Errorf("%w: an array, where no batch was sent", ErrAnswer)
	errAnswerMethod = fmt.Errorf("%w: it has a request or a notification of the server", ErrAnswer)
	errAnswerID     = fmt.Errorf("%w: a response that no request of the call waits for", ErrAnswer)
	errAnswerCut    = fmt.Errorf("%w: it ends before its JSON value does", ErrAnswer)
)

// AnswerRules say what is known of an answer that is no event stream, before its body is read.
type AnswerRules struct {
	// JSON says that its type is that of JSON.
	JSON bool
	// Failed says that its status is none of success. Then an error may have whatever id, or none, because servers in use answer so
	// what they have not read; and a text may be anything that no reader takes for JSON.
	Failed bool
	// Asks has results searched for what they ask of the client, and errors for URLs that it is to visit.
	Asks, Elicits bool
}

// AnswerScanner holds an answer that comes in pieces to what one event of an event stream may be: one response to a request of
// the call that still waits, or, if the call is a batch, an array of such. An error may have the id null, outside of an
// array. An object without the members that tell messages apart says nothing to anybody, and a text without a brace has no object;
// both pass. Its memory does not grow with the answer. It is not safe for concurrent use.
type AnswerScanner struct {
	scan    messageScanner
	rules   AnswerRules
	call    *Call
	pending Pending

	form   answerForm
	mark   int // bytes of a byte order mark at the start
	read   int // bytes of a text, up to 4
	judged int // of the scanner's messages
	err    error

	// What a usual answer needs.
	name     [maxScannedName]byte
	messages [1]Message
	ids      [1][]byte
}

// answerForm is what an answer is by its first byte that is not white space.
type answerForm uint8

const (
	answerUnknown answerForm = iota
	answerText
	answerJSON
)

// NewAnswerScanner returns one for one answer to c, which must not be forgotten meanwhile.
func NewAnswerScanner(c *Call, rules AnswerRules) *AnswerScanner {
	s := &AnswerScanner{call: c, rules: rules}
	s.scan.lenient, s.scan.list.wanted, s.scan.list.failures = rules.Failed, rules.Asks, rules.Elicits
	s.scan.keep, s.scan.messages, s.pending.ids = s.name[:0], s.messages[:0], s.ids[:0]
	for i := range c.Messages {
		if m := &c.Messages[i]; m.Kind == Request {
			s.pending.ids = append(s.pending.ids, m.ID)
		}
	}
	return s
}

// Asks reports whether the answer asks something of the client so far, which [InputRequests] reads.
func (s *AnswerScanner) Asks() bool { return s.scan.list.asks }

// Write reads the next piece. Its error, which matches ErrAnswer and stays, says that the answer must not pass.
func (s *AnswerScanner) Write(p []byte) error {
	if s.err == nil && s.form == answerUnknown {
		p = s.begin(p)
	}
	if s.err != nil || len(p) == 0 {
		return s.err
	}
	if s.form == answerText {
		s.err = s.text(p)
		return s.err
	}
	s.scan.write(p)
	s.err = s.judge()
	return s.err
}

// begin finds out what the answer is. It returns what of p has not been read.
func (s *AnswerScanner) begin(p []byte) []byte {
	for len(p) > 0 && s.mark < len(byteOrderMark) && p[0] == byteOrderMark[s.mark] {
		s.mark++
		p = p[1:]
	}
	if p = bytes.TrimLeft(p, " \t\r\n"); len(p) == 0 {
		return nil
	}
	switch s.form = answerText; {
	case p[0] != '{' && p[0] != '[':
	case s.mark > 0 && !s.rules.Failed:
		s.err = errAnswerText
	default:
		s.form = answerJSON
	}
	return p
}

// text judges a piece of what no reader of UTF-8 takes for a message.
func (s *AnswerScanner) text(p []byte) error {
	if !s.rules.Failed {
		if s.rules.JSON || bytes.IndexByte(p, '{') >= 0 {
			return errAnswerText
		}
		return nil
	}
	const first = 4 // bytes, among which UTF-16 and UTF-32 have a NUL
	head := p[:min(len(p), first-s.read)]
	s.read += len(head)
	if bytes.IndexByte(head, 0) >= 0 {
		return errAnswerText
	}
	return nil
}

// judge judges what has been read of JSON so far.
func (s *AnswerScanner) judge() error {
	scan := &s.scan
	switch {
	case scan.batch && !s.call.Batch:
		return errAnswerBatch
	case scan.bad:
		return errAnswerJSON
	case scan.seen&memberMethod != 0:
		return errAnswerMethod
	}
	for ; s.judged < len(scan.messages); s.judged++ {
		if err := s.response(&scan.messages[s.judged]); err != nil {
			return err
		}
	}
	open := scan.state > scanElement && scan.state < scanNextElement
	if open && scan.seen&memberResult != 0 && scan.current.ID != nil && !s.pending.waits(scan.current.ID) { // before its end has come
		return errAnswerID
	}
	return nil
}

// response judges a whole message.
func (s *AnswerScanner) response(m *Message) error {
	switch {
	case m.Kind == Request, m.Kind == Notification:
		return errAnswerMethod
	case m.Kind != Response && s.scan.batch:
		return errAnswerJSON
	case m.Kind != Response: // it says nothing
		return nil
	case m.Failed && s.rules.Failed:
		return nil
	case string(m.ID) == "null":
		if !m.Failed || s.scan.batch {
			return errAnswerID
		}
		return nil
	case !s.pending.Take(m.ID):
		return errAnswerID
	}
	return nil
}

// End takes the end of the answer. Its error is as Write's.
func (s *AnswerScanner) End() error {
	if s.err == nil && s.form == answerJSON && s.scan.state != scanEnd {
		s.err = errAnswerCut
	}
	return s.err
}

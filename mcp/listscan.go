package mcp

// maxScannedMember bounds what is kept of the raw name of a result's member, in bytes: of the longest that holds a list,
// each of the characters escaped.
const maxScannedMember = 6*len("resourceTemplates") + 2

// listNames are the members that hold lists.
var listNames = []string{lists[0].member, lists[1].member, lists[2].member, lists[3].member}

// askNames is the member of a result in which a server asks something of the client (MCP 2026-07-28, schema.ts:
// InputRequiredResult).
var askNames = []string{"inputRequests"}

// elicitNames is the member of an error's data in which a server has the client visit URLs (MCP 2025-11-25,
// URLElicitationRequiredError).
var elicitNames = []string{"elicitations"}

// listScan is what a messageScanner looks for in results, if it is asked to: a member that holds a list, or one that asks the
// client something.
type listScan struct {
	wanted   bool
	failures bool // errors are looked through for what asks, too
	found    bool // such a member, spelled in whatever way, with an array for its value
	asks     bool // a member, spelled in whatever way, that asks; in an error, whatever text is its name
	names    bool // the next string in the result is a member's name
	named    bool // the last name was that of a list
}

// inResult is nested for a value whose own members matter: the result's.
func (s *messageScanner) inResult(p []byte) int {
	for i, c := range p {
		switch c {
		case '"':
			s.keep, s.keeping, s.state = append(s.keep[:0], c), s.depth == 1 && s.list.names, scanInResult
			return i + 1
		case ',':
			if s.depth == 1 {
				s.list.names, s.list.named = true, false
			}
		case ':':
			if s.depth == 1 {
				s.list.names = false
			}
		case '{', '[':
			s.list.found = s.list.found || s.depth == 1 && c == '[' && s.list.named
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

// mayAnswer reports whether what a scanner has read so far of a text could be an answer to be filtered. One that is judged by
// its shape could be such from its list on, so that large results of other kinds pass unheld.
func (f *ListFilter) mayAnswer(s *messageScanner) bool {
	switch {
	case s.bad: // which nobody passes
		return false
	case f.shape && f.rules.Answer != nil:
		return s.batch || s.seen&memberMethod == 0
	case f.shape:
		return s.list.found
	case s.batch:
		return true
	case s.seen&memberMethod != 0:
		return false
	}
	return s.current.ID == nil || f.wants(s.current.ID)
}

// answersList reports whether an event's messages have an answer to be filtered among them.
func (f *ListFilter) answersList(messages []Message, s *messageScanner) bool {
	if f.shape && f.rules.Answer == nil {
		return s.list.found
	}
	for i := range messages {
		if m := &messages[i]; m.Kind == Response && (f.shape || f.wants(m.ID)) {
			return true
		}
	}
	return false
}

// wants reports whether a response with a raw id is to be filtered. What answers nothing is looked at too, because there are
// readers that take null for 0.
func (f *ListFilter) wants(id []byte) bool {
	for i := range f.asked {
		if a := &f.asked[i]; (a.list != noList || f.rules.Answer != nil) && sameID(a.id, id) {
			return true
		}
	}
	return string(id) == "null"
}

package mcp

import "bytes"

// KeepAliveComment is what may be written between two events to show that a silent stream lives. A line that begins
// with a colon is a comment, which every reader ignores (WHATWG HTML, "Server-sent events"); the empty line after it
// ends nothing, because no event is open, but makes readers that wait for one hand the bytes on.
const KeepAliveComment = ": keep-alive\n\n"

// EventTracker follows the bytes of one text/event-stream as they pass, and changes none of them. It knows where
// events end, and nothing of what is in them. Its zero value is at the start of a stream; it is not safe for
// concurrent use, and its memory does not grow.
type EventTracker struct {
	line    [3]byte // the first bytes of the line, as far as they are needed
	length  int     // bytes of the line so far, never counted past tracked
	inEvent bool    // a line that belongs to an event has ended, and no empty line since
	afterCR bool    // the last byte was a CR, so that a LF belongs to it
	started bool    // the first line, which may begin with a byte order mark, has been judged
	sawID   bool
}

const (
	byteOrderMark = "\xef\xbb\xbf"
	tracked       = 4 // line[:3], and whether there is more
)

// Between reports whether the stream is between two events, so that a comment or a whole event may be inserted: at the
// start, after the empty line that ends an event, and after comments that follow it. (A byte order mark that comes
// after something was inserted would no longer be at the start; no known server sends one.)
func (t *EventTracker) Between() bool { return !t.inEvent && t.length == 0 }

// SawID reports whether a complete line has set an event id, so that the client may resume the stream by Last-Event-ID
// and an answer invented here would be wrong.
func (t *EventTracker) SawID() bool { return t.sawID }

// Write follows the next bytes. It returns how many of them lead up to the last place in p where Between was true
// (the length of p if it is true now, 0 if it was true only before p), or -1 if it was true nowhere.
func (t *EventTracker) Write(p []byte) int {
	boundary := -1
	if t.Between() {
		boundary = 0
	}
	lf := -1 // the next LF at or after i, or len(p); found once, so that the many lines of a chunk cost one pass
	for i := 0; i < len(p); {
		if t.afterCR {
			t.afterCR = false
			if p[i] == '\n' {
				if i++; t.Between() {
					boundary = i
				}
				continue
			}
		}
		if lf < i {
			if lf = bytes.IndexByte(p[i:], '\n'); lf < 0 {
				lf = len(p)
			} else {
				lf += i
			}
		}
		end := lf
		if cr := bytes.IndexByte(p[i:lf], '\r'); cr >= 0 {
			end = i + cr
		}
		if mark := i + len(t.line) - t.length; !t.started && mark < end {
			end = mark // where a byte order mark would end
		}
		t.extend(p[i:end])
		if i = end; i == len(p) {
			break
		}
		if p[i] != '\r' && p[i] != '\n' {
			if t.Between() {
				boundary = i
			}
			continue
		}
		t.afterCR = p[i] == '\r'
		t.endLine()
		if i++; t.Between() {
			boundary = i
		}
	}
	if t.Between() {
		boundary = len(p)
	}
	return boundary
}

// extend adds bytes to the line.
func (t *EventTracker) extend(p []byte) {
	for len(p) > 0 && t.length < tracked {
		if t.length < len(t.line) {
			t.line[t.length] = p[0]
		}
		t.length++
		p = p[1:]
		if !t.started && t.length == len(t.line) {
			t.started = true
			if string(t.line[:]) == byteOrderMark {
				t.length = 0
			}
		}
	}
}

// endLine judges the line that has ended.
func (t *EventTracker) endLine() {
	t.started = true
	switch {
	case t.length == 0:
		t.inEvent = false
	case t.line[0] == ':':
	default:
		t.inEvent = true
		if t.line[0] == 'i' && t.length > 1 && t.line[1] == 'd' && (t.length == 2 || t.line[2] == ':') {
			t.sawID = true
		}
	}
	t.length = 0
}

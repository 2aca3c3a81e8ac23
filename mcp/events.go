package mcp

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// KeepAliveComment is what may be written between two events to show that a silent stream lives. A line that begins
// with a colon is a comment, which every reader ignores (WHATWG HTML, "Server-sent events"); the empty line after it
// ends nothing, because no event is open, but makes readers that wait for one hand the bytes on.
const KeepAliveComment = ": keep-alive\n\n"

const (
	// maxHeld is how many bytes of an event are held back until its end has come and it has been judged. Of a longer one
	// only the end is: without it no reader acts on the event.
	maxHeld = 64 << 10
	// maxEvent is how long an event may be, in bytes.
	maxEvent = 64 << 20
	// maxEventName bounds what is kept of an event's name, in bytes; the protocol's have at most eight.
	maxEventName = 64

	byteOrderMark = "\xef\xbb\xbf"
)

// ErrEventStream is an event stream that no judgement of its events can make safe to pass.
var ErrEventStream = errors.New("mcp: the event stream cannot be passed on")

var (
	errEventTooLong = fmt.Errorf("%w: an event is longer than 64 MiB", ErrEventStream)
	errEventLate    = fmt.Errorf("%w: an event that must not pass is longer than 64 KiB", ErrEventStream)
	// A CR alone ends a line (WHATWG HTML), but half of the clients in use split at LF only: they would read another
	// message than was judged. Servers in use write LF or CR LF.
	errLoneCR = fmt.Errorf("%w: it has a CR without a LF, which only some readers take for the end of a line", ErrEventStream)
)

// Event is what was read of one event of a text/event-stream.
type Event struct {
	// Name is the event's type, at most 64 bytes of it; empty means message.
	Name string
	// Misread says that the name is not message or endpoint, but that a reader which trims space, looks away from case or
	// does not cut the name could take it for that.
	Misread bool
	// HasID says that the event sets the id from which a client may resume.
	HasID bool
	// Hammers says that the event asks for reconnections without a pause (a retry of 0, also as lenient readers see it).
	Hammers bool
	// HasData says that it carries data; an event without has no effect beyond its id and retry.
	HasData bool
	// Messages are the JSON-RPC messages that are its data: one, or those of a batch. Of each are the kind, the raw id
	// and the method. None if the data is no JSON-RPC.
	Messages []Message
	// Batch says that the messages stand in an array.
	Batch bool
	// Asks says that the message may ask something of the client, if EventFilter.Asks or Elicits wants to know.
	Asks bool
	// Alien says that the data is no message to any reader, whatever it makes of names, spaces and bad JSON: it has no
	// object, or is one without the members of a message.
	Alien bool

	// Size is how long the event is, in bytes, without the line end that ends it.
	Size int64

	data     []byte // of an event that is held whole and has one line of data
	replace  []byte
	withheld bool
}

// Data returns the data of a short event that has it in one line, or nil. It shares memory with the stream.
func (e *Event) Data() []byte { return e.data }

// Replace puts other data into the event in place of what Data has returned. It must be one line.
func (e *Event) Replace(data []byte) { e.replace = data }

// Withhold takes the event out of the stream: a comment passes in its place. An event whose beginning has passed already
// cannot be taken out, and stops the stream.
func (e *Event) Withhold() { e.withheld = true }

// EventFilter cuts one text/event-stream into its events as the bytes pass, and shows each to Judge before its end
// passes: an event whose end does not come is one that no reader acts on. What passes is unchanged, but for data that
// Judge replaces and lists that are filtered. Comments pass line by line. It is not safe for concurrent use, and holds at most
// 64 KiB, or 4 MiB of a list, and nothing while the stream is between two events.
type EventFilter struct {
	// Judge sees every event that has a field. Its error stops the stream before the event's end. Required.
	Judge func(*Event) error
	// Lists takes out of the answers that pass what their caller may not use. An event that may be such an answer is held
	// whole, and the stream stops before it if it is longer than MaxList or cannot be filtered. Optional.
	Lists *ListFilter
	// Asks has results searched for what they ask of the client, and Elicits errors for URLs that it is to visit. Optional.
	Asks, Elicits bool

	hold    int    // how much of an event is held back; default maxHeld
	held    []byte // of the open event: what has come and not passed
	size    int64  // of the open event, once it passes piece by piece
	passing bool   // the open event is too long to hold
	open    bool   // a line that belongs to an event has ended, and no empty line since
	afterCR bool   // the last byte was a CR, so that a LF belongs to it
	settles bool   // an event or a comment passes with that LF
	mark    int    // bytes of a byte order mark at the start, or -1 once that is judged
	sawID   bool   // a complete line with an id has passed

	line  lineKind
	begun bool   // the line has a byte
	field []byte // the beginning of a line, up to the colon
	value []byte // of event and retry
	start int    // where its value begins, from the event's begin

	event    Event
	name     []byte
	object   bool   // the data has a brace
	datas    int    // lines of data in the event
	from, to int    // the last one's value, from the event's begin
	lines    []Span // the values of all of them, if Lists may need them
	newline  bool   // stands before the next line of data
	scan     messageScanner
}

// lineKind is what the line that is being read is, as far as it is known.
type lineKind uint8

const (
	lineField lineKind = iota // in the field's name
	lineSpace                 // behind the colon of data, event, id or retry
	lineData
	lineEvent
	lineID
	lineRetry
	lineOther // a comment, or a field that no reader knows
)

// Between reports whether what has passed so far ends between two events, so that a comment or a whole event may be
// inserted behind it. (A byte order mark that comes after something was inserted would no longer be at the start; no
// known server sends one.)
func (f *EventFilter) Between() bool { return !f.passing && !f.settles }

// SawID reports whether an event id has passed, so that the client may resume the stream by Last-Event-ID and an answer
// invented here would be wrong.
func (f *EventFilter) SawID() bool { return f.sawID }

// Write takes the next bytes of the stream and returns those that may pass now, which may share memory with p and are
// valid until the next call. With an error of Judge, or ErrEventStream, they are the last ones.
func (f *EventFilter) Write(p []byte) ([]byte, error) {
	data, at := p, len(f.held)
	if at > 0 {
		data = append(f.held, p...)
	}
	pass := 0 // data[:pass] may pass; while nothing is passing the open event begins there
	lf := -1  // the next LF at or behind at, or len(data); found once, so that the many lines of a piece cost one pass
	if f.passing {
		f.size += int64(len(p))
	}
	for at < len(data) {
		if f.afterCR {
			f.afterCR = false
			if data[at] == '\n' {
				if at++; f.settles || !f.passing && !f.open && !f.begun {
					f.settles, f.passing, f.size, pass = false, false, 0, at
				}
				continue
			}
			f.settles = false // what waited is dropped
			if f.passing {
				pass = at
			}
			return data[:pass], errLoneCR
		}
		if lf < at {
			if lf = bytes.IndexByte(data[at:], '\n'); lf < 0 {
				lf = len(data)
			} else {
				lf += at
			}
		}
		end := lf
		if cr := bytes.IndexByte(data[at:lf], '\r'); cr >= 0 {
			end = at + cr
		}
		f.text(data[at:end], at-pass)
		if at = end; at == len(data) {
			break
		}
		if f.begun || !f.open { // a field, a comment, or an empty line that ends nothing
			f.afterCR = data[at] == '\r'
			f.endLine(at - pass)
			if at++; !f.open { // also behind a comment that was too long to hold
				pass = f.settle(at, pass)
			}
			continue
		}
		edited, err := f.endEvent(data, pass, at)
		if err != nil {
			if f.passing {
				pass = at
			}
			return data[:pass], err
		}
		if edited != nil {
			at += len(edited) - len(data)
			data, lf = edited, -1
		}
		f.afterCR = data[at] == '\r'
		at++
		pass = f.settle(at, pass)
	}
	return f.rest(data, pass)
}

// settle lets pass what ends before at, unless that is a CR, whose LF has to come first. It returns what may pass.
func (f *EventFilter) settle(at, pass int) int {
	if f.afterCR {
		f.settles = true
		return pass
	}
	f.passing, f.size = false, 0
	return at
}

// rest splits data into what passes and what is held.
func (f *EventFilter) rest(data []byte, pass int) ([]byte, error) {
	if size := len(data) - pass; !f.passing && size > cmp.Or(f.hold, maxHeld) {
		if f.holdsOn() && (size <= maxHeldList || !f.Lists.rules.Tolerant) {
			if size > maxHeldList {
				f.held = nil
				return data[:pass], errListTooLong
			}
			return f.keep(data, pass)
		}
		f.passing, f.size, f.lines = true, int64(size), nil
		f.sawID = f.sawID || f.event.HasID
	}
	if f.passing {
		f.held = nil
		if f.size > maxEvent {
			return data[:pass], errEventTooLong
		}
		return data, nil
	}
	return f.keep(data, pass)
}

// keep holds what of data may not pass yet.
func (f *EventFilter) keep(data []byte, pass int) ([]byte, error) {
	switch rest := data[pass:]; {
	case len(rest) == 0:
		f.held = nil
	case pass == 0 && len(f.held) > 0:
		f.held = data
	default:
		f.held = bytes.Clone(rest)
	}
	return data[:pass], nil
}

// End takes the end of the stream. What it leaves of an unfinished event is judged like a whole one, for the sake of
// readers that act on it all the same, and returned.
func (f *EventFilter) End() ([]byte, error) {
	data := f.held
	f.held = nil
	if f.begun || f.mark > 0 {
		f.endLine(len(data))
	}
	if !f.open {
		return data, nil
	}
	edited, err := f.endEvent(data, 0, len(data))
	switch {
	case err != nil:
		return nil, err
	case edited != nil:
		return edited, nil
	}
	return data, nil
}

// text reads bytes of the line that is open; at is where they stand in the event.
func (f *EventFilter) text(p []byte, at int) {
	for len(p) > 0 {
		if f.mark >= 0 && f.judgeMark(p[0]) {
			p, at = p[1:], at+1
			continue
		}
		f.begun = true
		switch f.line {
		case lineField:
			colon := bytes.IndexByte(p, ':')
			name := p
			if colon >= 0 {
				name = p[:colon]
			}
			f.field = append(f.field, name[:min(len(name), len("retry")+1-len(f.field))]...)
			if colon < 0 {
				return
			}
			f.line = lineSpace
			p, at = p[colon+1:], at+colon+1
			f.value = f.value[:0]
			if f.kind() == lineOther {
				f.line = lineOther
			}
		case lineSpace:
			f.line = f.kind()
			if p[0] == ' ' {
				p, at = p[1:], at+1
			}
			f.start = at
		case lineData:
			f.data(p)
			return
		case lineEvent, lineRetry:
			f.value = append(f.value, p[:min(len(p), maxEventName-len(f.value))]...)
			return
		default:
			return
		}
	}
}

// judgeMark reports whether a byte at the start of the stream belongs to a byte order mark.
func (f *EventFilter) judgeMark(c byte) bool {
	if c == byteOrderMark[f.mark] {
		if f.mark++; f.mark == len(byteOrderMark) {
			f.mark = -1
		}
		return true
	}
	f.noMark()
	return false
}

// noMark takes what looked like the beginning of a byte order mark for that of a field that nobody knows.
func (f *EventFilter) noMark() {
	if f.mark > 0 {
		f.begun, f.line, f.field = true, lineOther, append(f.field, byteOrderMark[0])
	}
	f.mark = -1
}

// kind is what the field's name stands for.
func (f *EventFilter) kind() lineKind {
	switch string(f.field) {
	case "data":
		return lineData
	case "event":
		return lineEvent
	case "id":
		return lineID
	case "retry":
		return lineRetry
	}
	return lineOther
}

// data reads bytes of a data line's value.
func (f *EventFilter) data(p []byte) {
	if f.newline {
		f.scan.write([]byte{'\n'}) // several lines of data are joined so
		f.newline = false
	}
	f.event.HasData = true
	f.scan.list.failures = f.Elicits
	f.scan.list.wanted = f.Asks || f.Lists != nil && f.Lists.shape
	f.object = f.object || bytes.IndexByte(p, '{') >= 0
	f.scan.write(p)
}

// endLine judges a line that is not empty, or that ends nothing; at is where its end stands in the event.
func (f *EventFilter) endLine(at int) {
	f.noMark()
	if f.begun {
		kind := f.line
		if kind == lineField || kind == lineSpace { // without a colon, or without a value
			kind = f.kind()
			f.start = at
			f.value = f.value[:0]
		}
		f.open = f.open || len(f.field) > 0 || f.line != lineOther
		switch kind {
		case lineData:
			f.datas++
			if f.from, f.to = f.start, at; f.Lists != nil && !f.passing {
				f.lines = append(f.lines, Span{f.start, at})
			}
			f.newline = true
		case lineEvent:
			f.name = append(f.name[:0], f.value...)
		case lineID:
			f.event.HasID = true
			f.sawID = f.sawID || f.passing
		case lineRetry:
			f.event.Hammers = f.event.Hammers || hammers(f.value)
		}
	}
	f.line, f.begun, f.field = lineField, false, f.field[:0]
}

// endEvent shows the event that ends, whose bytes are those from begin to end, to Judge. It returns the data with the event's
// own replaced, or nil.
func (f *EventFilter) endEvent(data []byte, begin, end int) ([]byte, error) {
	e := &f.event
	e.Name = eventName(f.name)
	e.Misread = misread(f.name)
	if messages, ok := f.scan.result(); ok {
		e.Messages, e.Batch = messages, f.scan.batch
	}
	e.Alien = !f.object || f.scan.alien()
	e.Asks = f.scan.list.asks
	e.Size = int64(end - begin)
	if f.passing {
		e.Size = f.size - int64(len(data)-end)
	}
	from, to := begin+f.from, begin+f.to
	if f.datas == 1 && !f.passing {
		e.data = data[from:to:to]
	}
	var edited []byte
	dropped := 0
	if f.Lists != nil { // before Judge, so that what cannot be filtered still counts as not answered
		var err error
		if edited, dropped, err = f.filterList(data, begin); err != nil {
			return nil, err
		}
	}
	if err := f.Judge(e); err != nil {
		return nil, err
	}
	if dropped > 0 {
		f.Lists.dropped += dropped
	}
	if e.replace != nil && e.data != nil {
		edited = slices.Concat(data[:from], e.replace, data[to:])
	}
	switch {
	case e.withheld && f.passing:
		return nil, errEventLate
	case e.withheld:
		edited = slices.Concat(data[:begin], []byte(":"), data[end:])
	}
	f.sawID = f.sawID || e.HasID && !e.withheld
	*e = Event{}
	f.datas, f.newline, f.object, f.name, f.lines = 0, false, false, f.name[:0], nil
	f.scan.reset()
	f.open = false
	return edited, nil
}

// misread reports whether a name is none of the protocol's and could be taken for one.
func misread(name []byte) bool {
	switch string(name) {
	case "message", "endpoint":
		return false
	}
	text := bytes.TrimSpace(name)
	return len(name) == maxEventName || bytes.EqualFold(text, []byte("endpoint")) || bytes.EqualFold(text, []byte("message"))
}

// hammers reports whether a retry field's value is 0 to some reader: the format has digits alone, and readers in use trim
// it and take a sign.
func hammers(value []byte) bool {
	return len(value) == maxEventName || bytes.IndexByte(value, '0') >= 0 && len(bytes.Trim(bytes.TrimSpace(value), "+-0")) == 0
}

// eventName makes a name without an allocation for the usual ones.
func eventName(raw []byte) string {
	switch string(raw) {
	case "":
		return ""
	case "message":
		return "message"
	}
	return string(raw)
}

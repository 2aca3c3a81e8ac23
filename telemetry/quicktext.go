package telemetry

import (
	"encoding/hex"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// quickText writes lines of numbers and texts as slog's text handler does, to the byte. The nil quickText writes none.
type quickText struct {
	write     func([]byte) (int, error)
	writeSafe func([]byte) (int, error) // what has nothing to be escaped
	lines     *sync.Pool                // of *[]byte
	rest      []byte                    // what the logger's own attributes are in a line
	strange   bool                      // there may be something to be escaped in them
	second    *atomic.Pointer[second]   // of the last line
}

func newQuickText(w io.Writer) *quickText {
	q := &quickText{write: w.Write, writeSafe: w.Write, second: new(atomic.Pointer[second]), lines: &sync.Pool{New: func() any { return new([]byte) }}}
	if safe, ok := w.(*plainWriter); ok {
		q.writeSafe = safe.pass
	}
	return q
}

// with is for a logger with more attributes of its own.
func (q *quickText) with(attrs []slog.Attr) *quickText {
	if q == nil {
		return nil
	}
	more := *q
	more.rest = append([]byte(nil), q.rest...)
	for _, a := range attrs {
		var strange, ok bool
		if more.rest, strange, ok = appendQuick(more.rest, a); !ok {
			return nil
		}
		more.strange = more.strange || strange
	}
	return &more
}

// handle writes a record of numbers and texts. It reports false, and writes nothing, if there is anything else in it.
func (q *quickText) handle(r *slog.Record) (done bool, err error) {
	if q == nil {
		return false, nil
	}
	room := q.lines.Get().(*[]byte)
	defer func() {
		if cap(*room) <= maxReused {
			q.lines.Put(room)
		}
	}()
	line, strange := q.begin((*room)[:0], r.Time, r.Level, r.Message)
	ok := true
	r.Attrs(func(a slog.Attr) bool {
		var odd bool
		line, odd, ok = appendQuick(line, a)
		strange = strange || odd
		return ok
	})
	*room = append(line, '\n')
	if !ok {
		return false, nil
	}
	_, err = q.pass(*room, strange)
	return true, err
}

// pass writes a line, in which there may be something to be escaped.
func (q *quickText) pass(line []byte, strange bool) (int, error) {
	if strange {
		return q.write(line)
	}
	return q.writeSafe(line)
}

// begin appends what a line begins with, and reports whether there may be something to be escaped in that.
func (q *quickText) begin(to []byte, at time.Time, level slog.Level, message string) (line []byte, strange bool) {
	if !at.IsZero() {
		to = append(q.appendInstant(append(to, "time="...), at), ' ')
	}
	to = append(to, "level="...)
	to = append(to, level.String()...)
	to = append(to, " msg="...)
	to, strange = appendWord(to, message)
	return append(to, q.rest...), strange || q.strange
}

// second is a text for all times in one second.
type second struct {
	unix int64
	text string // with the point
}

// appendInstant appends a time in timeLayout. Of busy times the second is known from the line before.
func (q *quickText) appendInstant(to []byte, at time.Time) []byte {
	at = at.UTC()
	now := q.second.Load()
	if now == nil || now.unix != at.Unix() {
		now = &second{at.Unix(), at.Format("2006-01-02T15:04:05.")}
		q.second.Store(now)
	}
	millis := at.Nanosecond() / int(time.Millisecond)
	return append(append(to, now.text...), byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10), 'Z')
}

// appendIDs appends the ids of the trace and the span.
func (c *Call) appendIDs(to []byte) []byte {
	if !c.Span.IsValid() {
		return to
	}
	trace, span := c.Span.TraceID(), c.Span.SpanID()
	to = append(to, " "+KeyTraceID+"="...)
	to = hex.AppendEncode(to, trace[:])
	to = append(to, " "+KeySpanID+"="...)
	return hex.AppendEncode(to, span[:])
}

// appendQuick appends an attribute, and reports whether there may be something to be escaped in it. It reports false for one that is
// neither a number nor a text.
func appendQuick(to []byte, a slog.Attr) (line []byte, strange, ok bool) {
	if a.Key == "" {
		return to, false, false
	}
	to = append(to, ' ')
	to, strange = appendWord(to, a.Key)
	to = append(to, '=')
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		var odd bool
		to, odd = appendWord(to, v.String())
		strange = strange || odd
	case slog.KindInt64:
		to = strconv.AppendInt(to, v.Int64(), 10)
	case slog.KindUint64:
		to = strconv.AppendUint(to, v.Uint64(), 10)
	case slog.KindFloat64:
		to = appendFloat(to, v.Float64())
	case slog.KindBool:
		to = strconv.AppendBool(to, v.Bool())
	case slog.KindDuration:
		to = append(to, v.Duration().String()...)
	default:
		return to, false, false
	}
	return to, strange, true
}

func appendFloat(to []byte, f float64) []byte { return strconv.AppendFloat(to, f, 'g', -1, 64) }

// What a character of a text in a line is, other than a plain one.
const (
	quoted byte = 1 << iota // in quotes
	odd                     // no printable ASCII
)

// characters has for each byte what it is.
var characters = func() (kinds [256]byte) {
	for c := range kinds {
		if c < ' ' || c > '~' {
			kinds[c] = odd
		}
	}
	kinds[' '], kinds['='], kinds['"'] = quoted, quoted, quoted
	return kinds
}()

// appendWord appends a text, quoted where slog quotes it, and reports whether there may be something to be escaped in that.
func appendWord(to []byte, s string) (line []byte, strange bool) {
	kinds := kindsOf(s)
	if kinds == 0 && s != "" {
		return append(to, s...), false
	}
	if kinds&odd != 0 && kinds&quoted == 0 && allPrint(s) {
		return append(to, s...), true
	}
	return strconv.AppendQuote(to, s), kinds&odd != 0
}

// isPlain reports whether a text is written as it is.
func isPlain(s string) bool { return s != "" && kindsOf(s) == 0 }

// kindsOf is what all characters of a text are.
func kindsOf(s string) (kinds byte) {
	for i := range len(s) {
		kinds |= characters[s[i]]
	}
	return kinds
}

// allPrint reports whether slog would write a text without quotes for its characters beyond ASCII, and for control characters.
func allPrint(s string) bool {
	for i, r := range s {
		if r < utf8.RuneSelf && (s[i] < ' ') || r == utf8.RuneError || r >= utf8.RuneSelf && (unicode.IsSpace(r) || !unicode.IsPrint(r)) {
			return false
		}
	}
	return true
}

package telemetry

import (
	"encoding/hex"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// quickText writes lines as slog's text handler does, to the byte, if there is nothing in them but numbers and printable ASCII. The
// nil quickText writes none.
type quickText struct {
	write func([]byte) (int, error)
	lines *sync.Pool // of *[]byte
	rest  []byte     // what the logger's own attributes are in a line
}

func newQuickText(w io.Writer) *quickText {
	q := &quickText{write: w.Write, lines: &sync.Pool{New: func() any { return new([]byte) }}}
	if safe, ok := w.(*plainWriter); ok {
		q.write = safe.pass // there is nothing to be escaped
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
		var ok bool
		if more.rest, ok = appendQuick(more.rest, a); !ok {
			return nil
		}
	}
	return &more
}

// handle writes a record of simple values. It reports false, and writes nothing, if there is anything else in it.
func (q *quickText) handle(r *slog.Record) (done bool, err error) {
	if q == nil {
		return false, nil
	}
	room := q.lines.Get().(*[]byte)
	defer q.lines.Put(room)
	line, ok := q.begin((*room)[:0], r.Time, r.Level, r.Message)
	if ok {
		r.Attrs(func(a slog.Attr) bool {
			line, ok = appendQuick(line, a)
			return ok
		})
	}
	*room = append(line, '\n')
	if !ok {
		return false, nil
	}
	_, err = q.write(*room)
	return true, err
}

// line writes a line of simple values, and the ids of the call that it is about; its request id if the line has none, as named says
// or its attributes. It reports false, and writes nothing, if there is anything else in it.
func (q *quickText) line(of Call, named bool, at time.Time, level slog.Level, message string, attrs []slog.Attr) (done bool) {
	if q == nil {
		return false
	}
	room := q.lines.Get().(*[]byte)
	defer q.lines.Put(room)
	line, ok := q.begin((*room)[:0], at, level, message)
	for i := 0; ok && i < len(attrs); i++ {
		named = named || attrs[i].Key == KeyRequestID
		line, ok = appendQuick(line, attrs[i])
	}
	if ok && !named && of.RequestID != "" {
		line, ok = appendQuick(line, slog.String(KeyRequestID, of.RequestID))
	}
	line = of.appendIDs(line)
	*room = append(line, '\n')
	if !ok {
		return false
	}
	_, _ = q.write(*room) // as slog does
	return true
}

// begin appends what a line begins with.
func (q *quickText) begin(to []byte, at time.Time, level slog.Level, message string) ([]byte, bool) {
	if !at.IsZero() {
		to = append(appendInstant(append(to, "time="...), at), ' ')
	}
	to = append(to, "level="...)
	to = append(to, level.String()...)
	to = append(to, " msg="...)
	to, ok := appendASCII(to, message)
	return append(to, q.rest...), ok
}

// appendInstant appends a time in timeLayout, of which Format has the most by heart.
func appendInstant(to []byte, at time.Time) []byte {
	at = at.UTC()
	millis := at.Nanosecond() / int(time.Millisecond)
	to = at.AppendFormat(to, time.RFC3339)
	return append(to[:len(to)-1], '.', byte('0'+millis/100), byte('0'+millis/10%10), byte('0'+millis%10), 'Z')
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

// appendQuick appends an attribute. It reports false for one that is not simple enough.
func appendQuick(to []byte, a slog.Attr) ([]byte, bool) {
	if a.Key == "" {
		return to, false
	}
	to = append(to, ' ')
	to, ok := appendASCII(to, a.Key)
	to = append(to, '=')
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		var plain bool
		to, plain = appendASCII(to, v.String())
		return to, ok && plain
	case slog.KindInt64:
		to = strconv.AppendInt(to, v.Int64(), 10)
	case slog.KindUint64:
		to = strconv.AppendUint(to, v.Uint64(), 10)
	case slog.KindFloat64:
		to = strconv.AppendFloat(to, v.Float64(), 'g', -1, 64)
	case slog.KindBool:
		to = strconv.AppendBool(to, v.Bool())
	case slog.KindDuration:
		return appendASCII(to, v.Duration().String())
	default:
		return to, false
	}
	return to, ok
}

// What a character of a text in a line is, other than a plain one.
const (
	quoted  byte = 1 << iota // in quotes
	strange                  // no printable ASCII
)

// characters has for each byte what it is.
var characters = func() (kinds [256]byte) {
	for c := range kinds {
		if c < ' ' || c > '~' {
			kinds[c] = strange
		}
	}
	kinds[' '], kinds['='], kinds['"'] = quoted, quoted, quoted
	return kinds
}()

// appendASCII appends a text, quoted where slog quotes it. It reports false for one with anything but printable ASCII.
func appendASCII(to []byte, s string) ([]byte, bool) {
	kinds := byte(0)
	for i := range len(s) {
		kinds |= characters[s[i]]
	}
	switch {
	case kinds&strange != 0:
		return to, false
	case kinds&quoted != 0 || s == "":
		return strconv.AppendQuote(to, s), true
	}
	return append(to, s...), true
}

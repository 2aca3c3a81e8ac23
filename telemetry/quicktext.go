package telemetry

import (
	"io"
	"log/slog"
	"strconv"
	"sync"
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

// handle writes a record of simple values, whose time is in whole milliseconds and UTC. It reports false, and writes nothing, if there
// is anything else in it.
func (q *quickText) handle(r *slog.Record) (done bool, err error) {
	if q == nil {
		return false, nil
	}
	room := q.lines.Get().(*[]byte)
	defer q.lines.Put(room)
	line := (*room)[:0]
	if !r.Time.IsZero() {
		line = append(line, "time="...)
		line = r.Time.AppendFormat(line, timeLayout)
		line = append(line, ' ')
	}
	line = append(line, "level="...)
	line = append(line, r.Level.String()...)
	line = append(line, " msg="...)
	line, ok := appendASCII(line, r.Message)
	line = append(line, q.rest...)
	if ok {
		r.Attrs(func(a slog.Attr) bool {
			line, ok = appendQuick(line, a)
			return ok
		})
	}
	line = append(line, '\n')
	*room = line
	if !ok {
		return false, nil
	}
	_, err = q.write(line)
	return true, err
}

// appendQuick appends an attribute. It reports false for one that is not simple enough.
func appendQuick(to []byte, a slog.Attr) ([]byte, bool) {
	if a.Key == "" || !simple(a) {
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
	default: // a duration
		return appendASCII(to, v.Duration().String())
	}
	return to, ok
}

// appendASCII appends a text, quoted where slog quotes it. It reports false for one with anything but printable ASCII.
func appendASCII(to []byte, s string) ([]byte, bool) {
	quoted := s == ""
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			return to, false
		case c == ' ' || c == '=' || c == '"':
			quoted = true
		}
	}
	if quoted {
		return strconv.AppendQuote(to, s), true
	}
	return append(to, s...), true
}

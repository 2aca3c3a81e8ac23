package telemetry

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Lines makes lines of the log, for where there are many of them. The zero value is ready to use, by many at once.
type Lines struct{ room sync.Pool }

// New returns a line of a level that is enabled, without attributes.
func (l *Lines) New(log *slog.Logger, at time.Time, level slog.Level, message string) *Line {
	line, ok := l.room.Get().(*Line)
	if !ok {
		line = &Line{room: &l.room}
	}
	line.log, line.at, line.level, line.message = log, at, level, message
	if h, ok := log.Handler().(*callHandler); ok {
		line.quick, line.named = h.quick()
	}
	if line.quick != nil {
		line.text, line.strange = line.quick.begin(line.text, at, level, message)
	}
	return line
}

// Line is one line of the log. In the text format its attributes go straight into the bytes that are written; else they are gathered for
// the logger's handler. Their keys are plain words. A line belongs to one goroutine, and is used again once it is written.
type Line struct {
	log     *slog.Logger
	at      time.Time
	level   slog.Level
	message string

	quick   *quickText // writes the line; nil if the handler must
	text    []byte
	strange bool // there is something in it that may have to be escaped
	named   bool // it has a request id of its own

	attrs []slog.Attr // without quick
	room  *sync.Pool  // where it is from
}

// String adds a text.
func (l *Line) String(key, value string) {
	if l.quick == nil {
		l.attrs = append(l.attrs, slog.String(key, value))
		return
	}
	l.named = l.named || key == KeyRequestID
	l.begin(key)
	var strange bool
	l.text, strange = appendWord(l.text, value)
	l.strange = l.strange || strange
}

// Pair adds a text of two parts with a separator between them.
func (l *Line) Pair(key, first, separator, second string) {
	if l.quick == nil || !isPlain(first) || !isPlain(second) || key == KeyRequestID {
		l.String(key, first+separator+second)
		return
	}
	l.begin(key)
	l.text = append(l.text, first...)
	l.text = append(l.text, separator...)
	l.text = append(l.text, second...)
}

// Int adds a number.
func (l *Line) Int(key string, n int64) {
	if l.quick == nil {
		l.attrs = append(l.attrs, slog.Int64(key, n))
		return
	}
	l.begin(key)
	l.text = strconv.AppendInt(l.text, n, 10)
}

// Milliseconds adds a time that something took, to the microsecond.
func (l *Line) Milliseconds(key string, d time.Duration) {
	if l.quick == nil {
		l.attrs = append(l.attrs, slog.Float64(key, float64(d.Microseconds())/1000))
		return
	}
	l.begin(key)
	l.text = appendMilliseconds(l.text, d.Microseconds())
}

// appendMilliseconds appends microseconds as slog writes as many thousandths.
func appendMilliseconds(to []byte, us int64) []byte {
	if us < 0 || us >= 1e9 { // which slog writes with an exponent
		return appendFloat(to, float64(us)/1000)
	}
	to = strconv.AppendInt(to, us/1000, 10)
	if rest := us % 1000; rest > 0 {
		to = append(to, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
		for to[len(to)-1] == '0' {
			to = to[:len(to)-1]
		}
	}
	return to
}

func (l *Line) begin(key string) {
	l.text = append(l.text, ' ')
	l.text = append(l.text, key...)
	l.text = append(l.text, '=')
}

// Write writes the line, about a call. It must not be used any more. No place in the source is in it: no line shows that, and it takes a
// walk through the stack to find.
func (l *Line) Write(of Call) {
	if l.quick != nil {
		l.writeText(of)
	} else {
		r := slog.NewRecord(l.at, l.level, l.message, 0)
		r.AddAttrs(l.attrs...)
		_ = l.log.Handler().Handle(of.Context(context.Background()), r) // as slog does
	}
	if cap(l.text) > maxReused {
		return
	}
	clear(l.attrs)
	*l = Line{text: l.text[:0], attrs: l.attrs[:0], room: l.room}
	l.room.Put(l)
}

func (l *Line) writeText(of Call) {
	if !l.named && of.RequestID != "" {
		l.String(KeyRequestID, of.RequestID)
	}
	l.text = append(of.appendIDs(l.text), '\n')
	_, _ = l.quick.pass(l.text, l.strange) // as slog does
}

package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Line gathers what one line of the log says, for where there are many of them: it is used again and again, and in the text format it
// goes straight into the buffer that is written. It belongs to one goroutine.
type Line struct {
	attrs []slog.Attr
	room  *sync.Pool // where it is from
}

// Lines makes lines. The zero value is ready to use, by many at once.
type Lines struct{ room sync.Pool }

// New returns an empty line.
func (l *Lines) New() *Line {
	if line, ok := l.room.Get().(*Line); ok {
		return line
	}
	return &Line{room: &l.room}
}

// Add has the line say more.
func (l *Line) Add(attrs ...slog.Attr) { l.attrs = append(l.attrs, attrs...) }

// Log writes the line about a call, of a level that is enabled, without the place in the source, which no line shows, and which takes a walk through
// the stack to find. The line must not be used any more.
func (l *Line) Log(log *slog.Logger, of Call, at time.Time, level slog.Level, message string) {
	if to, ok := log.Handler().(quickHandler); !ok || !to.quickly(of, at, level, message, l.attrs) {
		r := slog.NewRecord(at, level, message, 0)
		r.AddAttrs(l.attrs...)
		_ = log.Handler().Handle(of.Context(context.Background()), r) // as slog does
	}
	clear(l.attrs)
	l.attrs = l.attrs[:0]
	l.room.Put(l)
}

// quickHandler is a handler that writes some lines without a record.
type quickHandler interface {
	// quickly writes a line about a call. It reports false if it has written nothing, because it is a line that
	// only Handle can write.
	quickly(of Call, at time.Time, level slog.Level, message string, attrs []slog.Attr) bool
}

package telemetry

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// textHandler writes the text format. slog calls ReplaceAttr for each attribute, which doubles what a line costs, though
// it changes only times. So records of simple values take a handler without it, and those of nothing but numbers and
// texts, such as every access line, are written without slog.
type textHandler struct {
	quick  *quickText   // nil in a group
	simple slog.Handler // writes what simple reports true for
	full   slog.Handler
}

// newTextHandler needs options with formatTime. Both handlers write to w, which must be safe for concurrent use.
func newTextHandler(w io.Writer, options *slog.HandlerOptions) slog.Handler {
	return &textHandler{
		quick:  newQuickText(w),
		simple: slog.NewTextHandler(w, &slog.HandlerOptions{Level: options.Level}),
		full:   slog.NewTextHandler(w, options),
	}
}

// Enabled implements slog.Handler.
func (h *textHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.full.Enabled(ctx, level)
}

// Handle implements slog.Handler. slog's own text form of the record's time is timeLayout, in the time's zone.
func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	plain := true
	r.Attrs(func(a slog.Attr) bool {
		plain = simple(a)
		return plain
	})
	if !plain {
		return h.full.Handle(ctx, r)
	}
	if !r.Time.IsZero() {
		r.Time = r.Time.Round(0).Truncate(time.Millisecond).UTC()
	}
	if done, err := h.quick.handle(&r); done {
		return err
	}
	return h.simple.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := &textHandler{quick: h.quick.with(attrs), simple: h.simple.WithAttrs(attrs), full: h.full.WithAttrs(attrs)}
	for _, a := range attrs {
		if !simple(a) {
			with.simple = with.full
		}
	}
	return with
}

// WithGroup implements slog.Handler.
func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{simple: h.simple.WithGroup(name), full: h.full.WithGroup(name)}
}

// simple reports whether an attribute is one that formatTime leaves alone.
func simple(a slog.Attr) bool {
	switch a.Value.Kind() {
	case slog.KindString, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindBool, slog.KindDuration:
		return true
	default: // a time; or what may hold one
		return false
	}
}

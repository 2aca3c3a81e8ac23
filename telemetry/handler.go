package telemetry

import (
	"context"
	"encoding"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"
)

// Handler puts in front of a handler what adds to each line about a call, which its context tells, the ids of the call: those of the
// trace and the span, and the request's unless the line has it. If logs are exported each line goes to the collector too.
func (t *Telemetry) Handler(next slog.Handler) slog.Handler {
	return &callHandler{next: next, top: next, out: t.log}
}

// callHandler knows of a line what its context says.
type callHandler struct {
	next slog.Handler
	// top is next as it was before the first group, and below what came since: ids stand in no group.
	top   slog.Handler
	below []func(slog.Handler) slog.Handler
	named bool // the lines have a request id of their own

	out    log.Logger // nil if logs go nowhere else
	prefix string     // of keys: the groups
	attrs  []attribute.KeyValue
}

// Enabled implements slog.Handler: one level counts wherever lines go.
func (h *callHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *callHandler) Handle(ctx context.Context, r slog.Record) error {
	of := callOf(ctx)
	ids := of.attrs()
	if len(ids) > 0 && ids[0].Key == KeyRequestID && (h.named || names(r)) {
		ids = ids[1:]
	}
	if h.out != nil {
		h.send(ctx, r, ids)
	}
	switch {
	case len(ids) == 0:
		return h.next.Handle(ctx, r)
	case len(h.below) == 0:
		r = r.Clone()
		r.AddAttrs(ids...)
		return h.next.Handle(ctx, r)
	}
	next := h.top.WithAttrs(ids)
	for _, add := range h.below {
		next = add(next)
	}
	return next.Handle(ctx, r)
}

// quick is what writes lines in place of Handle, unless that is more than text: nil then, and in groups. It reports whether they have a
// request id of their own.
func (h *callHandler) quick() (to *quickText, named bool) {
	if next, ok := h.next.(*textHandler); ok && h.out == nil {
		return next.quick, h.named
	}
	return nil, false
}

// names reports whether a record has a request id of its own.
func names(r slog.Record) (found bool) {
	r.Attrs(func(a slog.Attr) bool {
		found = a.Key == KeyRequestID
		return !found
	})
	return found
}

// send hands a line to the collector. The ids of trace and span are fields of their own there, which the SDK takes from the context.
func (h *callHandler) send(ctx context.Context, r slog.Record, ids []slog.Attr) {
	attrs := slices.Grow(slices.Clip(h.attrs), r.NumAttrs()+1)
	if len(ids) > 0 && ids[0].Key == KeyRequestID {
		attrs = appendAttr(attrs, "", ids[0])
	}
	r.Attrs(func(a slog.Attr) bool {
		attrs = appendAttr(attrs, h.prefix, a)
		return true
	})
	var line log.Record
	line.SetTimestamp(r.Time)
	line.SetSeverity(severity(r.Level))
	line.SetSeverityText(r.Level.String())
	line.SetBody(attribute.StringValue(validText(r.Message)))
	line.AddAttributes(attrs...)
	h.out.Emit(withSpan(ctx), line)
}

// severity is a level as OpenTelemetry numbers them: both have four steps from one word to the next.
func severity(level slog.Level) log.Severity {
	return log.Severity(min(max(int(level)+int(log.SeverityInfo), int(log.SeverityTrace1)), int(log.SeverityFatal4)))
}

// WithAttrs implements slog.Handler.
func (h *callHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	add := func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) }
	with := *h
	with.next = add(h.next)
	if h.prefix == "" {
		with.top = with.next
		with.named = h.named || slices.ContainsFunc(attrs, func(a slog.Attr) bool { return a.Key == KeyRequestID })
	} else {
		with.below = append(slices.Clip(h.below), add)
	}
	if h.out != nil {
		with.attrs = slices.Clip(h.attrs)
		for _, a := range attrs {
			with.attrs = appendAttr(with.attrs, h.prefix, a)
		}
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *callHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	add := func(to slog.Handler) slog.Handler { return to.WithGroup(name) }
	in := *h
	in.next, in.below = add(h.next), append(slices.Clip(h.below), add)
	in.prefix += validText(name) + "."
	return &in
}

// appendAttr appends an attribute of a line as a collector gets it: with the key and, but for numbers, the text that it has in a text
// log. A group becomes keys with dots.
func appendAttr(to []attribute.KeyValue, prefix string, a slog.Attr) []attribute.KeyValue {
	value := a.Value.Resolve()
	if a.Key == "" && value.Kind() != slog.KindGroup {
		return to
	}
	key := attribute.Key(prefix + validText(a.Key))
	switch value.Kind() {
	case slog.KindBool:
		return append(to, key.Bool(value.Bool()))
	case slog.KindInt64:
		return append(to, key.Int64(value.Int64()))
	case slog.KindUint64:
		if n := value.Uint64(); n <= math.MaxInt64 {
			return append(to, key.Int64(int64(n)))
		}
	case slog.KindFloat64:
		return append(to, key.Float64(value.Float64()))
	case slog.KindTime:
		return append(to, key.String(formatTime(nil, slog.Attr{Value: value}).Value.String()))
	case slog.KindGroup:
		if a.Key != "" {
			prefix += validText(a.Key) + "."
		}
		for _, member := range value.Group() {
			to = appendAttr(to, prefix, member)
		}
		return to
	case slog.KindAny:
		if texts, ok := value.Any().([]string); ok {
			valid := make([]string, len(texts))
			for i, text := range texts {
				valid[i] = validText(text)
			}
			return append(to, key.StringSlice(valid))
		}
		return append(to, key.String(validText(textOf(value.Any()))))
	default: // a text, or a duration
	}
	return append(to, key.String(validText(value.String())))
}

// textOf writes a value as slog's own text handler does, so that what hides its value there hides it here.
func textOf(v any) (text string) {
	defer func() {
		if recover() != nil {
			text = "!PANIC"
		}
	}()
	if m, ok := v.(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return "!ERROR"
		}
		return string(b)
	}
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return strings.TrimSpace(fmt.Sprintf("%+v", v))
}

// Events sends what happened at a time, as attributes. It returns at once, and what a collector does not take is counted.
type Events func(at time.Time, attrs []slog.Attr)

// newEvents sends events of one name.
func newEvents(logger log.Logger, name string) Events {
	return func(at time.Time, attrs []slog.Attr) {
		converted := make([]attribute.KeyValue, 0, len(attrs))
		for _, a := range attrs {
			converted = appendAttr(converted, "", a)
		}
		var event log.Record
		event.SetEventName(name)
		event.SetTimestamp(at)
		event.SetSeverity(log.SeverityInfo)
		event.SetSeverityText(slog.LevelInfo.String())
		event.AddAttributes(converted...)
		logger.Emit(context.Background(), event)
	}
}

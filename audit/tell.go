package audit

import (
	"log/slog"
)

// attrs is what the line of a begin or an event says, but for its place in the chain of hashes: with the same keys, and the texts as they
// are cut there.
func (r *Record) attrs() []slog.Attr {
	e := &r.Event
	attrs := make([]slog.Attr, 0, 18)
	attrs = append(attrs, slog.Uint64("seq", r.Seq), slog.String("type", r.Type))
	text := func(key, text string) {
		if text != "" {
			attrs = append(attrs, slog.String(key, whole(text)))
		}
	}
	if !e.Time.IsZero() {
		text("began", e.Time.UTC().Format(timeLayout))
	}
	text("request_id", e.RequestID)
	text("issuer", e.Issuer)
	text("subject", e.Subject)
	text("server", e.Server)
	text("method", e.Method)
	text("tool", e.Tool)
	text("arguments", e.Arguments)
	text("rule", e.Rule)
	text("decision", e.Decision)
	list := func(key string, texts []string) {
		if len(texts) > 0 {
			attrs = append(attrs, slog.Any(key, wholes(texts)))
		}
	}
	list("would_deny", e.WouldDeny)
	list("credentials", e.Credentials)
	text("outcome", e.Outcome)
	text("delivered", e.Delivered)
	number := func(key string, n int64) {
		if n != 0 {
			attrs = append(attrs, slog.Int64(key, n))
		}
	}
	number("status", int64(e.Status))
	number("duration_us", e.Duration.Microseconds())
	number("alike", e.Alike)
	return attrs
}

// whole is a text as a line has it before it is escaped.
func whole(text string) string {
	short, cut := clip(text)
	if cut {
		short += "…"
	}
	return short
}

// wholes is a list as a line has it.
func wholes(texts []string) []string {
	short := make([]string, 0, min(len(texts), maxTexts))
	for i, text := range texts {
		if i == maxTexts-1 && len(texts) > maxTexts {
			return append(short, "…")
		}
		short = append(short, whole(text))
	}
	return short
}

// tell hands a line that has been written on. What becomes of it there is nothing to the log.
func (l *Log) tell(r *Record) {
	if l.onEvent == nil {
		return
	}
	defer func() { _ = recover() }()
	l.onEvent(r.Time, r.attrs())
}

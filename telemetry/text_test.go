package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/log/noop"
	"go.opentelemetry.io/otel/trace"
)

// answer is a value that turns into another when it is logged.
type answer struct{ v slog.Value }

func (a answer) LogValue() slog.Value { return a.v }

// Both handlers must write the same, whichever one a record takes.
func TestTextTakesTheShortWayWithoutADifference(t *testing.T) {
	at := time.Date(2026, 1, 2, 5, 4, 5, 999999999, time.FixedZone("east", 2*3600))
	cases := map[string]struct {
		attrs []slog.Attr
		with  func(slog.Handler) slog.Handler
	}{
		"none":     {},
		"simple":   {attrs: []slog.Attr{slog.String("a", `x "y"=z`), slog.Int("b", -1), slog.Float64("c", 1.5), slog.Bool("d", true), slog.Duration("e", time.Second), slog.Uint64("f", 7)}},
		"time":     {attrs: []slog.Attr{slog.Int("b", 1), slog.Time("at", at)}},
		"any":      {attrs: []slog.Attr{slog.Any("e", io.EOF), slog.Any("at", at)}},
		"group":    {attrs: []slog.Attr{slog.Group("g", slog.Time("at", at))}},
		"valuer":   {attrs: []slog.Attr{slog.Any("v", answer{slog.TimeValue(at)})}},
		"with":     {attrs: []slog.Attr{slog.Int("b", 1)}, with: func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.String("role", "gateway")}) }},
		"withTime": {attrs: []slog.Attr{slog.Int("b", 1)}, with: func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.Time("at", at)}) }},
		"texts":    {attrs: []slog.Attr{slog.String("empty", ""), slog.String("slash", `a\b`), slog.String("both", `a\ b`), slog.String("wide", "ümlaut"), slog.String("wide space", "ü x"), slog.String("k=y", "v"), slog.String("tab", "a\tb"), slog.String("del", "a\x7f"), slog.String("bidi", "\u202e")}},
		"slash":    {attrs: []slog.Attr{slog.String("slash", `a\b`), slog.String("both", `a\ "b"`), slog.String("k y", "v"), slog.Float64("f", 1e21), slog.Float64("g", 0.1), slog.Duration("d", 1500*time.Microsecond)}},
		"no key":   {attrs: []slog.Attr{slog.String("", "v"), slog.Int("b", 1)}},
		"with two": {attrs: []slog.Attr{slog.Int("b", 1)}, with: func(h slog.Handler) slog.Handler {
			return h.WithAttrs([]slog.Attr{slog.String("role", "a b")}).WithAttrs([]slog.Attr{slog.Int("n", 2)})
		}},
		"with wide": {attrs: []slog.Attr{slog.Int("b", 1)}, with: func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.String("role", "ü")}) }},
		"in group":  {attrs: []slog.Attr{slog.Int("b", 1)}, with: func(h slog.Handler) slog.Handler { return h.WithGroup("g") }},
	}
	for name, c := range cases {
		var got, want bytes.Buffer
		options := &slog.HandlerOptions{ReplaceAttr: formatTime}
		short, long := newTextHandler(&got, options), slog.Handler(slog.NewTextHandler(&want, options))
		if c.with != nil {
			short, long = c.with(short), c.with(long)
		}
		for _, when := range []time.Time{at, {}} {
			r := slog.NewRecord(when, slog.LevelWarn, "two words", 0)
			r.AddAttrs(c.attrs...)
			if err := short.Handle(context.Background(), r); err != nil {
				t.Fatal(err)
			}
			if err := long.Handle(context.Background(), r.Clone()); err != nil {
				t.Fatal(err)
			}
		}
		if got.String() != want.String() || got.Len() == 0 {
			t.Errorf("%s: got\n%swant\n%s", name, &got, &want)
		}
	}
}

// TestLinesAreAsSlogHasThem: a line of a call is the same in the text format, in JSON and for a collector, whoever writes it.
func TestLinesAreAsSlogHasThem(t *testing.T) {
	at := time.Date(2026, 1, 2, 5, 4, 5, 999999999, time.FixedZone("east", 2*3600))
	texts := []string{"", "plain", "two words", `a"b`, "a=b", `back\slash`, "ümlaut", "ü b", "tab\t", "del\x7f", "\x00", "bad \xff", "\ufffd", "\u2028", "\u00a0", "bidi\u202e", "\u200b", "\U0001f600", "\U000e0001", "line\nbreak"}
	of := Call{"R", trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 0xab}, SpanID: trace.SpanID{7: 0xcd}})}
	var lines Lines
	for name, with := range map[string]func(slog.Handler) slog.Handler{
		"plain": func(h slog.Handler) slog.Handler { return h },
		"with":  func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.String("role", "ü\u200b")}) },
		"named": func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.String(KeyRequestID, "with")}) },
		"group": func(h slog.Handler) slog.Handler {
			return h.WithGroup("g").WithAttrs([]slog.Attr{slog.Int("n", 1)})
		},
		"time": func(h slog.Handler) slog.Handler { return h.WithAttrs([]slog.Attr{slog.Time("since", at)}) },
	} {
		for _, format := range []string{"text", "json"} {
			for _, out := range []log.Logger{nil, noop.NewLoggerProvider().Logger("")} {
				for _, about := range []Call{{}, of} {
					for _, own := range []bool{false, true} {
						var got, want bytes.Buffer
						tel := &Telemetry{log: out}
						line := lines.New(slog.New(with(tel.Handler(handlerTo(t, &got, format)))), at, slog.LevelWarn, "a message")
						r := slog.NewRecord(at, slog.LevelWarn, "a message", 0)
						for _, text := range texts {
							line.String("text", text)
							r.AddAttrs(slog.String("text", text))
						}
						for i, text := range texts {
							line.Pair("pair", text, "|", texts[len(texts)-1-i])
							r.AddAttrs(slog.String("pair", text+"|"+texts[len(texts)-1-i]))
						}
						line.Int("int", -7)
						r.AddAttrs(slog.Int("int", -7))
						for _, us := range []int64{0, 1, 10, 120, 500, 1000, 1234, 100_050, 999_999_999, 1_000_000_000, 3_600_000_000} {
							line.Milliseconds("ms", time.Duration(us)*time.Microsecond+time.Nanosecond)
							r.AddAttrs(slog.Float64("ms", float64(us)/1000))
						}
						if own {
							line.String(KeyRequestID, "own")
							r.AddAttrs(slog.String(KeyRequestID, "own"))
						}
						line.Write(about)
						if err := with(tel.Handler(slowHandlerTo(&want, format))).Handle(about.Context(t.Context()), r); err != nil {
							t.Fatal(err)
						}
						if got.String() != want.String() || got.Len() == 0 {
							t.Fatalf("%s, %s, exported %v, %v: got\n%swant\n%s", name, format, out != nil, about, &got, &want)
						}
					}
				}
			}
		}
	}
}

// handlerTo is the handler of a log.
func handlerTo(t *testing.T, w io.Writer, format string) slog.Handler {
	t.Helper()
	logger, _, err := NewLogger(w, LogConfig{Format: format})
	if err != nil {
		t.Fatal(err)
	}
	return logger.Handler()
}

// slowHandlerTo is slog's own.
func slowHandlerTo(w io.Writer, format string) slog.Handler {
	options := &slog.HandlerOptions{ReplaceAttr: formatTime}
	if format == "json" {
		return slog.NewJSONHandler(&plainWriter{w: w}, options)
	}
	return slog.NewTextHandler(&plainWriter{w: w}, options)
}

func TestTextLinesOfBothWaysDoNotMix(t *testing.T) {
	log, _, out := newLogger(t, LogConfig{})
	var crew sync.WaitGroup
	for range 50 {
		crew.Go(func() { log.Info("short", "n", 1) })
		crew.Go(func() { log.Info("long", "err", io.EOF) })
	}
	crew.Wait()
	if lines := bytes.Count(out.Bytes(), []byte("\n")); lines != 100 {
		t.Errorf("%d lines", lines)
	}
}

// BenchmarkAccessLine is a line as the gateway writes for each call.
func BenchmarkAccessLine(b *testing.B) {
	var lines Lines
	logger, _, err := NewLogger(io.Discard, LogConfig{})
	if err != nil {
		b.Fatal(err)
	}
	log := slog.New(new(Telemetry).Handler(logger.Handler()))
	b.ReportAllocs()
	for b.Loop() {
		line := lines.New(log, time.Now(), slog.LevelInfo, "call")
		line.String(KeyRequestID, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
		line.String(KeyHTTPMethod, "POST")
		line.Int(KeyStatus, 200)
		line.String(KeyOutcome, "upstream")
		line.Milliseconds(KeyDurationMS, 1234*time.Microsecond)
		line.String(KeyRemote, "192.0.2.7:51234")
		line.String(KeyTunnel, "acme")
		line.String(KeyServer, "wiki")
		line.Pair(KeyPrincipal, "https://tunnel.example.com", "|", "ci")
		line.String(KeyMethod, "tools/call")
		line.String(KeyTool, "search")
		line.Int(KeyBytesIn, 200)
		line.String(KeyInstance, "ZYXWVUTSRQPONMLKJIHGFEDCBA")
		line.String(KeyTransport, "quic")
		line.Int(KeyBytesOut, 300)
		line.String(KeyDelivered, "yes")
		line.Write(Call{})
	}
}

// FuzzLineText: whatever a text is, it is in a line as slog has it.
func FuzzLineText(f *testing.F) {
	for _, seed := range []string{"", "a b", `a"b`, "ü", "\xff", "a\x1bb", "\u2028=", "\u202e"} {
		f.Add(seed)
	}
	var lines Lines
	f.Fuzz(func(t *testing.T, text string) {
		var got, want bytes.Buffer
		line := lines.New(slog.New(new(Telemetry).Handler(newTextHandler(&plainWriter{w: &got}, &slog.HandlerOptions{}))), time.Time{}, slog.LevelInfo, text)
		line.String("text", text)
		line.Write(Call{})
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, text, 0)
		r.AddAttrs(slog.String("text", text))
		if err := slowHandlerTo(&want, "text").Handle(t.Context(), r); err != nil || got.String() != want.String() {
			t.Errorf("%v: got %q, want %q", err, got.String(), want.String())
		}
	})
}

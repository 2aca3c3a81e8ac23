package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

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
	var lines Lines
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

		// Lines about a call are the same, however they are written.
		of := Call{"R", trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1, 0xab}, SpanID: trace.SpanID{7: 0xcd}})}
		for _, extra := range [][]slog.Attr{nil, {slog.String(KeyRequestID, "own")}} {
			got.Reset()
			want.Reset()
			handler := new(Telemetry).Handler(newTextHandler(&got, options))
			reference := new(Telemetry).Handler(slog.NewTextHandler(&want, options))
			if c.with != nil {
				handler, reference = c.with(handler), c.with(reference)
			}
			for _, about := range []Call{{}, of} {
				line := lines.New()
				line.Add(c.attrs...)
				line.Add(extra...)
				line.Log(slog.New(handler), about, at, slog.LevelWarn, "two words")
				r := slog.NewRecord(at, slog.LevelWarn, "two words", 0)
				r.AddAttrs(append(slices.Clip(c.attrs), extra...)...)
				if err := reference.Handle(about.Context(context.Background()), r); err != nil {
					t.Fatal(err)
				}
			}
			if got.String() != want.String() || got.Len() == 0 {
				t.Errorf("%s: as a line: got\n%swant\n%s", name, &got, &want)
			}
		}
	}
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
		line := lines.New()
		line.Add(
			slog.String(KeyRequestID, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), slog.String(KeyHTTPMethod, "POST"), slog.Int(KeyStatus, 200),
			slog.String(KeyOutcome, "upstream"), slog.Float64(KeyDurationMS, 1.234), slog.String(KeyRemote, "192.0.2.7:51234"),
			slog.String(KeyTunnel, "acme"), slog.String(KeyServer, "wiki"), slog.String(KeyPrincipal, "https://tunnel.example.com|ci"),
			slog.String(KeyMethod, "tools/call"), slog.String(KeyTool, "search"), slog.Int(KeyBytesIn, 200),
			slog.String(KeyInstance, "ZYXWVUTSRQPONMLKJIHGFEDCBA"), slog.String(KeyTransport, "quic"), slog.Int(KeyBytesOut, 300),
			slog.String(KeyDelivered, "yes"),
		)
		line.Log(log, Call{}, time.Now(), slog.LevelInfo, "call")
	}
}

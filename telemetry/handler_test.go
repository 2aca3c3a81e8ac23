package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otellog "go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/trace"

	"sallyport.dev/secret"
)

// sent keeps the lines that are exported, or fails as it is told.
type sent struct {
	mu    sync.Mutex // guards what follows
	lines []sdklog.Record
	err   error
	hold  chan struct{} // if set, an export waits for it to be closed
}

func (s *sent) Export(ctx context.Context, lines []sdklog.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hold := s.hold; hold != nil {
		s.mu.Unlock()
		select {
		case <-hold:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if s.err != nil {
		return s.err
	}
	for _, line := range lines {
		s.lines = append(s.lines, line.Clone())
	}
	return nil
}

func (s *sent) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sent) all() []sdklog.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

func (*sent) ForceFlush(context.Context) error { return nil }
func (*sent) Shutdown(context.Context) error   { return nil }

// exporting sets up what sends lines and events to an exporter, in a process without metrics, and logs to out.
func exporting(t *testing.T, to sdklog.Exporter, out io.Writer, problems *slog.Logger) (*Telemetry, *slog.Logger) {
	t.Helper()
	tel, err := Setup(context.Background(), Config{OTLP: OTLP{Signals: []string{SignalLogs, SignalAudit}}},
		Options{Role: "gateway", Version: "1.2", LogExporter: to, Log: problems})
	if err != nil {
		t.Fatal(err)
	}
	return tel, slog.New(tel.Handler(slog.NewJSONHandler(out, nil)))
}

var testContext = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})

const testIDs = " trace_id=01000000000000000000000000000000 span_id=0200000000000000"

func TestLinesSayWhichCallTheyAreAbout(t *testing.T) {
	about := (Call{"r1", testContext}).Context(t.Context())
	for name, c := range map[string]struct {
		ctx  context.Context
		log  func(*slog.Logger) *slog.Logger
		args []any
		want string
	}{
		"no call":         {ctx: t.Context(), want: ""},
		"a call":          {ctx: about, args: []any{"a", 1}, want: " a=1 request_id=r1" + testIDs},
		"its own":         {ctx: about, args: []any{KeyRequestID, "r2"}, want: " request_id=r2" + testIDs},
		"its logger's":    {ctx: about, log: func(l *slog.Logger) *slog.Logger { return l.With(KeyRequestID, "r3") }, want: " request_id=r3" + testIDs},
		"no request":      {ctx: (Call{"", testContext}).Context(t.Context()), want: testIDs},
		"no trace":        {ctx: (Call{"r1", trace.SpanContext{}}).Context(t.Context()), want: " request_id=r1"},
		"in a group":      {ctx: about, log: func(l *slog.Logger) *slog.Logger { return l.With("a", 1).WithGroup("g").With("b", 2) }, args: []any{"c", 3}, want: " a=1 request_id=r1" + testIDs + " g.b=2 g.c=3"},
		"named in groups": {ctx: about, log: func(l *slog.Logger) *slog.Logger { return l.WithGroup("g").With(KeyRequestID, "r4") }, want: " request_id=r1" + testIDs + " g.request_id=r4"},
	} {
		text, _, out := newLogger(t, LogConfig{})
		log := slog.New(new(Telemetry).Handler(text.Handler()))
		if c.log != nil {
			log = c.log(log)
		}
		log.InfoContext(c.ctx, "x", c.args...)
		if _, got, _ := strings.Cut(strings.TrimSuffix(out.String(), "\n"), "msg=x"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestHandlerIsOne(t *testing.T) {
	var out bytes.Buffer
	tel, log := exporting(t, new(sent), &out, nil)
	defer tel.Shutdown()
	if err := slogtest.TestHandler(log.Handler(), func() (lines []map[string]any) {
		for line := range bytes.Lines(out.Bytes()) {
			var members map[string]any
			if err := json.Unmarshal(line, &members); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, members)
		}
		return lines
	}); err != nil {
		t.Error(err)
	}
}

type hidden struct{ text string }

func (hidden) LogValue() slog.Value { return slog.StringValue("hidden") }

type panics struct{}

func (panics) MarshalText() ([]byte, error) { panic("no text") }

// A line has at the collector what it has on standard error: level, message, ids, keys and texts.
func TestExportedLines(t *testing.T) {
	to, out := new(sent), new(bytes.Buffer)
	tel, log := exporting(t, to, out, nil)
	at := time.Date(2026, 1, 2, 5, 4, 5, 999999999, time.FixedZone("east", 2*3600))
	about := (Call{"r1", testContext}).Context(t.Context())
	log.DebugContext(about, "not said anywhere")
	log = log.With("role", "gateway")
	log.WarnContext(about, "broken \xff", "b", true, "i", -1, "u", uint64(7), "big", uint64(1)<<63, "f", 1.5, "d", time.Second, "at", at, "err", fmt.Errorf("x: %w", io.EOF),
		"texts", []string{"a", "b\xff"}, "secret", secret.New("canary"), "hidden", hidden{"canary"}, "panics", panics{}, "nil", nil, "bytes", []byte("raw"),
		slog.Group("g", "a", 1, slog.Group("h", "b", "\xff")), slog.Group("", "inline", 2), slog.Attr{})
	log.WithGroup("g").With("a", 1).Error("grouped", "b", 2)
	tel.Audit(at, []slog.Attr{slog.String("decision", "deny"), slog.Any("would_deny", []string{"rule 2"})})
	tel.Shutdown()
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines are written", n)
	}
	lines := to.all()
	if len(lines) != 3 {
		t.Fatalf("%d lines are exported", len(lines))
	}
	slices.SortFunc(lines, func(a, b sdklog.Record) int { return int(b.Severity() - a.Severity()) })
	grouped, line, event := lines[0], lines[1], lines[2]
	if line.Severity() != otellog.SeverityWarn || line.SeverityText() != "WARN" || line.Body().AsString() != "broken \uFFFD" || line.TraceID() != testContext.TraceID() || line.SpanID() != testContext.SpanID() {
		t.Errorf("%v %q %q %v", line.Severity(), line.SeverityText(), line.Body().AsString(), line.TraceID())
	}
	want := "b=true bytes=raw big=9223372036854775808 d=1s at=2026-01-02T03:04:05.999Z err=x: EOF f=1.5 g.a=1 g.h.b=\uFFFD hidden=hidden i=-1 inline=2 nil=<nil> panics=!PANIC request_id=r1 role=gateway " +
		"secret=" + secret.New("canary").String() + ` texts=["a","b` + "\uFFFD" + `"] u=7`
	if got := described(line); got != sorted(want) {
		t.Errorf("the attributes are\n%s\nwant\n%s", got, sorted(want))
	}
	if got := described(grouped); got != "g.a=1 g.b=2 role=gateway" || grouped.Severity() != otellog.SeverityError || grouped.TraceID().IsValid() {
		t.Errorf("%v %s", grouped.Severity(), got)
	}
	if got := described(event); event.EventName() != "sallyport.audit" || !event.Timestamp().Equal(at) || got != `decision=deny would_deny=["rule 2"]` || event.Severity() != otellog.SeverityInfo {
		t.Errorf("%q at %s: %s", event.EventName(), event.Timestamp(), got)
	}
}

func described(line sdklog.Record) string {
	var parts []string
	line.WalkAttributes(func(kv attribute.KeyValue) bool {
		parts = append(parts, string(kv.Key)+"="+kv.Value.String())
		return true
	})
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// sorted sorts parts that each have one equals sign.
func sorted(text string) string {
	var parts []string
	for _, word := range strings.Split(text, " ") {
		if strings.Contains(word, "=") {
			parts = append(parts, word)
		} else {
			parts[len(parts)-1] += " " + word
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// While a collector hangs nobody waits for it: as many lines as there is room for are kept, and what is lost is counted to the line.
func TestAFloodOfLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sent{hold: make(chan struct{})}
		tel, log := exporting(t, to, io.Discard, nil)
		start := time.Now()
		var crew sync.WaitGroup
		for range 8 {
			crew.Go(func() {
				for range 1000 {
					log.Info("x")
				}
			})
		}
		crew.Wait()
		tel.Audit(time.Now(), nil) // has room of its own
		if waited := time.Since(start); waited > 0 {
			t.Errorf("lines waited for %s", waited)
		}
		close(to.hold)
		tel.Shutdown()
		lines, audit := tel.queues[0], tel.queues[1]
		if n := len(to.all()); n != queueSize+1 || lines.full.Load() != 8000-queueSize || lines.failed.Load() != 0 || lines.waiting.Load() != 0 || audit.full.Load() != 0 {
			t.Errorf("%d exported, %d dropped, %d failed, %d wait", n, lines.full.Load(), lines.failed.Load(), lines.waiting.Load())
		}
	})
}

// A collector that fails is told of once, and once more when it works; never to itself, and never to OpenTelemetry's own handler of errors.
func TestACollectorThatTakesNoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { t.Errorf("OpenTelemetry's handler hears of %v", err) }))
		defer otel.SetErrorHandler(otel.ErrorHandlerFunc(func(error) {}))
		to, out := new(sent), new(bytes.Buffer)
		tel, log := exporting(t, to, io.Discard, slog.New(slog.NewTextHandler(out, nil)))
		for i := range 6 {
			to.fail(nil)
			if i == 1 || i == 2 || i == 4 {
				to.fail(errors.New("no room"))
			}
			log.Info("x")
			time.Sleep(2 * defaultFlush)
		}
		tel.Shutdown()
		if text := out.String(); strings.Count(text, "does not take telemetry") != 2 || strings.Count(text, "takes telemetry again") != 2 || strings.Count(text, "\n") != 4 {
			t.Errorf("the log says:\n%s", text)
		}
		if n := len(to.all()); n != 3 || tel.queues[0].failed.Load() != 3 || tel.queues[0].waiting.Load() != 0 {
			t.Errorf("%d exported, %d failed", n, tel.queues[0].failed.Load())
		}
	})
}

// A collector that hangs holds up the end for a few seconds at most, and what it has not taken is counted.
func TestTheEndWithACollectorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &sent{hold: make(chan struct{})}
		tel, log := exporting(t, to, io.Discard, nil)
		for range 3 * batchSize {
			log.Info("x")
		}
		start := time.Now()
		tel.Shutdown()
		if took := time.Since(start); took > shutdownTime {
			t.Errorf("the end took %s", took)
		}
		synctest.Wait()
		if q := tel.queues[0]; q.failed.Load() != 3*batchSize || len(to.all()) != 0 {
			t.Errorf("%d failed", q.failed.Load())
		}
		log.Info("nobody is left to hear this")
	})
}

func BenchmarkLineOfACall(b *testing.B) {
	tel := new(Telemetry)
	text, _, _ := newLogger(b, LogConfig{})
	for name, ctx := range map[string]context.Context{"bare": b.Context(), "call": (Call{"r1", testContext}).Context(b.Context())} {
		b.Run(name, func(b *testing.B) {
			log := slog.New(tel.Handler(text.Handler()))
			b.ReportAllocs()
			for b.Loop() {
				log.LogAttrs(ctx, slog.LevelInfo, "call", slog.String("a", "b"))
			}
		})
	}
}

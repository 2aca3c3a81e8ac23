package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"
)

func newLogger(t testing.TB, cfg LogConfig) (*slog.Logger, *slog.LevelVar, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	log, level, err := NewLogger(&out, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return log, level, &out
}

func TestLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567 * time.Microsecond)
		at := time.Date(2026, 1, 2, 5, 4, 5, 999999999, time.FixedZone("east", 2*3600))
		cases := []struct{ format, want string }{
			{"", "time=2000-01-01T00:00:01.234Z level=INFO msg=attached tunnel=acme at=2026-01-02T03:04:05.999Z\n"},
			{"text", "time=2000-01-01T00:00:01.234Z level=INFO msg=attached tunnel=acme at=2026-01-02T03:04:05.999Z\n"},
			{"json", `{"time":"2000-01-01T00:00:01.234Z","level":"INFO","msg":"attached","tunnel":"acme","at":"2026-01-02T03:04:05.999Z"}` + "\n"},
		}
		for _, c := range cases {
			log, _, out := newLogger(t, LogConfig{Format: c.format})
			log.Info("attached", KeyTunnel, "acme", "at", at)
			if out.String() != c.want {
				t.Errorf("%q: got  %swant %s", c.format, out, c.want)
			}
		}
	})
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "": 3, "warn": 2, "error": 1} {
		log, current, out := newLogger(t, LogConfig{Level: level})
		all := func() int {
			out.Reset()
			log.Debug("x")
			log.Info("x")
			log.Warn("x")
			log.Error("x")
			return strings.Count(out.String(), "\n")
		}
		if got := all(); got != want {
			t.Errorf("level %q writes %d of 4 lines, want %d", level, got, want)
		}
		current.Set(slog.LevelError)
		if got := all(); got != 1 {
			t.Errorf("level %q set to error writes %d lines", level, got)
		}
	}
}

func TestUnknownValuesAreRefusedWithTheAllowedOnes(t *testing.T) {
	for _, c := range []struct {
		cfg  LogConfig
		text string
	}{
		{LogConfig{Level: "trace"}, "debug, info, warn, error"},
		{LogConfig{Level: "INFO"}, "debug, info, warn, error"},
		{LogConfig{Level: "info+1"}, "debug, info, warn, error"},
		{LogConfig{Format: "xml"}, "text, json"},
		{LogConfig{Format: "JSON"}, "text, json"},
	} {
		log, level, err := NewLogger(nil, c.cfg)
		if log != nil || level != nil || err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%+v: got %v, want %q", c.cfg, err, c.text)
		}
	}
}

// nasty is what a hostile peer would like to see on the operator's terminal.
const nasty = "a\nlevel=ERROR msg=forged\r\x1b[31m\x00\x07\x7f\u0085\u009b2J\u200b\u202e\u2028\u2029\ufeff\U000e0001\xff\" é 世 b"

// textMarshaler takes slog's path for values that marshal themselves.
type textMarshaler string

func (m textMarshaler) MarshalText() ([]byte, error) { return []byte(m), nil }

func TestControlCharactersAreNeutralised(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		for name, args := range map[string][]any{
			"string":         {KeyTool, nasty},
			"error":          {KeyError, errors.New(nasty)},
			"any":            {"any", struct{ S string }{nasty}},
			"list":           {"list", []string{nasty}},
			"text marshaler": {"m", textMarshaler(nasty)},
			"key":            {nasty, "value"},
			"group":          {slog.Group(nasty, "k", nasty)},
			"message":        nil,
		} {
			log, _, out := newLogger(t, LogConfig{Format: format})
			if name == "message" {
				log.Info(nasty)
			} else {
				log.Info("m", args...)
			}
			checkPlain(t, format+" "+name, out.Bytes())
			if format == "json" && !json.Valid(out.Bytes()) {
				t.Errorf("%s: not JSON: %q", name, out)
			}
		}
	}
}

func TestDeleteAloneIsNeutralisedInText(t *testing.T) {
	log, _, out := newLogger(t, LogConfig{})
	log.Info("m", KeyTool, "a\x7fb")
	if !strings.HasSuffix(out.String(), `tool=a\u007fb`+"\n") {
		t.Errorf("got %q", out)
	}
}

func checkPlain(t testing.TB, name string, line []byte) {
	t.Helper()
	text, ended := strings.CutSuffix(string(line), "\n")
	if !ended || !utf8.ValidString(text) {
		t.Errorf("%s: not one line of UTF-8: %q", name, line)
	}
	for _, r := range text {
		if !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r) {
			t.Errorf("%s: %U in %q", name, r, line)
		}
	}
}

// FuzzJSONLineKeepsItsMeaning checks that escaping changes how a string is spelled and not what it says.
func FuzzJSONLineKeepsItsMeaning(f *testing.F) {
	f.Add(nasty)
	f.Add(`back\slash "quote"`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, format := range []string{"json", "text"} {
			log, _, out := newLogger(t, LogConfig{Format: format})
			log.Info("m", KeyTool, value)
			checkPlain(t, format, out.Bytes())
			if format == "text" {
				continue
			}
			var line map[string]string
			if err := json.Unmarshal(out.Bytes(), &line); err != nil {
				t.Fatalf("%v in %q", err, out)
			}
			if want := strings.ToValidUTF8(value, "\ufffd"); utf8.ValidString(value) && line[KeyTool] != want {
				t.Fatalf("%q came back as %q", value, line[KeyTool])
			}
		}
	})
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAWriterThatFailsIsReportedToTheHandler(t *testing.T) {
	log, _, err := NewLogger(brokenWriter{}, LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	log.Info("nothing to see") // must not panic
	if n, err := (&plainWriter{w: brokenWriter{}}).Write([]byte("x\n")); n != 0 || err == nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func BenchmarkLine(b *testing.B) {
	for _, format := range []string{"text", "json"} {
		b.Run(format, func(b *testing.B) {
			log, _, out := newLogger(b, LogConfig{Format: format})
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				log.Info("call", KeyTunnel, "acme", KeyServer, "wiki", KeyStatus, 200, KeyDurationMS, 1.25)
			}
		})
	}
}

package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// timeLayout is RFC 3339 with exactly three digits of milliseconds, so that lines sort as text.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// LogConfig configures a process's log.
type LogConfig struct {
	// Level is the least important level that is written: debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is how a line looks: text (key=value) or json. Default text.
	Format string `yaml:"format"`
}

// NewLogger gives a logger that writes one line a record to w, with one Write each, and the variable that changes its
// level while it runs. Times are UTC in RFC 3339 with milliseconds.
func NewLogger(w io.Writer, cfg LogConfig) (*slog.Logger, *slog.LevelVar, error) {
	level, err := ParseLevel(cfg.Level)
	if err != nil {
		return nil, nil, err
	}
	current := new(slog.LevelVar)
	current.Set(level)
	options := &slog.HandlerOptions{Level: current, ReplaceAttr: formatTime}
	safe := &plainWriter{w: w}
	switch cfg.Format {
	case "", "text":
		return slog.New(newTextHandler(safe, options)), current, nil
	case "json":
		return slog.New(slog.NewJSONHandler(safe, options)), current, nil
	default:
		return nil, nil, fmt.Errorf("telemetry: unknown log format %q: use one of text, json", cfg.Format)
	}
}

// ParseLevel reads debug, info, warn or error. No text is info.
func ParseLevel(name string) (slog.Level, error) {
	if name == "" {
		return slog.LevelInfo, nil
	}
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	for _, level := range levels {
		if name == strings.ToLower(level.String()) {
			return level, nil
		}
	}
	return 0, fmt.Errorf("telemetry: unknown log level %q: use one of debug, info, warn, error", name)
}

// formatTime rewrites the record's time and all times among its attributes.
func formatTime(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindTime {
		a.Value = slog.StringValue(a.Value.Time().UTC().Round(0).Truncate(time.Millisecond).Format(timeLayout))
	}
	return a
}

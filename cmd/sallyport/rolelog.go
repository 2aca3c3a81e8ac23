package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/telemetry"
)

// roleLog is the log of a gateway or a connector, whose level changes while it runs.
type roleLog struct {
	flush   func() // writes what waits
	handler slog.Handler
	level   *slog.LevelVar
	// read says what the configured level is, with a file that says this.
	read func(telemetry.LogConfig) (slog.Level, error)

	mu         sync.Mutex // guards what follows, and changes of level
	configured slog.Level
}

// open begins to log to standard error, as the flags and the file say. The lines of the last 100 ms wait for flush, which is called
// before the process ends.
func (f *roleFlags) open(cmd *cobra.Command, file telemetry.Config) (*roleLog, error) {
	if err := file.Validate(); err != nil {
		return nil, f.inFile(err)
	}
	settings, err := f.settings(cmd, file.Logs)
	if err != nil {
		return nil, err
	}
	buffer := telemetry.NewBuffer(cmd.ErrOrStderr())
	log, level, err := telemetry.NewLogger(buffer, settings)
	if err != nil {
		return nil, err
	}
	return &roleLog{
		flush: func() { _ = buffer.Flush() }, // standard error is where we would tell
		level: level, handler: log.Handler(), configured: level.Level(),
		read: func(file telemetry.LogConfig) (slog.Level, error) {
			settings, err := f.settings(cmd, file)
			if err != nil {
				return 0, err
			}
			return telemetry.ParseLevel(settings.Level)
		},
	}, nil
}

// logger logs what a role does.
func (l *roleLog) logger(role string) *slog.Logger { return slog.New(l.handler).With("role", role) }

// tell sets up what the role tells of itself, and has lines say which call they are about. What there is to say of the collector goes to
// standard error alone.
func (l *roleLog) tell(ctx context.Context, cfg telemetry.Config, role string, scraped bool) (*telemetry.Telemetry, error) {
	told, err := tell(ctx, cfg, role, scraped, l.logger(role))
	if err == nil {
		l.handler = told.Handler(l.handler)
	}
	return told, err
}

// begin says where telemetry goes.
func (l *roleLog) begin(log *slog.Logger, told *telemetry.Telemetry) {
	for _, fact := range told.Facts() {
		log.Info("configuration", "fact", fact)
	}
	for _, w := range told.Warnings() {
		log.Warn("configuration", "warning", w)
	}
}

// reconfigure takes over the level of a file that has changed.
func (l *roleLog) reconfigure(file telemetry.LogConfig) error {
	level, err := l.read(file)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if level != l.configured {
		l.configured = level
		l.set(level, "the configuration")
	}
	return nil
}

// onSignals lets SIGUSR1 make the log say a step more, down to debug, and SIGUSR2 take it back to its configured level.
func (l *roleLog) onSignals() (stop func()) {
	signals, done := make(chan os.Signal, 8), make(chan struct{})
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	var listener sync.WaitGroup
	listener.Go(func() {
		for {
			select {
			case s := <-signals:
				l.turn(s == syscall.SIGUSR1)
			case <-done:
				return
			}
		}
	})
	return func() {
		signal.Stop(signals)
		close(done)
		listener.Wait()
	}
}

// turn changes the level after a signal.
func (l *roleLog) turn(more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !more {
		l.set(l.configured, "SIGUSR2")
		return
	}
	l.set(max(slog.LevelDebug, l.level.Level()-(slog.LevelInfo-slog.LevelDebug)), "SIGUSR1")
}

// set changes the level, and says so at any level. l.mu is held.
func (l *roleLog) set(level slog.Level, why string) {
	before := l.level.Level()
	l.level.Set(level)
	line := slog.NewRecord(time.Now(), slog.LevelInfo, "the level of the log", 0)
	line.Add("now", level.String(), "before", before.String(), telemetry.KeyReason, why)
	_ = l.handler.Handle(context.Background(), line) // standard error is where we would tell
}

package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/telemetry"
)

// Flags count before the file, the file before OTEL_LOG_LEVEL, and that before the defaults.
func TestWhoseLogLevelCounts(t *testing.T) {
	for _, c := range []struct {
		args   []string
		file   telemetry.LogConfig
		env    string
		level  string
		format string
	}{
		{level: "info", format: "text"},
		{env: "WARN", level: "warn", format: "text"},
		{env: "debug", file: telemetry.LogConfig{Level: "error", Format: "json"}, level: "error", format: "json"},
		{env: "loud", file: telemetry.LogConfig{Level: "error"}, level: "error", format: "text"},
		{env: "loud", level: "", format: ""},
		{args: []string{"--log-level", "info"}, env: "loud", file: telemetry.LogConfig{Level: "error", Format: "json"}, level: "info", format: "json"},
		{args: []string{"--log-format", "text"}, file: telemetry.LogConfig{Level: "error", Format: "json"}, level: "error", format: "text"},
	} {
		t.Setenv("OTEL_LOG_LEVEL", c.env)
		var flags roleFlags
		cmd := &cobra.Command{}
		flags.addTo(cmd, "x.yaml")
		if err := cmd.ParseFlags(c.args); err != nil {
			t.Fatal(err)
		}
		got, err := flags.settings(cmd, c.file)
		if c.level == "" {
			if err == nil || !strings.Contains(err.Error(), "OTEL_LOG_LEVEL") || strings.Contains(err.Error(), c.env) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || got.Level != c.level || got.Format != c.format {
			t.Errorf("%+v: %+v, %v", c, got, err)
		}
	}
}

// logAt is a log at a level, and what it has said.
func logAt(configured slog.Level) (*roleLog, *bytes.Buffer) {
	out, level := new(bytes.Buffer), new(slog.LevelVar)
	level.Set(configured)
	return &roleLog{
		handler: slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}), level: level, configured: configured,
		read: func(cfg telemetry.LogConfig) (slog.Level, error) { return telemetry.ParseLevel(cfg.Level) },
	}, out
}

func TestLevelsByTurns(t *testing.T) {
	log, out := logAt(slog.LevelError)
	for _, want := range []slog.Level{slog.LevelWarn, slog.LevelInfo, slog.LevelDebug, slog.LevelDebug} {
		if log.turn(true); log.level.Level() != want {
			t.Errorf("the level is %s, not %s", log.level.Level(), want)
		}
	}
	if log.turn(false); log.level.Level() != slog.LevelError {
		t.Errorf("the level is %s", log.level.Level())
	}
	if n := strings.Count(out.String(), "\n"); n != 5 || !strings.Contains(out.String(), "now=ERROR before=DEBUG reason=SIGUSR2") {
		t.Errorf("%d lines:\n%s", n, out)
	}
	if err := log.reconfigure(telemetry.LogConfig{Level: "warn"}); err != nil || log.level.Level() != slog.LevelWarn {
		t.Errorf("the level is %s, %v", log.level.Level(), err)
	}
	log.turn(true)
	if err := log.reconfigure(telemetry.LogConfig{Level: "warn"}); err != nil || log.level.Level() != slog.LevelInfo {
		t.Errorf("a file that says the same changes the level to %s, %v", log.level.Level(), err)
	}
	if err := log.reconfigure(telemetry.LogConfig{Level: "loud"}); err == nil || log.level.Level() != slog.LevelInfo {
		t.Errorf("the level is %s, %v", log.level.Level(), err)
	}
}

// The level of a file that changes counts at once, and nothing else of telemetry does.
func TestAReloadChangesTheLevel(t *testing.T) {
	dir := t.TempDir()
	path, token := filepath.Join(dir, "connector.yaml"), filepath.Join(dir, "token")
	write(t, token, "a-token-of-a-tunnel-that-nobody-knows")
	text := "gateway: gate.example.com:443\ntunnel_token: file:" + token + "\npolicy:\n  - { servers: [wiki], allow: true }\nservers:\n  wiki: { url: \"https://wiki.internal/mcp\" }\n"
	write(t, path, text)
	synctest.Test(t, func(t *testing.T) {
		log, out := logAt(slog.LevelInfo)
		cfg := connector.Config{Logger: log.logger("connector")}
		if err := config.Load(path, &cfg); err != nil {
			t.Fatal(err)
		}
		c, err := connector.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(5*time.Second, func() { write(t, path, text+"telemetry: { logs: { level: debug } }\n") })
		time.AfterFunc(10*time.Second, func() {
			if log.level.Level() != slog.LevelDebug || strings.Contains(out.String(), "restart") {
				t.Errorf("the level is %s:\n%s", log.level.Level(), out)
			}
			write(t, path, text+"telemetry: { logs: { level: loud } }\n")
		})
		time.AfterFunc(15*time.Second, func() { write(t, path, text+"telemetry: { service: other, logs: { level: debug } }\n") })
		keepFresh(ctx, path, cfg, c, log)
		for _, want := range []string{"now=DEBUG before=INFO reason=\"the configuration\"", "telemetry.logs.level: debug, info, warn or error is allowed", "key=telemetry"} {
			if n := strings.Count(out.String(), want); n != 1 {
				t.Errorf("%d times %q in\n%s", n, want, out)
			}
		}
	})
}

// Signals change the level of both roles while they run.
func TestSignalsChangeTheLevel(t *testing.T) {
	s := newSite(t)
	gateway := start(t, "gateway", "-c", s.install(t, "quickstart/gateway.yaml"))
	gateway.until(t, &gateway.errOut, "gateway is up")
	connector := start(t, "connector", "-c", s.install(t, "quickstart/connector.yaml"), "--log-level", "warn")
	gateway.until(t, &gateway.errOut, "connector attached")
	for p, configured := range map[*process]string{gateway: "INFO", connector: "WARN"} {
		for _, step := range []struct {
			signal os.Signal
			want   string
		}{{syscall.SIGUSR1, "before=" + configured + " reason=SIGUSR1"}, {syscall.SIGUSR1, "now=DEBUG"}, {syscall.SIGUSR2, "now=" + configured + " before=DEBUG reason=SIGUSR2"}} {
			if err := p.cmd.Process.Signal(step.signal); err != nil {
				t.Fatal(err)
			}
			p.until(t, &p.errOut, step.want)
		}
		p.stop(t, syscall.SIGTERM)
	}
}

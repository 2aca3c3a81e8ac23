package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/telemetry"
)

// watching runs whenChanged on a file for a minute, in the test's own time.
func watching(t *testing.T, path string, reload func(again bool) error) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	time.AfterFunc(1500*time.Millisecond, func() { write(t, path, "22") })
	whenChanged(ctx, func() files { return stat([]string{path}) }, reload)
}

// What changes while a configuration is loaded is loaded too.
func TestAChangeDuringAReloadCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "connector.yaml")
	write(t, path, "1")
	synctest.Test(t, func(t *testing.T) {
		var loaded []string
		watching(t, path, func(bool) error {
			text, err := os.ReadFile(path)
			if loaded = append(loaded, string(text)); len(loaded) == 1 {
				write(t, path, "333")
			}
			return err
		})
		if got := strings.Join(loaded, " "); got != "22 333" {
			t.Errorf("loaded are %s", got)
		}
	})
}

// A configuration that cannot be used is tried again, until it can be.
func TestAFailedReloadIsTriedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "connector.yaml")
	write(t, path, "1")
	synctest.Test(t, func(t *testing.T) {
		var calls []bool
		watching(t, path, func(again bool) error {
			if calls = append(calls, again); len(calls) < 3 {
				return errors.New("not yet")
			}
			return nil
		})
		if len(calls) != 3 || calls[0] || !calls[1] || !calls[2] {
			t.Errorf("calls, and whether they try again: %v", calls)
		}
	})
}

// A configuration that names a CA file before it is there counts when it is, and is complained about once.
func TestACAFileMayComeLate(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	path, ca, token := filepath.Join(dir, "connector.yaml"), filepath.Join(dir, "ca.crt"), filepath.Join(dir, "token")
	write(t, token, "a-token-of-a-tunnel-that-nobody-knows")
	before := "gateway: gate.example.com:443\ntunnel_token: file:" + token + "\npolicy:\n  - { servers: [wiki], allow: true }\nservers:\n  wiki: { url: \"https://wiki.internal/mcp\" }\n"
	write(t, path, before)
	pem, err := os.ReadFile(s.etc("internal-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := &roleLog{
			handler: slog.NewTextHandler(&out, nil), level: new(slog.LevelVar),
			read: func(cfg telemetry.LogConfig) (slog.Level, error) { return telemetry.ParseLevel(cfg.Level) },
		}
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
		time.AfterFunc(1500*time.Millisecond, func() {
			write(t, path, before+"  tickets: { url: \"https://tickets.internal/mcp\", ca_file: "+ca+" }\n")
		})
		time.AfterFunc(40*time.Second, func() { write(t, ca, string(pem)) })
		keepFresh(ctx, path, cfg, c, log)
		if text := out.String(); strings.Count(text, "cannot be used") != 1 || strings.Count(text, "configuration reloaded") != 1 || len(c.Files()) != 1 {
			t.Errorf("the log says:\n%s", text)
		}
	})
}

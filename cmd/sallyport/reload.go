package main

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/telemetry"
)

// lookEvery is how often the files of a configuration are looked at. A change counts once it has stood for that long.
const lookEvery = time.Second

// keepFresh takes changes of the connector's configuration over while it runs, until ctx ends.
func keepFresh(ctx context.Context, path string, base connector.Config, c *connector.Connector, log *slog.Logger) {
	look := func() []fs.FileInfo { return stat(append([]string{path}, c.Files()...)) }
	whenChanged(ctx, look, func() {
		cfg := connector.Config{File: base.File, Logger: base.Logger, Version: base.Version, Proxy: base.Proxy}
		var waiting []string
		err := config.Load(path, &cfg)
		if err == nil {
			waiting, err = c.Reload(cfg)
		}
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				log.Error("the changed configuration cannot be used: the old one stays in use", telemetry.KeyPath, path, telemetry.KeyError, line)
			}
			return
		}
		log.Info("configuration reloaded", telemetry.KeyPath, path)
		for _, key := range waiting {
			log.Warn("a change waits for a restart", "key", key, telemetry.KeyHint, "how the gateway is reached, and whatever starts a command, is read at the start only")
		}
	})
}

// whenChanged calls reload after what look sees has changed and then stood.
func whenChanged(ctx context.Context, look func() []fs.FileInfo, reload func()) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	used, before := look(), []fs.FileInfo(nil)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := look()
		if !sameFiles(now, used) && before != nil && sameFiles(now, before) {
			reload()
			now = look() // it may name other files now
			used = now
		}
		before = now
	}
}

// stat looks at files, following links. A file that is missing is nil.
func stat(paths []string) []fs.FileInfo {
	infos := make([]fs.FileInfo, len(paths))
	for i, path := range paths {
		if info, err := os.Stat(path); err == nil {
			infos[i] = info
		}
	}
	return infos
}

func sameFiles(a, b []fs.FileInfo) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		switch {
		case a[i] == nil || b[i] == nil:
			if a[i] != b[i] {
				return false
			}
		case !os.SameFile(a[i], b[i]) || !a[i].ModTime().Equal(b[i].ModTime()) || a[i].Size() != b[i].Size():
			return false
		}
	}
	return true
}

package main

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"strings"
	"time"

	"sallyport.dev/config"
	"sallyport.dev/connector"
	"sallyport.dev/telemetry"
)

// lookEvery is how often the files of a configuration are looked at. A change counts once it has stood for that long.
const lookEvery = time.Second

// retryEvery is how often a configuration that cannot be used is tried again: it may wait for a file that it names.
const retryEvery = 10 * time.Second

// files are files as they were looked at, by path. One that is missing is nil.
type files map[string]fs.FileInfo

// keepFresh takes changes of the connector's configuration over while it runs, until ctx ends.
func keepFresh(ctx context.Context, path string, base connector.Config, c *connector.Connector, level *roleLog) {
	log := base.Logger
	look := func() files { return stat(append([]string{path}, c.Files()...)) }
	told := ""
	whenChanged(ctx, look, func(again bool) error {
		cfg := connector.Config{File: base.File, Logger: base.Logger, Version: base.Version, Proxy: base.Proxy}
		var waiting []string
		err := config.Load(path, &cfg)
		if err == nil {
			waiting, err = c.Reload(cfg)
		}
		if err == nil {
			err = level.reconfigure(cfg.Telemetry.Logs)
		}
		if err != nil {
			if again && err.Error() == told {
				return err
			}
			told = err.Error()
			for line := range strings.SplitSeq(told, "\n") {
				log.Error("the changed configuration cannot be used: the old one stays in use", telemetry.KeyPath, path, telemetry.KeyError, line)
			}
			return err
		}
		log.Info("configuration reloaded", telemetry.KeyPath, path)
		for _, key := range waiting {
			log.Warn("a change waits for a restart", "key", key, telemetry.KeyHint, "how the gateway is reached, whatever starts a command, and telemetry but for its level, is read at the start only")
		}
		return nil
	})
}

// whenChanged calls reload after what look sees has changed and then stood, and again from time to time while it fails.
func whenChanged(ctx context.Context, look func() files, reload func(again bool) error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	used, before := look(), files(nil)
	var failed time.Time // when the last reload failed; zero if it did not
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := look()
		changed, stood := !sameFiles(now, used), before != nil && sameFiles(now, before)
		if stood && (changed || !failed.IsZero() && time.Since(failed) >= retryEvery) {
			failed = time.Time{}
			if err := reload(!changed); err != nil {
				failed = time.Now()
			}
			used, now = now, look() // it may name other files now
			used = used.among(now)
		}
		before = now
	}
}

// among returns the files that are in now too, as they were, and the others of now: what changed while it was read shows
// next time.
func (f files) among(now files) files {
	all := maps.Clone(now)
	for path := range now {
		if was, known := f[path]; known {
			all[path] = was
		}
	}
	return all
}

// stat looks at files, following links.
func stat(paths []string) files {
	infos := make(files, len(paths))
	for _, path := range paths {
		infos[path] = nil
		if info, err := os.Stat(path); err == nil {
			infos[path] = info
		}
	}
	return infos
}

func sameFiles(a, b files) bool {
	return maps.EqualFunc(a, b, func(a, b fs.FileInfo) bool {
		if a == nil || b == nil {
			return a == b
		}
		return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
	})
}

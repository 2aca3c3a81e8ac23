package audit

import (
	"errors"
	"log/slog"
	"path/filepath"
	"time"
)

// wake lets the keeper run at once.
func (l *Log) wake() {
	select {
	case l.kick <- struct{}{}:
	default: // it will
	}
}

// keepUp does, until Close, what no event waits for.
func (l *Log) keepUp() {
	ticker := time.NewTicker(syncEvery)
	defer ticker.Stop()
	for {
		select {
		case <-l.done:
			return
		case <-ticker.C:
			l.tick()
		case <-l.kick:
		}
		_ = l.flush() // it is noted
	}
}

// tick looks whether the file is still where it was, tries again what failed, and signs what has waited.
func (l *Log) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	if l.file != nil && !l.named() {
		l.retire(reasonReplaced)
	}
	due := l.unsigned > 0 && l.clock().Sub(l.unsignedSince) >= checkpointEvery
	if !due && l.err == nil && l.lost == 0 && l.startDue == "" {
		return
	}
	err := l.ready()
	if err == nil && due && l.unsigned > 0 {
		err = l.checkpoint()
	}
	_ = l.note(err)
}

// flush brings to the disk what was written, then publishes the latest checkpoint. It runs in one goroutine at a time,
// which is the only one that closes files.
func (l *Log) flush() error {
	l.mu.Lock()
	f, unsynced, retired, latest, pruneDue := l.file, l.unsynced, l.retired, l.latest, l.pruneDue
	l.unsynced, l.retired, l.pruneDue = false, nil, false
	l.mu.Unlock()

	var err error
	for _, old := range retired {
		err = errors.Join(err, old.Sync(), old.Close())
	}
	if f != nil && unsynced {
		err = errors.Join(err, f.Sync())
	}
	if pruneDue {
		l.tidy()
	}
	l.mu.Lock()
	switch {
	case err != nil && l.syncErr == nil:
		l.logger.Error("the audit log may not have reached the disk", slog.String("path", l.path), slog.Any("error", err))
	case err == nil && l.syncErr != nil && unsynced:
		l.logger.Info("the audit log reaches the disk again", slog.String("path", l.path))
		l.syncErr = nil
	}
	if err != nil {
		l.syncErr, l.unsynced = err, true
	}
	failing := l.syncErr != nil
	l.mu.Unlock()
	if failing || latest == nil {
		return err
	}
	return l.publish(latest)
}

// publish puts a checkpoint beside the log and hands it out, once. What fails is tried again with the next one.
func (l *Log) publish(c *Checkpoint) error {
	l.mu.Lock()
	if l.latest == c {
		l.latest = nil
	}
	l.mu.Unlock()
	err := c.publish(l.path + checkpointSuffix)
	if err != nil {
		l.logger.Error("the checkpoint of the audit log cannot be put beside it", slog.String("path", l.path+checkpointSuffix), slog.Any("error", err))
	}
	if l.report != nil {
		l.report(*c)
	}
	return err
}

// tidy deletes old files, and lets the disk keep the names.
func (l *Log) tidy() {
	if err := errors.Join(prune(l.path, l.keep), syncDir(filepath.Dir(l.path))); err != nil {
		l.logger.Error("old files of the audit log are kept", slog.String("path", l.path), slog.Any("error", err))
	}
}

package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"
)

// The reasons of a start.
const (
	// reasonOpened is a process that began to write.
	reasonOpened = "opened"
	// reasonRotated is a file that follows one that was full.
	reasonRotated = "rotated"
	// reasonReplaced is a file that follows one that somebody else moved, removed or cut.
	reasonReplaced = "replaced"
)

// unknownSize is the size of a file that was not looked at yet.
const unknownSize = -1

// failedWrite is a write that failed.
type failedWrite struct {
	length int64 // in bytes; 0 if the last write did not fail
	hash   string
}

// resume finds where the chain goes on: behind the last line of the file or, if there is none, of the newest rotated
// file; or behind the checkpoint that was published last, if that is further. A log that ends before its own checkpoint
// was cut: to go on behind the checkpoint leaves a gap that everybody sees, where to go on behind the last line would
// hide it.
func (l *Log) resume() error {
	if l.toFile {
		f, err := l.open(l.path)
		if err != nil {
			return err
		}
		l.file, l.pruneDue = f, true
		size, _, err := f.state()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		end, err := readEnding(f, 0, size)
		if err == nil && !end.found {
			if end, err = rotatedEnding(l.path); end.last.Type == typeCheckpoint && !end.rest {
				l.startDue = reasonRotated // a crash came between the end of the one file and the start of the next
			}
		}
		if err != nil {
			return errors.Join(err, f.Close())
		}
		if end.found {
			l.seq, l.prev = end.last.Seq, end.hash
		}
	}
	c, ok := published(l.path+checkpointSuffix, l.public)
	if !ok || c.Seq <= l.seq {
		return nil
	}
	l.startDue = reasonOpened // and not rotated: there were lines behind the file that was
	if l.seq > 0 {
		l.logger.Error("the audit log ends before its own checkpoint: lines were cut off; the chain goes on behind the checkpoint, with a gap", slog.String("path", l.path))
	}
	l.seq, l.prev = c.Seq, c.hash()
	return nil
}

// put writes the line of an event, and what has to stand before it. l.mu is held.
func (l *Log) put(kind string, e *Event) error {
	err := l.ready()
	if err == nil {
		r := Record{Type: kind, Event: *e}
		if err = l.append(&r); err == nil {
			l.tell(&r)
		}
	}
	if errors.Is(err, ErrClosed) {
		return err
	}
	return l.note(err)
}

// note keeps why the log could not be written, logs when that begins and when it ends, and returns the error to give
// out. l.mu is held.
func (l *Log) note(err error) error {
	switch {
	case err == nil && l.err != nil:
		l.logger.Info("the audit log is written again", slog.String("path", l.path))
	case err != nil && l.err == nil:
		l.logger.Error("the audit log cannot be written", slog.String("path", l.path), slog.String("mode", string(l.mode)), slog.Any("error", err))
	}
	if err != nil && !errors.Is(err, ErrNotWritten) {
		err = fmt.Errorf("%w: %w", ErrNotWritten, err)
	}
	l.err = err
	return err
}

// ready makes the file one that a line can be appended to, and writes what has to stand before that line: a
// recovered, a start, a checkpoint that is overdue, a lost. l.mu is held.
func (l *Log) ready() error {
	if l.closed {
		return ErrClosed
	}
	if l.toFile {
		if err := l.readyFile(); err != nil {
			return err
		}
	}
	if l.startDue != "" {
		if err := l.append(&Record{Type: typeStart, Version: l.version, Log: l.public.LogID(), Key: l.public.String(), Reason: l.startDue}); err != nil {
			return err
		}
		l.startDue, l.signDue = "", true
	}
	// Round(0) takes the time of day, which is what the lines have, where the monotonic clock may have stood still.
	if l.signDue || l.unsigned > 0 && l.clock().Round(0).Sub(l.unsignedSince.Round(0)) >= overdue {
		if err := l.checkpoint(); err != nil {
			return err
		}
	}
	if l.lost > 0 {
		if err := l.append(&Record{Type: typeLost, Count: l.lost, Since: l.lostSince}); err != nil {
			return err
		}
		l.lost = 0
	}
	return nil
}

// readyFile opens, mends and rotates the file as it needs.
func (l *Log) readyFile() error {
	if l.file != nil && l.size == unknownSize {
		return l.settled()
	}
	if l.file != nil && l.lookDue() {
		size, removed, err := l.file.state()
		switch {
		case err != nil:
			return err
		case removed:
			l.retire(reasonReplaced)
		case size != l.size, l.recovered != nil:
			return l.settled()
		}
	}
	if l.file != nil && l.size >= l.maxSize && !l.clock().Before(l.rotateAfter) {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	if l.file == nil {
		f, err := l.open(l.path)
		if err != nil {
			return err
		}
		l.file, l.pruneDue = f, true
		return l.settled()
	}
	return nil
}

// lookDue reports whether to look at what somebody else may have done to the file before the next line goes into it.
func (l *Log) lookDue() bool {
	now := time.Now()
	if !l.lookAlways && l.recovered == nil && l.failed.length == 0 && now.Sub(l.looked) < lookEvery {
		return false
	}
	l.looked = now
	return true
}

// settled looks at how the file ends, which is not known or not as it was left, and mends that.
func (l *Log) settled() error {
	size, _, err := l.file.state()
	if err != nil {
		return err
	}
	if size != l.size {
		if err := l.settle(size); err != nil {
			return err
		}
	}
	if l.recovered != nil {
		if err := l.append(l.recovered); err != nil {
			return err
		}
		l.recovered = nil
	}
	return nil
}

// settle takes the file as it is. What a failed write of ours left is cut off, if the file system lets us; everything
// else stays, and gets a recovered behind it.
func (l *Log) settle(size int64) error {
	ours := l.failed.length > 0 && l.size != unknownSize && size > l.size && size <= l.size+l.failed.length
	if ours && l.file.Truncate(l.size) == nil {
		return nil
	}
	end, err := readEnding(l.file, 0, size)
	if err != nil {
		return err
	}
	if ours && end.found && end.hash == l.failed.hash {
		l.adopt(&end)
	}
	l.recovered = nil
	if end.rest {
		l.recovered = &Record{Type: typeRecovered, Bytes: end.restBytes, SHA256: end.restHash}
	}
	l.unended = end.open || end.rest && end.restUnended
	if l.startDue == "" && (size == 0 || size < l.size) {
		l.startDue = reasonReplaced
	}
	l.first = 0
	if size > 0 {
		if l.first = firstSeq(l.file); l.first == 0 {
			l.first = l.seq + 1 // a name for it, should it be rotated
		}
	}
	l.size, l.failed = size, failedWrite{}
	return nil
}

// adopt takes up a line that was said to have failed and is there but for its newline: it cannot be cut off.
func (l *Log) adopt(end *ending) {
	switch end.last.Type {
	case typeEvent:
		l.lost = max(0, l.lost-1)
		l.lostAll.Add(-1)
	case typeLost:
		l.lost = max(0, l.lost-end.last.Count)
	}
	l.wrote(&end.last, end.hash)
}

// append writes one line. l.mu is held.
func (l *Log) append(r *Record) error {
	r.Seq, r.Prev = l.seq+1, l.prev
	if r.Type != typeCheckpoint {
		r.Time = l.clock()
	}
	b := l.buf[:0]
	if l.unended {
		b = append(b, '\n')
	}
	from := len(b)
	b = appendRecord(b, r)
	sum := sha256.Sum256(b[from:])
	hash := string(hex.AppendEncode(l.hex[:0], sum[:]))
	b = append(b, '\n')
	l.buf = b
	if l.file != nil {
		if err := l.write(b, hash); err != nil {
			return err
		}
		if l.first == 0 {
			l.first = r.Seq
		}
	}
	if l.syslog != nil && !l.syslog.send(r.Time, b[from:len(b)-1]) && !l.toFile {
		return errQueueFull
	}
	l.wrote(r, hash)
	return nil
}

// write appends bytes to the file, all of them or, as far as that can be undone, none.
func (l *Log) write(b []byte, hash string) error {
	n, err := l.file.Write(b)
	if err == nil {
		l.size += int64(n)
		l.unended, l.unsynced, l.failed = false, true, failedWrite{}
		return nil
	}
	l.failed = failedWrite{length: int64(len(b)), hash: hash}
	if n > 0 {
		_ = l.file.Truncate(l.size) // settle tries again, and does without
	}
	return err
}

// wrote moves the chain on behind a line.
func (l *Log) wrote(r *Record, hash string) {
	l.seq, l.prev = r.Seq, hash
	if r.Type == typeCheckpoint {
		l.unsigned, l.signDue = 0, false
		return
	}
	if l.unsigned == 0 {
		l.unsignedSince = r.Time
	}
	l.unsigned++
}

// checkpoint signs all that was written. l.mu is held.
func (l *Log) checkpoint() error {
	c := Checkpoint{Seq: l.seq + 1, Prev: l.prev, Time: l.clock().UTC().Truncate(time.Microsecond), Log: l.public.LogID(), Key: l.public.String()}
	c.sign(l.key)
	r := c.record()
	if err := l.append(&r); err != nil {
		return err
	}
	l.latest = &c
	l.wake()
	return nil
}

// rotate gives the file its own name and leaves l.file nil. Where that fails the file is written on, and grows. The
// error is one of the log: a checkpoint could not be written.
func (l *Log) rotate() error {
	if l.unsigned > 0 {
		if err := l.checkpoint(); err != nil {
			return err
		}
	}
	target := rotatedName(l.path, l.first)
	_, err := os.Lstat(target)
	switch {
	case err == nil:
		err = fmt.Errorf("%s is there already", target)
	case errors.Is(err, fs.ErrNotExist):
		if !l.named() {
			l.retire(reasonReplaced)
			return nil
		}
		err = os.Rename(l.path, target)
	}
	if err != nil {
		l.rotateAfter = l.clock().Add(rotateRetry)
		l.logger.Error("the audit log cannot be rotated and grows on", slog.String("path", l.path), slog.Any("error", err))
		return nil
	}
	l.retire(reasonRotated)
	return nil
}

// named reports whether the file is still the one that its name means.
func (l *Log) named() bool {
	there, err := os.Stat(l.path)
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	ours, err := l.file.Stat()
	return err != nil || os.SameFile(there, ours)
}

// retire leaves the file to the keeper. The next one begins with a start for that reason.
func (l *Log) retire(reason string) {
	l.retired = append(l.retired, l.file)
	l.file, l.size, l.first, l.unended, l.failed = nil, unknownSize, 0, false, failedWrite{}
	if l.startDue == "" {
		l.startDue = reason
	}
	l.wake()
}

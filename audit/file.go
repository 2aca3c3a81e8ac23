package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// errBusy says that two processes want to write one log.
var errBusy = errors.New("audit: another process writes this log: give each its own file")

// open opens the file, continues its chain, and says so in a start line. l.mu is held.
func (l *Log) open(reason string) error {
	if !l.cfg.writesFile() {
		return nil // the chain is that of this process
	}
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return &writeError{err}
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return &writeError{err}
	}
	if err := l.take(f, reason); err != nil {
		_ = f.Close()
		l.file = nil
		return err
	}
	return nil
}

// take begins to write a file. l.mu is held.
func (l *Log) take(f *os.File, reason string) error {
	info, err := f.Stat()
	switch {
	case err != nil:
		return &writeError{err}
	case !info.Mode().IsRegular():
		return fmt.Errorf("audit: %s is not a regular file", l.path)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("audit: %s can be written by others: chmod it to 0600 or 0640", l.path)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errBusy
	}
	end, err := endOf(f, info.Size())
	if err != nil {
		return err
	}
	if l.seq == 0 { // else it is known from this process
		if l.seq, l.prev, err = l.continues(end); err != nil {
			return err
		}
	}
	l.file, l.size, l.first = f, info.Size(), end.first
	if len(end.torn) > 0 {
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return &writeError{err}
		}
		l.size++
		sum := sha256.Sum256(end.torn)
		if err := l.append(&Record{Type: typeRecovered, Bytes: int64(len(end.torn)), SHA256: hex.EncodeToString(sum[:])}); err != nil {
			return err
		}
	}
	return l.append(&Record{Type: typeStart, Version: l.opts.Version, Log: l.public.LogID(), Key: l.public.String(), Reason: reason})
}

// fileEnd is what a file ends with.
type fileEnd struct {
	first uint64 // number of its first line; 0 if it has none
	last  *Record
	hash  string // of the last line
	torn  []byte // what stands behind the last newline
}

// endOf reads the first line and the end of a file.
func endOf(f io.ReaderAt, size int64) (end fileEnd, err error) {
	if size == 0 {
		return end, nil
	}
	head := make([]byte, min(size, maxLine))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return end, fmt.Errorf("audit: read: %w", err)
	}
	if line, _, ok := bytes.Cut(head, []byte{'\n'}); ok {
		if r, err := ParseRecord(line); err == nil {
			end.first = r.Seq
		}
	}
	tail := make([]byte, min(size, 2*maxLine+2))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return end, fmt.Errorf("audit: read: %w", err)
	}
	cut := bytes.LastIndexByte(tail, '\n')
	end.torn = tail[cut+1:]
	for cut >= 0 {
		begin := bytes.LastIndexByte(tail[:cut], '\n')
		if r, err := ParseRecord(tail[begin+1 : cut]); err == nil {
			sum := sha256.Sum256(tail[begin+1 : cut])
			end.last, end.hash = &r, hex.EncodeToString(sum[:])
			return end, nil
		}
		cut = begin
	}
	if int64(len(tail)) < size {
		return end, errors.New("audit: the file does not end in lines of a log: it is another file, or was damaged; move it away")
	}
	return end, nil
}

// continues is the line that the next one comes after: the last one that there is, be it in the file, in one that was
// rotated, or in the checkpoint beside it alone, so that no number is given twice and a gap shows.
func (l *Log) continues(end fileEnd) (seq uint64, prev string, err error) {
	seq, prev = 0, noPrev
	if end.last != nil {
		seq, prev = end.last.Seq, end.hash
	} else {
		rotated, err := rotatedFiles(l.path)
		if err != nil {
			return 0, "", err
		}
		if len(rotated) > 0 {
			before, err := endOfFile(rotated[len(rotated)-1])
			if err != nil {
				return 0, "", err
			}
			if before.last != nil {
				seq, prev = before.last.Seq, before.hash
			}
		}
	}
	if c, ok := published(l.path+checkpointSuffix, l.public); ok && c.Seq > seq {
		l.opts.Logger.Error("the audit log is shorter than its latest checkpoint says: lines are missing", "lines_to", seq, "checkpoint", c.Seq)
		seq, prev = c.Seq, c.hash()
	}
	return seq, prev, nil
}

func endOfFile(path string) (fileEnd, error) {
	f, err := os.Open(path)
	if err != nil {
		return fileEnd{}, fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fileEnd{}, fmt.Errorf("audit: %w", err)
	}
	return endOf(f, info.Size())
}

// replaced reports whether the path leads to another file now, or to none. l.mu is held.
func (l *Log) replaced() bool {
	mine, err := l.file.Stat()
	if err != nil {
		return true
	}
	there, err := os.Stat(l.path)
	return err != nil || !os.SameFile(mine, there)
}

// rotate begins a new file, or goes on with the old one if that fails. l.mu is held.
func (l *Log) rotate() {
	if err := l.checkpoint(); err != nil {
		return
	}
	if err := os.Rename(l.path, rotatedName(l.path, l.first)); err != nil {
		l.opts.Logger.Warn("the audit log cannot be rotated", "error", err)
		return
	}
	_ = l.file.Close() // it has been synced
	l.file = nil
	if err := l.open("rotated"); err != nil {
		l.err = err
		return
	}
	rotated, err := rotatedFiles(l.path)
	if err != nil {
		return
	}
	for len(rotated) > l.cfg.Keep {
		_ = os.Remove(rotated[0])
		rotated = rotated[1:]
	}
}

// rotatedName is the name of a file whose first line has a number.
func rotatedName(path string, first uint64) string {
	return fmt.Sprintf("%s-%020d.jsonl", strings.TrimSuffix(path, ".jsonl"), first)
}

// rotatedFiles are those beside the log that were rotated, the oldest first.
func rotatedFiles(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("audit: %w", err)
	}
	stem := strings.TrimSuffix(filepath.Base(path), ".jsonl") + "-"
	type numbered struct {
		first uint64
		path  string
	}
	var found []numbered
	for _, e := range entries {
		number, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ".jsonl"), stem)
		first, err := strconv.ParseUint(number, 10, 64)
		if ok && err == nil && len(number) == 20 {
			found = append(found, numbered{first, filepath.Join(filepath.Dir(path), e.Name())})
		}
	}
	slices.SortFunc(found, func(a, b numbered) int { return cmp.Compare(a.first, b.first) })
	paths := make([]string, 0, len(found))
	for _, f := range found {
		paths = append(paths, f.path)
	}
	return paths, nil
}

// Files are all files of a log, in the order of its lines.
func Files(path string) ([]string, error) {
	files, err := rotatedFiles(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err == nil {
		files = append(files, path)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("audit: there is no log at %s", path)
	}
	return files, nil
}

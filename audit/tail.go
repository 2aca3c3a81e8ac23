package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// followEvery is how often a log that is followed is looked at.
const followEvery = 200 * time.Millisecond

// Tail calls each with the last n lines of the log at path, rotated files among them. With follow it goes on with what
// is written afterwards, also into the next files, until ctx ends, which is no error. A last line without an end waits
// until it has one. The bytes are good until each returns; an error of each ends it.
func Tail(ctx context.Context, path string, n int, follow bool, each func(line []byte) error) error {
	f, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("audit: read the log: %w", err)
	}
	defer func() {
		if f != nil {
			_ = f.Close() // nothing was written
		}
	}()
	var offset int64
	var last [][]byte
	if f != nil {
		if last, offset, err = lastLines(f, n); err != nil {
			return err
		}
	}
	older, err := olderLines(path, n-len(last))
	if err != nil && f == nil {
		return err
	}
	for _, line := range slices.Concat(older, last) {
		if err := each(line); err != nil {
			return err
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
		if f, offset, err = continued(path, f, offset, each); err != nil {
			return err
		}
	}
	return nil
}

// continued reads what was added to f and, if path names another file by now, opens that.
func continued(path string, f *os.File, offset int64, each func([]byte) error) (*os.File, int64, error) {
	current, _ := os.Stat(path) // before f is read to its end: whoever moved it writes it no more, or soon
	if f != nil {
		read, err := newLines(f, offset, each)
		offset += read
		if err != nil {
			return f, offset, err
		}
		own, err := f.Stat()
		if err != nil {
			return f, offset, fmt.Errorf("audit: read the log: %w", err)
		}
		if current == nil || os.SameFile(own, current) {
			return f, offset, nil // the next look finds the next file
		}
		_ = f.Close() // nothing was written
	}
	next, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("audit: read the log: %w", err)
	}
	read, err := newLines(next, 0, each)
	return next, read, err
}

// newLines calls each with the whole lines from offset on, and returns how many bytes they have.
func newLines(f io.ReaderAt, offset int64, each func([]byte) error) (read int64, err error) {
	const most = 1 << 62
	lines := newLineReader(io.NewSectionReader(f, offset, most))
	var piece int64
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, fmt.Errorf("audit: read the log: %w", err)
		}
		piece += int64(len(line.text))
		if !line.ended {
			continue
		}
		read, piece = read+piece+1, 0
		if !line.long {
			if err := each(line.text); err != nil {
				return read, err
			}
		}
	}
}

// lastLines gives the last n whole lines, and where they end.
func lastLines(f io.ReaderAt, n int) (last [][]byte, end int64, err error) {
	next := 0 // the oldest of last, once it is full
	end, err = newLines(f, 0, func(line []byte) error {
		switch {
		case len(last) < n:
			last = append(last, bytes.Clone(line))
		case n > 0:
			last[next] = append(last[next][:0], line...)
			next = (next + 1) % n
		}
		return nil
	})
	return slices.Concat(last[next:], last[:next]), end, err
}

// olderLines gives the last n lines of the rotated files.
func olderLines(path string, n int) ([][]byte, error) {
	files, err := Files(path)
	if err != nil {
		return nil, err
	}
	var older [][]byte
	for _, name := range slices.Backward(files) {
		if len(older) >= n {
			break
		}
		if name == path {
			continue
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			break // it was deleted since
		}
		if err != nil {
			return nil, fmt.Errorf("audit: read the log: %w", err)
		}
		lines, _, err := lastLines(f, n-len(older))
		_ = f.Close() // nothing was written
		if err != nil {
			return nil, err
		}
		older = slices.Concat(lines, older)
	}
	return older, nil
}

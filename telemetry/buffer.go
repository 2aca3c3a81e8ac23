package telemetry

import (
	"io"
	"sync"
	"time"
)

const (
	bufferDelay = 100 * time.Millisecond // until a line of the log is written
	bufferSize  = 32 << 10               // bytes of lines that wait for that
)

// Buffer joins the lines of a busy log: what is written to it reaches its writer within 100 ms, or as soon as 32 KiB have
// gathered, so that a call does not wait for a system call a line. Who owns it calls Flush before the process ends. It is
// safe for concurrent use.
type Buffer struct {
	w io.Writer

	mu    sync.Mutex // guards what follows, and w
	lines []byte
	timer *time.Timer // set while lines wait
}

// NewBuffer returns an empty buffer in front of w.
func NewBuffer(w io.Writer) *Buffer { return &Buffer{w: w} }

// Write takes whole lines. It fails only if gathered lines could not be written; they are gone then.
func (b *Buffer) Write(lines []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lines = append(b.lines, lines...)
	if len(b.lines) >= bufferSize {
		if err := b.flush(); err != nil {
			return 0, err
		}
	} else if b.timer == nil {
		b.timer = time.AfterFunc(bufferDelay, func() { _ = b.Flush() }) // nobody is left to tell
	}
	return len(lines), nil
}

// Flush writes what has gathered.
func (b *Buffer) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.flush()
}

func (b *Buffer) flush() error {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	if len(b.lines) == 0 {
		return nil
	}
	_, err := b.w.Write(b.lines)
	b.lines = b.lines[:0]
	return err
}

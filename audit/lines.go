package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// textLine is a line that was read, or a part of one that is too long.
type textLine struct {
	// text is without its newline, and good until the next one is read.
	text []byte
	// ended is false at the end of a file that stops within the line, and of all but the last part of a long one.
	ended bool
	// long says that this is a part of a line that is too long to be one of a log.
	long bool
}

// lineReader reads lines in bounded memory.
type lineReader struct {
	r    *bufio.Reader
	long bool // within a line that is too long
	done bool // the end was seen; what a log that is being written has behind it by now is not read
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, maxLine+1)}
}

// next returns the next line. The error is [io.EOF] after the last one.
func (l *lineReader) next() (textLine, error) {
	if l.done {
		return textLine{}, io.EOF
	}
	text, err := l.r.ReadSlice('\n')
	l.done = errors.Is(err, io.EOF)
	line := textLine{text: text, long: l.long}
	switch {
	case err == nil:
		line.text, line.ended = text[:len(text)-1], true
		l.long = false
	case errors.Is(err, bufio.ErrBufferFull):
		line.long, l.long = true, true
	case l.done && len(text) > 0:
	default:
		return textLine{}, err
	}
	return line, nil
}

// Scan calls each with every line of a log, without its newline; the bytes are good until each returns. What is too
// long to be a line is passed over. It ends at the end of r, or with the first error of r or of each.
func Scan(r io.Reader, each func(line []byte) error) error {
	lines := newLineReader(r)
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("audit: read: %w", err)
		}
		if line.long {
			continue
		}
		if err := each(line.text); err != nil {
			return err
		}
	}
}

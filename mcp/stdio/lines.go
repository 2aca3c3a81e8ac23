package stdio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

const (
	// maxLine bounds one message of the command, in bytes.
	maxLine = 16 << 20
	// keptLine is how large a buffer may be that waits for the next line, in bytes.
	keptLine = 64 << 10
)

// errLine is a line that no buffer of ours takes. What follows it could be anything.
var errLine = fmt.Errorf("stdio: the command wrote a line of more than %d MiB", maxLine>>20)

// lines reads lines of bounded length.
type lines struct {
	from *bufio.Reader
	buf  []byte
}

func newLines(r io.Reader) *lines { return &lines{from: bufio.NewReaderSize(r, 32<<10)} }

// next returns the next line without its end, valid until the call after. Half a line at the end of all is none.
func (l *lines) next() ([]byte, error) {
	if cap(l.buf) > keptLine {
		l.buf = nil
	}
	l.buf = l.buf[:0]
	for {
		piece, err := l.from.ReadSlice('\n')
		if len(l.buf)+len(piece) > maxLine {
			return nil, errLine
		}
		if err == nil && len(l.buf) == 0 {
			return bytes.TrimRight(piece, "\r\n"), nil
		}
		l.buf = append(l.buf, piece...)
		switch {
		case err == nil:
			return bytes.TrimRight(l.buf, "\r\n"), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// flatten puts spaces in the place of line ends, which in JSON stand only between its tokens.
func flatten(msg []byte) []byte {
	if bytes.IndexByte(msg, '\n') < 0 && bytes.IndexByte(msg, '\r') < 0 {
		return msg
	}
	flat := bytes.Clone(msg)
	for i, c := range flat {
		if c == '\n' || c == '\r' {
			flat[i] = ' '
		}
	}
	return flat
}

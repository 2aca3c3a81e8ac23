package gateway

import "bytes"

// framing says which bytes of a stream of requests may pass.
type framing struct {
	state   framingState
	seen    int    // bytes of an unfinished head whose line ends have been judged
	left    uint64 // bytes of the body or chunk that are still to come
	trailer int    // bytes of trailer so far
}

type framingState uint8

const (
	atHead framingState = iota
	inBody
	atChunkSize
	inChunk
	afterChunk
	inTrailer
)

func (f *framing) inHead() bool { return f.state == atHead }

// judge returns how many bytes at the beginning of in may pass now, 0 if more
// must be read first, or an error if what comes is forbidden.
func (f *framing) judge(in []byte) (int, error) {
	switch f.state {
	case inBody:
		return f.pass(in, atHead), nil
	case inChunk:
		return f.pass(in, afterChunk), nil
	case atHead:
		return f.judgeHead(in)
	case atChunkSize:
		return f.judgeChunkSize(in)
	case afterChunk:
		if len(in) < 2 {
			return 0, nil
		}
		if in[0] != '\r' || in[1] != '\n' {
			return 0, errFraming
		}
		f.state = atChunkSize
		return 2, nil
	default:
		return f.judgeTrailerLine(in)
	}
}

// pass lets the bytes of a body or chunk by, and enters next behind them.
func (f *framing) pass(in []byte, next framingState) int {
	n := min(f.left, uint64(len(in)))
	if f.left -= n; f.left == 0 {
		f.state = next
	}
	return int(n)
}

// judgeHead passes a head when all of it is there and strict. It looks at no
// byte of an unfinished one twice, so that sending it slowly is no lever.
func (f *framing) judgeHead(in []byte) (int, error) {
	from := max(f.seen-len(headEnd)+1, 0)
	end := bytes.Index(in[from:], []byte(headEnd))
	head := in
	if end >= 0 {
		end += from
		head = in[:end+len(headEnd)]
	}
	judged := head[:min(len(head), maxHead)]
	if bytes.HasPrefix(head, []byte("\r\n")) || !crlfOnly(judged, from, len(judged) < len(head) || end < 0) {
		return 0, errFraming
	}
	if len(head) > maxHead || end < 0 && len(head) == maxHead {
		return 0, errHead
	}
	if end < 0 {
		f.seen = len(in)
		return 0, nil
	}
	if err := f.judgeFields(head[:end+2]); err != nil {
		return 0, err
	}
	f.seen = 0
	return len(head), nil
}

// headEnd is what a head ends in.
const headEnd = "\r\n\r\n"

// crlfOnly reports that, beginning with b[from], every CR is followed by LF and
// every LF preceded by CR. The last CR of an unfinished piece is judged with the
// next.
func crlfOnly(b []byte, from int, unfinished bool) bool {
	for i := from; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			return false
		case c == '\r' && i+1 < len(b) && b[i+1] != '\n':
			return false
		case c == '\r' && i+1 == len(b) && !unfinished:
			return false
		}
	}
	return true
}

// judgeFields reads the framing of one request from its head, which ends in
// CRLF: the request line, then fields.
func (f *framing) judgeFields(head []byte) error {
	request, fields, _ := bytes.Cut(head, []byte("\r\n"))
	var lengths, codings int
	var length uint64
	for len(fields) > 0 {
		var line []byte
		line, fields, _ = bytes.Cut(fields, []byte("\r\n"))
		name, value, found := cutField(line)
		if !found {
			return errFraming
		}
		switch value = bytes.Trim(value, " \t"); {
		case equalFold(name, "content-length"):
			n, ok := parseLength(value)
			if lengths++; !ok || lengths > 1 {
				return errFraming
			}
			length = n
		case equalFold(name, "transfer-encoding"):
			if codings++; codings > 1 || !equalFold(value, "chunked") {
				return errFraming
			}
		}
	}
	switch {
	case lengths > 0 && codings > 0:
		return errFraming
	case codings > 0 && !bytes.HasSuffix(request, []byte(" HTTP/1.1")): // net/http ignores it in HTTP/1.0 (RFC 9112 §6.1)
		return errFraming
	case codings > 0:
		f.state, f.trailer = atChunkSize, 0
	case length > 0:
		f.state, f.left = inBody, length
	}
	return nil
}

// cutField splits a field line; one without a plain name, such as a folded
// line, which begins with space, is none.
func cutField(line []byte) (name, value []byte, ok bool) {
	name, value, ok = bytes.Cut(line, []byte(":"))
	return name, value, ok && len(name) > 0 && !bytes.ContainsAny(name, " \t")
}

func equalFold(b []byte, lower string) bool {
	return len(b) == len(lower) && bytes.EqualFold(b, []byte(lower))
}

// parseLength accepts 1*DIGIT (RFC 9110 §8.6) up to 18 digits.
func parseLength(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// judgeChunkSize passes a chunk-size line: hex digits and CRLF, nothing else.
func (f *framing) judgeChunkSize(in []byte) (int, error) {
	end := bytes.IndexByte(in[:min(len(in), maxChunkLine)], '\n')
	if end < 0 {
		if len(in) >= maxChunkLine {
			return 0, errFraming
		}
		return 0, nil
	}
	if end < 2 || in[end-1] != '\r' {
		return 0, errFraming
	}
	var size uint64
	for _, c := range in[:end-1] {
		digit, ok := unhex(c)
		if !ok {
			return 0, errFraming
		}
		size = size<<4 | digit
	}
	f.state, f.left = inChunk, size
	if size == 0 {
		f.state = inTrailer
	}
	return end + 1, nil
}

func unhex(c byte) (uint64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return uint64(c-'A') + 10, true
	}
	return 0, false
}

// judgeTrailerLine passes one line of the trailer; an empty one ends it.
func (f *framing) judgeTrailerLine(in []byte) (int, error) {
	end := bytes.IndexByte(in, '\n')
	line := in
	if end >= 0 {
		line = in[:end+1]
	}
	if f.trailer+len(line) > maxTrailer {
		return 0, errFraming
	}
	if end < 0 {
		return 0, nil
	}
	if end == 0 || in[end-1] != '\r' || bytes.IndexByte(in[:end-1], '\r') >= 0 {
		return 0, errFraming
	}
	f.trailer += len(line)
	if end == 1 {
		f.state = atHead
	} else if _, _, ok := cutField(line[:end-1]); !ok {
		return 0, errFraming
	}
	return end + 1, nil
}

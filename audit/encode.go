package audit

import (
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxText bounds each text of a line, in bytes before it is escaped. Escaping makes six of one at most.
	maxText = 256
	// maxTexts bounds a list of texts.
	maxTexts = 16
	// maxLine bounds a line in bytes, without its newline. The longest that is ever written has less than 80 KiB.
	maxLine = 128 << 10
	// timeLayout is how lines have a time: RFC 3339 in UTC with microseconds.
	timeLayout = "2006-01-02T15:04:05.000000Z"
)

// appendRecord appends the line of r, without a newline. Its members stand in the order in which they are here.
func appendRecord(b []byte, r *Record) []byte {
	b = append(b, `{"seq":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, `,"prev":"`...)
	b = append(b, r.Prev...)
	b = append(b, `","type":"`...)
	b = append(b, r.Type...)
	b = append(b, `","time":`...)
	b = appendTime(b, r.Time)
	switch r.Type {
	case typeBegin, typeEvent:
		b = appendEvent(b, &r.Event)
	case typeStart:
		b = member(b, "version", r.Version)
		b = member(b, "log", r.Log)
		b = member(b, "key", r.Key)
		b = member(b, "reason", r.Reason)
	case typeCheckpoint:
		b = member(b, "log", r.Log)
		b = member(b, "key", r.Key)
		b = member(b, "sig", r.Signature)
	case typeLost:
		b = number(b, "count", r.Count)
		b = append(b, `,"since":`...)
		b = appendTime(b, r.Since)
	case typeRecovered:
		b = number(b, "bytes", r.Bytes)
		b = member(b, "sha256", r.SHA256)
	}
	return append(b, '}')
}

func appendEvent(b []byte, e *Event) []byte {
	if !e.Time.IsZero() {
		b = append(b, `,"began":`...)
		b = appendTime(b, e.Time)
	}
	b = member(b, "request_id", e.RequestID)
	b = member(b, "issuer", e.Issuer)
	b = member(b, "subject", e.Subject)
	b = member(b, "server", e.Server)
	b = member(b, "method", e.Method)
	b = member(b, "tool", e.Tool)
	b = member(b, "arguments", e.Arguments)
	b = member(b, "rule", e.Rule)
	b = member(b, "decision", e.Decision)
	b = members(b, "would_deny", e.WouldDeny)
	b = members(b, "credentials", e.Credentials)
	b = member(b, "outcome", e.Outcome)
	b = member(b, "delivered", e.Delivered)
	if e.Status != 0 {
		b = number(b, "status", int64(e.Status))
	}
	if us := e.Duration.Microseconds(); us != 0 {
		b = number(b, "duration_us", us)
	}
	if e.Alike != 0 {
		b = number(b, "alike", e.Alike)
	}
	return b
}

// appendTime appends a time as timeLayout has it, in a quarter of the time that the layout takes. Years that RFC 3339
// does not have become the nearest.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	switch year := t.Year(); {
	case year < 0:
		t = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	case year > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	}
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = append(b, '"')
	b = digits(b, year, 4)
	b = digits(append(b, '-'), int(month), 2)
	b = digits(append(b, '-'), day, 2)
	b = digits(append(b, 'T'), hour, 2)
	b = digits(append(b, ':'), minute, 2)
	b = digits(append(b, ':'), second, 2)
	b = digits(append(b, '.'), t.Nanosecond()/1000, 6)
	return append(b, 'Z', '"')
}

// digits appends n with that many digits.
func digits(b []byte, n, width int) []byte {
	at := len(b)
	b = append(b, "000000"[:width]...)
	for i := at + width - 1; i >= at; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

func number(b []byte, name string, n int64) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return strconv.AppendInt(b, n, 10)
}

// member appends a text that is not empty.
func member(b []byte, name, text string) []byte {
	if text == "" {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return appendText(b, text)
}

// members appends a list that is not empty. Of a longer one the last text says that more follow.
func members(b []byte, name string, texts []string) []byte {
	if len(texts) == 0 {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':', '[')
	for i, text := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		if i == maxTexts-1 && len(texts) > maxTexts {
			b = appendText(b, "…")
			break
		}
		b = appendText(b, text)
	}
	return append(b, ']')
}

// appendText appends a JSON string. What cannot be printed is escaped, so that a line can be shown on any terminal;
// bytes that are no UTF-8 become U+FFFD.
func appendText(b []byte, text string) []byte {
	const hexDigits = "0123456789abcdef"
	text, cut := clip(text)
	b = append(b, '"')
	done := 0 // text[:done] is in b
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != 0x7f {
				i++
				continue
			}
			b = append(b, text[done:i]...)
			if c == '"' || c == '\\' {
				b = append(b, '\\', c)
			} else {
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			done = i
			continue
		}
		r, size := utf8.DecodeRuneInString(text[i:])
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		b = append(b, text[done:i]...)
		if r == utf8.RuneError {
			b = utf8.AppendRune(b, r)
		} else if r < 0x10000 {
			b = append(b, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		} else {
			high, low := 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff
			b = append(b, '\\', 'u', hexDigits[high>>12], hexDigits[high>>8&15], hexDigits[high>>4&15], hexDigits[high&15],
				'\\', 'u', hexDigits[low>>12], hexDigits[low>>8&15], hexDigits[low>>4&15], hexDigits[low&15])
		}
		i += size
		done = i
	}
	b = append(b, text[done:]...)
	if cut {
		b = append(b, "…"...)
	}
	return append(b, '"')
}

// clip cuts a text that is too long, between two characters, so that it and the mark of the cut fit.
func clip(text string) (short string, cut bool) {
	if len(text) <= maxText {
		return text, false
	}
	end := maxText - len("…")
	for back := 0; back < utf8.UTFMax-1 && !utf8.RuneStart(text[end]); back++ {
		end--
	}
	return text[:end], true
}

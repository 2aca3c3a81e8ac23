// Package secret holds one sensitive value so that it cannot be printed by accident, and reads it from where a
// reference points. It does not know who may use a value, where it may be sent, or how it is put into a request.
package secret

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// redacted is all that any printer, encoder or logger gets to see of a value.
const redacted = "[redacted]"

// Value is one sensitive text. Every way of printing, encoding or logging it gives "[redacted]"; only Reveal gives
// the text, so that a search for Reveal finds every place where a value leaves the type. The zero Value is unset.
//
// Memory is not wiped: the garbage collector copies, and so do strings. The promise is about output, not about RAM.
type Value struct {
	// text is a closure and not a string because fmt bypasses the methods of unexported fields, of %p and of values
	// whose formatting failed, and other dumpers follow pointers: none of them can look into a function. It also
	// makes == a compile error, which leaves Equal as the only comparison.
	text func() string
}

// New wraps text. An empty text gives the zero Value.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{text: func() string { return text }}
}

// Reveal returns the text itself. It is the single way out: call it where the value is put on the wire, nowhere else.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return v.text()
}

// IsZero reports whether the value is unset.
func (v Value) IsZero() bool { return v.text == nil }

// Len returns the length of the text in bytes.
func (v Value) Len() int { return len(v.Reveal()) }

// Equal reports whether both values are set and hold the same text. Its time does not depend on where they differ.
// An unset value equals nothing, not even another unset one, so that a missing secret never opens anything.
func (v Value) Equal(other Value) bool {
	a := sha256.Sum256([]byte(v.Reveal()))
	b := sha256.Sum256([]byte(other.Reveal()))
	same := subtle.ConstantTimeCompare(a[:], b[:]) == 1
	return same && !v.IsZero() && !other.IsZero()
}

// Format implements fmt.Formatter for every verb and flag.
func (v Value) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, redacted) // fmt.State buffers: it has no failure to report
}

// String implements fmt.Stringer.
func (v Value) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (v Value) GoString() string { return redacted }

// LogValue implements slog.LogValuer.
func (v Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON implements json.Marshaler.
func (v Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText implements encoding.TextMarshaler, which YAML, XML and flag printers use.
func (v Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

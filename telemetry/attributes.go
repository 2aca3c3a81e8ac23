package telemetry

import (
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
	"google.golang.org/protobuf/encoding/protowire"
)

// Attributes are those of a span, written as they are sent: a call has seventy, which would be as many objects until somebody
// writes them. A [Tracer] has them, and uses them again and again; they belong to one goroutine.
type Attributes struct {
	wire []byte
	room *sync.Pool // where they are from
}

// newAttributes makes room for attributes.
func newAttributes() *sync.Pool {
	room := new(sync.Pool)
	room.New = func() any { return &Attributes{room: room} }
	return room
}

// Clone returns others that begin with the same.
func (a *Attributes) Clone() *Attributes {
	b := a.room.Get().(*Attributes)
	b.wire = append(b.wire, a.wire...)
	return b
}

// release gives them back.
func (a *Attributes) release() {
	if a != nil && cap(a.wire) <= maxReused {
		a.wire = a.wire[:0]
		a.room.Put(a)
	}
}

// maxReused bounds what is kept for the next span, in bytes.
const maxReused = 16 << 10

// Text adds a text, unless it is empty, and not more of it than of any stranger's word (see [Short]).
func (a *Attributes) Text(key attribute.Key, text string) {
	if text == "" {
		return
	}
	if text = Short(text); !utf8.ValidString(text) {
		text = validText(text)
	}
	a.begin(key, 1+protowire.SizeBytes(len(text)))
	a.wire = protowire.AppendTag(a.wire, valueText, protowire.BytesType)
	a.wire = protowire.AppendString(a.wire, text)
}

// Int adds a number.
func (a *Attributes) Int(key attribute.Key, n int64) {
	a.begin(key, 1+protowire.SizeVarint(uint64(n)))
	a.wire = protowire.AppendTag(a.wire, valueNumber, protowire.VarintType)
	a.wire = protowire.AppendVarint(a.wire, uint64(n))
}

// Seconds adds a time that something took.
func (a *Attributes) Seconds(key attribute.Key, d time.Duration) {
	a.begin(key, 1+protowire.SizeFixed64())
	a.wire = protowire.AppendTag(a.wire, valueFloat, protowire.Fixed64Type)
	a.wire = protowire.AppendFixed64(a.wire, math.Float64bits(d.Seconds()))
}

// Texts adds a list, unless it is empty.
func (a *Attributes) Texts(key attribute.Key, texts []string) {
	if len(texts) == 0 {
		return
	}
	var fields []byte
	for _, text := range texts {
		fields = appendMessage(fields, arrayValues, appendText(nil, valueText, validText(Short(text))))
	}
	a.begin(key, 1+protowire.SizeBytes(len(fields)))
	a.wire = appendMessage(a.wire, valueArray, fields)
}

// begin writes all of an attribute but the one field of its value, which has a size in bytes.
func (a *Attributes) begin(key attribute.Key, size int) {
	a.wire = protowire.AppendTag(a.wire, spanAttributes, protowire.BytesType)
	a.wire = protowire.AppendVarint(a.wire, uint64(1+protowire.SizeBytes(len(key))+1+protowire.SizeBytes(size)))
	a.wire = protowire.AppendTag(a.wire, pairKey, protowire.BytesType)
	a.wire = protowire.AppendString(a.wire, string(key))
	a.wire = protowire.AppendTag(a.wire, pairValue, protowire.BytesType)
	a.wire = protowire.AppendVarint(a.wire, uint64(size))
}

package telemetry

import (
	"encoding/binary"
	"math"
	"math/rand/v2"

	"go.opentelemetry.io/otel/trace"
)

// newTraceID makes an id that nobody has to keep from guessing: it names a trace, and opens nothing.
func newTraceID() (id trace.TraceID) {
	binary.BigEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // an id is no secret
	binary.BigEndian.PutUint64(id[8:], nonZero())
	return id
}

func newSpanID() (id trace.SpanID) {
	binary.BigEndian.PutUint64(id[:], nonZero())
	return id
}

// nonZero is a random number from 1: an id of zeros is none (W3C Trace Context §3.2.2.3).
func nonZero() uint64 { return rand.Uint64N(math.MaxUint64) + 1 } //nolint:gosec // an id is no secret

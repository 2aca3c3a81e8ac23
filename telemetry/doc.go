// Package telemetry sets up what a process tells about itself: its log, as [log/slog] records of one line each, the traces of
// its calls and its metrics, with keys that mean the same everywhere. [Setup] makes all of it from a role's configuration and
// the standard OTEL_ variables.
//
// A span is recorded after what it is about has ended: until then there is only a [Span], which is its name in the trace. So
// a call that nobody samples costs its ids, and one that has failed can be recorded in any case, without anything being kept
// for that meanwhile.
//
// It does not know what a call is, nor what is secret: who logs or records must not hand it bodies, tokens or header values.
// It only makes sure that no text it is handed can forge a line or move a terminal's cursor, and that no collector of what is
// told, be it dead, slow or hostile, holds up who tells it.
package telemetry

// Package telemetry sets up what a process tells about itself: for now its log, as [log/slog] records of one line each,
// with attribute keys that mean the same everywhere.
//
// It does not know what is secret: who logs must not hand it bodies, tokens or header values. It only makes sure that no
// text it is handed can forge a line or move a terminal's cursor.
package telemetry

// Package audit writes one event for each decision into a log that cannot be changed unnoticed: JSON lines, each with
// its number and the SHA-256 of the line before, and a signed checkpoint every minute. log.go takes events, write.go
// puts lines down, file.go and rotate.go look after the files, and verify.go holds a log against its chain, its
// signatures and the checkpoints that were kept elsewhere. It does not know what a call is, who decides it or why: it
// records what others describe.
//
// A line is an object with these members first, then those of its type, in an order that never changes:
//
//	seq    its number, from 1; no two lines of a log share one, over restarts and rotated files
//	prev   SHA-256 of the bytes of the line before, without its newline, in hexadecimal; zeros at 1
//	type   what it is
//	time   when it was written
//
// The types are
//
//	start       a file was begun or opened again: product version, log id, public key, and why
//	begin       a call was allowed and is about to be made (strict alone)
//	event       a call that was decided, and what became of it
//	checkpoint  log id, public key and an Ed25519 signature over log id, seq, prev and time
//	lost        how many events could not be written before this line
//	recovered   length and SHA-256 of the bytes before this line that are no line: a crash cut one short
//
// The first line of a file is a start, or a recovered if a crash cut that start short. Before the start of a file that
// follows a rotated one stands a checkpoint, and one follows each start before any event. Between two checkpoints no
// begin, event or lost is more than about two minutes younger than the first line. So whoever takes checkpoints out has
// to take out what they signed.
package audit

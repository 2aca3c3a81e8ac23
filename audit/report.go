package audit

import (
	"fmt"
	"time"
)

// The kinds of problems.
const (
	// kindEdited is a line that is not what was written.
	kindEdited = "edited"
	// kindMissing is lines that are not there.
	kindMissing = "missing"
	// kindReordered is a line that stands where it was not written, or twice.
	kindReordered = "reordered"
	// kindSignature is a signature that is none of what it stands behind: the chain was made anew.
	kindSignature = "signature"
	// kindOtherKey is a signature by another key.
	kindOtherKey = "other_key"
	// kindUnsigned is lines that should have been signed.
	kindUnsigned = "unsigned"
	// kindTruncated is a log that ends before a checkpoint that was kept.
	kindTruncated = "truncated"
	// kindRewritten is a log that differs from a checkpoint that was kept.
	kindRewritten = "rewritten"
)

// Problem is one way in which a log is not what was written.
type Problem struct {
	// File and Line are where it shows; Line counts from 1. A problem with a kept checkpoint has the end of the log.
	File string
	Line int
	// Kind is edited, missing, reordered, signature, other_key, unsigned, truncated or rewritten.
	Kind string
	// What was found, and what that Means.
	What, Means string
}

// String is the problem in one line.
func (p Problem) String() string {
	return fmt.Sprintf("%s:%d: %s: %s: %s", p.File, p.Line, p.Kind, p.What, p.Means)
}

// Report is what Verify found. The log is intact if there is no problem.
type Report struct {
	// Files were read, and Records are their lines, of which so many are of each type.
	Files, Records, Events, Begins, Starts, Checkpoints int64
	// Lost is how many events the log says are not in it.
	Lost int64
	// Recovered counts the places where a crash or a full disk cut a line short, and the writer said so.
	Recovered int64
	// Unfinished is the length of the last line, in bytes, if it has no end: the writer was stopped within it, or it was cut.
	Unfinished int64
	// First and Last are the numbers of the first and last line, FirstTime and LastTime their times.
	First, Last         uint64
	FirstTime, LastTime time.Time
	// Signed is the number of the last checkpoint that the key signed, of SignedTime; 0 if there is none. It vouches for
	// the lines from First to Signed. What follows is chained, and not signed yet.
	Signed     uint64
	SignedTime time.Time
	// Matched counts the kept checkpoints that the log agrees with, and Earlier those from before its first line.
	Matched, Earlier int64
	// Problems are what is wrong, in the order in which it shows; no more than 100.
	Problems []Problem
	// More counts the problems beyond those.
	More int64
}

// Intact reports whether no problem was found.
func (r *Report) Intact() bool { return len(r.Problems) == 0 }

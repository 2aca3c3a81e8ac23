package audit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// mostUnsigned is how much younger than the first line behind a checkpoint an event may be. The writer keeps to two minutes.
const mostUnsigned = 5 * time.Minute

// place is where a line stands.
type place struct {
	file string
	line int
}

// verifier goes through a log line by line.
type verifier struct {
	key      PublicKey
	progress func(*Report)
	report   Report
	// kept are the checkpoints to meet, by number; met counts those that are behind.
	kept []Checkpoint
	met  int

	here place
	// atStart says that no line of the file was read yet that is one. torn says that the last line is a recovered that the file begins with,
	// and before is the type of the line in front of it.
	atStart bool
	torn    bool
	before  string
	// headless says that the log begins with a recovered, at headAt, behind lines that are not here: the start of a file that was begun by
	// rotation has to follow.
	headless bool
	headAt   place
	headSeq  uint64
	// firstPrev is what the first line has for the line before.
	firstPrev string
	// last is the last line that is one, lastHash its hash, and lastAt its place. lastType is empty before the first.
	lastSeq  uint64
	lastHash string
	lastType string
	lastAt   place
	// unsigned is the time of the first line behind the last checkpoint, if there is one, and unsignedAt its place. told says that its
	// lines were reported.
	hasUnsigned bool
	unsigned    time.Time
	unsignedAt  place
	told        bool
	// started says that the last start has no checkpoint behind it yet.
	started bool
	// junk is what was read since the last line that is one, and is no line; junkAt is where it begins.
	junk   region
	junkAt place
}

func newVerifier(opts VerifyOptions) *verifier {
	kept := slices.Clone(opts.Checkpoints)
	slices.SortStableFunc(kept, func(a, b Checkpoint) int { return cmp.Compare(a.Seq, b.Seq) })
	return &verifier{key: opts.PublicKey, progress: opts.Progress, kept: kept}
}

func (v *verifier) problem(at place, kind, means, format string, args ...any) {
	if len(v.report.Problems) == maxProblems {
		v.report.More++
		return
	}
	v.report.Problems = append(v.report.Problems, Problem{File: at.file, Line: at.line, Kind: kind, What: fmt.Sprintf(format, args...), Means: means})
}

// line takes the next line, or a piece of one that is too long.
func (v *verifier) line(line textLine) {
	var r Record
	err := errNoRecord
	if !line.long {
		r, err = ParseRecord(line.text)
	}
	if err != nil {
		if !v.junk.begun {
			v.junkAt = v.here
		}
		v.junk.add(line)
		return
	}
	v.settleJunk(&r)
	v.place(&r)
	if v.lastType != "" && !v.chained(&r, line.text) {
		return // it stands where it does not belong: the chain goes on from the line before
	}
	sum := sha256.Sum256(line.text)
	v.lastSeq, v.lastHash, v.lastType, v.lastAt = r.Seq, hex.EncodeToString(sum[:]), r.Type, v.here
	v.count(&r)
	v.sign(&r, line.text)
	v.meet()
}

// settleJunk asks whether r says what the bytes before it are.
func (v *verifier) settleJunk(r *Record) {
	junk := v.junk
	v.junk = region{}
	said := r.Type == typeRecovered && r.Bytes == junk.size && r.SHA256 == junk.hash()
	switch {
	case junk.begun && !said:
		v.problem(v.junkAt, kindEdited, "a line was changed, or bytes were put in", "%d bytes are no line of the log", junk.size)
	case r.Type == typeRecovered && !said:
		v.problem(v.here, kindMissing, "bytes before it were taken out", "a recovered names %d bytes that are not there", r.Bytes)
	}
}

// place looks at lines that begin a file or the log.
func (v *verifier) place(r *Record) {
	first, before := v.atStart, v.lastType
	if v.torn {
		before = v.before // a crash has cut the start short that was to stand where the recovered does
	}
	v.atStart, v.torn = false, false
	switch {
	case first && r.Type == typeRecovered:
		v.torn, v.before = true, v.lastType
	case first && r.Type != typeStart:
		v.problem(v.here, kindMissing, "lines were cut off its beginning", "the file begins with %s %d, where each begins with a start", r.Type, r.Seq)
	case before != "" && before != typeCheckpoint && r.rotated():
		v.problem(v.here, kindUnsigned, "lines were taken out, or the chain was made anew", "the file before was rotated, and does not end in a checkpoint")
	}
	v.head(r)
}

// head looks at how the log begins. Only rotation takes lines off its beginning, and the file behind them begins with a start that says so,
// or with what a crash left of one and a recovered. Any other recovered is written wherever bytes are put in, which needs no key.
func (v *verifier) head(r *Record) {
	switch {
	case v.headless && !r.rotated():
		v.cutOff()
	case v.lastType != "":
	case r.Seq == 1 && r.Prev != noPrev:
		v.problem(v.here, kindEdited, "the line was changed", "line 1 names a line before it")
	case r.Seq > 1 && r.Type == typeRecovered:
		v.headless, v.headAt, v.headSeq = true, v.here, r.Seq
		return
	case r.Seq > 1 && r.Type == typeStart && !r.rotated():
		v.headAt, v.headSeq = v.here, r.Seq
		v.cutOff()
	}
	v.headless = false
}

// cutOff reports that the log begins where nothing of ours makes one begin.
func (v *verifier) cutOff() {
	v.problem(v.headAt, kindMissing, "they were removed, moved or cut off by somebody else, or not given here",
		"the log begins with number %d, and the lines before it were not rotated away", v.headSeq)
}

// chained holds r against the line before. It reports whether the chain goes on from r.
func (v *verifier) chained(r *Record, text []byte) bool {
	next := v.lastSeq + 1
	switch {
	case r.Seq == next && r.Prev == v.lastHash:
		return true
	case r.Seq == next:
		v.problem(v.lastAt, kindEdited, "it was changed, or the next one was", "number %d is not the line that number %d was chained to", v.lastSeq, r.Seq)
	case r.Seq > next:
		v.problem(v.here, kindMissing, "they were taken out, or moved", "number %d follows number %d, and %d between them are not here", r.Seq, v.lastSeq, r.Seq-next)
	default:
		sum := sha256.Sum256(text)
		how := "it was moved, or put in"
		if hex.EncodeToString(sum[:]) == v.lastHash {
			how = "it was repeated"
		}
		v.problem(v.here, kindReordered, how, "number %d follows number %d", r.Seq, v.lastSeq)
		return false
	}
	return true
}

func (v *verifier) count(r *Record) {
	report := &v.report
	if report.Records == 0 {
		report.First, report.FirstTime, v.firstPrev = r.Seq, r.Time, r.Prev
	}
	report.Records++
	report.Last, report.LastTime = r.Seq, r.Time
	switch r.Type {
	case typeEvent:
		report.Events++
	case typeBegin:
		report.Begins++
	case typeStart:
		report.Starts++
	case typeCheckpoint:
		report.Checkpoints++
	case typeLost:
		report.Lost += r.Count
	case typeRecovered:
		report.Recovered++
	}
}

// sign looks at signatures, and at lines that have none for too long.
func (v *verifier) sign(r *Record, text []byte) {
	switch r.Type {
	case typeCheckpoint:
		v.hasUnsigned, v.told, v.started = false, false, false
		c := checkpointOf(r)
		switch {
		case r.Log != v.key.LogID() || r.Key != v.key.String():
			v.problem(v.here, kindOtherKey, "the chain was made anew by somebody else, or the key was replaced", "checkpoint %d was signed with another key", r.Seq)
		case !c.SignedBy(v.key):
			v.problem(v.here, kindSignature, "lines before it were changed and the chain was made anew", "the signature of checkpoint %d is not one of this chain", r.Seq)
		case !bytes.Equal(text, c.line()):
			v.problem(v.here, kindEdited, "it was changed beside what is signed", "checkpoint %d is not written as checkpoints are", r.Seq)
		default:
			v.report.Signed, v.report.SignedTime = r.Seq, r.Time
		}
		return
	case typeStart:
		v.started = true
		if r.Log != v.key.LogID() || r.Key != v.key.String() {
			v.problem(v.here, kindOtherKey, "the chain was made anew by somebody else, or the key was replaced", "start %d names another key", r.Seq)
		}
	case typeBegin, typeEvent, typeLost:
		if v.started {
			v.started = false
			v.problem(v.here, kindUnsigned, "checkpoints were taken out and the chain was made anew", "%s %d follows a start that no checkpoint vouches for", r.Type, r.Seq)
		}
		if v.hasUnsigned && !v.told && r.Time.Sub(v.unsigned) > mostUnsigned {
			v.told = true
			v.problem(v.unsignedAt, kindUnsigned, "checkpoints were taken out and the chain was made anew",
				"the lines from here to number %d span %s without a checkpoint, where one is due each minute", r.Seq, r.Time.Sub(v.unsigned).Round(time.Second))
		}
	}
	if !v.hasUnsigned {
		v.hasUnsigned, v.unsigned, v.unsignedAt = true, r.Time, v.here
	}
}

// meet holds the last line against the kept checkpoints up to its number.
func (v *verifier) meet() {
	for ; v.met < len(v.kept) && v.kept[v.met].Seq <= v.lastSeq; v.met++ {
		c := v.kept[v.met]
		switch {
		case !c.SignedBy(v.key):
			v.foreign(c)
		case c.Seq < v.report.First && (c.Seq+1 != v.report.First || c.hash() == v.firstPrev):
			v.report.Earlier++ // rotation may have deleted it; where it has not, the beginning of the log is a problem
		case c.Seq == v.lastSeq && c.hash() == v.lastHash:
			v.report.Matched++
		default:
			v.problem(v.here, kindRewritten, "the log was made anew, by somebody who has the key, or lines were taken out",
				"the kept checkpoint %d is not in the log", c.Seq)
		}
	}
}

func (v *verifier) foreign(c Checkpoint) {
	v.problem(v.here, kindOtherKey, "it belongs to another log, or was changed", "the kept checkpoint %s was not signed with this key", strconv.FormatUint(c.Seq, 10))
}

// finish looks at what is left at the end of the log.
func (v *verifier) finish() {
	if v.headless {
		v.cutOff()
	}
	if v.junk.begun && v.junk.ended {
		v.problem(v.junkAt, kindEdited, "a line was changed, or bytes were put in", "%d bytes are no line of the log", v.junk.size)
	} else if v.junk.begun {
		v.report.Unfinished = v.junk.size
	}
	for _, c := range v.kept[v.met:] {
		if !c.SignedBy(v.key) {
			v.foreign(c)
			continue
		}
		v.problem(v.here, kindTruncated, "its end was cut off, or replaced", "the log ends with number %d, and the kept checkpoint is number %d, of %s", v.lastSeq, c.Seq, c.Time.Format(time.RFC3339))
	}
	if len(v.kept) > 0 && v.report.Matched == 0 && v.report.Intact() {
		v.problem(v.here, kindMissing, "they were rotated away, or taken out, and nothing that was kept vouches for the rest",
			"the log begins with number %d, after every kept checkpoint", v.report.First)
	}
}

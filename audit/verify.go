package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// maxUnsigned is how much time lines may span that no checkpoint has signed: a writer signs every minute.
const maxUnsigned = 2 * time.Minute

// maxProblems is how many problems are told; the report says if there were more.
const maxProblems = 1000

// VerifyOptions say what a log is held against.
type VerifyOptions struct {
	// Key is the public key that is trusted. Required.
	Key PublicKey
	// Checkpoints were kept elsewhere. Only they show that the end of a log was cut off.
	Checkpoints []Checkpoint
}

// Problem is something that an honest log does not have.
type Problem struct {
	File string // "" if it is about the log
	Line int    // from 1; 0 if it is about the file
	Text string
}

// String gives file:line: text.
func (p Problem) String() string {
	switch {
	case p.File == "":
		return p.Text
	case p.Line == 0:
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// Report is what a log was found to be.
type Report struct {
	Files, Checkpoints, Recovered int
	Records, Events, Lost         int64
	// First and Last are the numbers of the first and the last line. What was before First was removed by rotation, or by
	// somebody: only a checkpoint that was kept elsewhere can tell.
	First, Last uint64
	From, Until time.Time
	// Signed is the last line that a checkpoint vouches for, and SignedAt when it was signed.
	Signed   uint64
	SignedAt time.Time
	// Kept is how many of the checkpoints that were kept elsewhere are in the log.
	Kept     int
	Problems []Problem
	// More says that there were more problems than are told.
	More bool
}

// verifier goes through the lines of a log.
type verifier struct {
	Report
	o    VerifyOptions
	kept map[uint64]Checkpoint

	file string
	line int
	next uint64 // number of the next line; 0 before the first
	prev string

	torn     []byte // a line that is none, which the next one has to explain
	tornLine int
	unsigned time.Time // of the first line that is not signed
}

// Verify reads the files of a log, in the order of [Files], in bounded memory. The error is about files that cannot be read;
// what is wrong with the log is in the report.
func Verify(ctx context.Context, files []string, o VerifyOptions) (Report, error) {
	v := &verifier{o: o, kept: make(map[uint64]Checkpoint)}
	for _, c := range o.Checkpoints {
		if !c.SignedBy(o.Key) {
			v.problem(0, fmt.Sprintf("a checkpoint that was given, of line %d, is not signed by the key, or is of another log", c.Seq))
			continue
		}
		if other, ok := v.kept[c.Seq]; ok && other != c {
			v.problem(0, fmt.Sprintf("two checkpoints that were given are of line %d, and differ: the log was rebuilt between them", c.Seq))
		}
		v.kept[c.Seq] = c
	}
	for _, file := range files {
		if err := v.read(ctx, file); err != nil {
			return v.Report, err
		}
	}
	v.end()
	return v.Report, nil
}

func (v *verifier) problem(line int, text string) {
	if len(v.Problems) == maxProblems {
		v.More = true
		return
	}
	v.Problems = append(v.Problems, Problem{v.file, line, text})
}

// read goes through one file.
func (v *verifier) read(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer f.Close()
	v.file, v.line = path, 0
	v.Files++
	lines := newLineReader(f)
	for ctx.Err() == nil {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("audit: read %s: %w", path, err)
		}
		v.line++
		switch {
		case line.long:
			v.problem(v.line, "it is too long to be a line of an audit log")
		case !line.ended:
			v.problem(v.line, "the file ends within a line: the writer was stopped while it wrote, or the end was cut off; a writer that starts again says so in a recovered line")
		default:
			v.take(line.text)
		}
	}
	v.unexplained()
	return ctx.Err()
}

// take judges one line.
func (v *verifier) take(text []byte) {
	r, err := ParseRecord(text)
	if err != nil {
		v.unexplained()
		v.torn, v.tornLine = append([]byte(nil), text...), v.line
		return
	}
	if r.Type == typeRecovered && v.torn != nil {
		sum := sha256.Sum256(v.torn)
		if r.Bytes == int64(len(v.torn)) && r.SHA256 == hex.EncodeToString(sum[:]) {
			v.torn = nil
			v.Recovered++
		}
	}
	v.unexplained()
	v.chain(&r)
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:])
	if kept, ok := v.kept[r.Seq]; ok {
		if kept.hash() != hash {
			v.problem(v.line, "a checkpoint that was kept elsewhere has another line here: the log was rebuilt")
		} else {
			v.Kept++
		}
	}
	v.next, v.prev = r.Seq+1, hash
	v.Records++
	v.Last, v.Until = r.Seq, r.Time
	switch r.Type {
	case typeEvent:
		v.Events++
	case typeLost:
		v.Lost += r.Count
	case typeCheckpoint:
		v.checkpoint(&r)
		return
	case typeStart: // the writer was away; what it wrote before may have waited for that long
		if v.unsigned.IsZero() || r.Time.Sub(v.unsigned) > maxUnsigned {
			v.unsigned = r.Time
		}
		return
	}
	switch {
	case v.unsigned.IsZero():
		v.unsigned = r.Time
	case r.Time.Sub(v.unsigned) > maxUnsigned:
		v.problem(v.line, "no checkpoint has signed the lines of more than two minutes: checkpoints were taken out")
		v.unsigned = r.Time
	}
}

// chain holds a line against the one before.
func (v *verifier) chain(r *Record) {
	switch {
	case v.next == 0:
		v.First, v.From = r.Seq, r.Time
		if r.Seq == 1 && r.Prev != noPrev {
			v.problem(v.line, "the first line names one before it")
		}
	case r.Seq > v.next:
		v.problem(v.line, fmt.Sprintf("lines %d to %d are missing", v.next, r.Seq-1))
	case r.Seq < v.next:
		v.problem(v.line, fmt.Sprintf("line %d stands behind line %d: lines were moved or repeated", r.Seq, v.next-1))
	case r.Prev != v.prev:
		v.problem(v.line, fmt.Sprintf("the line before, %d, is not the one that was written: it was altered", v.next-1))
	}
}

// checkpoint checks a signature. It vouches for the line before, and so for all lines before that.
func (v *verifier) checkpoint(r *Record) {
	v.Checkpoints++
	c := checkpointOf(r)
	if !c.SignedBy(v.o.Key) {
		v.problem(v.line, "the checkpoint is not signed by the key: the log was rebuilt, or is another one's")
		return
	}
	v.Signed, v.SignedAt, v.unsigned = r.Seq, r.Time, time.Time{}
}

// unexplained tells of a line that is none, if no recovered line has explained it.
func (v *verifier) unexplained() {
	if v.torn == nil {
		return
	}
	v.problem(v.tornLine, "it is no line of an audit log: it was altered, or torn and not recovered")
	v.torn = nil
}

// end judges the whole.
func (v *verifier) end() {
	v.file = ""
	if v.Records == 0 {
		v.problem(0, "there is no line of an audit log")
		return
	}
	for seq := range v.kept {
		if seq > v.Last {
			v.problem(0, fmt.Sprintf("the log ends with line %d, and a checkpoint that was kept elsewhere vouches for line %d: its end was cut off", v.Last, seq))
		}
	}
	if v.Signed == 0 {
		v.problem(0, "no checkpoint in it is signed by the key: nothing vouches for it")
	}
}

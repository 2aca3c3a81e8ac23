package audit

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
)

// The types of lines.
const (
	typeStart      = "start"
	typeBegin      = "begin"
	typeEvent      = "event"
	typeCheckpoint = "checkpoint"
	typeLost       = "lost"
	typeRecovered  = "recovered"
)

// noPrev is what the first line of a log has for the line before.
const noPrev = "0000000000000000000000000000000000000000000000000000000000000000"

// errNoRecord says that bytes are no line of a log.
var errNoRecord = errors.New("audit: not a line of an audit log")

// Record is one line of a log. Which members are set depends on Type.
type Record struct {
	// Seq is the line's number, from 1.
	Seq uint64
	// Prev is the SHA-256 of the line before, in hexadecimal.
	Prev string
	// Type is start, begin, event, checkpoint, lost or recovered.
	Type string
	// Time is when the line was written.
	Time time.Time

	// Event is what a begin or an event says. A begin has no outcome.
	Event Event
	// Version is the product's version, of a start.
	Version string
	// Log is the id of the log, of a start and a checkpoint.
	Log string
	// Key is the public key, of a start and a checkpoint. It is what the line says, and proves nothing.
	Key string
	// Reason is why a start was written: opened, rotated, or replaced (the file before was moved or removed).
	Reason string
	// Signature is that of a checkpoint, in base64url.
	Signature string
	// Count is how many events a lost stands for, and Since when the first of them was lost.
	Count int64
	Since time.Time
	// Bytes and SHA256 say what a recovered stands behind.
	Bytes  int64
	SHA256 string
}

// wire is a line as JSON has it.
type wire struct {
	Seq         uint64    `json:"seq"`
	Prev        string    `json:"prev"`
	Type        string    `json:"type"`
	Time        time.Time `json:"time"`
	Began       time.Time `json:"began"`
	RequestID   string    `json:"request_id"`
	Issuer      string    `json:"issuer"`
	Subject     string    `json:"subject"`
	Server      string    `json:"server"`
	Method      string    `json:"method"`
	Tool        string    `json:"tool"`
	Arguments   string    `json:"arguments"`
	Rule        string    `json:"rule"`
	Decision    string    `json:"decision"`
	WouldDeny   []string  `json:"would_deny"`
	Credentials []string  `json:"credentials"`
	Outcome     string    `json:"outcome"`
	Delivered   string    `json:"delivered"`
	Status      int       `json:"status"`
	DurationUS  int64     `json:"duration_us"`
	Alike       int64     `json:"alike"`
	Version     string    `json:"version"`
	Log         string    `json:"log"`
	Key         string    `json:"key"`
	Reason      string    `json:"reason"`
	Signature   string    `json:"sig"`
	Count       int64     `json:"count"`
	Since       time.Time `json:"since"`
	Bytes       int64     `json:"bytes"`
	SHA256      string    `json:"sha256"`
}

// ParseRecord reads a line, without its newline. Members that it does not know, which a later version may write, are
// passed over. The error does not quote the line.
func ParseRecord(line []byte) (Record, error) {
	var w wire
	if len(line) > maxLine || json.Unmarshal(line, &w) != nil {
		return Record{}, errNoRecord
	}
	switch w.Type {
	case typeStart, typeBegin, typeEvent, typeCheckpoint, typeLost, typeRecovered:
	default:
		return Record{}, errNoRecord
	}
	if w.Seq == 0 || !isHash(w.Prev) {
		return Record{}, errNoRecord
	}
	return Record{
		Seq: w.Seq, Prev: w.Prev, Type: w.Type, Time: w.Time,
		Event: Event{
			Time: w.Began, RequestID: w.RequestID, Issuer: w.Issuer, Subject: w.Subject, Server: w.Server, Method: w.Method,
			Tool: w.Tool, Arguments: w.Arguments, Rule: w.Rule, Decision: w.Decision, WouldDeny: w.WouldDeny, Credentials: w.Credentials,
			Outcome: w.Outcome, Delivered: w.Delivered, Status: w.Status, Duration: time.Duration(w.DurationUS) * time.Microsecond, Alike: w.Alike,
		},
		Version: w.Version, Log: w.Log, Key: w.Key, Reason: w.Reason, Signature: w.Signature,
		Count: w.Count, Since: w.Since, Bytes: w.Bytes, SHA256: w.SHA256,
	}, nil
}

// rotated reports whether the line begins a file that follows one which was full.
func (r *Record) rotated() bool { return r.Type == typeStart && r.Reason == reasonRotated }

// isHash reports whether text is a SHA-256 as lines have it.
func isHash(text string) bool {
	if len(text) != len(noPrev) {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

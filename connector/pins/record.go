package pins

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
)

// Bounds of what is kept of one server, so that an upstream cannot fill the disk.
const (
	maxTools   = 1000     // names, pinned and pending together
	maxBytes   = 4 << 20  // of definitions and names, pinned and pending together
	maxReasons = 16       // findings that are kept with a pending definition
	maxFile    = 24 << 20 // bytes of a file; a definition in a JSON string takes at most twice its bytes, findings the rest
)

const fileVersion = 1

// record is what is known of one server: the content of its file.
type record struct {
	Version int    `json:"version"`
	Server  string `json:"server"`
	// Begun is when the first tool was seen.
	Begun time.Time `json:"begun,omitzero"`
	// Settled says that the list that is pinned at first sight has ended, or the time for it.
	Settled bool              `json:"settled"`
	Tools   map[string]*entry `json:"tools"`
}

// entry is a tool: what is pinned, what was seen instead, or both.
type entry struct {
	Pinned  *Version `json:"pinned,omitzero"`
	Pending *Version `json:"pending,omitzero"`
}

// Version is a definition that a tool had.
type Version struct {
	// Hash is SHA-256 of the definition's canonical form, in hexadecimal digits.
	Hash string `json:"hash"`
	// Definition is what the upstream sent, byte for byte; empty if it was too large to be kept, or no UTF-8.
	Definition string `json:"definition,omitzero"`
	// Seen is when it was seen first.
	Seen time.Time `json:"seen"`
	// Accepted is when it was pinned; zero while it is pending.
	Accepted time.Time `json:"accepted,omitzero"`
	// By says how it was pinned: "first sight" or "accept".
	By string `json:"by,omitzero"`
	// Findings are the reasons why it is suspicious. It was pinned despite them if it is.
	Findings []Finding `json:"findings,omitzero"`
}

func (v *Version) suspicious() bool { return len(v.Findings) > 0 }

func newRecord(server string) *record {
	return &record{Version: fileVersion, Server: server, Tools: make(map[string]*entry)}
}

// clone is a copy that may be changed. Versions are never changed but replaced.
func (r *record) clone() *record {
	c := *r
	c.Tools = make(map[string]*entry, len(r.Tools))
	for name, e := range r.Tools {
		copied := *e
		c.Tools[name] = &copied
	}
	return &c
}

// size is what the record has of maxBytes.
func (r *record) size() int {
	total := 0
	for name, e := range r.Tools {
		total += len(name) + e.Pinned.size() + e.Pending.size()
	}
	return total
}

func (v *Version) size() int {
	if v == nil {
		return 0
	}
	return len(v.Definition)
}

var errDamaged = errors.New("it is damaged, or not of this program: restore it, or remove it to pin anew what the server lists next")

// decode reads a file strictly: what was written by another program, for another server, or altered, is an error. The
// text of an error quotes nothing.
func decode(content []byte, server string) (*record, error) {
	if len(content) > maxFile {
		return nil, errDamaged
	}
	r := new(record)
	if err := json.Unmarshal(content, r, json.RejectUnknownMembers(true)); err != nil {
		return nil, errDamaged
	}
	if r.Version != fileVersion || r.Server != server || r.Tools == nil || len(r.Tools) > maxTools {
		return nil, errDamaged
	}
	for _, e := range r.Tools {
		if e == nil || e.Pinned == nil && e.Pending == nil {
			return nil, errDamaged
		}
		if e.Pinned != nil && (!e.Pinned.sound() || e.Pinned.Accepted.IsZero() || e.Pinned.Definition == "") {
			return nil, errDamaged
		}
		if e.Pending != nil && (!e.Pending.sound() || !e.Pending.Accepted.IsZero()) {
			return nil, errDamaged
		}
	}
	if r.size() > maxBytes {
		return nil, errDamaged
	}
	return r, nil
}

// sound reports whether a version is one that this package has written.
func (v *Version) sound() bool {
	if len(v.Findings) > maxReasons || v.Seen.IsZero() {
		return false
	}
	if v.Definition != "" {
		return fingerprint([]byte(v.Definition)) == v.Hash
	}
	if len(v.Hash) != 64 {
		return false
	}
	for _, c := range v.Hash {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func (r *record) encode() ([]byte, error) {
	content, err := json.Marshal(r, json.Deterministic(true))
	if err == nil && len(content) > maxFile {
		return nil, errors.New("there is too much to be kept")
	}
	return append(content, '\n'), err
}

// Tool is what is kept of one tool.
type Tool struct {
	Name string `json:"name"`
	// State is Pinned, Changed, New or Suspicious: that of the definition that was seen last.
	State State `json:"state"`
	// Pinned is nil for a tool that is not.
	Pinned *Version `json:"pinned,omitzero"`
	// Pending is nil if no other definition waits to be accepted.
	Pending *Version `json:"pending,omitzero"`
}

// tools lists the record by name.
func (r *record) tools() []Tool {
	list := make([]Tool, 0, len(r.Tools))
	for _, name := range slices.Sorted(maps.Keys(r.Tools)) {
		e := r.Tools[name]
		list = append(list, Tool{Name: name, State: e.state(), Pinned: e.Pinned, Pending: e.Pending})
	}
	return list
}

// state is that of the definition that was stored last.
func (e *entry) state() State {
	switch {
	case e.Pending == nil:
		return Pinned
	case e.Pending.suspicious():
		return Suspicious
	case e.Pinned != nil:
		return Changed
	}
	return New
}

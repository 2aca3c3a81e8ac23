package mcp

import (
	"bytes"
	"strconv"
)

// Pending are the requests of a call that have no answer yet. It is not safe for concurrent use.
type Pending struct {
	ids [][]byte // raw; nil once answered
	all int
}

// NewPending begins with all requests of the call. It keeps nothing of the call's body.
func NewPending(c *Call) *Pending {
	p := new(Pending)
	for _, id := range c.IDs() {
		p.ids = append(p.ids, bytes.Clone(id))
	}
	p.all = len(p.ids)
	return p
}

// Take notes the answer to a request, and reports whether one with this raw id was waiting.
func (p *Pending) Take(id []byte) bool {
	for i, waiting := range p.ids {
		if waiting != nil && sameID(waiting, id) {
			p.ids[i] = nil
			return true
		}
	}
	return false
}

// waits reports whether a request with this raw id has no answer yet.
func (p *Pending) waits(id []byte) bool {
	for _, waiting := range p.ids {
		if waiting != nil && sameID(waiting, id) {
			return true
		}
	}
	return false
}

// Left returns the raw ids that wait, in the order of the requests.
func (p *Pending) Left() (ids [][]byte) {
	for _, id := range p.ids {
		if id != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// Done reports whether there were requests and all have their answer.
func (p *Pending) Done() bool { return p.all > 0 && len(p.Left()) == 0 }

// sameID reports whether two raw ids are one as clients compare them: strings by what they spell, numbers by value, and
// as inexactly as the servers that keep them in a float64.
func sameID(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if len(a) == 0 || len(b) == 0 || (a[0] == '"') != (b[0] == '"') {
		return false
	}
	if a[0] == '"' {
		return (bytes.IndexByte(a, '\\') >= 0 || bytes.IndexByte(b, '\\') >= 0) && unquote(a) == unquote(b)
	}
	x, errX := strconv.ParseFloat(string(a), 64)
	y, errY := strconv.ParseFloat(string(b), 64)
	return errX == nil && errY == nil && x == y
}

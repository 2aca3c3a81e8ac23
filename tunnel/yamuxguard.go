package tunnel

import (
	"encoding/binary"
	"errors"
	"net"
)

// The header of a yamux frame: version, type, flags (2 bytes), stream id (4),
// length (4); a data frame alone has a body.
const (
	yamuxHeader   = 12
	yamuxTypeData = 0
	yamuxTypePing = 2
)

var errPing = errors.New("tunnel: yamux ping, which this protocol does not use")

// yamuxGuard refuses ping frames. yamux answers each in a goroutine of its own,
// which lives for as long as the peer does not read: a flood of them would
// cost memory without bound.
type yamuxGuard struct {
	net.Conn

	header [yamuxHeader]byte // of the frame that is being read
	have   int               // how much of header is there
	body   int64             // what is left of a data frame's body
}

// Read is called by yamux's one reading goroutine.
func (g *yamuxGuard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if !g.pass(p[:n]) {
		return 0, errPing
	}
	return n, err
}

// pass follows the frames in b, and reports whether none of them is a ping.
func (g *yamuxGuard) pass(b []byte) bool {
	for len(b) > 0 {
		if g.body > 0 {
			skip := min(g.body, int64(len(b)))
			g.body -= skip
			b = b[skip:]
			continue
		}
		n := copy(g.header[g.have:], b)
		g.have += n
		b = b[n:]
		if g.have < yamuxHeader {
			return true
		}
		g.have = 0
		switch g.header[1] {
		case yamuxTypePing:
			return false
		case yamuxTypeData:
			g.body = int64(binary.BigEndian.Uint32(g.header[8:]))
		}
	}
	return true
}

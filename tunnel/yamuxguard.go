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

// Why a guard ends a connection.
var (
	errPing  = errors.New("tunnel: yamux ping, which this protocol does not use")
	errFlood = errors.New("tunnel: more streams than this side accepts, opened faster than it can")
)

// yamuxFlagOpen marks a frame that opens a stream.
const yamuxFlagOpen = 1

// yamuxGuard refuses ping frames. yamux answers each in a goroutine of its own,
// which lives for as long as the peer does not read: a flood of them would
// cost memory without bound. And it refuses streams that come faster than they
// are accepted: yamux keeps a window of data for each that waits.
type yamuxGuard struct {
	net.Conn

	// opens is told of each stream that the peer opens, and reports whether it
	// may.
	opens func() bool

	header [yamuxHeader]byte // of the frame that is being read
	have   int               // how much of header is there
	body   int64             // what is left of a data frame's body
}

// Read is called by yamux's one reading goroutine.
func (g *yamuxGuard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if refused := g.pass(p[:n]); refused != nil {
		return 0, refused
	}
	return n, err
}

// pass follows the frames in b, and says what is wrong with one of them.
func (g *yamuxGuard) pass(b []byte) error {
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
			return nil
		}
		g.have = 0
		if binary.BigEndian.Uint16(g.header[2:])&yamuxFlagOpen != 0 && g.header[1] != yamuxTypePing && !g.opens() {
			return errFlood
		}
		switch g.header[1] {
		case yamuxTypePing:
			return errPing
		case yamuxTypeData:
			g.body = int64(binary.BigEndian.Uint32(g.header[8:]))
		}
	}
	return nil
}

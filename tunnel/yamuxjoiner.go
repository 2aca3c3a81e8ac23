package tunnel

import (
	"encoding/binary"
	"net"
)

// yamuxJoiner sends the header of a data frame together with its body. yamux
// writes them one after the other, and on TLS each would be a record, a system
// call and often a packet of its own.
type yamuxJoiner struct {
	net.Conn

	wrote func(header []byte) // told of each frame without a body that has been written
	frame []byte              // a data frame's header that waits for its body; else empty
}

// Write is called by yamux's one sending goroutine, which follows each header
// that announces a body with all of that body in one more Write.
func (j *yamuxJoiner) Write(p []byte) (int, error) {
	if len(j.frame) == 0 {
		if !announcesBody(p) {
			n, err := j.Conn.Write(p)
			if err == nil {
				j.wrote(p)
			}
			return n, err
		}
		j.frame = append(j.frame, p...)
		return len(p), nil
	}
	j.frame = append(j.frame, p...)
	n, err := j.Conn.Write(j.frame)
	j.frame = j.frame[:0]
	return max(n-yamuxHeader, 0), err
}

// announcesBody reports whether a frame's header has a body behind it.
func announcesBody(header []byte) bool {
	return len(header) == yamuxHeader && header[1] == yamuxTypeData && binary.BigEndian.Uint32(header[8:]) > 0
}

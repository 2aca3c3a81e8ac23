package tunnel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Control frames: a 2-byte big-endian length of what follows, a type byte, a
// payload. A receiver ignores bytes behind the fields that it knows, and
// frames of a type that it does not know, so that later versions can add.
const (
	maxFrame       = 4 << 10 // bytes after the length prefix
	protocolNumber = 1
	maxInstance    = 64
)

type frameType uint8

const (
	frameHello     frameType = 1
	frameHeartbeat frameType = 2
	frameReply     frameType = 3
	frameDrain     frameType = 4
	frameClose     frameType = 5
)

// heartbeatSize is the payload of heartbeats and replies in bytes. A QUIC
// packet must exceed 42 bytes for a restarted gateway to answer it with a
// stateless reset.
const heartbeatSize = 64

var errFrame = errors.New("tunnel: malformed control frame")

// appendFrame appends one encoded frame to b.
func appendFrame(b []byte, t frameType, payload []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(1+len(payload)))
	b = append(b, byte(t))
	return append(b, payload...)
}

// readFrame reads one frame; payload is valid until the next call with buf,
// which holds at least maxFrame bytes.
func readFrame(r io.Reader, buf []byte) (t frameType, payload []byte, err error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return 0, nil, err
	}
	n := int(binary.BigEndian.Uint16(length[:]))
	if n < 1 || n > maxFrame {
		return 0, nil, errFrame
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return 0, nil, err
	}
	return frameType(buf[0]), buf[1:n], nil
}

// hello opens the control stream, one from each side.
type hello struct {
	protocol uint16 // version of this protocol
	streams  uint32 // how many streams the sender accepts at once
	instance string // who the sender is, in the sender's own words
}

func (h hello) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, h.protocol)
	b = binary.BigEndian.AppendUint32(b, h.streams)
	b = append(b, byte(len(h.instance)))
	return append(b, h.instance...)
}

func parseHello(p []byte) (hello, error) {
	if len(p) < 7 || len(p) < 7+int(p[6]) {
		return hello{}, errFrame
	}
	h := hello{
		protocol: binary.BigEndian.Uint16(p),
		streams:  binary.BigEndian.Uint32(p[2:]),
		instance: string(p[7 : 7+int(p[6])]),
	}
	if h.protocol != protocolNumber {
		return hello{}, fmt.Errorf("%w: the peer speaks protocol %d, this side %d: run the same major version on both", ErrVersion, h.protocol, protocolNumber)
	}
	if err := checkInstance(h.instance); err != nil {
		return hello{}, err
	}
	if h.streams == 0 || h.streams > maxStreamLimit {
		return hello{}, fmt.Errorf("%w: hello offers %d streams", errFrame, h.streams)
	}
	return h, nil
}

// checkInstance holds an instance name to 1–64 letters, digits, '_' and '-':
// it becomes part of MCP session ids, which are split at dots.
func checkInstance(s string) error {
	if s == "" || len(s) > maxInstance {
		return fmt.Errorf("tunnel: instance name of %d bytes: 1 to %d are allowed", len(s), maxInstance)
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return errors.New("tunnel: instance name may hold letters, digits, '_' and '-' only")
		}
	}
	return nil
}

func encodeClose(r Reason) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(r.Code)), cleanText(r.Text)...)
}

func parseClose(p []byte) (Reason, error) {
	if len(p) < 2 {
		return Reason{}, errFrame
	}
	return Reason{Code: Code(binary.BigEndian.Uint16(p)), Text: cleanText(string(p[2:]))}, nil
}

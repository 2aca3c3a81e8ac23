package attack

import (
	"encoding/binary"
	"fmt"
	"io"
)

// The frames of RFC 9113 that an attack needs, written and read without a
// library that would refuse to send what is wrong.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4

	settingPush          = 0x2
	settingInitialWindow = 0x4

	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

func writeFrame(w io.Writer, f frame) error {
	b := make([]byte, 9, 9+len(f.payload))
	binary.BigEndian.PutUint32(b, uint32(len(f.payload))<<8)
	b[3], b[4] = f.kind, f.flags
	binary.BigEndian.PutUint32(b[5:], f.stream)
	_, err := w.Write(append(b, f.payload...))
	return err
}

func readFrame(r io.Reader) (frame, error) {
	var head [9]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]) &^ (1 << 31)}
	f.payload = make([]byte, binary.BigEndian.Uint32(head[:])>>8)
	_, err := io.ReadFull(r, f.payload)
	return f, err
}

// settings encodes pairs of identifier and value.
func settings(pairs ...uint32) (b []byte) {
	for i := 0; i < len(pairs); i += 2 {
		b = binary.BigEndian.AppendUint16(b, uint16(pairs[i]))
		b = binary.BigEndian.AppendUint32(b, pairs[i+1])
	}
	return b
}

// setting finds one in the payload of a SETTINGS frame.
func setting(payload []byte, id uint16) (uint32, bool) {
	for ; len(payload) >= 6; payload = payload[6:] {
		if binary.BigEndian.Uint16(payload) == id {
			return binary.BigEndian.Uint32(payload[2:]), true
		}
	}
	return 0, false
}

// errorName names the code that RST_STREAM begins with, or a part of GOAWAY.
func errorName(payload []byte) string {
	if len(payload) < 4 {
		return "cut short"
	}
	names := []string{
		"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
		"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
	}
	code := binary.BigEndian.Uint32(payload)
	if int(code) < len(names) {
		return names[code]
	}
	return fmt.Sprintf("error %#x", code)
}

package tunnel

import (
	"encoding/binary"
	"sync"
)

// yamuxFlagReset marks a frame by which yamux ends a stream at once.
const yamuxFlagReset = 8

// yamuxResets tells when the resets of this side are on the wire. yamux wakes
// a stream's reader before it sends the reset, and a SYN that overtook that
// reset would be one above the peer's limit.
type yamuxResets struct {
	mu       sync.Mutex // guards expected
	expected map[uint32]chan struct{}
}

func newYamuxResets() *yamuxResets {
	return &yamuxResets{expected: make(map[uint32]chan struct{})}
}

// expect returns a channel that is closed once a reset of the stream has been
// written. It is followed by forget.
func (r *yamuxResets) expect(id uint32) <-chan struct{} {
	sent := make(chan struct{})
	r.mu.Lock()
	r.expected[id] = sent
	r.mu.Unlock()
	return sent
}

func (r *yamuxResets) forget(id uint32) {
	r.mu.Lock()
	delete(r.expected, id)
	r.mu.Unlock()
}

// wrote looks at the header of a frame that has been written.
func (r *yamuxResets) wrote(header []byte) {
	if len(header) < yamuxHeader || binary.BigEndian.Uint16(header[2:])&yamuxFlagReset == 0 {
		return
	}
	id := binary.BigEndian.Uint32(header[4:])
	r.mu.Lock()
	defer r.mu.Unlock()
	if sent, ok := r.expected[id]; ok {
		close(sent)
		delete(r.expected, id)
	}
}

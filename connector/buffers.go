package connector

import "sync"

const (
	smallRead = 512
	largeRead = 32 << 10
)

// buffers are the pools of one connector. Event streams, of which many are
// parked, read into small ones; everything else into large ones.
type buffers struct {
	events sync.Pool // *[]byte of 512 bytes, for a stream that is silent
	bulk   sync.Pool // *[]byte of 32 KiB
}

func newBuffers() *buffers {
	return &buffers{
		events: sync.Pool{New: func() any { b := make([]byte, smallRead); return &b }},
		bulk:   sync.Pool{New: func() any { b := make([]byte, largeRead); return &b }},
	}
}

// fit returns a buffer for the next read of a stream after one that gave n
// bytes: a large one while the stream has much to say, a small one while it may
// be silent for hours. It takes buf back.
func (b *buffers) fit(buf *[]byte, n int) *[]byte {
	small := len(*buf) == smallRead
	switch {
	case small && n == len(*buf):
		b.events.Put(buf)
		return b.bulk.Get().(*[]byte)
	case !small && n < smallRead:
		b.bulk.Put(buf)
		return b.events.Get().(*[]byte)
	}
	return buf
}

// put takes back a buffer of either size.
func (b *buffers) put(buf *[]byte) {
	if len(*buf) == smallRead {
		b.events.Put(buf)
		return
	}
	b.bulk.Put(buf)
}

package mcp

import "sync"

const (
	smallRead = 512
	largeRead = 32 << 10
)

// Buffers are the pools that bodies are read with on their way through: small ones for event streams, of which many are
// silent for hours, and large ones for what has much to say. It is ready to use, and safe for concurrent use.
type Buffers struct {
	small, large sync.Pool // *[]byte
}

// Small lends a buffer of 512 bytes.
func (b *Buffers) Small() *[]byte { return lend(&b.small, smallRead) }

// Large lends a buffer of 32 KiB.
func (b *Buffers) Large() *[]byte { return lend(&b.large, largeRead) }

func lend(pool *sync.Pool, size int) *[]byte {
	if buf, ok := pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, size)
	return &buf
}

// Fit returns a buffer for the next read of a stream after one that gave n bytes: a large one after a small one was
// filled, a small one after a large one stayed almost empty. It takes buf back if it lends another.
func (b *Buffers) Fit(buf *[]byte, n int) *[]byte {
	small := len(*buf) == smallRead
	switch {
	case small && n == smallRead:
		b.Put(buf)
		return b.Large()
	case !small && n < smallRead:
		b.Put(buf)
		return b.Small()
	}
	return buf
}

// Put takes back a buffer of either size.
func (b *Buffers) Put(buf *[]byte) {
	if len(*buf) == smallRead {
		b.small.Put(buf)
		return
	}
	b.large.Put(buf)
}

package gateway

import (
	"bufio"
	"bytes"
	"sync"
)

// buffers are the pools of one gateway. Event streams, of which many are
// parked, read into small ones; everything else into large ones.
type buffers struct {
	events   sync.Pool // *[]byte of 4 KiB
	bulk     sync.Pool // *[]byte of 32 KiB
	requests sync.Pool // *bytes.Buffer for encoded requests
	readers  sync.Pool // *bufio.Reader for answers
}

func newBuffers() *buffers {
	return &buffers{
		events:   sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }},
		bulk:     sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }},
		requests: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		readers:  sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4<<10) }},
	}
}

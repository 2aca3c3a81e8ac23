package gateway

import (
	"bufio"
	"bytes"
	"sync"

	"sallyport.dev/mcp"
)

// buffers are the pools of one gateway.
type buffers struct {
	mcp.Buffers           // for the bodies of answers
	requests    sync.Pool // *bytes.Buffer for encoded requests
	readers     sync.Pool // *bufio.Reader for answers
}

func newBuffers() *buffers {
	return &buffers{
		requests: sync.Pool{New: func() any { return new(bytes.Buffer) }},
		readers:  sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2<<10) }},
	}
}

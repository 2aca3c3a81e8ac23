package mcp

import "testing"

// A stream reads into a large buffer while it has much to say, and into a small one while it may be silent.
func TestBuffersFitWhatAStreamSays(t *testing.T) {
	var b Buffers
	buf := b.Small()
	for i, step := range []struct{ n, want int }{{0, smallRead}, {511, smallRead}, {512, largeRead}, {32 << 10, largeRead}, {512, largeRead}, {511, smallRead}, {1, smallRead}} {
		if buf = b.Fit(buf, step.n); len(*buf) != step.want {
			t.Fatalf("step %d: %d bytes after a read of %d, want %d", i, len(*buf), step.n, step.want)
		}
	}
	b.Put(buf)
	if got := b.Large(); len(*got) != largeRead {
		t.Errorf("a large buffer has %d bytes", len(*got))
	}
}

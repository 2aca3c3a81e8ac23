package telemetry

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestBufferGathersFor100ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		b := NewBuffer(&out)
		written := func() string {
			b.mu.Lock()
			defer b.mu.Unlock()
			return out.String()
		}
		for range 3 {
			if n, err := b.Write([]byte("a line\n")); n != 7 || err != nil {
				t.Fatal(n, err)
			}
			time.Sleep(30 * time.Millisecond)
		}
		if got := written(); got != "" {
			t.Errorf("after 90 ms there is %q", got)
		}
		time.Sleep(11 * time.Millisecond)
		synctest.Wait()
		if got := written(); got != strings.Repeat("a line\n", 3) {
			t.Errorf("after 101 ms there is %q", got)
		}
		_, _ = b.Write([]byte("last\n"))
		if err := b.Flush(); err != nil || !strings.HasSuffix(written(), "last\n") {
			t.Errorf("after Flush there is %q, %v", written(), err)
		}
		time.Sleep(time.Second) // the timer that Flush has stopped writes nothing more
		if err := b.Flush(); err != nil || strings.Count(written(), "last") != 1 {
			t.Errorf("a second Flush: %q, %v", written(), err)
		}
	})
}

func TestBufferIsBounded(t *testing.T) {
	var out bytes.Buffer
	b := NewBuffer(&out)
	line := []byte(strings.Repeat("x", 1023) + "\n")
	for range bufferSize / len(line) {
		_, _ = b.Write(line)
	}
	if out.Len() != bufferSize {
		t.Errorf("%d bytes were written at once, want %d", out.Len(), bufferSize)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestBufferTellsOfABrokenWriter(t *testing.T) {
	broken := errors.New("disk full")
	b := NewBuffer(failingWriter{broken})
	_, _ = b.Write([]byte("lost\n"))
	if err := b.Flush(); !errors.Is(err, broken) {
		t.Error(err)
	}
	if err := b.Flush(); err != nil {
		t.Errorf("lines that could not be written are tried again: %v", err)
	}
}

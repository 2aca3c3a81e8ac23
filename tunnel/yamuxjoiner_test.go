package tunnel

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"testing"
)

// writeRecorder is a connection that keeps what each Write was given.
type writeRecorder struct {
	net.Conn
	writes [][]byte
	err    error
}

func (w *writeRecorder) Write(p []byte) (int, error) {
	if w.err != nil {
		return 5, w.err
	}
	w.writes = append(w.writes, bytes.Clone(p))
	return len(p), nil
}

func TestYamuxJoiner(t *testing.T) {
	data := []byte{0, yamuxTypeData, 0, 0, 0, 0, 0, 1, 0, 0, 0, 12}
	empty := []byte{0, yamuxTypeData, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0}
	window := []byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 4, 0, 0}
	body := []byte{0, yamuxTypeData, 0, 0, 0, 0, 0, 9, 0, 0, 0, 9} // it looks like a header, and is none
	var out writeRecorder
	j := &yamuxJoiner{Conn: &out, wrote: func([]byte) {}}
	for _, p := range [][]byte{window, data, body, empty, data, body} {
		if n, err := j.Write(p); n != len(p) || err != nil {
			t.Fatalf("Write(%v) = %d, %v", p, n, err)
		}
	}
	frame := slices.Concat(data, body)
	if want := [][]byte{window, frame, empty, frame}; !slices.EqualFunc(out.writes, want, bytes.Equal) {
		t.Errorf("wrote %v, want %v", out.writes, want)
	}
	out.err = errors.New("broken")
	if n, err := j.Write(data); n != len(data) || err != nil {
		t.Errorf("a header that waits was answered with %d, %v", n, err)
	}
	if n, err := j.Write(body); n != 0 || !errors.Is(err, out.err) {
		t.Errorf("a write that failed within the header was answered with %d, %v", n, err)
	}
}

package tunnel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"
	"time"
)

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 1, 3})
	f.Add(appendFrame(nil, frameHeartbeat, heartbeatPayload(time.Second)))
	f.Add([]byte{0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, buf := bytes.NewReader(b), make([]byte, maxFrame)
		for {
			before := r.Len()
			kind, payload, err := readFrame(r, buf)
			if err != nil {
				return
			}
			start := len(b) - before
			if again := appendFrame(nil, kind, payload); !bytes.Equal(again, b[start:len(b)-r.Len()]) {
				t.Fatalf("%x became %x", b[start:len(b)-r.Len()], again)
			}
		}
	})
}

func FuzzHello(f *testing.F) {
	f.Add(hello{protocolNumber, 1024, "gateway-1"}.encode())
	f.Add(hello{2, 0, ""}.encode())
	f.Add([]byte{0, 1, 0, 0, 4, 0, 200, 'a'})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := parseHello(b)
		if err != nil {
			return
		}
		if checkInstance(h.instance) != nil || h.streams < 1 || h.streams > maxStreamLimit {
			t.Fatalf("accepted %+v", h)
		}
		if !bytes.HasPrefix(b, h.encode()) {
			t.Fatalf("%x became %x", b, h.encode())
		}
	})
}

func FuzzClose(f *testing.F) {
	f.Add(encodeClose(Reason{CodeRevoked, "token revoked"}))
	f.Add([]byte{0, 1, '\n', 0x80})
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseClose(b)
		if err != nil {
			return
		}
		if len(r.Text) > maxReasonText {
			t.Fatalf("a text of %d bytes", len(r.Text))
		}
		for _, c := range []byte(r.Text) {
			if c < 0x20 || c >= 0x7f {
				t.Fatalf("text %q", r.Text)
			}
		}
		if again, err := parseClose(encodeClose(r)); err != nil || again != r {
			t.Fatalf("%+v became %+v, %v", r, again, err)
		}
	})
}

// FuzzYamuxServer feeds a server's mux what a stranger may send after TLS.
func FuzzYamuxServer(f *testing.F) {
	f.Add([]byte{0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0})
	f.Add([]byte{0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 1, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		here, there := net.Pipe()
		m, err := newYamuxMux(here, false, 4)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = there.SetDeadline(time.Now().Add(5 * time.Second))
			go func() { _, _ = there.Write(b); _ = there.Close() }()
			_, _ = bytes.NewBuffer(nil).ReadFrom(there)
		}()
		if s, err := answer(t.Context(), m, Config{Instance: "i", AcceptStreams: 4}); err == nil {
			s.CloseWith(Reason{})
		}
		select {
		case <-m.closed():
		default:
			t.Fatal("the mux lives on")
		}
	})
}

func FuzzYamuxGuard(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 9, 9, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, uint8(5))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		guard := func() *yamuxGuard {
			opened := 0
			return &yamuxGuard{opens: func() bool { opened++; return opened <= 3 }}
		}
		whole, parts := guard(), guard()
		want := whole.pass(b)
		var got error
		for rest := b; len(rest) > 0 && got == nil; {
			n := min(len(rest), 1+int(step))
			got = parts.pass(rest[:n])
			rest = rest[n:]
		}
		if !errors.Is(got, want) {
			t.Fatalf("in one piece %v, in pieces %v", want, got)
		}
	})
}

func TestTheGuardRefusesPings(t *testing.T) {
	data := []byte{0, yamuxTypeData, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 9, yamuxTypePing}
	window := []byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, yamuxTypePing}
	ping := []byte{0, yamuxTypePing, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}
	var g yamuxGuard
	if err := g.pass(append(append([]byte{}, data...), window...)); err != nil {
		t.Errorf("frames that are no pings are refused: %v", err)
	}
	if err := g.pass(ping); !errors.Is(err, errPing) {
		t.Errorf("a ping: %v", err)
	}
	if got := yamuxCause(errPing); got.Code != CodeProtocol || !errors.Is(got, errPing) {
		t.Errorf("a ping ends the session with %v", got)
	}
}

// Streams that wait to be accepted cost a window of memory each: a peer that
// has not even said hello gets no more than twice its limit of them.
func TestTheGuardRefusesAFloodOfStreams(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	const accepted = 4
	m, err := newYamuxMux(here, false, accepted)
	if err != nil {
		t.Fatal(err)
	}
	defer m.hangUp(Reason{})
	for id := range uint32(100) {
		syn := binary.BigEndian.AppendUint32([]byte{0, 1, 0, yamuxFlagOpen}, 2*id+1)
		if _, err := there.Write(append(syn, 0, 0, 0, 0)); err != nil {
			break
		}
	}
	select {
	case <-m.closed():
	case <-time.After(10 * time.Second):
		t.Fatal("100 streams wait to be accepted")
	}
	if got := m.cause(); got.Code != CodeProtocol || !errors.Is(got, errFlood) {
		t.Errorf("the flood ended the session with %v", got)
	}
	if waiting := m.session.NumStreams(); waiting > 2*(accepted+1) {
		t.Errorf("%d streams were let in", waiting)
	}
}

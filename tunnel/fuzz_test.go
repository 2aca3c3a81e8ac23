package tunnel

import (
	"bytes"
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
		whole, parts := new(yamuxGuard), new(yamuxGuard)
		want, got := whole.pass(b), true
		for rest := b; len(rest) > 0 && got; {
			n := min(len(rest), 1+int(step))
			got = parts.pass(rest[:n])
			rest = rest[n:]
		}
		if got != want {
			t.Fatalf("in one piece %v, in pieces %v", want, got)
		}
	})
}

func TestTheGuardRefusesPings(t *testing.T) {
	data := []byte{0, yamuxTypeData, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 9, yamuxTypePing}
	window := []byte{0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, yamuxTypePing}
	ping := []byte{0, yamuxTypePing, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}
	var g yamuxGuard
	if !g.pass(append(append([]byte{}, data...), window...)) {
		t.Error("frames that are no pings are refused")
	}
	if g.pass(ping) {
		t.Error("a ping passes")
	}
	if got := yamuxCause(errPing); got.Code != CodeProtocol || !errors.Is(got, errPing) {
		t.Errorf("a ping ends the session with %v", got)
	}
}

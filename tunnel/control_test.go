package tunnel

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestControlFramesOfAStranger(t *testing.T) {
	for _, c := range []struct {
		name string
		raw  []byte
		want Code // CodeLost: the session lives on
	}{
		{"unknown type", appendFrame(nil, 77, []byte("later")), CodeLost},
		{"unknown type, no payload", appendFrame(nil, 255, nil), CodeLost},
		{"largest frame", appendFrame(nil, 78, make([]byte, maxFrame-1)), CodeLost},
		{"heartbeat", appendFrame(nil, frameHeartbeat, make([]byte, heartbeatSize)), CodeLost},
		{"drain twice", bytes.Repeat(appendFrame(nil, frameDrain, nil), 2), CodeLost},
		{"empty frame", []byte{0, 0}, CodeProtocol},
		{"oversized frame", []byte{0x10, 0x01, 3}, CodeProtocol},
		{"largest length", []byte{0xff, 0xff, 3}, CodeProtocol},
		{"second hello", appendFrame(nil, frameHello, hello{protocolNumber, 8, "raw"}.encode()), CodeProtocol},
		{"short reply", appendFrame(nil, frameReply, make([]byte, 7)), CodeProtocol},
		{"reply from the future", appendFrame(nil, frameReply, bytes.Repeat([]byte{0x7f}, 64)), CodeProtocol},
		{"reply before the start", appendFrame(nil, frameReply, bytes.Repeat([]byte{0xff}, 64)), CodeProtocol},
		{"short close", appendFrame(nil, frameClose, []byte{1}), CodeProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, peer := answered(t)
				said := make(chan Reason, 1)
				go func() {
					buf := make([]byte, maxFrame)
					for {
						kind, payload, err := readFrame(peer.control, buf)
						if err != nil {
							return
						}
						if kind == frameClose {
							r, _ := parseClose(payload)
							said <- r
						}
					}
				}()
				_, _ = peer.control.Write(c.raw)
				time.Sleep(hangUpTimeout + time.Millisecond)
				var closed *CloseError
				switch err := s.Err(); {
				case c.want == CodeLost && err != nil:
					t.Errorf("the session ended: %v", err)
				case c.want != CodeLost && (!errors.As(err, &closed) || closed.Code != c.want || closed.Remote):
					t.Errorf("the session ended with %v, want %v from here", err, c.want)
				case c.want != CodeLost:
					if r := <-said; r.Code != c.want {
						t.Errorf("the peer was told %v", r.Code)
					}
				}
				s.CloseWith(Reason{})
			})
		})
	}
}

func TestFirstFramesOfAStranger(t *testing.T) {
	good := hello{protocolNumber, 8, "raw"}
	for _, c := range []struct {
		name string
		raw  []byte
		want string
	}{
		{"not hello", appendFrame(nil, frameDrain, nil), "instead of hello"},
		{"empty hello", appendFrame(nil, frameHello, nil), "malformed"},
		{"cut hello", appendFrame(nil, frameHello, good.encode()[:8]), "malformed"},
		{"no streams", appendFrame(nil, frameHello, hello{protocolNumber, 0, "raw"}.encode()), "offers 0 streams"},
		{"too many streams", appendFrame(nil, frameHello, hello{protocolNumber, 1 << 20, "raw"}.encode()), "streams"},
		{"no instance", appendFrame(nil, frameHello, hello{protocolNumber, 8, ""}.encode()), "instance name of 0 bytes"},
		{"instance with a dot", appendFrame(nil, frameHello, hello{protocolNumber, 8, "a.b"}.encode()), "letters, digits"},
		{"long instance", appendFrame(nil, frameHello, hello{protocolNumber, 8, strings.Repeat("a", 65)}.encode()), "65 bytes"},
		{"oversized", []byte{0xff, 0xff, 1, 1}, "malformed"},
		{"other version", appendFrame(nil, frameHello, hello{2, 8, "raw"}.encode()), "the peer speaks protocol 2, this side 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mine, theirs := newPipeMuxes()
				heard := make(chan []frameType, 1)
				go func() {
					r, err := theirs.open(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					go func() { _, _ = r.Write(c.raw) }()
					var kinds []frameType
					for {
						kind, _, err := readFrame(r, make([]byte, maxFrame))
						if err != nil {
							heard <- kinds
							return
						}
						kinds = append(kinds, kind)
					}
				}()
				_, err := answer(t.Context(), mine, Config{Instance: "i", AcceptStreams: 1})
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				if isVersion := c.name == "other version"; errors.Is(err, ErrVersion) != isVersion {
					t.Errorf("is a version error: %v", !isVersion)
				}
				kinds := <-heard
				if len(kinds) == 0 || kinds[len(kinds)-1] != frameClose {
					t.Errorf("the peer heard frames %v, want close at the end", kinds)
				}
			})
		})
	}
}

func TestBothSidesLearnOfAVersionMismatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := newPipeMuxes()
		got := make(chan error, 1)
		go func() {
			_, err := handshake(t.Context(), theirs, Config{Instance: "new", AcceptStreams: 1}, theirs.open, func(s *Session) (hello, error) {
				if err := s.send(frameHello, hello{2, 8, "new"}.encode()); err != nil {
					return hello{}, err
				}
				return s.readHello()
			})
			got <- err
		}()
		if _, err := answer(t.Context(), mine, Config{Instance: "i", AcceptStreams: 1}); !errors.Is(err, ErrVersion) {
			t.Errorf("listener: %v", err)
		}
		// The dialer of version 2 hears a hello, where its own rule would apply.
		if err := <-got; errors.Is(err, ErrHello) || err != nil && strings.Contains(err.Error(), "EOF") {
			t.Errorf("the dialer of another version heard no hello: %v", err)
		}

		mine, theirs = newPipeMuxes()
		go func() {
			r, err := theirs.accept(t.Context())
			if err != nil {
				return
			}
			_, _, _ = readFrame(r, make([]byte, maxFrame))
			_, _ = r.Write(appendFrame(nil, frameHello, hello{9, 8, "old"}.encode()))
			_, _ = io.Copy(io.Discard, r)
		}()
		if _, err := dial(t.Context(), mine, Config{Instance: "i", AcceptStreams: 1}); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "protocol 9") {
			t.Errorf("dialer: %v", err)
		}
	})
}

func TestCodes(t *testing.T) {
	for _, c := range []struct {
		code   Code
		name   string
		action Action
	}{
		{CodeOK, "ok", Redial},
		{CodeDraining, "draining", AttachElsewhere},
		{CodeSuperseded, "superseded", Stop},
		{CodeRevoked, "revoked", Stop},
		{CodeAuthExpired, "auth_expired", Renew},
		{CodeProtocol, "protocol", BackOffLongest},
		{CodeOverload, "overload", BackOff},
		{CodePolicy, "policy", BackOffLongest},
		{CodeLost, "lost", Redial},
		{Code(99), "code_99", BackOffLongest},
	} {
		if c.code.String() != c.name || c.code.Action() != c.action {
			t.Errorf("code %d is %s with action %d, want %s with %d", uint16(c.code), c.code, c.code.Action(), c.name, c.action)
		}
	}
}

func TestCloseErrorsReadWell(t *testing.T) {
	for _, c := range []struct {
		err  CloseError
		want string
	}{
		{CloseError{Code: CodeDraining, Text: "bye", Remote: true}, "tunnel: session closed by the peer: draining: bye"},
		{CloseError{Code: CodeOK}, "tunnel: session closed here: ok"},
		{CloseError{Code: CodeLost, Err: io.EOF}, "tunnel: session connection: lost: EOF"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if !errors.Is(&CloseError{Err: io.EOF}, io.EOF) {
		t.Error("the transport's error is not unwrapped")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{}, {Instance: "a b"}, {Instance: "a", AcceptStreams: -1}, {Instance: "a", AcceptStreams: DefaultStreams + 1}} {
		if _, err := c.withDefaults(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

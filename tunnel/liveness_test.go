package tunnel

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// rawPeer is the far end of a session in memory whose control stream the test
// itself speaks.
type rawPeer struct {
	mux     *pipeMux
	control net.Conn
}

func (p *rawPeer) write(t *testing.T, kind frameType, payload []byte) {
	t.Helper()
	if _, err := p.control.Write(appendFrame(nil, kind, payload)); err != nil {
		t.Errorf("raw peer: write frame %d: %v", kind, err)
	}
}

// answered makes a session that has dialled a raw peer.
func answered(t *testing.T) (*Session, *rawPeer) {
	t.Helper()
	a, b := newPipeMuxes()
	peer := &rawPeer{mux: b}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r, err := b.accept(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		peer.control = r.(*pipeStream).Conn
		if _, _, err := readFrame(peer.control, make([]byte, maxFrame)); err != nil {
			t.Error(err)
		}
		peer.write(t, frameHello, hello{protocolNumber, 8, "raw"}.encode())
	}()
	s, err := dial(t.Context(), a, Config{Instance: "i", AcceptStreams: 8})
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return s, peer
}

func TestSilenceMakesASessionSuspectAndThenEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, peer := answered(t)
		var answers atomic.Bool
		go func() {
			buf := make([]byte, maxFrame)
			for {
				kind, payload, err := readFrame(peer.control, buf)
				if err != nil {
					return
				}
				if kind == frameHeartbeat && len(payload) < heartbeatSize {
					t.Errorf("a heartbeat of %d bytes", len(payload))
				}
				if kind == frameHeartbeat && answers.Load() {
					peer.write(t, frameReply, payload)
				}
			}
		}()
		time.Sleep(suspectAfter)
		if s.Suspect() {
			t.Error("suspect before 6 s have passed")
		}
		time.Sleep(time.Millisecond)
		if !s.Suspect() {
			t.Error("not suspect after 6 s")
		}
		answers.Store(true)
		time.Sleep(heartbeatInterval)
		if s.Suspect() {
			t.Error("still suspect after a reply")
		}
		answers.Store(false)
		time.Sleep(deadAfter - 3*time.Millisecond)
		select {
		case <-s.Done():
			t.Fatal("closed before 15 s have passed")
		default:
		}
		if !s.Suspect() {
			t.Error("not suspect before the end")
		}
		time.Sleep(tellTimeout + hangUpTimeout + 10*time.Millisecond)
		wantLost(t, s)
	})
}

func TestAPeerThatReadsNothingIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := answered(t)
		time.Sleep(deadAfter + tellTimeout + hangUpTimeout + 10*time.Millisecond)
		wantLost(t, s)
	})
}

func wantLost(t *testing.T, s *Session) {
	t.Helper()
	select {
	case <-s.Done():
	default:
		t.Fatal("the session lives on")
	}
	var closed *CloseError
	if !errors.As(s.Err(), &closed) || closed.Code != CodeLost {
		t.Errorf("the session ended with %v, want lost", s.Err())
	}
	s.CloseWith(Reason{})
}

func memory(t *testing.T) (dialed, accepted *Session) {
	t.Helper()
	dialed, accepted, err := Pipe(t.Context(), Config{Instance: "c"}, Config{Instance: "g"})
	if err != nil {
		t.Fatal(err)
	}
	return dialed, accepted
}

func memoryStream(t *testing.T, from, to *Session) (opened, accepted net.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		var err error
		accepted, err = to.Accept(t.Context())
		done <- err
	}()
	opened, err := from.Open(t.Context())
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return opened, accepted
}

func TestAnIdleSessionAndItsStreamsLiveOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialed, accepted := memory(t)
		opened, other := memoryStream(t, accepted, dialed)
		time.Sleep(time.Hour)
		if dialed.Suspect() || accepted.Suspect() {
			t.Error("suspect after an idle hour")
		}
		go func() { _, _ = opened.Write([]byte{5}) }()
		got := make([]byte, 1)
		if _, err := io.ReadFull(other, got); err != nil || got[0] != 5 {
			t.Errorf("after an idle hour: %v, %v", got, err)
		}
		_ = opened.Close()
		_ = other.Close()
		dialed.CloseWith(Reason{})
		accepted.CloseWith(Reason{})
	})
}

func TestAStalledWriteIsCutAfter30Seconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialed, accepted := memory(t)
		opened, other := memoryStream(t, accepted, dialed)
		start := time.Now()
		if _, err := opened.Write(make([]byte, 10)); !errors.Is(err, ErrStalled) {
			t.Errorf("a write that nobody reads: %v", err)
		}
		if took := time.Since(start); took != stallTimeout {
			t.Errorf("cut after %v", took)
		}
		if _, err := opened.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the next write: %v", err)
		}
		if _, err := other.Read(make([]byte, 1)); err == nil {
			t.Error("the peer's end of a cut stream can be read")
		}
		_ = other.Close()
		dialed.CloseWith(Reason{})
		accepted.CloseWith(Reason{})
	})
}

func TestASlowReaderIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialed, accepted := memory(t)
		opened, other := memoryStream(t, accepted, dialed)
		go func() {
			for range 12 {
				time.Sleep(25 * time.Second)
				_, _ = other.Read(make([]byte, 1))
			}
		}()
		start := time.Now()
		if n, err := opened.Write(make([]byte, 12)); n != 12 || err != nil {
			t.Errorf("a write of 12 bytes, one taken every 25 s: %d, %v", n, err)
		}
		if took := time.Since(start); took != 300*time.Second {
			t.Errorf("took %v", took)
		}
		_ = opened.SetWriteDeadline(time.Now().Add(5 * time.Second))
		start = time.Now()
		var late net.Error
		if _, err := opened.Write(make([]byte, 12)); !errors.As(err, &late) || !late.Timeout() || time.Since(start) != 5*time.Second {
			t.Errorf("a write with a deadline: %v after %v", err, time.Since(start))
		}
		_ = opened.Close()
		_ = other.Close()
		dialed.CloseWith(Reason{})
		accepted.CloseWith(Reason{})
	})
}

func TestHelloIsDueWithin10Seconds(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(ctx context.Context, mine, theirs *pipeMux) (*Session, error)
	}{
		{"listener, no stream", func(ctx context.Context, mine, _ *pipeMux) (*Session, error) {
			return answer(ctx, mine, Config{Instance: "i", AcceptStreams: 1})
		}},
		{"listener, a silent control stream", func(ctx context.Context, mine, theirs *pipeMux) (*Session, error) {
			go func() { _, _ = theirs.open(ctx) }()
			return answer(ctx, mine, Config{Instance: "i", AcceptStreams: 1})
		}},
		{"dialer, nobody reads", func(ctx context.Context, mine, theirs *pipeMux) (*Session, error) {
			go func() { _, _ = theirs.accept(ctx) }()
			return dial(ctx, mine, Config{Instance: "i", AcceptStreams: 1})
		}},
		{"dialer, no answer", func(ctx context.Context, mine, theirs *pipeMux) (*Session, error) {
			go func() {
				if r, err := theirs.accept(ctx); err == nil {
					_, _ = io.Copy(io.Discard, r)
				}
			}()
			return dial(ctx, mine, Config{Instance: "i", AcceptStreams: 1})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mine, theirs := newPipeMuxes()
				start := time.Now()
				_, err := c.start(t.Context(), mine, theirs)
				if !errors.Is(err, ErrHello) {
					t.Errorf("got %v, want ErrHello", err)
				}
				if took := time.Since(start); took < helloTimeout || took > helloTimeout+tellTimeout+hangUpTimeout {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestACancelledHandshakeSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine, theirs := newPipeMuxes()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		go func() { _, _ = theirs.accept(t.Context()) }()
		if _, err := dial(ctx, mine, Config{Instance: "i", AcceptStreams: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

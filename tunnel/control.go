package tunnel

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// send writes one control frame.
func (s *Session) send(t frameType, payload []byte) error {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	_, err := s.control.Write(appendFrame(nil, t, payload))
	return err
}

func (s *Session) sendHello(cfg Config) error {
	return s.send(frameHello, hello{protocolNumber, uint32(cfg.AcceptStreams), cfg.Instance}.encode())
}

func (s *Session) readHello() (hello, error) {
	buf := make([]byte, maxFrame)
	t, payload, err := readFrame(s.control, buf)
	if err != nil {
		return hello{}, err
	}
	if t == frameClose {
		if r, err := parseClose(payload); err == nil {
			return hello{}, &CloseError{Code: r.Code, Text: r.Text, Remote: true}
		}
	}
	if t != frameHello {
		return hello{}, fmt.Errorf("%w: type %d instead of hello", errFrame, t)
	}
	return parseHello(payload)
}

// readControl obeys the peer's frames until the session ends. An end of the
// control stream alone says nothing on QUIC, where the connection decides.
func (s *Session) readControl() {
	buf := make([]byte, maxFrame)
	for {
		t, payload, err := readFrame(s.control, buf)
		if err == nil {
			err = s.obey(t, payload)
		}
		if err == nil {
			continue
		}
		switch {
		case errors.Is(err, errFrame):
			s.giveUp(Reason{Code: CodeProtocol, Text: "malformed control frame"})
		case !s.peerIsClosing():
			s.giveUp(Reason{Code: CodeOK, Text: "control stream ended"})
		}
		return
	}
}

// giveUp is CloseWith for the session's own goroutines.
func (s *Session) giveUp(r Reason) {
	s.decide(&CloseError{Code: r.Code, Text: r.Text})
	s.closeSoon(r)
}

// closeSoon ends the session from one of its own goroutines, which CloseWith
// would wait for.
func (s *Session) closeSoon(r Reason) {
	s.work.Go(func() { s.end(r) })
}

// peerIsClosing waits, where the connection itself carries the close reason,
// for it to arrive behind the end of the control stream.
func (s *Session) peerIsClosing() bool {
	if s.mux.tells() {
		timer := time.NewTimer(hangUpTimeout)
		defer timer.Stop()
		select {
		case <-s.mux.closed():
		case <-timer.C:
		}
	}
	select {
	case <-s.mux.closed():
		_ = s.settle()
		s.closeSoon(Reason{})
		return true
	default:
		return false
	}
}

// obey acts on one frame. An error ends the session.
func (s *Session) obey(t frameType, payload []byte) error {
	switch t {
	case frameHello:
		return fmt.Errorf("%w: second hello", errFrame)
	case frameHeartbeat:
		select {
		case s.replies <- bytes.Clone(payload):
		default: // the last one still waits for the connection
		}
	case frameReply:
		return s.heard(payload)
	case frameDrain:
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.drained {
			s.drained = true
			close(s.draining)
		}
	case frameClose:
		if s.mux.tells() {
			return fmt.Errorf("%w: close, which the connection itself carries", errFrame)
		}
		r, err := parseClose(payload)
		if err != nil {
			return err
		}
		s.mu.Lock()
		if s.said == nil {
			s.said = &r
		}
		if s.err == nil {
			s.err = &CloseError{Code: r.Code, Text: r.Text, Remote: true}
		}
		s.mu.Unlock()
		s.mux.hangUp(Reason{})
	}
	return nil
}

// heartbeatPayload carries when it was sent, padded to 64 bytes.
func heartbeatPayload(sent time.Duration) []byte {
	p := make([]byte, heartbeatSize)
	binary.BigEndian.PutUint64(p, uint64(sent))
	return p
}

// heard takes a reply to one of our heartbeats.
func (s *Session) heard(payload []byte) error {
	if len(payload) < 8 {
		return errFrame
	}
	now := time.Since(s.start)
	sent := time.Duration(binary.BigEndian.Uint64(payload))
	if sent < 0 || sent > now {
		return fmt.Errorf("%w: a reply to no heartbeat", errFrame)
	}
	s.rtt.Store(int64(now - sent))
	s.lastReply.Store(int64(now))
	return nil
}

// heartbeat asks for one every 2 s, and ends a session that answers none for
// 15 s. The writes are another goroutine's: a blocked connection must keep
// neither this one from counting nor readControl from reading.
func (s *Session) heartbeat() {
	beats := make(chan struct{}, 1)
	defer close(beats)
	s.work.Go(func() { s.speak(beats) })

	ticker := time.NewTicker(heartbeatInterval)
	defer ticker.Stop()
	dead := time.NewTimer(deadAfter)
	defer dead.Stop()
	for {
		select {
		case <-s.mux.closed():
			_ = s.settle()
			s.closeSoon(Reason{})
			return
		case <-dead.C:
			if left := deadAfter - s.silence(); left > 0 {
				dead.Reset(left)
				continue
			}
			s.lost("no heartbeat was answered for 15 s")
			return
		case now := <-ticker.C:
			s.mux.tick(now)
			select {
			case beats <- struct{}{}:
			default: // the last one still waits for the connection
			}
		}
	}
}

// speak writes a heartbeat for each that is asked for, and replies to the
// peer's. An error ends it: readControl or the silence will tell.
func (s *Session) speak(beats <-chan struct{}) {
	var err error
	for err == nil {
		select {
		case _, more := <-beats:
			if !more {
				return
			}
			err = s.send(frameHeartbeat, heartbeatPayload(time.Since(s.start)))
		case payload := <-s.replies:
			err = s.send(frameReply, payload)
		}
	}
}

// lost ends a session whose peer does not answer any more.
func (s *Session) lost(why string) {
	s.decide(&CloseError{Code: CodeLost, Text: why})
	s.closeSoon(Reason{Code: CodeOK, Text: why})
}

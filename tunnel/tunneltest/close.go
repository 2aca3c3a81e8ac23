package tunneltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

// reasonsArrive closes busy sessions, each code from each side.
func reasonsArrive(t *testing.T, transport tunnel.Transport) {
	codes := []tunnel.Code{
		tunnel.CodeOK, tunnel.CodeDraining, tunnel.CodeSuperseded, tunnel.CodeRevoked,
		tunnel.CodeAuthExpired, tunnel.CodeProtocol, tunnel.CodeOverload, tunnel.CodePolicy,
	}
	arrived := 0
	for i := range closedSessions {
		reason := tunnel.Reason{Code: codes[i%len(codes)], Text: fmt.Sprintf("because of %d", i)}
		if closeBusy(t, transport, reason, i/len(codes)%2 == 0) {
			arrived++
		}
	}
	if arrived != closedSessions {
		t.Errorf("%d of %d reasons arrived", arrived, closedSessions)
	}
}

// closeBusy closes one session while its streams are busy both ways, and
// reports whether everybody learned why.
func closeBusy(t *testing.T, transport tunnel.Transport, reason tunnel.Reason, gatewayCloses bool) bool {
	const streams = 4
	connector, gateway := pair(t, transport)
	var failures sync.Map
	busy := func(conn net.Conn) {
		var work sync.WaitGroup
		work.Go(func() {
			_, err := io.Copy(io.Discard, conn)
			failures.Store(fmt.Sprintf("read %p", conn), err)
		})
		work.Go(func() {
			var err error
			buf := make([]byte, 16<<10)
			for err == nil {
				_, err = conn.Write(buf)
			}
			failures.Store(fmt.Sprintf("write %p", conn), err)
		})
		work.Wait()
	}
	waitAccepted := Serve(connector, busy)
	var opened sync.WaitGroup
	for range streams {
		conn := open(t, gateway)
		opened.Go(func() { busy(conn) })
	}
	time.Sleep(2 * time.Millisecond)
	closer, other := connector, gateway
	if gatewayCloses {
		closer, other = gateway, connector
	}
	closer.CloseWith(reason)
	ok := true
	select {
	case <-other.Done():
	case <-time.After(soon):
		t.Errorf("the other side did not learn that the session ended with %v", reason.Code)
		other.CloseWith(tunnel.Reason{})
		ok = false
	}
	opened.Wait()
	waitAccepted()
	for _, side := range []struct {
		session *tunnel.Session
		remote  bool
	}{{closer, false}, {other, true}} {
		if err := saysWhy(side.session.Err(), reason); err != nil {
			t.Errorf("session, closed by the peer %v: %v", side.remote, err)
			ok = false
		} else if closed := new(tunnel.CloseError); errors.As(side.session.Err(), &closed) && closed.Remote != side.remote {
			t.Errorf("Remote is %v, want %v", closed.Remote, side.remote)
			ok = false
		}
	}
	failures.Range(func(key, err any) bool {
		if why := saysWhy(asError(err), reason); why != nil {
			t.Errorf("stream, %v: %v", key, why)
			ok = false
		}
		return true
	})
	return ok
}

func asError(v any) error {
	err, _ := v.(error)
	return err
}

// saysWhy reports how err differs from a close with reason.
func saysWhy(err error, reason tunnel.Reason) error {
	var closed *tunnel.CloseError
	if !errors.As(err, &closed) {
		return fmt.Errorf("%w (%T) is no close error", err, err)
	}
	if closed.Code != reason.Code || closed.Text != reason.Text {
		return fmt.Errorf("%w, want %v: %s", err, reason.Code, reason.Text)
	}
	return nil
}

func endsStreams(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	opened, accepted := OpenStream(t, gateway, connector)
	reason := tunnel.Reason{Code: tunnel.CodeSuperseded, Text: "another took over"}
	blocked := make(chan error, 3)
	for _, conn := range []net.Conn{opened, accepted} {
		go func() {
			_, err := conn.Read(make([]byte, 1))
			blocked <- err
		}()
	}
	go func() {
		_, err := gateway.Accept(context.Background())
		blocked <- err
	}()
	time.Sleep(20 * time.Millisecond)
	connector.CloseWith(reason)
	for range cap(blocked) {
		if err := saysWhy(within(t, soon, "freeing a blocked call", blocked), reason); err != nil {
			t.Errorf("blocked call: %v", err)
		}
	}
	<-gateway.Done()
	if _, err := gateway.Open(context.Background()); saysWhy(err, reason) != nil {
		t.Errorf("open after the end: %v", err)
	}
	if _, err := connector.Accept(context.Background()); saysWhy(err, reason) != nil {
		t.Errorf("accept after the end: %v", err)
	}
	if _, err := opened.Write([]byte{1}); saysWhy(err, reason) != nil {
		t.Errorf("write after the end: %v", err)
	}
	connector.CloseWith(tunnel.Reason{Code: tunnel.CodePolicy, Text: "too late"})
	if err := saysWhy(connector.Err(), reason); err != nil {
		t.Errorf("after a second close: %v", err)
	}
}

func drains(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	serve(t, connector, echo)
	conn := open(t, gateway)
	if err := exchange(conn); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gateway.Draining():
		t.Fatal("draining from the start")
	default:
	}
	for range 2 {
		if err := connector.Drain(); err != nil {
			t.Fatalf("drain: %v", err)
		}
	}
	select {
	case <-gateway.Draining():
	case <-time.After(soon):
		t.Fatal("the peer's drain did not arrive")
	}
	if _, err := gateway.Open(context.Background()); !errors.Is(err, tunnel.ErrDraining) {
		t.Errorf("open after the peer's drain: %v", err)
	}
	if err := exchange(conn); err != nil {
		t.Errorf("a stream that was open: %v", err)
	}
	_ = conn.Close()
	alive(t, connector, gateway)
}

func listens(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	listener := connector.Streams()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			go func() { echo(conn); _ = conn.Close() }()
			_, err = listener.Accept()
		}
		done <- err
	}()
	conn := open(t, gateway)
	if err := exchange(conn); err != nil {
		t.Fatal(err)
	}
	if listener.Addr() == nil {
		t.Error("the listener has no address")
	}
	_ = listener.Close()
	if err := within(t, soon, "closing the listener", done); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after the listener's close: %v", err)
	}
	if err := exchange(conn); err != nil {
		t.Errorf("a stream after the listener's close: %v", err)
	}
	_ = conn.Close()
	alive(t, connector, gateway)
}

package tunneltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

func bothOpen(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	serve(t, connector, echo)
	serve(t, gateway, echo)
	for range 3 {
		for _, s := range []*tunnel.Session{gateway, connector} {
			conn := open(t, s)
			if err := exchange(conn); err != nil {
				t.Fatalf("stream to %s: %v", s.Peer().Instance, err)
			}
			if err := conn.Close(); err != nil {
				t.Fatalf("close: %v", err)
			}
		}
	}
	alive(t, connector, gateway)
}

func peerFacts(t *testing.T, transport tunnel.Transport) {
	connector, gateway := limited(t, transport, 77)
	for _, side := range []struct {
		session  *tunnel.Session
		instance string
		streams  int
	}{
		{gateway, "connector", 77},
		{connector, "gateway", tunnel.GatewayStreams},
	} {
		peer := side.session.Peer()
		if peer.Instance != side.instance || peer.Streams != side.streams || peer.Transport != transport {
			t.Errorf("peer is %+v, want %s with %d streams over %s", peer, side.instance, side.streams, transport)
		}
		if peer.Addr == nil || peer.Addr.String() == "" {
			t.Errorf("%s has no address", side.instance)
		}
		if side.session.ID() == "" || side.session.Suspect() || side.session.Err() != nil {
			t.Errorf("fresh session: id %q, suspect %v, error %v", side.session.ID(), side.session.Suspect(), side.session.Err())
		}
	}
	if connector.ID() == gateway.ID() {
		t.Error("both ends have the same id")
	}
	opened, accepted := OpenStream(t, gateway, connector)
	defer func() { _ = opened.Close(); _ = accepted.Close() }()
	if got, want := opened.RemoteAddr().String(), gateway.Peer().Addr.String(); got != want {
		t.Errorf("a stream's remote address is %s, its session's %s", got, want)
	}
}

func openWaits(t *testing.T, transport tunnel.Transport) {
	const limit = 4
	connector, gateway := limited(t, transport, limit)
	serve(t, connector, echo)
	var conns []net.Conn
	for len(conns) <= limit+1 {
		short, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		conn, err := gateway.Open(short)
		cancel()
		if err != nil {
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("open above the limit: %v, want a deadline", err)
			}
			break
		}
		if err := exchange(conn); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	// Both sides leave room for the control stream, whoever opened it.
	if n := len(conns); n != limit && n != limit+1 {
		t.Fatalf("%d streams could be opened, the limit is %d", n, limit)
	}
	gone := errors.New("the agent left")
	left, leave := context.WithCancelCause(context.Background())
	time.AfterFunc(50*time.Millisecond, func() { leave(gone) })
	if _, err := gateway.Open(left); !errors.Is(err, gone) {
		t.Fatalf("open above the limit whose caller leaves: %v, want the cause", err)
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), soon)
		defer cancel()
		conn, err := gateway.Open(ctx)
		if err == nil {
			err = exchange(conn)
			_ = conn.Close()
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("open above the limit did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	_ = conns[0].Close()
	if err := within(t, soon, "open after a slot came free", done); err != nil {
		t.Fatalf("open after a slot came free: %v", err)
	}
	for _, conn := range conns[1:] {
		if err := exchange(conn); err != nil {
			t.Fatalf("a stream that was open: %v", err)
		}
		_ = conn.Close()
	}
	alive(t, connector, gateway)
}

func closeDelivers(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	opened, accepted := OpenStream(t, gateway, connector)
	message := bytes.Repeat([]byte("sally"), 20_000)
	got := make(chan []byte, 1)
	done := make(chan error, 1)
	go func() {
		b, err := io.ReadAll(io.LimitReader(accepted, 1<<20))
		got <- b
		done <- err
	}()
	if n, err := opened.Write(message); n != len(message) || err != nil {
		t.Fatalf("write: %d, %v", n, err)
	}
	if err := opened.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	if err := within(t, soon, "reading to EOF", done); err != nil {
		t.Fatalf("read to EOF: %v", err)
	}
	if b := <-got; !bytes.Equal(b, message) {
		t.Fatalf("%d of %d bytes arrived", len(b), len(message))
	}
	_ = accepted.Close()
}

func streamErrors(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	opened, accepted := OpenStream(t, gateway, connector)
	_ = opened.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := opened.Read(make([]byte, 1))
	var timeout net.Error
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("read past its deadline: %v", err)
	}
	_ = opened.Close()
	if _, err := opened.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if _, err := opened.Write(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := opened.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after close: %v", err)
	}
	if err := opened.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := accepted.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read after the peer's close: %v", err)
	}
	if _, err := accepted.Write(make([]byte, 1)); !errors.Is(err, tunnel.ErrCancelled) {
		t.Errorf("write after the peer's close was seen: %v", err)
	}
	_ = accepted.Close()
}

package tunneltest

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

// soon bounds what should take milliseconds; it is generous so that a busy
// machine does not decide.
const soon = 10 * time.Second

// Serve hands each stream that the peer opens to handle, in a goroutine of its
// own, and closes it afterwards. It ends with the session, which must end
// before the test does; the returned func awaits that.
func Serve(s *tunnel.Session, handle func(net.Conn)) (wait func()) {
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := s.Accept(context.Background())
			if err != nil {
				return
			}
			work.Go(func() {
				defer func() { _ = conn.Close() }()
				handle(conn)
			})
		}
	})
	return work.Wait
}

// serve is Serve that is awaited at the end of the test.
func serve(t testing.TB, s *tunnel.Session, handle func(net.Conn)) {
	t.Helper()
	wait := Serve(s, handle)
	t.Cleanup(func() {
		s.CloseWith(tunnel.Reason{})
		wait()
	})
}

// echo sends back what it reads, 64 bytes at a time, until EOF.
func echo(conn net.Conn) {
	buf := make([]byte, exchangeSize)
	for {
		if _, err := io.ReadFull(conn, buf); err != nil {
			return
		}
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}

const exchangeSize = 64

// exchange is one message there and back.
func exchange(conn net.Conn) error {
	out, in := make([]byte, exchangeSize), make([]byte, exchangeSize)
	for i := range out {
		out[i] = byte(i)
	}
	if _, err := conn.Write(out); err != nil {
		return fmt.Errorf("write the message: %w", err)
	}
	if _, err := io.ReadFull(conn, in); err != nil {
		return fmt.Errorf("read the echo: %w", err)
	}
	if string(in) != string(out) {
		return fmt.Errorf("the echo differs: %x", in)
	}
	return nil
}

// open opens a stream or fails the test.
func open(t testing.TB, s *tunnel.Session) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	conn, err := s.Open(ctx)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return conn
}

// within fails the test if done does not come in time.
func within(t testing.TB, limit time.Duration, what string, done <-chan error) error {
	t.Helper()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.Fatalf("%s took more than %v", what, limit)
		return nil
	}
}

// alive fails the test if a session has ended.
func alive(t testing.TB, sessions ...*tunnel.Session) {
	t.Helper()
	for _, s := range sessions {
		select {
		case <-s.Done():
			t.Fatalf("the session with %s ended: %v", s.Peer().Instance, s.Err())
		default:
		}
	}
}

// settles polls a measure until it is at most the limit.
func settles(t testing.TB, what string, limit int, measure func() int) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	got := measure()
	for got > limit && time.Now().Before(deadline) {
		time.Sleep(50 * time.Millisecond)
		got = measure()
	}
	if got > limit {
		t.Errorf("%s is %d, want at most %d", what, got, limit)
	}
}

func heap() int {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.HeapAlloc)
}

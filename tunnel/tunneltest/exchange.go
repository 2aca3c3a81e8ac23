package tunneltest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

// answersEarly sends 1 MiB to an acceptor that answers after the first bytes.
// Where a stream serves one exchange it then closes; where streams are used
// again it reads the body on, as a close timeout would destroy the answer.
func answersEarly(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	const body = 1 << 20
	answer := bytes.Repeat([]byte("no "), 1000)
	serve(t, connector, func(conn net.Conn) {
		n, err := conn.Read(make([]byte, 100))
		if err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil || transport == tunnel.QUIC {
			return
		}
		_, _ = io.CopyN(io.Discard, conn, int64(body-n))
		_, _ = io.Copy(io.Discard, conn)
	})
	for range 20 {
		conn := open(t, gateway)
		sent := make(chan error, 1)
		go func() {
			_, err := conn.Write(make([]byte, body))
			sent <- err
		}()
		got := make([]byte, len(answer))
		if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, answer) {
			t.Fatalf("the early answer: %v", err)
		}
		err := within(t, soon, "the end of the body", sent)
		if err != nil && (transport != tunnel.QUIC || !errors.Is(err, tunnel.ErrCancelled)) {
			t.Errorf("writing the body: %v", err)
		}
		_ = conn.Close()
	}
	alive(t, connector, gateway)
}

// recycles makes many exchanges at a small concurrency and counts the streams.
func recycles(t *testing.T, transport tunnel.Transport) {
	const exchanges, workers = 1_000, 8
	connector, gateway := limited(t, transport, workers)
	var accepted, left atomic.Int64
	serve(t, connector, func(conn net.Conn) {
		accepted.Add(1)
		if transport == tunnel.TCP {
			echo(conn)
			return
		}
		buf := make([]byte, exchangeSize)
		if _, err := io.ReadFull(conn, buf); err == nil {
			_, _ = conn.Write(buf)
		}
		_ = conn.Close()
	})
	left.Store(exchanges)
	var work sync.WaitGroup
	for range workers {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				ctx, cancel := context.WithTimeout(context.Background(), soon)
				conn, err := gateway.Open(ctx)
				cancel()
				if err == nil {
					err = exchange(conn)
				}
				if err != nil {
					t.Errorf("exchange: %v", err)
					return
				}
				tunnel.Recycle(conn)
				if _, err := conn.Write([]byte{1}); !errors.Is(err, net.ErrClosed) {
					t.Errorf("write after recycle: %v", err)
				}
			}
		})
	}
	work.Wait()
	want := int64(exchanges)
	if transport.Reuses() {
		want = workers + 1
	}
	if got := accepted.Load(); got > want {
		t.Errorf("%d exchanges took %d streams, want at most %d", exchanges, got, want)
	}
	alive(t, connector, gateway)
}

// travel is how long what a peer has done may take to arrive, on a machine that has other things to do.
const travel = 500 * time.Millisecond

// closesUnfit recycles what must not serve again: a stream with half a
// message on it, one that the peer has closed, and one with unread bytes.
func closesUnfit(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	spoil := map[string]func(opened, accepted net.Conn){
		"half a message": func(opened, _ net.Conn) {
			_ = opened.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			_, _ = opened.Write(make([]byte, 1<<20))
		},
		"closed by the peer": func(opened, accepted net.Conn) {
			_ = accepted.Close()
			_, _ = opened.Read(make([]byte, 1))
		},
		"closed by the peer, unseen": func(_, accepted net.Conn) {
			_ = accepted.Close()
			time.Sleep(travel)
		},
		"unread bytes": func(_, accepted net.Conn) {
			_ = accepted.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			_, _ = accepted.Write([]byte{9})
			time.Sleep(travel)
		},
	}
	for name, spoil := range spoil {
		opened, accepted := OpenStream(t, gateway, connector)
		spoil(opened, accepted)
		tunnel.Recycle(opened)
		done := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, accepted)
			done <- err
		}()
		next, peer := OpenStream(t, gateway, connector)
		sent := make(chan error, 1)
		go func() {
			_, err := next.Write([]byte{7})
			sent <- err
		}()
		got := make([]byte, 1)
		if _, err := io.ReadFull(peer, got); err != nil || got[0] != 7 {
			t.Errorf("%s: the next stream: %v, %v", name, got, err)
		}
		if err := within(t, soon, name+": the next write", sent); err != nil {
			t.Errorf("%s: the next stream: %v", name, err)
		}
		_ = within(t, soon, name+": the end of the unfit stream", done)
		for _, conn := range []net.Conn{next, peer, accepted} {
			_ = conn.Close()
		}
	}
	alive(t, connector, gateway)
}

package tunneltest

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

// The first byte on a stream of these tests says what its acceptor does.
const (
	roleEcho  = 'e'
	roleFlood = 'f' // write until that fails
	roleStall = 's' // read nothing more until the test ends
)

func gatewayStalls(t *testing.T, transport tunnel.Transport)   { stalls(t, transport, roleFlood) }
func connectorStalls(t *testing.T, transport tunnel.Transport) { stalls(t, transport, roleStall) }

// stalls opens all streams but one, fills each until its writer blocks, and
// then wants a small exchange on the last.
func stalls(t *testing.T, transport tunnel.Transport, role byte) {
	connector, gateway := limited(t, transport, stalledReaders+1)
	var flooded atomic.Int64
	ended := make(chan struct{})
	wait := Serve(connector, func(conn net.Conn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(conn, first); err != nil {
			return
		}
		switch first[0] {
		case roleEcho:
			echo(conn)
		case roleFlood:
			flood(conn, &flooded)
		case roleStall:
			<-ended
		}
	})
	var floods sync.WaitGroup
	defer func() {
		close(ended)
		gateway.CloseWith(tunnel.Reason{})
		connector.CloseWith(tunnel.Reason{})
		floods.Wait()
		wait()
	}()
	for range stalledReaders {
		conn := open(t, gateway)
		if _, err := conn.Write([]byte{role}); err != nil {
			t.Fatal(err)
		}
		if role == roleStall {
			floods.Go(func() { flood(conn, &flooded) })
		}
	}
	want := int64(stalledReaders) * (tunnel.StreamWindow - floodChunk) // a write counts when it is whole
	if transport == tunnel.Memory {
		want = 0 // no buffer: each writer is blocked from the start
	}
	blocked(t, &flooded, want)
	start := time.Now()
	done := make(chan error, 1)
	sibling := open(t, gateway)
	go func() {
		_, err := sibling.Write([]byte{roleEcho})
		if err == nil {
			err = exchange(sibling)
		}
		done <- err
	}()
	if err := within(t, 6*time.Second, "an exchange beside stalled readers", done); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d stalled readers hold %d MiB; the sibling's exchange took %v", stalledReaders, flooded.Load()>>20, time.Since(start).Round(time.Microsecond))
	alive(t, connector, gateway)
}

const floodChunk = 16 << 10

// flood writes until that fails, and counts what was taken.
func flood(conn net.Conn, total *atomic.Int64) {
	buf := make([]byte, floodChunk)
	for {
		n, err := conn.Write(buf)
		total.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// blocked waits until the floods have written what they can: no byte more for
// half a second.
func blocked(t *testing.T, total *atomic.Int64, want int64) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	last, since := int64(-1), time.Now()
	for time.Now().Before(deadline) {
		if n := total.Load(); n != last {
			last, since = n, time.Now()
		}
		if last >= want && time.Since(since) > 500*time.Millisecond {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("the writers took %d bytes, want %d: they stall one another", last, want)
}

package tunneltest

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

const tunnelLimit = tunnel.DefaultStreams

func leavesNothing(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	serve(t, connector, echo)
	run := func(streams int) {
		var work sync.WaitGroup
		var left atomic.Int64
		left.Store(int64(streams))
		for range 16 {
			work.Go(func() {
				for left.Add(-1) >= 0 {
					conn, err := gateway.Open(context.Background())
					if err == nil {
						err = exchange(conn)
						_ = conn.Close()
					}
					if err != nil {
						t.Errorf("exchange: %v", err)
						return
					}
				}
			})
		}
		work.Wait()
	}
	run(500)
	time.Sleep(200 * time.Millisecond)
	goroutines, bytes := runtime.NumGoroutine(), heap()
	run(churnStreams)
	settles(t, "number of goroutines", goroutines+4, runtime.NumGoroutine)
	slack := 2 << 20
	if transport == tunnel.Memory {
		slack = 32 << 20 // net.Pipe keeps a deadline's timer, 30 s here, if the other end closes first
	}
	settles(t, "heap in bytes", bytes+slack, heap)
	alive(t, connector, gateway)
}

// reopensAll cancels with a byte still unread, and twice.
func reopensAll(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	serve(t, connector, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	for range 3 {
		var conns []net.Conn
		for i := range tunnelLimit {
			conn := open(t, gateway)
			if _, err := conn.Write([]byte{1, 2, 3}); err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
		alive(t, connector, gateway)
	}
}

// churnsAtTheLimit keeps more openers than slots busy, towards handlers that
// close as they like.
func churnsAtTheLimit(t *testing.T, transport tunnel.Transport) {
	const limit, openers, streams = 16, 24, 2_000
	connector, gateway := limited(t, transport, limit)
	serve(t, connector, func(conn net.Conn) {
		switch rand.IntN(5) {
		case 0: // abort at once
		case 1:
			_, _ = io.Copy(io.Discard, conn)
		case 2:
			_, _ = conn.Read(make([]byte, exchangeSize))
			_, _ = conn.Write(make([]byte, exchangeSize))
		case 3:
			_, _ = conn.Write(make([]byte, exchangeSize))
		case 4:
			time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
		}
	})
	var work sync.WaitGroup
	var left atomic.Int64
	left.Store(streams)
	for range openers {
		work.Go(func() {
			for left.Add(-1) >= 0 {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				conn, err := gateway.Open(ctx)
				cancel()
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(time.Duration(rand.IntN(20)) * time.Millisecond))
				_, _ = conn.Write(make([]byte, exchangeSize))
				if rand.IntN(2) == 0 {
					_, _ = io.ReadFull(conn, make([]byte, exchangeSize))
				}
				_ = conn.Close()
			}
		})
	}
	work.Wait()
	alive(t, connector, gateway)
}

package tunnel_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

// Handlers that neither read nor close leave the opener with yamux's own
// reset, 5 s after its close. No slot may be used again before that reset is
// on its way, or an honest opener would lose its session.
func TestYamuxSlotsComeBackFromHandlersThatNeverClose(t *testing.T) {
	t.Parallel()
	connector, gateway := tunneltest.Pair(t, tunnel.TCP, tunnel.Config{Instance: "c"}, tunnel.Config{Instance: "g"})
	ended := make(chan struct{})
	wait := tunneltest.Serve(connector, func(net.Conn) { <-ended })
	for round := range 3 {
		start := time.Now()
		var conns []net.Conn
		var work sync.WaitGroup
		var mu sync.Mutex // guards conns
		for range tunnel.DefaultStreams {
			work.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				conn, err := gateway.Open(ctx)
				if err == nil {
					_, err = conn.Write([]byte("unread"))
				}
				if err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
				mu.Lock()
				conns = append(conns, conn)
				mu.Unlock()
			})
		}
		work.Wait()
		if took := time.Since(start); took > 15*time.Second {
			t.Errorf("round %d took %v", round, took)
		}
		for _, conn := range conns {
			_ = conn.Close()
		}
	}
	if err := gateway.Err(); err != nil {
		t.Errorf("the session ended: %v", err)
	}
	close(ended)
	gateway.CloseWith(tunnel.Reason{})
	wait()
}

func TestIdleRecycledStreamsAreDropped(t *testing.T) {
	t.Parallel()
	connector, gateway := tunneltest.Pair(t, tunnel.TCP, tunnel.Config{Instance: "c"}, tunnel.Config{Instance: "g"})
	var live atomic.Int64
	wait := tunneltest.Serve(connector, func(conn net.Conn) {
		live.Add(1)
		_, _ = io.Copy(conn, conn)
		live.Add(-1)
	})
	var conns []net.Conn
	for range 8 {
		conn, err := gateway.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		tunnel.Recycle(conn)
	}
	time.Sleep(8 * time.Second)
	if n := live.Load(); n != 8 {
		t.Errorf("%d recycled streams live after 8 s, want 8", n)
	}
	for deadline := time.Now().Add(15 * time.Second); live.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	if n := live.Load(); n != 0 {
		t.Errorf("%d recycled streams live on", n)
	}
	gateway.CloseWith(tunnel.Reason{})
	wait()
}

package tunneltest

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

func openerCancels(t *testing.T, transport tunnel.Transport) {
	cancels(t, transport, func(opened, accepted net.Conn) (leaves, writes net.Conn) { return opened, accepted })
}

func acceptorCancels(t *testing.T, transport tunnel.Transport) {
	cancels(t, transport, func(opened, accepted net.Conn) (leaves, writes net.Conn) { return accepted, opened })
}

// cancels blocks one end in Write and lets the other leave: with a reader at
// the blocked end it is freed at once; without, at once where the transport can
// reset a stream, else within the close timeout.
func cancels(t *testing.T, transport tunnel.Transport, roles func(opened, accepted net.Conn) (leaves, writes net.Conn)) {
	unread := 2 * time.Second
	if transport == tunnel.TCP {
		unread = 8 * time.Second // close timeout 5 s
	}
	for _, c := range []struct {
		name  string
		reads bool
		limit time.Duration
	}{
		{"where that end is reading", true, 2 * time.Second},
		{"where nobody reads", false, unread},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			connector, gateway := pair(t, transport)
			leaves, writes := roles(OpenStream(t, gateway, connector))
			read, written := make(chan error, 1), make(chan error, 1)
			if c.reads {
				go func() {
					_, err := writes.Read(make([]byte, 1))
					read <- err
				}()
			}
			go func() {
				buf := make([]byte, 64<<10)
				for {
					if _, err := writes.Write(buf); err != nil {
						written <- err
						return
					}
				}
			}()
			time.Sleep(200 * time.Millisecond) // the writer fills the window
			start := time.Now()
			_ = leaves.Close()
			if err := within(t, c.limit, "freeing the writer", written); !errors.Is(err, tunnel.ErrCancelled) {
				t.Errorf("the blocked writer got %v, want ErrCancelled", err)
			}
			t.Logf("freed after %v", time.Since(start).Round(time.Millisecond))
			if c.reads {
				if err := within(t, soon, "freeing the reader", read); !errors.Is(err, io.EOF) && !errors.Is(err, tunnel.ErrCancelled) {
					t.Errorf("the reader got %v", err)
				}
			}
			_ = writes.Close()
			alive(t, connector, gateway)
		})
	}
}

func freesReader(t *testing.T, transport tunnel.Transport) {
	connector, gateway := pair(t, transport)
	for _, peerLeaves := range []bool{true, false} {
		opened, accepted := OpenStream(t, gateway, connector)
		done := make(chan error, 1)
		go func() {
			_, err := accepted.Read(make([]byte, 1))
			done <- err
		}()
		time.Sleep(20 * time.Millisecond)
		want := net.ErrClosed
		if peerLeaves {
			want = io.EOF
			_ = opened.Close()
		} else {
			_ = accepted.Close()
		}
		if err := within(t, 2*time.Second, "freeing the reader", done); !errors.Is(err, want) {
			t.Errorf("peer leaves %v: the reader got %v, want %v", peerLeaves, err, want)
		}
		_ = opened.Close()
		_ = accepted.Close()
	}
}

package tunnel_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

// A gateway that is killed and restarted with its own reset key is noticed by
// the first heartbeat after it is back; without it only the idle timeout tells.
func TestARestartedListenerIsNoticedThroughItsResetKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after [32]byte
		seen  bool
	}{
		{"the same key", [32]byte{1}, true},
		{"another key", [32]byte{2}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server, conf := tunneltest.TLS(t)
			socket, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			listener, err := tunnel.ListenQUIC(socket, tunnel.ListenConfig{Config: tunnel.Config{Instance: "g"}, TLS: server, ResetKey: [32]byte{1}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = listener.Close() })
			d := &tunnel.Dialer{Config: tunnel.Config{Instance: "c"}, Addr: socket.LocalAddr().String(), TLS: conf, Transport: tunnel.QUIC}
			s, err := d.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer s.CloseWith(tunnel.Reason{})
			time.Sleep(100 * time.Millisecond) // the handshake's last packets
			_ = socket.Close()                 // no CONNECTION_CLOSE can leave
			listenQUIC(t, socket.LocalAddr().String(), server, 8, c.after)
			start := time.Now()
			select {
			case <-s.Done():
				if !c.seen {
					t.Fatalf("ended after %v: %v", time.Since(start), s.Err())
				}
				var closed *tunnel.CloseError
				if !errors.As(s.Err(), &closed) || closed.Code != tunnel.CodeLost {
					t.Errorf("ended with %v, want lost", s.Err())
				}
				t.Logf("noticed after %v", time.Since(start).Round(time.Millisecond))
			case <-time.After(6 * time.Second):
				if c.seen {
					t.Fatal("not noticed in 6 s, three heartbeats")
				}
			}
		})
	}
}

// relay forwards datagrams between one client and a gateway until it is cut.
type relay struct {
	front, back net.PacketConn
	done        chan struct{}
}

func newRelay(t *testing.T, gateway net.Addr) *relay {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{front: front, back: back, done: make(chan struct{}, 2)}
	client := make(chan net.Addr, 1)
	go func() {
		defer func() { r.done <- struct{}{} }()
		for buf, first := make([]byte, 2048), true; ; first = false {
			n, from, err := front.ReadFrom(buf)
			if err != nil {
				return
			}
			if first {
				client <- from
			}
			_, _ = back.WriteTo(buf[:n], gateway)
		}
	}()
	go func() {
		defer func() { r.done <- struct{}{} }()
		var to net.Addr
		for buf := make([]byte, 2048); ; {
			n, _, err := back.ReadFrom(buf)
			if err != nil {
				return
			}
			if to == nil {
				to = <-client
			}
			_, _ = front.WriteTo(buf[:n], to)
		}
	}()
	return r
}

func (r *relay) cut() {
	_ = r.front.Close()
	_ = r.back.Close()
	<-r.done
	<-r.done
}

// A blackholed QUIC connection ends by its idle timeout; its streams say so,
// and never that a deadline passed.
func TestABlackholedQUICSessionIsLost(t *testing.T) {
	t.Parallel()
	server, conf := tunneltest.TLS(t)
	listener := listenQUIC(t, "127.0.0.1:0", server, 8, [32]byte{1})
	r := newRelay(t, listener.Addr())
	d := &tunnel.Dialer{Config: tunnel.Config{Instance: "c"}, Addr: r.front.LocalAddr().String(), TLS: conf, Transport: tunnel.QUIC}
	s, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := listener.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	opened, accepted := tunneltest.OpenStream(t, gateway, s)
	r.cut()
	start := time.Now()
	for _, conn := range []net.Conn{opened, accepted} {
		var closed *tunnel.CloseError
		if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &closed) || closed.Code != tunnel.CodeLost {
			t.Errorf("a blocked read got %v, want the session's loss", err)
		}
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("lost after %v", took)
	}
	endsWith(t, s, 5*time.Second, tunnel.CodeLost)
	endsWith(t, gateway, 5*time.Second, tunnel.CodeLost)
	if _, err := gateway.Open(context.Background()); err == nil {
		t.Error("a lost session opens streams")
	}
}

// A TCP connection that takes nothing more must not hold up its own end.
func TestABlockedTCPSessionClosesInTime(t *testing.T) {
	t.Parallel()
	client, greeting := gatewayTCP(t, 8)
	raw := rawHello(1, 8, "raw")
	first := append(yamuxFrame(0, 1, 1, 1, 0, nil), yamuxFrame(0, 0, 0, 1, uint32(len(raw)), raw)...)
	for id := uint32(3); id < 13; id += 2 { // five streams with all the credit there is
		first = append(first, yamuxFrame(0, 1, 1, id, 1<<30, nil)...)
	}
	if _, err := client.Write(first); err != nil {
		t.Fatal(err)
	}
	g := <-greeting
	if g.err != nil {
		t.Fatal(g.err)
	}
	wait := tunneltest.Serve(g.session, func(conn net.Conn) {
		go func() { _, _ = io.Copy(io.Discard, conn) }()
		for buf := make([]byte, 64<<10); ; {
			if _, err := conn.Write(buf); err != nil {
				return
			}
		}
	})
	time.Sleep(time.Second) // the client reads nothing: its socket fills
	start := time.Now()
	g.session.CloseWith(tunnel.Reason{Code: tunnel.CodeDraining})
	if took := time.Since(start); took > 6*time.Second {
		t.Errorf("closing a blocked connection took %v", took)
	}
	wait()
	endsWith(t, g.session, time.Second, tunnel.CodeDraining)
}

// The socket that a connector dials from answers nobody but its gateway.
func TestTheDialledSocketAnswersNobody(t *testing.T) {
	t.Parallel()
	dialed, accepted := tunneltest.Pair(t, tunnel.QUIC, tunnel.Config{Instance: "c"}, tunnel.Config{Instance: "g"})
	opened, other := tunneltest.OpenStream(t, accepted, dialed)
	defer func() { _ = opened.Close(); _ = other.Close() }()
	port := other.LocalAddr().(*net.UDPAddr).Port
	stranger, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Close() }()
	long := func(first byte, version ...byte) []byte {
		packet := make([]byte, 1250)
		packet[0] = first
		copy(packet[1:], version)
		packet[5], packet[14] = 8, 8 // connection ids of 8 bytes
		return packet
	}
	short := make([]byte, 200)
	short[0] = 0x40
	for name, packet := range map[string][]byte{
		"an Initial":         long(0xc0, 0, 0, 0, 1),
		"an unknown version": long(0xc0, 0x1a, 0x2a, 0x3a, 0x4a),
		"version 2":          long(0xd0, 0x6b, 0x33, 0x43, 0xcf),
		"a Handshake":        long(0xe0, 0, 0, 0, 1),
		"a short header":     short,
		"no QUIC at all":     []byte("hello, is anybody there?"),
	} {
		if _, err := stranger.Write(packet); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_ = stranger.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if n, err := stranger.Read(make([]byte, 2048)); err == nil {
			t.Errorf("%s was answered with %d bytes", name, n)
		} else if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := dialed.Err(); err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

package tunnel_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

func heap() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// A peer opens 20,000 streams: towards handlers that keep them, and towards
// handlers that close them at once while it never closes its own ends.
func TestYamuxPeerThatOpensTooMuchLosesItsSession(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle func(net.Conn)
	}{
		{"handlers keep streams", func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }},
		{"handlers close streams", func(net.Conn) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := heap()
			raw, _, s := rawYamux(t, tunnel.GatewayStreams)
			wait := tunneltest.Serve(s, c.handle)
			opened := 0
			for range 20_000 {
				stream, err := raw.OpenStream()
				if err != nil {
					break
				}
				if _, err := stream.Write([]byte("unread")); err != nil {
					break
				}
				opened++
			}
			t.Logf("%d streams were opened", opened)
			endsWith(t, s, 10*time.Second, tunnel.CodeProtocol)
			wait()
			_ = raw.Close()
			if after := heap(); after > before+16<<20 {
				t.Errorf("heap grew from %d to %d bytes", before, after)
			}
		})
	}
}

func TestQUICPeerMeetsTheStreamLimit(t *testing.T) {
	client, listener := gatewayQUIC(t, tunnel.GatewayStreams)
	control, err := client.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	sayHello(t, control)
	s, err := listener.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	wait := tunneltest.Serve(s, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	opened := 0
	for range 20_000 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		stream, err := client.OpenStreamSync(ctx)
		cancel()
		if err != nil {
			break
		}
		_, _ = stream.Write([]byte("unread"))
		opened++
	}
	if opened != tunnel.GatewayStreams {
		t.Errorf("a peer opened %d streams, the limit is %d", opened, tunnel.GatewayStreams)
	}
	if _, err := client.OpenUniStream(); err == nil {
		t.Error("a unidirectional stream could be opened")
	}
	s.CloseWith(tunnel.Reason{})
	wait()
}

func yamuxFrame(version, kind byte, flags uint16, stream, length uint32, body []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{version, kind}, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	b = binary.BigEndian.AppendUint32(b, length)
	return append(b, body...)
}

func TestYamuxFramesOfAStranger(t *testing.T) {
	t.Parallel()
	const syn, fin = 1, 4
	for _, c := range []struct {
		name string
		raw  []byte
		ends bool
	}{
		{"oversize length", yamuxFrame(0, 0, 0, 1, 1<<32-1, nil), true},
		{"unknown version", yamuxFrame(1, 0, 0, 1, 0, nil), true},
		{"unknown type", yamuxFrame(0, 9, 0, 1, 0, nil), true},
		{"data for an unknown stream", yamuxFrame(0, 0, 0, 4001, 5, []byte("hello")), false},
		{"window update for an unknown stream", yamuxFrame(0, 1, 0, 4001, 99, nil), false},
		{"fin and reset for an unknown stream", yamuxFrame(0, 1, fin|8, 4001, 0, nil), false},
		{"syn with data above the window", yamuxFrame(0, 0, syn, 3, tunnel.StreamWindow+1, nil), true},
		{"window overflow", yamuxFrame(0, 1, syn, 3, 1<<32-1, yamuxFrame(0, 1, 0, 3, 1<<32-1, nil)), false},
		{"a stream opened twice", yamuxFrame(0, 1, syn, 3, 0, yamuxFrame(0, 1, syn, 3, 0, nil)), true},
		{"the control stream opened again", yamuxFrame(0, 1, syn, 1, 0, nil), true},
		{"ping", yamuxFrame(0, 2, syn, 0, 1, nil), true},
		{"ping flood", bytes.Repeat(yamuxFrame(0, 2, syn, 0, 1, nil), 100_000), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, greeting := gatewayTCP(t, 8)
			first := append(yamuxFrame(0, 1, syn, 1, 0, nil), yamuxFrame(0, 0, 0, 1, uint32(len(rawHello(1, 8, "raw"))), rawHello(1, 8, "raw"))...)
			if _, err := client.Write(first); err != nil {
				t.Fatal(err)
			}
			g := <-greeting
			if g.err != nil {
				t.Fatal(g.err)
			}
			wait := tunneltest.Serve(g.session, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
			_, _ = client.Write(c.raw)
			if c.ends {
				endsWith(t, g.session, 10*time.Second, tunnel.CodeProtocol)
			} else {
				time.Sleep(100 * time.Millisecond)
				if err := g.session.Err(); err != nil {
					t.Errorf("the session ended: %v", err)
				}
			}
			g.session.CloseWith(tunnel.Reason{})
			wait()
		})
	}
}

// bound is the 10 s that a handshake may take, with room for a busy machine.
const bound = 30 * time.Second

func TestSilentAndNoisyPeersAreCut(t *testing.T) {
	t.Parallel()
	t.Run("TCP, silent after TLS", func(t *testing.T) {
		t.Parallel()
		_, greeting := gatewayTCP(t, 8)
		refused(t, greeting, tunnel.ErrHello)
	})
	t.Run("TCP, garbage after TLS", func(t *testing.T) {
		t.Parallel()
		client, greeting := gatewayTCP(t, 8)
		garbage := make([]byte, 64<<10)
		_, _ = rand.Read(garbage)
		_, _ = client.Write(garbage)
		refused(t, greeting, nil)
	})
	t.Run("TCP, an HTTP request after TLS", func(t *testing.T) {
		t.Parallel()
		client, greeting := gatewayTCP(t, 8)
		_, _ = client.Write([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
		refused(t, greeting, nil)
	})
	t.Run("TCP, hello of another version", func(t *testing.T) {
		t.Parallel()
		client, greeting := gatewayTCP(t, 8)
		raw := rawHello(2, 8, "raw")
		_, _ = client.Write(append(yamuxFrame(0, 1, 1, 1, 0, nil), yamuxFrame(0, 0, 0, 1, uint32(len(raw)), raw)...))
		refused(t, greeting, tunnel.ErrVersion)
		_ = client.SetReadDeadline(time.Now().Add(bound))
		all, _ := io.ReadAll(io.LimitReader(client, 64<<10))
		if !bytes.Contains(all, rawHello(1, 8, "g")) {
			t.Errorf("the peer did not hear this side's version: %x", all)
		}
	})
	t.Run("QUIC, answers pings and opens nothing", func(t *testing.T) {
		t.Parallel()
		client, _ := gatewayQUIC(t, 8)
		cut(t, client, tunnel.CodeProtocol)
	})
	t.Run("QUIC, a silent control stream", func(t *testing.T) {
		t.Parallel()
		client, _ := gatewayQUIC(t, 8)
		stream, err := client.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = stream.Write([]byte{0})
		cut(t, client, tunnel.CodeProtocol)
	})
	t.Run("QUIC, a malformed hello", func(t *testing.T) {
		t.Parallel()
		client, _ := gatewayQUIC(t, 8)
		stream, err := client.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = stream.Write([]byte{0xff, 0xff, 1, 1, 1})
		cut(t, client, tunnel.CodeProtocol)
	})
	t.Run("QUIC, hello of another version", func(t *testing.T) {
		t.Parallel()
		client, _ := gatewayQUIC(t, 8)
		stream, err := client.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		_, _ = stream.Write(rawHello(2, 8, "raw"))
		want := rawHello(1, 8, "g")
		got := make([]byte, len(want))
		if _, err := io.ReadFull(stream, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the peer did not hear this side's version: %x, %v", got, err)
		}
		cut(t, client, tunnel.CodeProtocol)
	})
	t.Run("QUIC, second hello", func(t *testing.T) {
		t.Parallel()
		client, listener := gatewayQUIC(t, 8)
		stream, err := client.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		sayHello(t, stream)
		s, err := listener.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = stream.Write(rawHello(1, 8, "raw"))
		endsWith(t, s, 10*time.Second, tunnel.CodeProtocol)
		cut(t, client, tunnel.CodeProtocol)
	})
	t.Run("QUIC, wrong ALPN", func(t *testing.T) {
		t.Parallel()
		server, conf := tunneltest.TLS(t)
		listener := listenQUIC(t, "127.0.0.1:0", server, 8, [32]byte{1})
		conf.NextProtos = []string{"h3"}
		if conn, err := quic.DialAddr(t.Context(), listener.Addr().String(), conf, nil); err == nil {
			_ = conn.CloseWithError(0, "")
			t.Error("h3 was agreed on")
		}
	})
	t.Run("UDP, garbage", func(t *testing.T) {
		t.Parallel()
		server, conf := tunneltest.TLS(t)
		listener := listenQUIC(t, "127.0.0.1:0", server, 8, [32]byte{1})
		noise, err := net.Dial("udp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = noise.Close() }()
		for i := range 2_000 {
			packet := make([]byte, 1+i%1400)
			_, _ = rand.Read(packet)
			_, _ = noise.Write(packet)
		}
		d := &tunnel.Dialer{Config: tunnel.Config{Instance: "c"}, Addr: listener.Addr().String(), TLS: conf, Transport: tunnel.QUIC}
		s, err := d.Dial(t.Context())
		if err != nil {
			t.Fatalf("dial after garbage: %v", err)
		}
		s.CloseWith(tunnel.Reason{})
	})
}

func refused(t *testing.T, greeting <-chan greeted, want error) {
	t.Helper()
	select {
	case g := <-greeting:
		if g.err == nil {
			g.session.CloseWith(tunnel.Reason{})
			t.Fatal("the peer was greeted")
		}
		if want != nil && !errors.Is(g.err, want) {
			t.Errorf("got %v, want %v", g.err, want)
		}
	case <-time.After(bound):
		t.Fatal("the peer stays")
	}
}

// cut waits for the gateway to close a raw connection.
func cut(t *testing.T, conn *quic.Conn, want tunnel.Code) {
	t.Helper()
	select {
	case <-conn.Context().Done():
		var closed *quic.ApplicationError
		if err := context.Cause(conn.Context()); !errors.As(err, &closed) || !closed.Remote || closed.ErrorCode != quic.ApplicationErrorCode(want) {
			t.Errorf("cut with %v, want %v", err, want)
		}
	case <-time.After(bound):
		t.Fatal("the peer stays")
	}
}

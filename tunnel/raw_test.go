package tunnel_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/yamux"
	"github.com/quic-go/quic-go"

	"sallyport.dev/tunnel"
	"sallyport.dev/tunnel/tunneltest"
)

// The wire, written down a second time for peers that break its rules.
func rawFrame(kind byte, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(1+len(payload)))
	return append(append(b, kind), payload...)
}

func rawHello(version uint16, streams uint32, instance string) []byte {
	b := binary.BigEndian.AppendUint16(nil, version)
	b = binary.BigEndian.AppendUint32(b, streams)
	return rawFrame(1, append(append(b, byte(len(instance))), instance...))
}

// sayHello says hello on a fresh control stream and reads the answer.
func sayHello(t *testing.T, control io.ReadWriter) {
	t.Helper()
	if _, err := control.Write(rawHello(1, 8, "raw")); err != nil {
		t.Fatalf("raw peer: %v", err)
	}
	length := make([]byte, 2)
	if _, err := io.ReadFull(control, length); err != nil {
		t.Fatalf("raw peer: %v", err)
	}
	if _, err := io.ReadFull(control, make([]byte, binary.BigEndian.Uint16(length))); err != nil {
		t.Fatalf("raw peer: %v", err)
	}
}

type greeted struct {
	session *tunnel.Session
	err     error
}

// gatewayTCP accepts one TLS connection and the session on it, and returns
// the client's end.
func gatewayTCP(t *testing.T, streams int) (client *tls.Conn, session <-chan greeted) {
	t.Helper()
	server, conf := tunneltest.TLS(t)
	server.NextProtos, conf.NextProtos, conf.ServerName = []string{tunnel.ALPN}, []string{tunnel.ALPN}, "localhost"
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	got := make(chan greeted, 1)
	accepted := make(chan struct{})
	go func() {
		conn, err := listener.Accept()
		close(accepted)
		if err == nil {
			err = conn.(*tls.Conn).Handshake()
		}
		if err != nil {
			got <- greeted{nil, err}
			return
		}
		s, err := tunnel.AcceptTCP(context.Background(), conn, tunnel.Config{Instance: "g", AcceptStreams: streams})
		got <- greeted{s, err}
	}()
	client, err = tls.Dial("tcp", listener.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	<-accepted
	t.Cleanup(func() {
		_ = client.SetDeadline(time.Unix(1, 0))
		_ = client.Close()
	})
	return client, got
}

// gatewayQUIC listens, and connects a raw client.
func gatewayQUIC(t *testing.T, streams int) (client *quic.Conn, listener *tunnel.Listener) {
	t.Helper()
	server, conf := tunneltest.TLS(t)
	listener = listenQUIC(t, "127.0.0.1:0", server, streams, [32]byte{7})
	conf.NextProtos = []string{tunnel.ALPN}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	client, err := quic.DialAddr(ctx, listener.Addr().String(), conf, &quic.Config{KeepAlivePeriod: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.CloseWithError(0, "") })
	return client, listener
}

func listenQUIC(t *testing.T, addr string, conf *tls.Config, streams int, key [32]byte) *tunnel.Listener {
	t.Helper()
	socket, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tunnel.ListenQUIC(socket, tunnel.ListenConfig{
		Config: tunnel.Config{Instance: "g", AcceptStreams: streams}, TLS: conf, ResetKey: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// rawYamux is a yamux client that has said hello, and the gateway's session.
func rawYamux(t *testing.T, streams int) (*yamux.Session, net.Conn, *tunnel.Session) {
	t.Helper()
	client, greeting := gatewayTCP(t, streams)
	conf := yamux.DefaultConfig()
	conf.EnableKeepAlive, conf.LogOutput = false, io.Discard
	conf.AcceptBacklog = 1 << 16
	session, err := yamux.Client(client, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.SetDeadline(time.Unix(1, 0))
		_ = session.Close()
	})
	control, err := session.Open()
	if err != nil {
		t.Fatal(err)
	}
	sayHello(t, control)
	g := <-greeting
	if g.err != nil {
		t.Fatal(g.err)
	}
	t.Cleanup(func() { g.session.CloseWith(tunnel.Reason{}) })
	return session, control, g.session
}

// endsWith waits for a session's end and checks its code.
func endsWith(t *testing.T, s *tunnel.Session, limit time.Duration, want tunnel.Code) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(limit):
		t.Fatalf("the session lives on after %v", limit)
	}
	var closed *tunnel.CloseError
	if !errors.As(s.Err(), &closed) || closed.Code != want {
		t.Errorf("the session ended with %v, want %v", s.Err(), want)
	}
}

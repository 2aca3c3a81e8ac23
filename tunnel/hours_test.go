package tunnel

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
)

// Streams live for hours, silent or not, over QUIC and over yamux on TLS: the
// sessions below them keep themselves alive, and nothing has a length in time.
// The network is in memory, so that the hours pass at once. That needs a
// process of its own: yamux keeps its timers in a pool of the whole process,
// and a timer of the one time must not be used in the other.
func TestStreamsLiveForHours(t *testing.T) {
	const inside = "SALLYPORT_TEST_HOURS"
	if os.Getenv(inside) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStreamsLiveForHours$", "-test.v", "-test.count=1")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || strings.Count(string(out), "--- PASS: TestStreamsLiveForHours/") != 2 {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	for name, connect := range map[string]func(*testing.T, *tls.Config) (dialed, accepted *Session, release func()){
		"QUIC": overQUIC, "yamux": overYamux,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { liveForHours(t, connect) })
		})
	}
}

func liveForHours(t *testing.T, connect func(*testing.T, *tls.Config) (dialed, accepted *Session, release func())) {
	const (
		hours   = 6
		silent  = 20
		talking = 10 * time.Minute
	)
	dialed, accepted, release := connect(t, bubbleTLS(t))
	open := func() (gateway, connector net.Conn) {
		ours, err := accepted.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ours.Write([]byte("?")); err != nil { // QUIC announces a stream with its first byte
			t.Fatal(err)
		}
		theirs, err := dialed.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(theirs, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		return ours, theirs
	}
	say := func(from, to net.Conn, when string) {
		t.Helper()
		if _, err := from.Write([]byte("data: x\n\n")); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if _, err := io.ReadFull(to, make([]byte, 9)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
	}
	var gateways, connectors []net.Conn
	for range silent + 1 {
		ours, theirs := open()
		gateways, connectors = append(gateways, ours), append(connectors, theirs)
	}
	start := time.Now()
	for time.Since(start) < hours*time.Hour {
		time.Sleep(talking)
		say(connectors[0], gateways[0], "the stream that talks")
	}
	for i := range gateways {
		say(connectors[i], gateways[i], "after hours")
		say(gateways[i], connectors[i], "the other way")
	}
	if dialed.Err() != nil || accepted.Err() != nil || dialed.Suspect() || accepted.Suspect() {
		t.Errorf("the session has not lived through it: %v, %v", dialed.Err(), accepted.Err())
	}
	dialed.CloseWith(Reason{})
	accepted.CloseWith(Reason{})
	release()
}

// bubbleTLS is both sides' configuration, at the time of the bubble.
func bubbleTLS(t *testing.T) *tls.Config {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"gateway"}, NotAfter: time.Now().Add(1000 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}},
		RootCAs:      roots, ServerName: "gateway", MinVersion: tls.VersionTLS13, NextProtos: []string{ALPN},
	}
}

// both runs the two ends of a handshake.
func both(t *testing.T, connecting, answering func(context.Context) (*Session, error)) (dialed, accepted *Session) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		var err error
		accepted, err = answering(t.Context())
		done <- err
	}()
	dialed, err := connecting(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return dialed, accepted
}

func overYamux(t *testing.T, conf *tls.Config) (dialed, accepted *Session, release func()) {
	a, b := net.Pipe()
	dialed, accepted = both(t, func(ctx context.Context) (*Session, error) {
		m, err := newYamuxMux(tls.Client(a, conf), true, DefaultStreams)
		if err != nil {
			return nil, err
		}
		return dial(ctx, m, Config{Instance: "connector", AcceptStreams: DefaultStreams})
	}, func(ctx context.Context) (*Session, error) {
		return AcceptTCP(ctx, tls.Server(b, conf), Config{Instance: "gateway", AcceptStreams: GatewayStreams})
	})
	return dialed, accepted, func() {}
}

func overQUIC(t *testing.T, conf *tls.Config) (dialed, accepted *Session, release func()) {
	a, b := newPackets()
	listener, err := ListenQUIC(b, ListenConfig{Config: Config{Instance: "gateway", AcceptStreams: GatewayStreams}, TLS: conf, ResetKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	transport := &quic.Transport{Conn: a}
	dialed, accepted = both(t, func(ctx context.Context) (*Session, error) {
		conn, err := transport.Dial(ctx, b.addr, conf, quicConfig(DefaultStreams))
		if err != nil {
			return nil, err
		}
		return dial(ctx, newQUICMux(conn, nil), Config{Instance: "connector", AcceptStreams: DefaultStreams})
	}, listener.Accept)
	return dialed, accepted, func() {
		if err := transport.Close(); err != nil {
			t.Error(err)
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
}

// packets is one end of a network of two hosts that loses nothing.
type packets struct {
	addr *net.UDPAddr
	peer *packets
	in   chan []byte
	done chan struct{}
	once sync.Once
}

func newPackets() (a, b *packets) {
	host := func(n byte) *packets {
		return &packets{addr: &net.UDPAddr{IP: net.IPv4(10, 0, 0, n), Port: 443}, in: make(chan []byte, 4096), done: make(chan struct{})}
	}
	a, b = host(1), host(2)
	a.peer, b.peer = b, a
	return a, b
}

// ReadFrom implements net.PacketConn.
func (p *packets) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case packet := <-p.in:
		return copy(b, packet), p.peer.addr, nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo implements net.PacketConn. What finds no room is lost, as on any network.
func (p *packets) WriteTo(b []byte, _ net.Addr) (int, error) {
	select {
	case p.peer.in <- append([]byte(nil), b...):
	default:
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (p *packets) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// LocalAddr implements net.PacketConn.
func (p *packets) LocalAddr() net.Addr { return p.addr }

// SetDeadline implements net.PacketConn.
func (p *packets) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.PacketConn; quic-go uses it to stop reading.
func (p *packets) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		return p.Close()
	}
	return nil
}

// SetWriteDeadline implements net.PacketConn.
func (p *packets) SetWriteDeadline(time.Time) error { return nil }

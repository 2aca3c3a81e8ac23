// Package tunneltest makes pairs of sessions over each transport, and holds
// the one suite that every transport must pass. It knows nothing of what flows
// on the streams.
package tunneltest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"testing"
	"time"

	"sallyport.dev/tunnel"
)

// Transports are the transports that a test should run over.
func Transports() []tunnel.Transport {
	return []tunnel.Transport{tunnel.Memory, tunnel.TCP, tunnel.QUIC}
}

// Pair returns the two ends of one session: the connector's, which dialled,
// and the gateway's. Both end with the test.
func Pair(t testing.TB, transport tunnel.Transport, connector, gateway tunnel.Config) (dialed, accepted *tunnel.Session) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var err error
	switch transport {
	case tunnel.Memory:
		dialed, accepted, err = tunnel.Pipe(ctx, connector, gateway)
	case tunnel.TCP:
		dialed, accepted, err = pairTCP(ctx, t, connector, gateway)
	case tunnel.QUIC:
		dialed, accepted, err = pairQUIC(ctx, t, connector, gateway)
	}
	if err != nil {
		t.Fatalf("make a %s session: %v", transport, err)
	}
	t.Cleanup(func() {
		dialed.CloseWith(tunnel.Reason{})
		accepted.CloseWith(tunnel.Reason{})
	})
	return dialed, accepted
}

func pairTCP(ctx context.Context, t testing.TB, connector, gateway tunnel.Config) (dialed, accepted *tunnel.Session, err error) {
	server, client := TLS(t)
	server = server.Clone()
	server.NextProtos = []string{tunnel.ALPN}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = listener.Close() }()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err == nil {
			err = conn.(*tls.Conn).HandshakeContext(ctx)
		}
		if err == nil {
			accepted, err = tunnel.AcceptTCP(ctx, conn, gateway)
		}
		done <- err
	}()
	d := &tunnel.Dialer{Config: connector, Addr: listener.Addr().String(), TLS: client, Transport: tunnel.TCP}
	if dialed, err = d.Dial(ctx); err != nil {
		return nil, nil, err
	}
	return dialed, accepted, <-done
}

func pairQUIC(ctx context.Context, t testing.TB, connector, gateway tunnel.Config) (dialed, accepted *tunnel.Session, err error) {
	server, client := TLS(t)
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, nil, err
	}
	listener, err := tunnel.ListenQUIC(socket, tunnel.ListenConfig{Config: gateway, TLS: server, ResetKey: [32]byte{1}})
	if err != nil {
		return nil, nil, err
	}
	t.Cleanup(func() { _ = listener.Close() })
	d := &tunnel.Dialer{Config: connector, Addr: socket.LocalAddr().String(), TLS: client, Transport: tunnel.QUIC}
	if dialed, err = d.Dial(ctx); err != nil {
		return nil, nil, err
	}
	accepted, err = listener.Accept(ctx)
	return dialed, accepted, err
}

// TLS returns the configurations of a server that is 127.0.0.1 and of a client
// that trusts it alone.
func TLS(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "tunneltest"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"localhost"},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	server = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	return server, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
}

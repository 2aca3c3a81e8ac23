package providertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Down refuses all connections, or ends that. Those that are open stay.
func (s *Server) Down(down bool) { s.listener.down.Store(down) }

// listener is a listener that can be down.
type listener struct {
	net.Listener
	down atomic.Bool
}

func newListener(under net.Listener) *listener { return &listener{Listener: under} }

// Accept implements net.Listener. A port that is open cannot refuse; it resets the connection at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || !l.down.Load() {
			return conn, err
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // it is closed next
		}
		conn.Close()
	}
}

func (l *listener) dial(ctx context.Context) (net.Conn, error) {
	m, ok := l.Listener.(*memory)
	if !ok {
		return nil, errors.New("providertest: this provider is not in memory")
	}
	if l.down.Load() {
		return nil, syscall.ECONNREFUSED
	}
	return m.dial(ctx)
}

// wait ends what the listener has made.
func (l *listener) wait() {
	if m, ok := l.Listener.(*memory); ok {
		_ = m.Close() // as http.Server did already
	}
}

// authority makes a CA and a certificate for the names of a provider. They are valid in the time of a bubble too.
func authority(t testing.TB) (tls.Certificate, *x509.CertPool, string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatalf("make a certificate: %v", err)
		}
	}
	from, until := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "providertest"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	ca, err = x509.ParseCertificate(caDER)
	must(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"idp.test", "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	must(err)
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	file := filepath.Join(t.TempDir(), "idp-ca.crt")
	must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, roots, file
}

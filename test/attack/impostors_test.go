package attack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/test/stack"
)

// impostorAttacks are servers where the credential must not go: each of them
// counts what it gets, inside TLS.
func impostorAttacks() []attack {
	refused := want{status: 502, code: -32013, reason: "upstream_unreachable"}
	at := func(server string) request { return request{target: "/t/" + stack.Tunnel + "/" + server + "/mcp"} }
	return []attack{
		{id: "88", what: "a certificate of the configured CA: an honest call", send: at("trusted"), want: want{status: 200, hits: 1}},
		{id: "88", what: "a certificate that has expired", send: at("expired"), want: refused},
		{id: "88", what: "a certificate for another name", send: at("renamed"), want: refused},
		{id: "88", what: "a certificate that nobody has signed", send: at("selfsigned"), want: refused},
		{id: "88", what: "a name that resolves to the metadata service", do: resolving(at("moved"), "169.254.169.254"), want: refused},
		{id: "88", what: "a name that resolves to a metadata service of IPv6", do: resolving(at("moved"), "fd00:ec2::254"), want: refused},
		{id: "88", what: "a name that resolves to the metadata service first, and then to its server", do: resolving(at("moved"), "169.254.169.254", "127.0.0.1"), want: want{status: 200, hits: 1}},
		{id: "88", what: "a name whose address moves between two calls, to one that is not allowed", want: want{status: 502, code: -32013, reason: "upstream_unreachable", hits: 1},
			do: func(t *testing.T, r *rig, p proto) (answer, error) {
				first, err := resolving(at("moved"), "127.0.0.1")(t, r, p)
				if err != nil || first.status != 200 {
					t.Errorf("the call before: status %d, %v", first.status, err)
				}
				return resolving(at("moved"), forbidden)(t, r, p)
			}},
	}
}

// resolving sends a request while the name of its server has the addresses.
func resolving(q request, addresses ...string) func(*testing.T, *rig, proto) (answer, error) {
	return func(t *testing.T, r *rig, p proto) (answer, error) {
		r.names.set(addresses...)
		r.moved.close() // or a kept connection would do
		time.Sleep(20 * time.Millisecond)
		return r.perform(t, attack{send: q}, p)
	}
}

const (
	movedName = "moved.attack.test"
	forbidden = "127.0.0.2" // loopback, and not in allowed_ips
)

// certificates are those of the upstreams.
type certificates struct {
	file string // of the CA that the connector trusts
	all  map[string]tls.Certificate
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	c := &certificates{file: filepath.Join(t.TempDir(), "ca.crt"), all: make(map[string]tls.Certificate)}
	now := time.Now()
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "attack"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caKey := newKey(t)
	der := sign(t, ca, ca, caKey, caKey)
	if err := os.WriteFile(c.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, leaf := range map[string]*x509.Certificate{
		"honest":     {IPAddresses: loopback, NotAfter: now.Add(time.Hour)},
		"expired":    {IPAddresses: loopback, NotAfter: now.Add(-time.Hour)},
		"renamed":    {IPAddresses: []net.IP{net.IPv4(127, 0, 0, 9)}, DNSNames: []string{"wiki.example"}, NotAfter: now.Add(time.Hour)},
		"selfsigned": {IPAddresses: loopback, NotAfter: now.Add(time.Hour)},
	} {
		leaf.SerialNumber, leaf.NotBefore = big.NewInt(2), now.Add(-24*time.Hour)
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		key := newKey(t)
		parent, by := ca, caKey
		if name == "selfsigned" {
			parent, by = leaf, key
		}
		c.all[name] = tls.Certificate{Certificate: [][]byte{sign(t, leaf, parent, key, by)}, PrivateKey: key}
	}
	return c
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, leaf, parent *x509.Certificate, key, by *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// config serves one of the certificates.
func (c *certificates) config(name string) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.all[name]}, MinVersion: tls.VersionTLS13}
}

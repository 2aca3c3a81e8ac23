package clientcert_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/clientcert"
)

const (
	issuer  = "https://gw.test"
	ciURI   = "spiffe://corp.test/ci"
	botURI  = "spiffe://corp.test/bot%2Fone"
	devName = "dev.corp.test"
)

// principals are those of most tests: two by URI, one by DNS name.
func principals() []clientcert.Principal {
	return []clientcert.Principal{
		{Name: "ci", URI: ciURI, Tunnels: []string{"acme"}, Servers: []string{"wiki"}},
		{Name: "bot", URI: botURI, Tunnels: []string{"acme"}, Servers: []string{"*"}},
		{Name: "dev", DNS: devName, Tunnels: []string{"*"}, Servers: []string{"wiki"}},
	}
}

// authority is a CA of a test.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// root makes a CA that nobody has signed but itself.
func root(tb testing.TB, edit ...func(*x509.Certificate)) authority {
	tb.Helper()
	return rootWith(tb, newKey(tb), edit...)
}

func rootWith(tb testing.TB, key crypto.Signer, edit ...func(*x509.Certificate)) authority {
	tb.Helper()
	template := caTemplate(edit)
	return authority{sign(tb, template, template, key.Public(), key), key}
}

// subordinate makes a CA below this one.
func (a authority) subordinate(tb testing.TB, edit ...func(*x509.Certificate)) authority {
	tb.Helper()
	key := newKey(tb)
	return authority{sign(tb, caTemplate(edit), a.cert, key.Public(), a.key), key}
}

// issue makes a client certificate with no alternative name but those that edit gives it.
func (a authority) issue(tb testing.TB, edit ...func(*x509.Certificate)) *x509.Certificate {
	tb.Helper()
	return a.issueFor(tb, newKey(tb).Public(), edit...)
}

func (a authority) issueFor(tb testing.TB, key crypto.PublicKey, edit ...func(*x509.Certificate)) *x509.Certificate {
	tb.Helper()
	cert, err := a.try(key, edit...)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// try makes a client certificate that may be one which crypto/x509 cannot read.
func (a authority) try(key crypto.PublicKey, edit ...func(*x509.Certificate)) (*x509.Certificate, error) {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "client"}, SerialNumber: big.NewInt(7),
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	for _, f := range edit {
		f(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func caTemplate(edit []func(*x509.Certificate)) *x509.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "CA of a test " + rand.Text()}, SerialNumber: big.NewInt(1),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	for _, f := range edit {
		f(template)
	}
	return template
}

func sign(tb testing.TB, template, parent *x509.Certificate, key crypto.PublicKey, by crypto.Signer) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, by)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return cert
}

// uris gives a certificate these URIs, byte for byte.
func uris(all ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, alternative(6, all...)) }
}

// names gives a certificate these DNS names, byte for byte.
func names(all ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, alternative(2, all...)) }
}

// alternative makes the extension of subject alternative names of one kind (RFC 5280 section 4.2.1.6).
func alternative(tag int, all ...string) pkix.Extension {
	var values []asn1.RawValue
	for _, name := range all {
		values = append(values, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(name)})
	}
	der, err := asn1.Marshal(values)
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

// writeCAs puts a file of CAs in a place of its own, and gives its path.
func writeCAs(tb testing.TB, all ...authority) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "agents-ca.crt")
	write(tb, path, encode(all...))
	return path
}

func write(tb testing.TB, path string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		tb.Fatal(err)
	}
}

func encode(all ...authority) []byte {
	var out []byte
	for _, a := range all {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	return out
}

func newVerifier(tb testing.TB, all ...authority) *clientcert.Verifier {
	tb.Helper()
	v, err := clientcert.New(issuer, clientcert.Config{CAFile: writeCAs(tb, all...), Principals: principals()})
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func present(chain ...*x509.Certificate) auth.Presented { return auth.Presented{Certificates: chain} }

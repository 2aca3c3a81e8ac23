package clientcert_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"strings"
	"testing"

	"sallyport.dev/auth/clientcert"
)

// FuzzNames has the CA sign whatever alternative names it is given, so that the fuzzer gets past the signature. What is
// accepted as a principal must have that name, and no other's, in the eyes of crypto/x509 too.
func FuzzNames(f *testing.F) {
	for _, extension := range []pkix.Extension{
		alternative(6, ciURI), alternative(6, botURI), alternative(6, ciURI, ciURI), alternative(6, "SPIFFE://corp.test/ci"),
		alternative(2, devName), alternative(2, "DEV.corp.test", "x.test"), alternative(2, devName+"."), alternative(1, devName),
	} {
		f.Add(extension.Value)
	}
	f.Add([]byte{0x30, 0x03, 0x86, 0x81, 0x00})
	ca := root(f)
	v, key := newVerifier(f, ca), newKey(f).Public()
	f.Fuzz(func(t *testing.T, names []byte) {
		leaf, err := ca.try(key, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}}
		})
		if err != nil {
			return // crypto/tls would not hand it on
		}
		p, err := v.Verify(t.Context(), present(leaf))
		want := reference(leaf)
		if err != nil && p.Subject != "" || err == nil && p.Subject != want {
			t.Fatalf("got %v, %v, want %q of %q and %q", p, err, want, leaf.URIs, leaf.DNSNames)
		}
	})
}

// reference says whose certificate it is, by what crypto/x509 has read. It may take a URI for one that was spelt otherwise,
// so it says more often yes.
func reference(leaf *x509.Certificate) string {
	found := make(map[string]bool)
	for _, u := range leaf.URIs {
		for _, p := range principals() {
			if p.URI != "" && u.String() == p.URI {
				found[p.Name] = len(leaf.URIs) == 1
			}
		}
	}
	for _, name := range leaf.DNSNames {
		for _, p := range principals() {
			if p.DNS != "" && strings.EqualFold(name, p.DNS) {
				found[p.Name] = true
			}
		}
	}
	if len(found) != 1 {
		return ""
	}
	for name, ok := range found {
		if ok {
			return name
		}
	}
	return ""
}

// FuzzVerify gives a chain of a stranger's bytes: nothing but the one certificate that the CA has signed is accepted.
func FuzzVerify(f *testing.F) {
	ca := root(f)
	v, err := clientcert.New(issuer, clientcert.Config{CAFile: writeCAs(f, ca), Principals: principals()})
	if err != nil {
		f.Fatal(err)
	}
	good := ca.issue(f, uris(ciURI))
	f.Add(good.Raw)
	f.Add(append(append([]byte{}, good.Raw...), ca.cert.Raw...))
	f.Add(ca.cert.Raw)
	f.Add(root(f).issue(f, uris(ciURI)).Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		chain, err := x509.ParseCertificates(der)
		if err != nil {
			return // crypto/tls would not hand it on
		}
		p, err := v.Verify(t.Context(), present(chain...))
		if err == nil && (!chain[0].Equal(good) || p.Subject != "ci") || err != nil && p.Subject != "" {
			t.Fatalf("got %v, %v", p, err)
		}
	})
}

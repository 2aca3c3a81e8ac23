package clientcert_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/clientcert"
)

func TestVerify(t *testing.T) {
	ca := root(t)
	v := newVerifier(t, ca)
	leaf := ca.issue(t, uris(ciURI))
	for range 2 { // the second time it is remembered
		p, err := v.Verify(t.Context(), present(leaf))
		if err != nil {
			t.Fatal(err)
		}
		if p.Issuer != issuer || p.Subject != "ci" || p.Claims != nil || !p.Expiry.Equal(leaf.NotAfter) {
			t.Errorf("got %v, expiring %s", p, p.Expiry)
		}
		if !p.May("acme", "wiki") || p.May("acme", "mail") || p.May("other", "wiki") {
			t.Errorf("got the grant %v", p.Grant)
		}
	}
	// Where it goes and what else it presents make no difference.
	p, err := v.Verify(t.Context(), auth.Presented{
		Token: "x", DPoP: true, Proof: "y", Certificates: []*x509.Certificate{leaf}, Target: auth.Target{Tunnel: "other"},
	})
	if err != nil || p.Subject != "ci" {
		t.Errorf("got %v, %v", p, err)
	}
	if _, err := v.Verify(t.Context(), auth.Presented{Token: "x"}); !errors.Is(err, auth.ErrNoToken) {
		t.Errorf("without a certificate: %v", err)
	}
}

// TestNames is about which names stand for a principal: an empty want is a refusal.
func TestNames(t *testing.T) {
	ca := root(t)
	v, key := newVerifier(t, ca), newKey(t).Public()
	both := func(uri, name string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.URIs, c.DNSNames = []*url.URL{mustURL(uri)}, []string{name} }
	}
	cases := []struct {
		name string
		edit func(*x509.Certificate)
		want string
	}{
		{"URI", uris(ciURI), "ci"},
		{"encoded URI", uris(botURI), "bot"},
		{"DNS name", names(devName), "dev"},
		{"DNS name in another case", names("DEV.Corp.Test"), "dev"},
		{"DNS name among others", names("a.corp.test", devName, "b.corp.test"), "dev"},
		{"DNS name twice", names(devName, devName), "dev"},
		{"DNS name and a URI of nobody", both("spiffe://corp.test/x", devName), "dev"},
		{"URI and a DNS name of nobody", both(ciURI, "x.corp.test"), "ci"},

		{"no alternative name", func(*x509.Certificate) {}, ""},
		{"common name", func(c *x509.Certificate) { c.Subject.CommonName = devName }, ""},
		{"common name is the principal's", func(c *x509.Certificate) { c.Subject.CommonName = "dev" }, ""},
		{"mail address", func(c *x509.Certificate) { c.EmailAddresses = []string{"ci@corp.test", devName} }, ""},
		{"mail tag with a DNS name", func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, alternative(1, devName)) }, ""},
		{"IP address", func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} }, ""},
		{"URI as DNS name", names(ciURI), ""},
		{"DNS name as URI", uris("//" + devName), ""},
		{"DNS name behind a scheme", uris("https://" + devName), ""},

		{"URI with a suffix", uris(ciURI + "x"), ""},
		{"URI with a path below", uris(ciURI + "/x"), ""},
		{"URI with a slash", uris(ciURI + "/"), ""},
		{"URI with a query", uris(ciURI + "?"), ""},
		{"URI with a fragment", uris(ciURI + "#x"), ""},
		{"URI with a prefix", uris("x" + ciURI), ""},
		{"URI inside another", uris("https://corp.test/" + ciURI), ""},
		{"start of a URI", uris(ciURI[:len(ciURI)-1]), ""},
		{"URI with another case in its path", uris("spiffe://corp.test/CI"), ""},
		{"URI with another case in its host", uris("spiffe://CORP.test/ci"), ""},
		{"URI with another case in its scheme", uris("SPIFFE://corp.test/ci"), ""},
		{"URI with a port", uris("spiffe://corp.test:443/ci"), ""},
		{"URI with dots", uris("spiffe://corp.test/x/../ci"), ""},
		{"URI that is encoded needlessly", uris("spiffe://corp.test/%63i"), ""},
		{"URI that is decoded", uris("spiffe://corp.test/bot/one"), ""},
		{"URI with lower-case hex digits", uris("spiffe://corp.test/bot%2fone"), ""},
		{"URI with a user", uris("spiffe://x@corp.test/ci"), ""},
		{"URI with a space", uris(ciURI + " "), ""},
		{"two URIs", uris(ciURI, "spiffe://corp.test/x"), ""},
		{"two URIs, the other first", uris("spiffe://corp.test/x", ciURI), ""},
		{"one URI twice", uris(ciURI, ciURI), ""},
		{"two principals' URIs", uris(ciURI, botURI), ""},
		{"two principals, URI and DNS name", both(ciURI, devName), ""},

		{"DNS name with a suffix", names(devName + ".evil.test"), ""},
		{"DNS name with letters behind it", names(devName + "x"), ""},
		{"DNS name with a prefix", names("x" + devName), ""},
		{"name below the DNS name", names("x." + devName), ""},
		{"name above the DNS name", names("corp.test"), ""},
		{"DNS name with a trailing dot", names(devName + "."), ""},
		{"DNS name with a leading dot", names("." + devName), ""},
		{"wildcard", names("*.corp.test"), ""},
		{"star", names("*"), ""},
		{"DNS name with a space", names(devName + " "), ""},
		{"DNS name with NUL", names(devName + "\x00.evil.test"), ""},
		{"two DNS names in one", names(devName + "," + devName), ""},
		{"empty DNS name", names(""), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			leaf := ca.issueFor(t, key, c.edit)
			p, err := v.Verify(t.Context(), present(leaf))
			if p.Subject != c.want || (err == nil) != (c.want != "") || err != nil && !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("got %v, %v, want %q", p, err, c.want)
			}
			if err != nil && (strings.Contains(err.Error(), "corp.test") || strings.Contains(err.Error(), "evil")) {
				t.Errorf("the error shows a name: %v", err)
			}
		})
	}
}

// TestChains is about what must hold of all certificates.
func TestChains(t *testing.T) {
	ca, other := root(t), root(t)
	sub := ca.subordinate(t)
	subsub := sub.subordinate(t)
	ci := uris(ciURI)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	weakCA := authority{sign(t, caTemplate(nil), ca.cert, weak.Public(), ca.key), weak}
	impostor := rootWith(t, newKey(t), func(c *x509.Certificate) { c.RawSubject = ca.cert.RawSubject })
	late := ca.subordinate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Second) })
	serverCA := ca.subordinate(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	noSign := ca.subordinate(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	short := ca.subordinate(t, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	belowShort := short.subordinate(t)
	client := ca.issue(t, ci)
	clientKey := newKey(t)
	clientCert := ca.issueFor(t, clientKey.Public(), ci)
	byClient := authority{clientCert, clientKey}
	for _, c := range []struct {
		name  string
		chain []*x509.Certificate
		want  error
	}{
		{"one intermediate", chain(sub.issue(t, ci), sub), nil},
		{"two intermediates", chain(subsub.issue(t, ci), subsub, sub), nil},
		{"two intermediates in another order", chain(subsub.issue(t, ci), sub, subsub), nil},
		{"the root sent too", chain(client, ca), nil},
		{"certificates that lead nowhere sent too", chain(client, other, sub, impostor), nil},
		{"no usage at all", chain(ca.issue(t, ci, func(c *x509.Certificate) { c.ExtKeyUsage, c.KeyUsage = nil, 0 })), nil},
		{"RSA 2048", chain(ca.issueFor(t, rsaKey(t, 2048), ci)), nil},
		{"Ed25519", chain(ca.issueFor(t, edKey(t), ci)), nil},
		{"path as long as allowed", chain(short.issue(t, ci), short), nil},

		{"another CA", chain(other.issue(t, ci)), auth.ErrInvalid},
		{"another CA that sends itself", chain(other.issue(t, ci), other), auth.ErrInvalid},
		{"another CA of the same name", chain(impostor.issue(t, ci), impostor), auth.ErrInvalid},
		{"self-signed", chain(selfSigned(t, ci)), auth.ErrInvalid},
		{"self-signed, the CA behind it", chain(selfSigned(t, ci), ca), auth.ErrInvalid},
		{"an intermediate is missing", chain(subsub.issue(t, ci), subsub), auth.ErrInvalid},
		{"no intermediate", chain(sub.issue(t, ci)), auth.ErrInvalid},
		{"expired", chain(ca.issue(t, ci, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-2 * time.Second) })), auth.ErrExpired},
		{"expired, by another CA", chain(other.issue(t, ci, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-2 * time.Second) })), auth.ErrInvalid},
		{"expired, of nobody", chain(ca.issue(t, uris("spiffe://corp.test/x"), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-2 * time.Second) })), auth.ErrInvalid},
		{"not yet valid", chain(ca.issue(t, ci, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })), auth.ErrInvalid},
		{"intermediate expired", chain(late.issue(t, ci), late), auth.ErrInvalid},
		{"for servers", chain(ca.issue(t, ci, usage(x509.ExtKeyUsageServerAuth))), auth.ErrInvalid},
		{"for code and mail", chain(ca.issue(t, ci, usage(x509.ExtKeyUsageCodeSigning, x509.ExtKeyUsageEmailProtection))), auth.ErrInvalid},
		{"an unknown usage", chain(ca.issue(t, ci, func(c *x509.Certificate) {
			c.ExtKeyUsage, c.UnknownExtKeyUsage = nil, []asn1.ObjectIdentifier{{1, 2, 3}}
		})), auth.ErrInvalid},
		{"intermediate for servers", chain(serverCA.issue(t, ci), serverCA), auth.ErrInvalid},
		{"intermediate that may not sign", chain(noSign.issue(t, ci), noSign), auth.ErrInvalid},
		{"key that may not sign", chain(ca.issue(t, ci, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), auth.ErrInvalid},
		{"CA as leaf", chain(ca.issue(t, ci, func(c *x509.Certificate) { c.IsCA = true })), auth.ErrInvalid},
		{"root as leaf", chain(ca.cert), auth.ErrInvalid},
		{"intermediate as leaf", chain(sub.cert), auth.ErrInvalid},
		{"client as CA", chain(byClient.issue(t, ci), byClient), auth.ErrInvalid},
		{"path too long", chain(belowShort.issue(t, ci), belowShort, short), auth.ErrInvalid},
		{"RSA 1024", chain(ca.issueFor(t, weak.Public(), ci)), auth.ErrInvalid},
		{"P-224", chain(ca.issueFor(t, p224.Public(), ci)), auth.ErrInvalid},
		{"intermediate of RSA 1024", chain(weakCA.issue(t, ci), weakCA), auth.ErrInvalid},
		{"unknown critical extension", chain(ca.issue(t, ci, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		})), auth.ErrInvalid},
		{"nine certificates", chain(client, sub, sub, sub, sub, sub, sub, sub, sub), auth.ErrInvalid},
		{"long certificate", chain(ca.issue(t, ci, padding(16<<10))), auth.ErrInvalid},
		{"long certificate behind the leaf", chain(client, ca, authority{cert: ca.issue(t, padding(16<<10))}), auth.ErrInvalid},
		{"nil certificate", []*x509.Certificate{nil}, auth.ErrInvalid},
		{"certificate that was never parsed", []*x509.Certificate{{URIs: client.URIs, Extensions: client.Extensions}}, auth.ErrInvalid},
		{"none", []*x509.Certificate{}, auth.ErrNoToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := newVerifier(t, ca)
			for range 2 { // remembered or not
				p, err := v.Verify(t.Context(), present(c.chain...))
				if !errors.Is(err, c.want) || (err == nil) != (p.Subject == "ci") {
					t.Errorf("got %v, %v, want %v", p, err, c.want)
				}
				if err != nil && (strings.Contains(err.Error(), "corp") || strings.Contains(err.Error(), "CA of a test")) {
					t.Errorf("the error shows the certificate: %v", err)
				}
			}
		})
	}
}

func TestNameConstraints(t *testing.T) {
	ca := root(t)
	only := ca.subordinate(t, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedURIDomains, c.PermittedDNSDomains = []string{"corp.test"}, []string{"dev.corp.test"}
	})
	never := ca.subordinate(t, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		c.ExcludedURIDomains, c.ExcludedDNSDomains = []string{"corp.test"}, []string{"corp.test"}
	})
	elsewhere := ca.subordinate(t, func(c *x509.Certificate) {
		c.PermittedDNSDomainsCritical = true
		c.PermittedURIDomains, c.PermittedDNSDomains = []string{"lab.test"}, []string{"lab.test"}
	})
	v := newVerifier(t, ca)
	for _, c := range []struct {
		name string
		by   authority
		edit func(*x509.Certificate)
		want string
	}{
		{"permitted URI", only, uris(ciURI), "ci"},
		{"permitted name", only, names(devName), "dev"},
		{"excluded URI", never, uris(ciURI), ""},
		{"excluded name", never, names(devName), ""},
		{"URI elsewhere", elsewhere, uris(ciURI), ""},
		{"name elsewhere", elsewhere, names(devName), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := v.Verify(t.Context(), present(chain(c.by.issue(t, c.edit), c.by)...))
			if p.Subject != c.want || (err == nil) != (c.want != "") {
				t.Errorf("got %v, %v, want %q", p, err, c.want)
			}
		})
	}
}

// TestWeakSignature signs with SHA-1, which crypto/x509 itself no longer does.
func TestWeakSignature(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ca := rootWith(t, key)
	v := newVerifier(t, ca)
	good := ca.issue(t, uris(ciURI))
	for name, c := range map[string]struct {
		hash crypto.Hash
		oid  asn1.ObjectIdentifier
		good bool
	}{
		"SHA-1":   {crypto.SHA1, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, false},
		"SHA-256": {crypto.SHA256, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, true}, // this test's own signature is right
	} {
		p, err := v.Verify(t.Context(), present(resign(t, good, key, c.hash, c.oid)))
		if (err == nil) != c.good || (p.Subject == "ci") != c.good || err != nil && !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("%s: got %v, %v", name, p, err)
		}
	}
}

// resign signs a certificate anew with another algorithm.
func resign(t *testing.T, cert *x509.Certificate, key *rsa.PrivateKey, hash crypto.Hash, oid asn1.ObjectIdentifier) *x509.Certificate {
	t.Helper()
	type algorithm struct {
		ID     asn1.ObjectIdentifier
		Params asn1.RawValue
	}
	null := asn1.RawValue{Tag: asn1.TagNull}
	var tbs struct {
		Version    asn1.RawValue
		Serial     asn1.RawValue
		Algorithm  algorithm
		Issuer     asn1.RawValue
		Validity   asn1.RawValue
		Subject    asn1.RawValue
		Key        asn1.RawValue
		Extensions asn1.RawValue `asn1:"tag:3"`
	}
	if _, err := asn1.Unmarshal(cert.RawTBSCertificate, &tbs); err != nil {
		t.Fatal(err)
	}
	tbs.Algorithm = algorithm{oid, null}
	signed, err := asn1.Marshal(tbs)
	if err != nil {
		t.Fatal(err)
	}
	h := hash.New()
	h.Write(signed)
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, hash, h.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm algorithm
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: signed}, algorithm{oid, null}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := root(t)
		sub := ca.subordinate(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(3 * time.Minute) })
		v := newVerifier(t, ca)
		expect := func(what string, want error, chain ...*x509.Certificate) {
			t.Helper()
			p, err := v.Verify(t.Context(), present(chain...))
			if !errors.Is(err, want) || (err == nil) != (p.Subject == "ci") {
				t.Errorf("%s: got %v, %v, want %v", what, p, err, want)
			}
		}
		brief := ca.issue(t, uris(ciURI), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(2 * time.Minute) })
		below := sub.issue(t, uris(ciURI))
		coming := ca.issue(t, uris(ciURI), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) })
		expect("brief", nil, brief)
		expect("below", nil, below, sub.cert)
		expect("coming", auth.ErrInvalid, coming)
		expect("without the intermediate", auth.ErrInvalid, below)
		time.Sleep(time.Minute)
		expect("coming, when it has come", nil, coming)
		time.Sleep(time.Minute)
		expect("brief, in its last second", nil, brief)
		time.Sleep(time.Second)
		expect("brief, past its time", auth.ErrExpired, brief)
		expect("brief, past its time, again", auth.ErrExpired, brief)
		expect("below", nil, below, sub.cert)
		time.Sleep(time.Minute)
		expect("below, past the intermediate's time", auth.ErrInvalid, below, sub.cert)
	})
}

// TestHandshake shows that the certificates of a real handshake are those that count, and the key is proved there.
func TestHandshake(t *testing.T) {
	ca := root(t)
	v := newVerifier(t, ca)
	key := newKey(t)
	leaf := ca.issueFor(t, key.Public(), uris(ciURI))
	gateway := newKey(t)
	front := ca.issueFor(t, gateway.Public(), names("gw.test"), usage(x509.ExtKeyUsageServerAuth))
	near, far := net.Pipe()
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	client := tls.Client(near, &tls.Config{
		RootCAs: pool, ServerName: "gw.test", MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}},
	})
	server := tls.Server(far, &tls.Config{
		ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true,
		Certificates: []tls.Certificate{{Certificate: [][]byte{front.Raw}, PrivateKey: gateway}},
	})
	done := make(chan error, 1)
	go func() { done <- client.HandshakeContext(t.Context()) }()
	if err := errors.Join(server.HandshakeContext(t.Context()), <-done); err != nil {
		t.Fatal(err)
	}
	p, err := v.Verify(t.Context(), present(server.ConnectionState().PeerCertificates...))
	if err != nil || p.Subject != "ci" {
		t.Errorf("got %v, %v", p, err)
	}
	near.Close()
	far.Close()
}

func TestThumbprint(t *testing.T) {
	cert := root(t).issue(t)
	digest := sha256.Sum256(cert.Raw)
	if got := clientcert.Thumbprint(cert); got != base64.RawURLEncoding.EncodeToString(digest[:]) || len(got) != 43 {
		t.Errorf("got %q", got)
	}
	if got := clientcert.Thumbprint(nil) + clientcert.Thumbprint(&x509.Certificate{}); got != "" {
		t.Errorf("without a certificate: %q", got)
	}
}

func BenchmarkVerify(b *testing.B) {
	ca := root(b)
	sub := ca.subordinate(b)
	v := newVerifier(b, ca)
	p := present(sub.issue(b, uris(ciURI)), sub.cert)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(context.Background(), p); err != nil {
			b.Fatal(err)
		}
	}
}

func chain(leaf *x509.Certificate, above ...authority) []*x509.Certificate {
	all := []*x509.Certificate{leaf}
	for _, a := range above {
		all = append(all, a.cert)
	}
	return all
}

func usage(all ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = all }
}

func padding(n int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, n)})
	}
}

func rsaKey(t *testing.T, bits int) crypto.PublicKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

func edKey(t *testing.T) crypto.PublicKey {
	t.Helper()
	key, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// selfSigned makes a client certificate that its own key has signed.
func selfSigned(t *testing.T, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	own := authority{key: newKey(t)}
	own.cert = &x509.Certificate{Subject: pkix.Name{CommonName: "client"}}
	return own.issueFor(t, own.key.Public(), edit)
}

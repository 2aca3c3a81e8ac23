package attack

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sallyport.dev/auth/clientcert"
	"sallyport.dev/gateway"
	"sallyport.dev/test/stack"
)

// Names in the certificates of clients that are principals.
const (
	ciURI   = "spiffe://corp.test/ci"
	farURI  = "spiffe://corp.test/far"
	devName = "dev.corp.test"
)

// clientCertificates are those that agents show.
type clientCertificates struct {
	file string // of the CA that the gateway trusts
	all  map[string]tls.Certificate
}

// configure makes principals of three of them.
func (c *clientCertificates) configure(cfg *gateway.Config) {
	cfg.Agents.Certificates = &clientcert.Config{CAFile: c.file, Principals: []clientcert.Principal{
		{Name: "ci", URI: ciURI, Tunnels: []string{stack.Tunnel}, Servers: []string{"wiki"}},
		{Name: "dev", DNS: devName, Tunnels: []string{stack.Tunnel}, Servers: []string{"*"}},
		{Name: "far", URI: farURI, Tunnels: []string{"globex"}, Servers: []string{"*"}},
	}}
}

// present shows a certificate whatever the server asks for.
func (c *clientCertificates) present(name string) func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	certificate := c.all[name]
	return func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
}

// thumbprint is what a token that is bound to the certificate confirms (RFC 8705 section 3.1).
func (c *clientCertificates) thumbprint(name string) string {
	sum := sha256.Sum256(c.all[name].Certificate[0])
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (c *clientCertificates) pem(name string) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.all[name].Certificate[0]}))
}

// clientAuthority is a CA, by whatever name.
type clientAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newClientCertificates(t *testing.T) *clientCertificates {
	t.Helper()
	c := &clientCertificates{file: filepath.Join(t.TempDir(), "agents-ca.crt"), all: make(map[string]tls.Certificate)}
	now := time.Now()
	authority := func(above *clientAuthority) clientAuthority {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agents of attack"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, URIs: uris(ciURI),
		}
		key := newKey(t)
		parent, by := template, key
		if above != nil {
			template.Subject.CommonName = "a part of the agents"
			parent, by = above.cert, above.key
		}
		cert, err := x509.ParseCertificate(sign(t, template, parent, key, by))
		if err != nil {
			t.Fatal(err)
		}
		return clientAuthority{cert, key}
	}
	trusted, namesake := authority(nil), authority(nil)
	below := authority(&trusted)
	if err := os.WriteFile(c.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	// issue makes a certificate of ci, but for what edit changes; behind are the others that go with it.
	issue := func(name string, by clientAuthority, edit func(*x509.Certificate), behind ...[]byte) *ecdsa.PrivateKey {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(len(c.all)) + 2), Subject: pkix.Name{CommonName: "agent"}, NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, URIs: uris(ciURI),
		}
		if edit != nil {
			edit(leaf)
		}
		key := newKey(t)
		if by.cert == nil {
			by = clientAuthority{leaf, key}
		}
		c.all[name] = tls.Certificate{Certificate: append([][]byte{sign(t, leaf, by.cert, key, by.key)}, behind...), PrivateKey: key}
		return key
	}
	named := func(uri, dns string) func(*x509.Certificate) {
		return func(leaf *x509.Certificate) {
			leaf.URIs, leaf.DNSNames = nil, nil
			if uri != "" {
				leaf.URIs = uris(uri)
			}
			if dns != "" {
				leaf.DNSNames = []string{dns}
			}
		}
	}
	ciKey := issue("ci", trusted, nil)
	issue("twin", trusted, nil)
	issue("dev", trusted, named("", devName))
	issue("DEV", trusted, named("", "DEV.Corp.Test"))
	issue("far", trusted, named(farURI, ""))
	issue("through", below, nil, below.cert.Raw)
	issue("gap", below, nil)
	issue("namesake", namesake, nil)
	issue("namesake, with its CA", namesake, nil, namesake.cert.Raw)
	issue("selfsigned", clientAuthority{}, nil)
	issue("selfsigned, with ci's behind", clientAuthority{}, nil, c.all["ci"].Certificate[0])
	issue("selfsigned CA", clientAuthority{}, func(leaf *x509.Certificate) { leaf.IsCA = true })
	ci, err := x509.ParseCertificate(c.all["ci"].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	issue("signed by ci", clientAuthority{ci, ciKey}, named("", devName), ci.Raw)
	c.all["the CA"] = tls.Certificate{Certificate: [][]byte{trusted.cert.Raw}, PrivateKey: trusted.key}
	issue("expired", trusted, func(leaf *x509.Certificate) { leaf.NotAfter = now.Add(-time.Minute) })
	issue("early", trusted, func(leaf *x509.Certificate) { leaf.NotBefore = now.Add(30 * time.Minute) })
	issue("for servers", trusted, func(leaf *x509.Certificate) { leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	issue("for mail", trusted, func(leaf *x509.Certificate) { leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })
	issue("for signing CAs", trusted, func(leaf *x509.Certificate) { leaf.KeyUsage = x509.KeyUsageKeyEncipherment })
	for _, uri := range wrongURIs {
		issue(uri, trusted, named(uri, ""))
	}
	for _, name := range wrongNames {
		issue(name, trusted, named("", name))
	}
	issue("common name", trusted, func(leaf *x509.Certificate) { leaf.URIs, leaf.Subject.CommonName = nil, devName })
	issue("common name, URI", trusted, func(leaf *x509.Certificate) { leaf.URIs, leaf.Subject.CommonName = nil, ciURI })
	issue("mail", trusted, func(leaf *x509.Certificate) { leaf.URIs, leaf.EmailAddresses = nil, []string{"ci@" + devName} })
	issue("two URIs", trusted, func(leaf *x509.Certificate) { leaf.URIs = uris(ciURI, "spiffe://corp.test/other") })
	issue("two principals", trusted, func(leaf *x509.Certificate) { leaf.DNSNames = []string{devName} })
	issue("nobody", trusted, func(leaf *x509.Certificate) { leaf.URIs = nil })
	return c
}

// wrongURIs and wrongNames are near those of principals.
var (
	wrongURIs = []string{
		"spiffe://corp.test/c", "spiffe://corp.test/ci/x", "spiffe://corp.test/ci/", "spiffe://corp.test/CI", "spiffe://corp.test/%63i",
		"spiffe://corp.test/x/../ci", "spiffe://evil-corp.test/ci", "spiffe://corp.test.evil.example/ci", "spiffe://corp.test/ci?x", "https://corp.test/ci", "spiffe://corp.test/*",
		"spiffe://x@corp.test/ci",
	}
	wrongNames = []string{
		"x.dev.corp.test", "corp.test", "*.corp.test", "*.dev.corp.test", "dev.corp.test.evil.example", "xdev.corp.test", "dev.corp.tes", "dev-corp.test", "spiffe://corp.test/ci",
		"dev.corp.test.",
	}
)

func uris(all ...string) (list []*url.URL) {
	for _, text := range all {
		u, err := url.Parse(text)
		if err != nil {
			panic(err)
		}
		list = append(list, u)
	}
	return list
}

// certificateAttacks are those by TLS client certificates, and on tokens that are bound to one.
func certificateAttacks() (list []attack) {
	refused := want{status: 401, code: -32000, reason: "unauthenticated", check: checkChallenge}
	passed := want{status: 200, hits: 1}
	missing := want{status: 404, reason: "not_found"}
	no := []string{"Authorization"}
	alone := func(what, certificate, target string, w want) {
		list = append(list, attack{id: "mTLS", what: what, send: request{drop: no, certificate: certificate, target: target}, want: w})
	}
	add := func(what, certificate string, w want) { alone(what, certificate, wikiPath, w) }

	add("a certificate of a principal, by its URI, and no token", "ci", passed)
	add("by its DNS name", "dev", passed)
	add("by its DNS name in capitals, which is the same", "DEV", passed)
	add("by a CA below the one that is trusted", "through", passed)
	add("by a CA below, which is not sent along", "gap", refused)
	add("of a CA with the same name and another key", "namesake", refused)
	add("of such a CA, which is sent along", "namesake, with its CA", refused)
	add("signed by itself", "selfsigned", refused)
	add("signed by itself, with a genuine one behind", "selfsigned, with ci's behind", refused)
	add("signed by itself, as a CA", "selfsigned CA", refused)
	add("signed by another principal's certificate", "signed by ci", refused)
	add("the certificate of the CA", "the CA", refused)
	add("expired", "expired", refused)
	add("not yet valid", "early", refused)
	add("for servers, not for clients", "for servers", refused)
	add("for mail", "for mail", refused)
	add("whose key is not for signing", "for signing CAs", refused)
	for _, uri := range wrongURIs {
		add("for the URI `"+uri+"`", uri, refused)
	}
	for _, name := range wrongNames {
		add("for the DNS name `"+name+"`", name, refused)
	}
	add("a DNS name as common name alone", "common name", refused)
	add("a URI as common name alone", "common name, URI", refused)
	add("a mail address", "mail", refused)
	add("two URIs, one of them right", "two URIs", refused)
	add("the names of two principals", "two principals", refused)
	add("no name", "nobody", refused)
	alone("a principal towards a server that is not granted", "ci", vaultPath, missing)
	alone("a principal towards another tunnel", "ci", foreignPath, missing)
	alone("a principal towards a tunnel that does not exist", "ci", "/t/nobody/wiki/mcp", missing)
	alone("a principal of another tunnel towards this one", "far", wikiPath, missing)

	with := func(id, what, certificate string, w want, token minted) {
		list = append(list, attack{id: id, what: what, want: w, do: func(t *testing.T, r *rig, p proto) (answer, error) {
			return r.perform(t, attack{send: request{certificate: certificate, fields: []field{{"Authorization", "Bearer " + token(r)}}}}, p)
		}})
	}
	bound := func(certificate string) minted {
		return func(r *rig) string {
			return genuine(map[string]any{"cnf": map[string]any{"x5t#S256": r.clients.thumbprint(certificate)}})(r)
		}
	}
	with("mTLS", "a genuine certificate beside a wrong token", "ci", refused, func(*rig) string { return secondToken + "x" })
	with("mTLS", "a genuine certificate beside an expired token of a provider", "ci", refused, genuine(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}))
	with("mTLS", "a certificate of nobody beside a good token", "selfsigned", passed, genuine(nil))
	list = append(list, attack{id: "mTLS", what: "a genuine certificate beside two tokens", want: want{status: 400, code: -32000, reason: "unauthenticated"}, send: request{
		certificate: "ci", fields: []field{{"Authorization", "Bearer " + secondToken}, {"Authorization", "Bearer " + secondToken}},
	}})
	with("25", "a token that is bound to a certificate, with it", "ci", passed, bound("ci"))
	with("25", "bound to a certificate that no CA has signed, with it", "selfsigned", passed, bound("selfsigned"))
	with("25", "bound to a certificate, without one", "", refused, bound("ci"))
	with("25", "bound to a certificate, with another principal's", "dev", refused, bound("ci"))
	with("25", "bound to a certificate, with another of the same name", "twin", refused, bound("ci"))
	with("25", "bound to a certificate, with it behind another", "selfsigned, with ci's behind", refused, bound("ci"))
	with("25", "bound by a thumbprint in another spelling", "ci", refused, func(r *rig) string {
		return genuine(map[string]any{"cnf": map[string]any{"x5t#S256": r.clients.thumbprint("ci") + "="}})(r)
	})
	with("25", "bound by an empty thumbprint, without a certificate", "", refused, genuine(map[string]any{"cnf": map[string]any{"x5t#S256": ""}}))
	with("25", "bound by SHA-1", "ci", refused, genuine(map[string]any{"cnf": map[string]any{"x5t": "AAAA"}}))

	forwarded := map[string]func(c *clientCertificates) string{
		"X-Forwarded-Client-Cert": func(c *clientCertificates) string {
			sum := sha256.Sum256(c.all["ci"].Certificate[0])
			return "By=spiffe://corp.test/gw;Hash=" + hex.EncodeToString(sum[:]) + `;Cert="` + url.QueryEscape(c.pem("ci")) + `";Subject="CN=agent";URI=` + ciURI
		},
		"X-SSL-Client-Cert": func(c *clientCertificates) string { return url.QueryEscape(c.pem("ci")) },
		"Client-Cert": func(c *clientCertificates) string {
			return ":" + base64.StdEncoding.EncodeToString(c.all["ci"].Certificate[0]) + ":"
		},
		"X-Client-Cert": func(c *clientCertificates) string {
			return base64.StdEncoding.EncodeToString(c.all["ci"].Certificate[0])
		},
		"X-SSL-Client-S-DN": func(*clientCertificates) string { return "CN=ci" },
		"X-SPIFFE-ID":       func(*clientCertificates) string { return ciURI },
	}
	for name, value := range inOrder(forwarded) {
		header := func(id, what string, token minted) {
			list = append(list, attack{id: id, what: what + " in `" + name + "`", want: refused, do: func(t *testing.T, r *rig, p proto) (answer, error) {
				q := request{fields: []field{{name, value(r.clients)}}, drop: no}
				if token != nil {
					q.fields = append(q.fields, field{"Authorization", "Bearer " + token(r)})
				}
				return r.perform(t, attack{send: q}, p)
			}})
		}
		header("25", "a genuine certificate", nil)
		header("25", "a token that is bound to a certificate, with that", bound("ci"))
	}
	return list
}

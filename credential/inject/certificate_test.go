package inject_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/credential/inject"
)

// certificate is one that a key has signed for itself.
func certificate(t testing.TB, key crypto.Signer, from, until time.Time) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "connector"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func keyPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestCertificate(t *testing.T) {
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	elliptical := ecKey(t)
	sec1, err := x509.MarshalECPrivateKey(elliptical)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, test := range map[string]struct {
		key  crypto.Signer
		text string
	}{
		"Ed25519":             {edwards, keyPEM(t, edwards)},
		"ECDSA":               {elliptical, keyPEM(t, elliptical)},
		"RSA":                 {rsaKey, keyPEM(t, rsaKey)},
		"SEC 1 and its curve": {elliptical, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n" + string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1}))},
		"PKCS #1":             {rsaKey, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}))},
	} {
		chain := certificate(t, test.key, now.Add(-time.Hour), now.Add(time.Hour)) + certificate(t, rsaKey, now, now.Add(time.Hour))
		pair, err := inject.Certificate{}.Certificate(values(chain, test.text))
		if err != nil || len(pair.Certificate) != 2 || pair.Leaf == nil || pair.Leaf.Subject.CommonName != "connector" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCertificateIsRefused(t *testing.T) {
	now, key := time.Now(), ecKey(t)
	good, private := certificate(t, key, now.Add(-time.Hour), now.Add(time.Hour)), keyPEM(t, key)
	canaryPEM := func(kind string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: []byte(canary)}))
	}
	old, early := now.Add(-time.Minute), now.Add(time.Minute)
	for name, test := range map[string]struct {
		texts []string
		says  string
	}{
		"nothing":              {nil, "are needed"},
		"no key":               {[]string{good}, "are needed"},
		"too much":             {[]string{good, private, private}, "are needed"},
		"no PEM":               {[]string{canary, private}, "no certificate in PEM"},
		"an empty one":         {[]string{"", private}, "no certificate in PEM"},
		"a broken one":         {[]string{canaryPEM("CERTIFICATE"), private}, "no certificate in PEM"},
		"swapped":              {[]string{private, good}, "no certificate in PEM"},
		"the key is no PEM":    {[]string{good, canary}, "no private key in PEM"},
		"the key is broken":    {[]string{good, canaryPEM("PRIVATE KEY")}, "no private key in PEM"},
		"the key is public":    {[]string{good, canaryPEM("PUBLIC KEY")}, "no private key in PEM"},
		"the key is locked":    {[]string{good, canaryPEM("ENCRYPTED PRIVATE KEY")}, "encrypted"},
		"the key is another's": {[]string{good, keyPEM(t, ecKey(t))}, "do not belong together"},
		"expired":              {[]string{certificate(t, key, now.Add(-time.Hour), old), private}, "expired at " + old.UTC().Format(time.RFC3339)},
		"not yet valid":        {[]string{certificate(t, key, early, now.Add(time.Hour)), private}, "valid from " + early.UTC().Format(time.RFC3339)},
	} {
		pair, err := inject.Certificate{}.Certificate(values(test.texts...))
		if !errors.Is(err, credential.ErrUnusable) || pair != nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %s", name, err, test.says)
			continue
		}
		leaks(t, name, err.Error())
		for _, text := range append(test.texts, private) {
			for line := range strings.Lines(text) {
				if line = strings.TrimSpace(line); len(line) > 8 && strings.Contains(err.Error(), line) {
					t.Errorf("%s: the error quotes PEM: %v", name, err)
				}
			}
		}
	}
}

// The server sees the certificate, and the request is not touched.
func TestCertificateIsShown(t *testing.T) {
	key, now := ecKey(t), time.Now()
	list := values(certificate(t, key, now.Add(-time.Hour), now.Add(time.Hour)), keyPEM(t, key))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	pair, err := inject.Certificate{}.Certificate(list)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	transport, _ := client.Transport.(*http.Transport)
	transport.TLSClientConfig.Certificates = []tls.Certificate{*pair}
	r := post(t, server.URL, "application/json", "{}")
	if err := (inject.Certificate{}).Inject(r, list); err != nil || len(r.Header) != 1 {
		t.Fatalf("%v, %q", err, r.Header)
	}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if text, err := io.ReadAll(io.LimitReader(response.Body, 1<<10)); err != nil || string(text) != "connector" {
		t.Errorf("%q, %v", text, err)
	}
}

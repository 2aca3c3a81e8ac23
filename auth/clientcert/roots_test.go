package clientcert_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/clientcert"
)

func TestFilesThatAreRefused(t *testing.T) {
	ca := root(t)
	pemCA := encode(ca)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, content []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content})
	}
	for name, c := range map[string]struct {
		content []byte
		want    string // empty: it is good
	}{
		"one":                    {pemCA, ""},
		"two, with words":        {joined(" the old one\n", pemCA, "the new one\n", encode(root(t))), ""},
		"empty":                  {nil, "no certificate in PEM"},
		"words":                  {[]byte("canary"), "no certificate in PEM"},
		"DER":                    {ca.cert.Raw, "no certificate in PEM"},
		"client certificate":     {block("CERTIFICATE", ca.issue(t).Raw), "number 1 is no CA"},
		"one of them a client":   {joined(pemCA, block("CERTIFICATE", ca.issue(t).Raw)), "number 2 is no CA"},
		"CA that may not sign":   {encode(root(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign })), "may not sign"},
		"weak CA":                {encode(rootWith(t, weak)), "weak key"},
		"broken certificate":     {joined(pemCA, block("CERTIFICATE", ca.cert.Raw[:100])), "number 2 is none"},
		"private key":            {joined(pemCA, block("PRIVATE KEY", []byte("canary"))), "something else than certificates"},
		"half written":           {joined(pemCA, pemCA[:len(pemCA)/2]), "no whole PEM"},
		"broken base64":          {joined(pemCA, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), "no whole PEM"},
		"larger than a mebibyte": {joined(pemCA, bytes.Repeat([]byte("#\n"), 1<<19)), "1024 KiB"},
	} {
		path := filepath.Join(t.TempDir(), "ca.crt")
		write(t, path, c.content)
		_, err := clientcert.New(issuer, clientcert.Config{CAFile: path, Principals: principals()})
		if (err == nil) != (c.want == "") || err != nil && (!strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "ca_file: ")) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: the error shows the file: %v", name, err)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none.crt"), t.TempDir()} {
		if _, err := clientcert.New(issuer, clientcert.Config{CAFile: path, Principals: principals()}); err == nil {
			t.Errorf("%s is accepted", path)
		}
	}
}

// TestReload replaces the CAs while certificates are remembered.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before, after := root(t), root(t)
		path := writeCAs(t, before)
		v, err := clientcert.New(issuer, clientcert.Config{CAFile: path, Principals: principals()})
		if err != nil {
			t.Fatal(err)
		}
		old, fresh := before.issue(t, uris(ciURI)), after.issue(t, uris(ciURI))
		expect := func(what string, cert *x509.Certificate, want error) {
			t.Helper()
			p, err := v.Verify(t.Context(), present(cert))
			if !errors.Is(err, want) || (err == nil) != (p.Subject == "ci") {
				t.Errorf("%s: got %v, %v, want %v", what, p, err, want)
			}
			if err != nil && !errors.Is(want, auth.ErrUnavailable) && errors.Is(err, auth.ErrUnavailable) {
				t.Errorf("%s: no verdict", what)
			}
		}
		replace := func(content []byte) {
			t.Helper()
			write(t, path+".new", content)
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}
		expect("at first", old, nil)
		expect("at first, the next CA's", fresh, auth.ErrInvalid)

		replace(encode(before, after))
		expect("within the second", fresh, auth.ErrInvalid)
		time.Sleep(time.Second)
		expect("both, the next CA's", fresh, nil)
		expect("both, the CA's before", old, nil)

		replace(encode(after))
		time.Sleep(time.Second)
		expect("the next alone", fresh, nil)
		expect("the CA before is gone", old, auth.ErrInvalid)

		replace([]byte("nothing"))
		time.Sleep(time.Second)
		expect("a broken file", fresh, nil)
		expect("a broken file brings nothing back", old, auth.ErrInvalid)
		time.Sleep(58 * time.Second)
		expect("a broken file after 59 s", fresh, nil)
		time.Sleep(time.Second)
		expect("a broken file after a minute", fresh, auth.ErrUnavailable)
		expect("a broken file after a minute, again", fresh, auth.ErrUnavailable)

		replace(encode(after))
		time.Sleep(time.Second)
		expect("a file again", fresh, nil)

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect("no file", fresh, nil)
		time.Sleep(time.Minute)
		expect("no file for a minute", fresh, auth.ErrUnavailable)
		write(t, path, encode(before))
		time.Sleep(time.Second)
		expect("the CA before comes back", old, nil)
		expect("and the next one is gone", fresh, auth.ErrInvalid)
	})
}

// joined puts together texts and bytes.
func joined(parts ...any) []byte {
	var out []byte
	for _, part := range parts {
		switch part := part.(type) {
		case string:
			out = append(out, part...)
		case []byte:
			out = append(out, part...)
		}
	}
	return out
}

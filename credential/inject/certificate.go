package inject

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// Certificate shows a client certificate in the TLS handshake. Its values are the certificate with its chain, and the
// private key, both in PEM.
type Certificate struct{}

var _ credential.Presenter = Certificate{}

// Validate implements credential.Injector.
func (Certificate) Validate() error { return nil }

// Place implements credential.Injector.
func (Certificate) Place() string { return "certificate" }

// Order implements credential.Injector.
func (Certificate) Order() int { return credential.OrderHeader }

// Strip implements credential.Injector: nothing of a request can stand for a certificate.
func (Certificate) Strip(*http.Request) error { return nil }

// Inject implements credential.Injector. The handshake below has the certificate.
func (Certificate) Inject(*http.Request, []secret.Value) error { return nil }

// Certificate implements credential.Presenter. The error says which of the two texts is wrong, that they do not belong
// together, or from when or until when the certificate is valid.
func (Certificate) Certificate(values []secret.Value) (*tls.Certificate, error) {
	if len(values) != 2 {
		return nil, fmt.Errorf("%w: certificate: a certificate and a key are needed", credential.ErrUnusable)
	}
	chain, key := []byte(values[0].Reveal()), []byte(values[1].Reveal())
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil { // its text could quote the PEM
		return nil, fmt.Errorf("%w: certificate: %w", credential.ErrUnusable, explain(chain, key))
	}
	if pair.Leaf == nil { // as GODEBUG=x509keypairleaf=0 has it
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("%w: certificate: %w", credential.ErrUnusable, errCertificate)
		}
	}
	switch now := time.Now(); {
	case now.After(pair.Leaf.NotAfter):
		return nil, fmt.Errorf("%w: certificate: it has expired at %s; renew it", credential.ErrUnusable, pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(pair.Leaf.NotBefore):
		return nil, fmt.Errorf("%w: certificate: it is valid from %s on only; check the clock", credential.ErrUnusable, pair.Leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return &pair, nil
}

// What is wrong with a certificate or its key. None quotes them.
var (
	errCertificate = errors.New("certificate: holds no certificate in PEM that can be read; the client's own comes first, then its chain")
	errEncrypted   = errors.New("key: holds an encrypted key; write it without a password: openssl pkey -in KEY -out PLAIN")
	errKey         = errors.New("key: holds no private key in PEM that can be read")
	errForeign     = errors.New("certificate and key do not belong together")
)

// explain says why there is no pair.
func explain(chain, key []byte) error {
	if leaf := find(chain, "CERTIFICATE"); leaf == nil {
		return errCertificate
	} else if _, err := x509.ParseCertificate(leaf.Bytes); err != nil {
		return errCertificate
	}
	private := find(key, "PRIVATE KEY")
	switch {
	case private == nil:
		return errKey
	case private.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(private.Headers["Proc-Type"], "ENCRYPTED"):
		return errEncrypted
	}
	_, pkcs8 := x509.ParsePKCS8PrivateKey(private.Bytes)
	_, pkcs1 := x509.ParsePKCS1PrivateKey(private.Bytes)
	_, sec1 := x509.ParseECPrivateKey(private.Bytes)
	if pkcs8 != nil && pkcs1 != nil && sec1 != nil {
		return errKey
	}
	return errForeign
}

// find returns the first block whose kind ends so.
func find(text []byte, kind string) *pem.Block {
	for {
		block, rest := pem.Decode(text)
		if block == nil || strings.HasSuffix(block.Type, kind) {
			return block
		}
		text = rest
	}
}

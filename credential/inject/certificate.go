package inject

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
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

// Certificate implements credential.Presenter.
func (Certificate) Certificate(values []secret.Value) (*tls.Certificate, error) {
	if len(values) != 2 {
		return nil, fmt.Errorf("%w: certificate: a certificate and a key are needed", credential.ErrUnusable)
	}
	pair, err := tls.X509KeyPair([]byte(values[0].Reveal()), []byte(values[1].Reveal()))
	if err != nil { // its text could quote the PEM
		return nil, fmt.Errorf("%w: certificate: certificate and key are not PEM, or do not belong together", credential.ErrUnusable)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("%w: certificate: it cannot be read", credential.ErrUnusable)
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

package clientcert

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
)

// Thumbprint names a certificate as the confirmation x5t#S256 of a token that is bound to it does (RFC 8705 section 3.1):
// base64url, without padding, of the SHA-256 of its DER. A nil certificate has the empty name, which no token confirms.
func Thumbprint(cert *x509.Certificate) string {
	if cert == nil || len(cert.Raw) == 0 {
		return ""
	}
	digest := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(digest[:])
}

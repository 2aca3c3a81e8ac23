// Package clientcert answers who calls by a TLS client certificate, and names a certificate so that a token can be bound to
// it (RFC 8705). It trusts the CAs of one file, and a name that the certificate's issuer has put into a subject alternative
// name. It does not know how a handshake proved the key, what a principal may do, or which certificates were revoked: it
// asks nobody, so certificates should be short-lived.
package clientcert

package connector

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
)

// seeError is the hint of an error that says itself what to do.
const seeError = "see the error"

// hint says what the operator may do about an attempt to attach that failed.
// An error that says so itself gets none.
func hint(err error) string {
	var (
		unknownCA x509.UnknownAuthorityError
		wrongName x509.HostnameError
		noTLS     tls.RecordHeaderError
		noHost    *net.DNSError
	)
	switch {
	case errors.Is(err, errRefused), errors.Is(err, errCrowded), errors.Is(err, errDraining):
		return seeError
	case errors.As(err, &unknownCA):
		return "set gateway_ca to the CA file of the gateway's certificate"
	case errors.As(err, &wrongName):
		return "write the gateway's name in gateway as its certificate has it"
	case errors.As(err, &noTLS):
		return "that port does not speak TLS: compare gateway here with listen there"
	case errors.As(err, &noHost):
		return "the gateway's name does not resolve from here"
	}
	return "see that the gateway runs, and that its port is reached from here over UDP and TCP"
}

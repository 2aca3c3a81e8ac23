package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"

	"sallyport.dev/address"
)

// failure is why something was not had. It quotes nothing that was sent or received, so it can be logged and shown.
type failure string

// The failures that have one text.
const (
	failSlow             = failure("there is no whole answer within 5 s")
	failRefused          = failure("the connection is refused; look whether the provider is up")
	failName             = failure("the host's name is not found; check the URL and the DNS")
	failTrust            = failure("the certificate is not trusted; check ca_file")
	failHost             = failure("the certificate is for another host; check the URL")
	failCertificate      = failure("the certificate is not valid; look at the provider")
	failTLS              = failure("the server does not speak TLS 1.2 or later; look at the provider")
	failConnection       = failure("the connection broke, or what came is not HTTP; look at the provider")
	failEncoded          = failure("the answer is compressed, which was not asked for; look at the provider")
	failLong             = failure("the answer is longer than 64 KiB; check the URL")
	failDocument         = failure("it is not one JSON object with each member once; check issuer")
	failIssuer           = failure("it names another issuer; write issuer exactly as the provider does")
	failJWKSURI          = failure("it names no https URL as its jwks_uri; write jwks_url")
	failIntrospectionURI = failure("it names an introspection_endpoint that is no https URL; write introspection.url")
	failNoIntrospection  = failure("the discovery document names no introspection_endpoint; write introspection.url")
	failURL              = failure("the URL cannot be asked")
	failClient           = failure("the provider refuses our client; check introspection.client_id and client_secret")
	failClosed           = failure("it is not asked any more")
	failBusy             = failure("too many opaque tokens are asked about at once")
)

// Error implements error.
func (f failure) Error() string { return string(f) }

// about says what a failure is about. The error's text must be of the kind that failures have.
func about(what string, err error) error { return fmt.Errorf("%s: %w", what, err) }

// statusError is an answer with another status than 200.
type statusError int

// Error implements error.
func (s statusError) Error() string {
	if s >= 300 && s < 400 {
		return "status " + strconv.Itoa(int(s)) + ", a redirect, which is not followed; write the URL that it leads to"
	}
	return "status " + strconv.Itoa(int(s)) + "; look at the provider"
}

// isAbsence reports whether the status says that there is nothing here. Not all providers have a 404 for that.
func (s statusError) isAbsence() bool {
	return s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests
}

// diagnose says in words of this package why a request failed. Of one that was ended it gives the cause of that.
func diagnose(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var (
		refused     *address.Error
		name        *net.DNSError
		authority   x509.UnknownAuthorityError
		host        x509.HostnameError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		operation   *net.OpError
		timeout     net.Error
	)
	switch {
	case errors.As(err, &refused):
		return failure("the address is refused: " + refused.Reason.String() + "; check the URL and allowed_ips")
	case errors.As(err, &name):
		return failName
	case errors.As(err, &authority):
		return failTrust
	case errors.As(err, &host):
		return failHost
	case errors.As(err, &certificate):
		return failCertificate
	case errors.As(err, &record), errors.As(err, &operation) && isAlert(operation):
		return failTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return failRefused
	case errors.As(err, &timeout) && timeout.Timeout():
		return failSlow
	}
	return failConnection
}

// isAlert reports whether an error is an alert of TLS, of either side: package tls has no type for them.
func isAlert(operation *net.OpError) bool {
	return operation.Op == "remote error" || operation.Op == "local error"
}

package telemetry

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/grpc/status"
)

// The exporters have no types for what collectors answer, only texts: "failed to send to URL: 404 Not Found (body: …)", and "OTLP
// partial success: … (3 spans rejected)" for what was taken but for some.
var (
	httpStatus = regexp.MustCompile(`^(?:[a-z ]+: )*failed to send (?:[a-z]+ )?to \S+: ([1-5][0-9]{2}) `)
	partial    = regexp.MustCompile(`OTLP partial success: (?s:.*) \((\d+) [a-z ]+ rejected\)$`)
)

// trouble says what is wrong with a collector in words of our own. The exporters' texts quote its answer, in which may be what we
// have sent it, and its URL.
func trouble(err error) string {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		name        *net.DNSError
		errno       syscall.Errno
		network     net.Error
	)
	if s, ok := status.FromError(err); ok && err != nil {
		return "gRPC " + s.Code().String()
	}
	switch code := answered(err); {
	case code != "":
		return "HTTP " + code
	case errors.As(err, &certificate):
		return "its certificate is not trusted"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "it does not speak TLS"
	case strings.Contains(err.Error(), "malformed HTTP"):
		return "it does not speak HTTP/1.1: see whether this is the port for telemetry.otlp.protocol"
	case errors.As(err, &name):
		return "its name cannot be looked up"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &network) && network.Timeout():
		return "no answer in time"
	}
	return "the exchange failed"
}

// answered is the HTTP status that an error tells of, or "".
func answered(err error) string {
	if found := httpStatus.FindStringSubmatch(err.Error()); found != nil {
		return found[1]
	}
	return ""
}

// takesNone reports that a collector has no place for a signal.
func takesNone(err error) bool {
	switch answered(err) {
	case "404", "405", "501":
		return true
	}
	s, ok := status.FromError(err)
	return ok && s.Code().String() == "Unimplemented"
}

// unreachable reports that nobody was there to take anything, which the exporters take for a failure for good.
func unreachable(err error) bool {
	network, ok := errors.AsType[*net.OpError](err)
	return ok && network.Op == "dial"
}

// rejected is how many things of a request were not taken by a collector that has taken the rest.
func rejected(err error) (n int, ok bool) {
	found := partial.FindStringSubmatch(err.Error())
	if found == nil {
		return 0, false
	}
	n, convErr := strconv.Atoi(found[1])
	return n, convErr == nil
}

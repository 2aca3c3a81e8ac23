package connector

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

func TestHint(t *testing.T) {
	for _, test := range []struct {
		err  error
		says string
	}{
		{fmt.Errorf("dial: %w; %w", errors.New("timeout"), x509.UnknownAuthorityError{}), "gateway_ca"},
		{x509.HostnameError{Certificate: new(x509.Certificate), Host: "h"}, "certificate"},
		{tls.RecordHeaderError{}, "TLS"},
		{&net.DNSError{}, "resolve"},
		{errRefused, "error"},
		{errors.New("no answer"), "UDP and TCP"},
	} {
		if got := hint(test.err); !strings.Contains(got, test.says) {
			t.Errorf("%T: %q does not speak of %q", test.err, got, test.says)
		}
	}
}

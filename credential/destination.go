package credential

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Destination says where a credential may go: to one scheme, host and port. The address behind the host's name is
// checked where it is dialled (Addresses.Control), and the name against the certificate in the TLS handshake: both
// are the transport's, which dials.
type Destination struct {
	// URL is the upstream's; only its scheme, host and port count here.
	URL *url.URL
	// AllowPlaintext lets the credential go over plain http.
	AllowPlaintext bool
}

// Validate checks that the destination is usable, and says what to write instead.
func (d Destination) Validate() error {
	switch {
	case d.URL == nil || d.URL.Opaque != "" || d.URL.Hostname() == "":
		return fmt.Errorf("%w: url is not absolute; write one such as https://wiki.internal/mcp", ErrConfig)
	case d.URL.User != nil:
		return fmt.Errorf("%w: url holds a user or a password; put the password into a credential", ErrConfig)
	case d.URL.Scheme != "https" && d.URL.Scheme != "http":
		return fmt.Errorf("%w: url is neither https nor http", ErrConfig)
	case d.URL.Scheme == "http" && !d.AllowPlaintext:
		return fmt.Errorf("%w: url is plain http and has credentials; use https, or set allow_plaintext: true", ErrConfig)
	case strings.HasSuffix(d.URL.Host, ":"):
		return fmt.Errorf("%w: url has a colon and no port; write the port or leave the colon out", ErrConfig)
	case !isASCII(d.URL.Host):
		return fmt.Errorf("%w: url's host is not ASCII; write its xn-- form", ErrConfig)
	}
	return nil
}

// Check reports whether the request goes exactly there: the same scheme (https, or http with AllowPlaintext), the
// same host without regard to case, the same port with defaults filled in, no userinfo, and a Host field that names
// the same place. Its error names the part that differs and no value of the request, which the caller chose.
func (d Destination) Check(r *http.Request) error {
	if err := d.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrDestination, err)
	}
	to := r.URL
	var wrong string
	switch {
	case to == nil || to.Opaque != "":
		wrong = "the request has no absolute URL"
	case r.Method == http.MethodConnect:
		wrong = "the request is a CONNECT"
	case to.User != nil:
		wrong = "the URL has userinfo"
	case to.Scheme != d.URL.Scheme:
		wrong = "the scheme differs"
	case !sameHost(to.Hostname(), d.URL.Hostname()):
		wrong = "the host differs"
	case portOf(to) != portOf(d.URL):
		wrong = "the port differs"
	case r.Host != "" && !d.names(r.Host):
		wrong = "the Host field differs"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s from what the credential for %s is bound to", ErrDestination, wrong, d.URL.Host)
}

// names reports whether a Host field stands for this destination.
func (d Destination) names(host string) bool {
	to := url.URL{Scheme: d.URL.Scheme, Host: host}
	return sameHost(to.Hostname(), d.URL.Hostname()) && portOf(&to) == portOf(d.URL)
}

// sameHost compares names without regard to ASCII case. Unlike strings.EqualFold it folds nothing else: the Kelvin
// sign is not a k.
func sameHost(a, b string) bool {
	return isASCII(a) && isASCII(b) && strings.EqualFold(a, b)
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	if strings.HasSuffix(u.Host, ":") {
		return "" // a colon and no port: nothing that was configured
	}
	switch u.Scheme {
	case "https":
		return "443"
	case "http":
		return "80"
	default:
		return ""
	}
}

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

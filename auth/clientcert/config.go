package clientcert

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
)

const (
	// maxName bounds a principal's name, as that of a static token.
	maxName = 64
	// maxURI is the longest URI that a SPIFFE ID may be (SPIFFE-ID section 2.3), in bytes.
	maxURI = 2048
	// maxDNS and maxLabel are the longest name and the longest label of one (RFC 1035 section 2.3.4), in bytes.
	maxDNS   = 253
	maxLabel = 63
)

// Config says which TLS client certificates are principals.
type Config struct {
	// CAFile is the absolute path of a file with the CA certificates, in PEM, whose client certificates are accepted. No
	// other CA counts, not even one of the system. Once changed it counts within a second; one that cannot be used any more
	// leaves the CAs as they were for a minute, and then no certificate is accepted. Required.
	CAFile string `yaml:"ca_file"`
	// Principals are the callers. Required.
	Principals []Principal `yaml:"principals"`
}

// Principal is one caller, by a name in the subject alternative names of its certificate.
type Principal struct {
	// Name is the principal's subject; it appears in logs. Visible ASCII without |, 1 to 64 characters, unique.
	Name string `yaml:"name"`
	// URI is the certificate's only URI, such as "spiffe://corp.example/ci", compared byte for byte. Required, unless dns
	// is.
	URI string `yaml:"uri"`
	// DNS is a DNS name of the certificate, such as "ci.corp.example", compared without regard to case. A wildcard is
	// neither written here nor accepted in a certificate. Required, unless uri is.
	DNS string `yaml:"dns"`
	// Tunnels are the tunnels that it may use, or "*". Required.
	Tunnels []string `yaml:"tunnels"`
	// Servers are the servers of those tunnels that it may use, or "*". Required.
	Servers []string `yaml:"servers"`
	// TrustTrace has its trace context, traceparent and whether it is sampled, count as the parent of ours. Default false.
	TrustTrace bool `yaml:"trust_trace"`
}

// Validate reports everything that is wrong at once, each beginning with its key. It reads no file: [New] does.
func (c Config) Validate() error {
	var problems []error
	if !filepath.IsAbs(c.CAFile) || filepath.Clean(c.CAFile) != c.CAFile {
		problems = append(problems, errors.New("certificates.ca_file: write an absolute path, without . and .. in it"))
	}
	if len(c.Principals) == 0 {
		problems = append(problems, errors.New("certificates.principals: at least one principal is required"))
	}
	names, sans := make(map[string]bool), make(map[san]string)
	for i, p := range c.Principals {
		at := fmt.Sprintf("certificates.principals: %q", p.Name)
		if !validName(p.Name) {
			at = fmt.Sprintf("certificates.principals: number %d", i+1)
			problems = append(problems, fmt.Errorf("%s: name: write 1 to %d visible ASCII characters, without |", at, maxName))
		}
		if names[p.Name] {
			problems = append(problems, fmt.Errorf("%s: the name is listed twice: one name is one principal", at))
		}
		names[p.Name] = true
		name, err := p.san()
		switch other, taken := sans[name]; {
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: %w", at, err))
		case taken:
			problems = append(problems, fmt.Errorf("%s: its certificate is that of %q too: one certificate is one principal", at, other))
		default:
			sans[name] = p.Name
		}
		if err := checkGrant("tunnels", p.Tunnels); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", at, err))
		}
		if err := checkGrant("servers", p.Servers); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", at, err))
		}
	}
	return errors.Join(problems...)
}

// san gives what its certificate must have.
func (p Principal) san() (san, error) {
	switch {
	case (p.URI == "") == (p.DNS == ""):
		return san{}, errors.New("write either uri or dns")
	case p.URI == "":
		return san{kind: sanDNS, name: lower(p.DNS)}, checkDNS(p.DNS)
	}
	return san{kind: sanURI, name: p.URI}, checkURI(p.URI)
}

// checkURI accepts what a certificate can hold as a URI and what means one caller.
func checkURI(s string) error {
	if len(s) > maxURI || !visible(s) {
		return fmt.Errorf("uri: write at most %d visible ASCII characters", maxURI)
	}
	if strings.Contains(s, "*") {
		return errors.New("uri: there are no wildcards: write the whole URI")
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" {
		return errors.New("uri: write an absolute URI, such as spiffe://corp.example/ci")
	}
	return nil
}

// checkDNS accepts letters, digits and hyphens between dots.
func checkDNS(s string) error {
	if strings.Contains(s, "*") {
		return errors.New("dns: there are no wildcards: write the whole name")
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return errors.New("dns: write a name, not an address")
	}
	if len(s) > maxDNS {
		return fmt.Errorf("dns: write at most %d characters", maxDNS)
	}
	for label := range strings.SplitSeq(s, ".") {
		if !validLabel(label) {
			return errors.New("dns: write a name such as ci.corp.example, without a dot at its end")
		}
	}
	return nil
}

func validLabel(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z':
		case c == '-' && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxLabel
}

func checkGrant(key string, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf(`%s: required: write names, or "*" for all`, key)
	}
	for _, name := range names {
		if name == "" {
			return fmt.Errorf("%s: a name is empty", key)
		}
	}
	return nil
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && visible(s) && !strings.Contains(s, "|")
}

// visible reports whether a text is ASCII without spaces and control characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// lower folds the case of ASCII letters only: no other letter is ever the same as one of them.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

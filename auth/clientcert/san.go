package clientcert

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"sallyport.dev/auth"
)

// sanKind is the kind of a subject alternative name, by its tag in GeneralName (RFC 5280 section 4.2.1.6).
type sanKind int

const (
	sanDNS sanKind = 2
	sanURI sanKind = 6
)

// san is a subject alternative name that stands for a principal.
type san struct {
	kind sanKind
	name string // a DNS name in lower case
}

// errSAN is about the extension itself, which net/http's TLS has parsed before.
var errSAN = fmt.Errorf("%w: its subject alternative names cannot be read", auth.ErrInvalid)

// match finds the one principal whose name the certificate has among its subject alternative names. Nothing else in it
// names anybody: no subject, no mail or IP address.
func match(principals map[san]int, leaf *x509.Certificate) (int, error) {
	names, err := alternativeNames(leaf)
	if err != nil {
		return 0, err
	}
	found := make(map[int]bool)
	uris, byURI, which := 0, false, 0
	for _, name := range names {
		if name.kind == sanURI {
			uris++
		}
		if i, ok := principals[name]; ok {
			found[i], which = true, i
			byURI = byURI || name.kind == sanURI
		}
	}
	switch {
	case len(found) == 0:
		return 0, fmt.Errorf("%w: none of its URIs and DNS names is that of a principal", auth.ErrInvalid)
	case len(found) > 1:
		return 0, fmt.Errorf("%w: its names are those of several principals", auth.ErrInvalid)
	case byURI && uris > 1: // X509-SVID section 2: exactly one
		return 0, fmt.Errorf("%w: it has more than one URI", auth.ErrInvalid)
	}
	return which, nil
}

// alternativeNames gives the URIs and DNS names of a certificate as they stand in it: crypto/x509 has them parsed, and a
// URL that was parsed is not always written as it was read.
func alternativeNames(cert *x509.Certificate) ([]san, error) {
	var names []san
	for _, extension := range cert.Extensions {
		if !extension.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) {
			continue
		}
		var sequence asn1.RawValue
		rest, err := asn1.Unmarshal(extension.Value, &sequence)
		if err != nil || len(rest) > 0 || sequence.Tag != asn1.TagSequence || sequence.Class != asn1.ClassUniversal {
			return nil, errSAN
		}
		for rest = sequence.Bytes; len(rest) > 0; {
			var value asn1.RawValue
			if rest, err = asn1.Unmarshal(rest, &value); err != nil || value.Class != asn1.ClassContextSpecific {
				return nil, errSAN
			}
			switch kind := sanKind(value.Tag); kind {
			case sanDNS:
				names = append(names, san{kind, lower(string(value.Bytes))})
			case sanURI:
				names = append(names, san{kind, string(value.Bytes)})
			}
		}
	}
	return names, nil
}

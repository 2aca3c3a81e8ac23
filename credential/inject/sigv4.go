package inject

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws/smithy-go/aws-http-auth/credentials"
	"github.com/aws/smithy-go/aws-http-auth/sigv4"
	v4 "github.com/aws/smithy-go/aws-http-auth/v4"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// SigV4 signs requests for AWS, Signature Version 4: their method, path, query, host, type, MCP's own fields and every byte of
// the body. Its values are the access key's id and its secret, and the session token of temporary keys.
type SigV4 struct {
	// Region and Service are what the signature is for.
	Region, Service string
	// Now is the clock. Optional; default time.Now.
	Now func() time.Time

	bare bool // signs every field, and has none for the body's hash, as AWS's test vectors do
}

// Validate implements credential.Injector.
func (s SigV4) Validate() error {
	for _, name := range []string{s.Region, s.Service} {
		if name == "" || len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return fmt.Errorf("%w: sigv4: region and service are required, such as eu-central-1 and execute-api", credential.ErrConfig)
		}
	}
	return nil
}

// Place implements credential.Injector.
func (SigV4) Place() string { return Header{Name: authorization}.Place() }

// Order implements credential.Injector.
func (SigV4) Order() int { return credential.OrderSignature }

// Strip takes out what a signature consists of. A query that is signed already, or that servers read in different ways, is
// refused: the request would be one that somebody else has chosen.
func (s SigV4) Strip(r *http.Request) error {
	if err := (Header{Name: authorization}).Strip(r); err != nil {
		return err
	}
	for _, header := range []http.Header{r.Header, r.Trailer} {
		maps.DeleteFunc(header, func(name string, _ []string) bool { return isAmazons(name) })
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("%w: sigv4: the request's query cannot be read in one way", credential.ErrUnusable)
	}
	for name := range query {
		if strings.HasPrefix(foldName(strings.TrimSpace(name)), foldName(amazons)) {
			return fmt.Errorf("%w: sigv4: the request's query is signed already", credential.ErrUnusable)
		}
	}
	return nil
}

// amazons is how the fields and parameters of a signature begin.
const amazons = "x-amz-"

func isAmazons(name string) bool {
	return len(name) >= len(amazons) && sameFolded(name[:len(amazons)], amazons)
}

// Inject implements credential.Injector.
func (s SigV4) Inject(r *http.Request, values []secret.Value) error {
	if err := s.Strip(r); err != nil {
		return err
	}
	if len(values) != 2 && len(values) != 3 {
		return fmt.Errorf("%w: sigv4: an access key's id and its secret are needed", credential.ErrUnusable)
	}
	for _, v := range values {
		if !isFieldValue(v.Reveal()) {
			return fmt.Errorf("%w: sigv4: a part of the access key holds control characters, bytes outside ASCII or a space at an end; check where it comes from", credential.ErrUnusable)
		}
	}
	if strings.ContainsAny(values[0].Reveal(), " ,/=") { // which part the Authorization field
		return fmt.Errorf("%w: sigv4: the access key's id is none; check where it comes from", credential.ErrUnusable)
	}
	hash, err := hashBody(r)
	if err != nil {
		return fmt.Errorf("%w: sigv4: %w", credential.ErrUnusable, err)
	}
	key := credentials.Credentials{AccessKeyID: values[0].Reveal(), SecretAccessKey: values[1].Reveal()}
	if len(values) == 3 {
		key.SessionToken = values[2].Reveal()
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	// A copy is signed, which has exactly the fields that count, as AWS reads them. What is sent stays as it was.
	copied := &http.Request{Method: cmp.Or(r.Method, http.MethodGet), URL: s.signedURL(r.URL), Host: r.Host, Header: s.signedFields(r.Header)}
	err = sigv4.New().SignRequest(&sigv4.SignRequestInput{
		Request: copied, PayloadHash: hash, Credentials: key, Service: s.Service, Region: s.Region, Time: now(),
	}, func(o *v4.SignerOptions) {
		o.AddPayloadHashHeader, o.HeaderRules = !s.bare, all{}
		o.DisableDoublePathEscape = s.isS3()
	})
	if err != nil { // there is nothing random in it, and nothing else that fails
		return fmt.Errorf("%w: sigv4: the request cannot be signed", credential.ErrUnusable)
	}
	for name, lines := range copied.Header {
		if name == authorization || isAmazons(name) {
			setHeader(r, name, lines[0])
		}
	}
	return nil
}

// isS3 reports whether the service reads paths as Amazon S3 does: as they are, and escaped once.
func (s SigV4) isS3() bool {
	return s.Service == "s3" || strings.HasPrefix(s.Service, "s3-") || s.Service == "s3express"
}

// all are the fields that are signed: of the copy, every one.
type all struct{}

// IsSigned implements v4.SignedHeaderRules.
func (all) IsSigned(string) bool { return true }

// signedFields returns the fields that are signed, in their canonical form: spaces at the ends are gone, and several within
// are one. Fields that proxies change, or that are not plain text, would make the signature a wrong one.
func (s SigV4) signedFields(header http.Header) http.Header {
	signed := make(http.Header, len(header)+4)
	for _, name := range slices.Sorted(maps.Keys(header)) { // as net/http sends those of one name
		if !s.bare && !isSigned(name) || slices.ContainsFunc(header[name], isOdd) {
			continue
		}
		for _, line := range header[name] {
			signed.Add(name, strings.Join(strings.Fields(line), " "))
		}
	}
	return signed
}

// isSigned reports whether a field says what is asked for, and arrives as it was sent.
func isSigned(name string) bool {
	switch name = strings.ToLower(name); name {
	case "accept", "content-encoding", "content-type", "last-event-id":
		return true
	}
	return strings.HasPrefix(name, "mcp-")
}

// isOdd reports whether a field's value holds more than visible ASCII and spaces.
func isOdd(line string) bool {
	return strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' })
}

// signedURL returns the URL whose path is signed. All services but S3 take out what is redundant in it (RFC 3986, section
// 6.2.2.3) before they check the signature.
func (s SigV4) signedURL(u *url.URL) *url.URL {
	escaped := u.EscapedPath()
	if s.isS3() || !strings.Contains(escaped, "//") && !strings.Contains(escaped, "/.") {
		return u
	}
	clean := path.Clean("/" + escaped)
	if strings.HasSuffix(escaped, "/") && clean != "/" {
		clean += "/"
	}
	signed := *u
	signed.RawPath = clean
	signed.Path, _ = url.PathUnescape(clean) // EscapedPath gave it
	return &signed
}

// hashBody reads the request's body, and leaves the same bytes to be sent.
func hashBody(r *http.Request) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		sum := sha256.Sum256(nil)
		return sum[:], nil
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	setBody(r, body)
	sum := sha256.Sum256(body)
	return sum[:], nil
}

package inject

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/smithy-go/aws-http-auth/credentials"
	"github.com/aws/smithy-go/aws-http-auth/sigv4"
	v4 "github.com/aws/smithy-go/aws-http-auth/v4"

	"sallyport.dev/credential"
	"sallyport.dev/secret"
)

// SigV4 signs requests for AWS, Signature Version 4: their method, path, query, host, type and every byte of the body. Its
// values are the access key's id and its secret, and the session token of temporary keys.
type SigV4 struct {
	// Region and Service are what the signature is for.
	Region, Service string
	// Now is the clock. Optional; default time.Now.
	Now func() time.Time

	bare bool // without the body's hash as a field of its own, as AWS's test vectors are
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
	const prefix = "x-amz-"
	for name := range r.Header {
		if len(name) >= len(prefix) && sameFolded(name[:len(prefix)], prefix) {
			delete(r.Header, name)
		}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("%w: sigv4: the request's query cannot be read in one way", credential.ErrUnusable)
	}
	for name := range query {
		if strings.HasPrefix(foldName(name), foldName(prefix)) {
			return fmt.Errorf("%w: sigv4: the request's query is signed already", credential.ErrUnusable)
		}
	}
	return nil
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
	hash, err := hashBody(r)
	if err != nil {
		return err
	}
	key := credentials.Credentials{AccessKeyID: values[0].Reveal(), SecretAccessKey: values[1].Reveal()}
	if len(values) == 3 {
		key.SessionToken = values[2].Reveal()
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	if r.Header == nil {
		r.Header = make(http.Header, 4)
	}
	err = sigv4.New().SignRequest(&sigv4.SignRequestInput{
		Request: r, PayloadHash: hash, Credentials: key, Service: s.Service, Region: s.Region, Time: now(),
	}, func(o *v4.SignerOptions) {
		o.AddPayloadHashHeader, o.HeaderRules = !s.bare, signed{}
		o.DisableDoublePathEscape = s.Service == "s3"
	})
	r.Header.Del("Host") // which is the request's own
	if err != nil {
		_ = s.Strip(r) // it has passed once
		return fmt.Errorf("%w: sigv4: the request cannot be signed", credential.ErrUnusable)
	}
	return nil
}

// signed are the header fields that are signed.
type signed struct{}

// IsSigned implements v4.SignedHeaderRules.
func (signed) IsSigned(name string) bool {
	return name == "host" || name == "content-type" || strings.HasPrefix(name, "x-amz-")
}

// hashBody reads the request's body, and leaves the same bytes to be sent.
func hashBody(r *http.Request) ([]byte, error) {
	hash := sha256.New()
	if r.Body == nil || r.Body == http.NoBody {
		return hash.Sum(nil), nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	_ = r.Body.Close()
	if err != nil || len(body) > maxBody {
		return nil, fmt.Errorf("%w: sigv4: the request's body cannot be read whole", credential.ErrUnusable)
	}
	setBody(r, body)
	hash.Write(body)
	return hash.Sum(nil), nil
}

package credential

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sallyport.dev/secret"
)

// Transport puts credentials into requests on their way to Next. It is an http.RoundTripper: one request, one
// response, no redirect is followed. Its fields are set before first use and then left alone; it is safe for
// concurrent use.
//
// Next dials, so Next enforces what only a dialler can: that the dialled address is allowed (Addresses.Control) and
// that the certificate is valid for the host. It must not be a proxy and must not follow redirects.
type Transport struct {
	// Next sends the request. Required: there is no default transport.
	Next http.RoundTripper
	// Bindings are the credentials of one upstream, each in a field of its own. None: requests pass as they are.
	Bindings []Binding
}

var _ http.RoundTripper = (*Transport)(nil)

// Validate checks that the transport is usable: a Next, complete bindings, and no two of them for the same field.
func (t *Transport) Validate() error {
	if t.Next == nil {
		return fmt.Errorf("%w: the transport has nothing to send with", ErrConfig)
	}
	for i, binding := range t.Bindings {
		if err := binding.Validate(); err != nil {
			return err
		}
		for _, earlier := range t.Bindings[:i] {
			if sameFolded(earlier.Header.Name, binding.Header.Name) {
				return fmt.Errorf("%w: two credentials for header %s; keep one", ErrConfig, binding.Header.Name)
			}
		}
	}
	return nil
}

// RoundTrip implements http.RoundTripper. All destinations are checked and all secrets fetched before anything is
// put in; then each field is stripped and set on a clone, as the last change to it. When any of that fails the
// request is not sent, and the error matches ErrDestination, ErrUnavailable or ErrUnusable. The request of the
// response is the caller's own, without credentials.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.Next == nil {
		closeBody(r)
		return nil, fmt.Errorf("%w: the transport has nothing to send with", ErrConfig)
	}
	if len(t.Bindings) == 0 {
		return t.Next.RoundTrip(r)
	}
	values, err := t.collect(r)
	if err != nil {
		closeBody(r)
		return nil, err
	}
	armed := r.Clone(r.Context())
	// A Connection field could name a credential's field, and the next hop would then delete what is put in here.
	deleteVariants(armed.Header, "Connection")
	for i, binding := range t.Bindings {
		if err := binding.Header.Inject(armed, values[i]); err != nil {
			closeBody(r)
			return nil, err
		}
	}
	response, err := t.Next.RoundTrip(armed)
	if response != nil {
		response.Request = r
		dropReflected(response.Header, values)
	}
	return response, withhold(err, values)
}

// collect checks where the request goes and only then reads the secrets.
func (t *Transport) collect(r *http.Request) ([]secret.Value, error) {
	for _, binding := range t.Bindings {
		if err := binding.Destination.Check(r); err != nil {
			return nil, err
		}
	}
	values := make([]secret.Value, len(t.Bindings))
	for i, binding := range t.Bindings {
		if binding.Source == nil {
			return nil, fmt.Errorf("%w: header %s: the credential has no source", ErrUnavailable, binding.Header.Name)
		}
		value, err := binding.Source.Fetch(r.Context())
		if err != nil {
			if !errors.Is(err, ErrUnavailable) {
				err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
			return nil, fmt.Errorf("header %s: %w", binding.Header.Name, err)
		}
		values[i] = value
	}
	return values, nil
}

// dropReflected deletes the fields by which an upstream sends a credential back as it is. Other encodings, and bodies,
// are not looked at.
func dropReflected(h http.Header, secrets []secret.Value) {
	for name, texts := range h {
		for _, s := range secrets {
			if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, s.Reveal()) }) {
				delete(h, name)
				break
			}
		}
	}
}

// withhold replaces an error of the network whose text repeats a secret. That the context ended stays testable; the
// rest of its chain goes, since the text is in there.
func withhold(err error, values []secret.Value) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, value := range values {
		if !strings.Contains(text, value.Reveal()) {
			continue
		}
		const said = "credential: upstream request failed; the error's text is withheld, it repeats the credential"
		switch {
		case errors.Is(err, context.Canceled):
			return fmt.Errorf("%s: %w", said, context.Canceled)
		case errors.Is(err, context.DeadlineExceeded):
			return fmt.Errorf("%s: %w", said, context.DeadlineExceeded)
		default:
			return errors.New(said)
		}
	}
	return err
}

// closeBody keeps the promise of http.RoundTripper for a request that is not sent.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // nobody is left to tell
	}
}

package credential

import "errors"

// Errors that callers may test for. None of them, nor anything that wraps them, contains a secret's text or a URL's
// path or query.
var (
	// ErrUnavailable means that a secret could not be read. The request was not sent.
	ErrUnavailable = errors.New("credential: secret is not available")
	// ErrUnusable means that a secret was read and cannot be put into the request. The request was not sent.
	ErrUnusable = errors.New("credential: secret cannot be used")
	// ErrChanged means that the credentials are not those of the version that was asked for any more. The request was not
	// sent.
	ErrChanged = errors.New("credential: replaced meanwhile")
	// ErrDestination means that a request would have carried a credential to where it is not bound. It was not sent.
	ErrDestination = errors.New("credential: destination refused")
	// ErrConfig means that a way to put in, a destination, a binding or a source is not usable as configured.
	ErrConfig = errors.New("credential: configuration")
)

package address

import "errors"

var (
	// ErrRefused means that an address may not be dialled; the error is an *Error.
	ErrRefused = errors.New("address: refused")
	// ErrConfig means that a list of addresses is not usable as configured.
	ErrConfig = errors.New("address: configuration")
)

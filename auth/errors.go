package auth

import "errors"

// Every refusal of this package is one of these four, wrapped with what was wrong but never with what was sent.
var (
	// ErrNoToken says that the request carries no bearer token at all, so a challenge should name no error
	// (RFC 6750 section 3.1).
	ErrNoToken = errors.New("auth: no token")
	// ErrMalformed says that what was sent cannot be a token: two Authorization fields, a broken grammar, too long.
	ErrMalformed = errors.New("auth: malformed token")
	// ErrInvalid says that a well-formed token was refused: unknown, forged, or meant for somebody else.
	ErrInvalid = errors.New("auth: invalid token")
	// ErrExpired says that a genuine token is past its time; the caller should get a fresh one.
	ErrExpired = errors.New("auth: token expired")
)

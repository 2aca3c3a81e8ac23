package auth

import "errors"

// Every refusal of this package and of those below it is one of these, wrapped with what was wrong but never with what was
// sent.
var (
	// ErrNoToken says that the request carries no token at all, so a challenge should name no error (RFC 6750 section
	// 3.1).
	ErrNoToken = errors.New("auth: no token")
	// ErrMalformed says that what was sent cannot be a token: two Authorization fields, a broken grammar, too long.
	ErrMalformed = errors.New("auth: malformed token")
	// ErrInvalid says that a well-formed token was refused: unknown, forged, or meant for somebody else.
	ErrInvalid = errors.New("auth: invalid token")
	// ErrExpired says that a genuine token is past its time; the caller should get a fresh one.
	ErrExpired = errors.New("auth: token expired")
	// ErrProof says that a genuine token is bound to a key (RFC 9449, RFC 8705) and the request does not prove to have it.
	ErrProof = errors.New("auth: no proof of possession")
	// ErrInsufficient says that a genuine token does not reach for this server; the error may be an [*InsufficientError].
	ErrInsufficient = errors.New("auth: insufficient token")
	// ErrUnavailable says that no verdict could be reached: the issuer's keys or its answer could not be had.
	ErrUnavailable = errors.New("auth: the issuer is unavailable")
)

// InsufficientError is an [ErrInsufficient] that more scopes would mend.
type InsufficientError struct {
	// Scopes are all that a token for this server needs, the ones that it has included.
	Scopes []string
}

// Error names no scope: they are in the configuration, and in the challenge.
func (e *InsufficientError) Error() string { return "the token lacks a scope" }

// Unwrap makes errors.Is(err, ErrInsufficient) true.
func (e *InsufficientError) Unwrap() error { return ErrInsufficient }

// NonceError is an [ErrProof] that lacks the server's nonce, or has an old one (RFC 9449 section 9).
type NonceError struct {
	// Nonce is for the next proof.
	Nonce string
}

// Error does not name the nonce.
func (e *NonceError) Error() string { return "the proof has no current nonce" }

// Unwrap makes errors.Is(err, ErrProof) true.
func (e *NonceError) Unwrap() error { return ErrProof }

package auth

import (
	"fmt"
	"net/http"
	"strings"
)

// Bearer gives the bearer token of a request. A token of another scheme is [ErrNoToken].
func Bearer(r *http.Request) (string, error) {
	token, dpop, err := authorization(r)
	if err == nil && dpop {
		return "", fmt.Errorf("%w: another scheme than bearer", ErrNoToken)
	}
	return token, err
}

// authorization gives the token of a request's single Authorization field, which is of the scheme Bearer (RFC 6750 section
// 2.1) or DPoP (RFC 9449 section 7.1). The scheme counts in any case (RFC 9110 section 11.1). No such field, or one with
// another scheme, is [ErrNoToken]; two fields, a broken grammar or more than 8 KiB are [ErrMalformed]. Tokens in the body
// or the query are never looked for.
func authorization(r *http.Request) (token string, dpop bool, err error) {
	fields := r.Header.Values("Authorization")
	switch len(fields) {
	case 0:
		return "", false, ErrNoToken
	case 1:
	default:
		return "", false, fmt.Errorf("%w: more than one authorization field", ErrMalformed)
	}
	scheme, rest, _ := strings.Cut(fields[0], " ")
	if !isScheme(scheme) {
		return "", false, fmt.Errorf("%w: the authorization field names no scheme", ErrMalformed)
	}
	dpop = strings.EqualFold(scheme, "DPoP")
	if !dpop && !strings.EqualFold(scheme, "Bearer") {
		return "", false, fmt.Errorf("%w: another scheme than bearer", ErrNoToken)
	}
	token = strings.TrimLeft(rest, " ")
	if len(token) > maxTokenBytes {
		return "", false, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxTokenBytes)
	}
	if !isB64Token(token) {
		return "", false, fmt.Errorf("%w: not of the bearer grammar", ErrMalformed)
	}
	return token, dpop, nil
}

// proof gives a request's DPoP field, if it has one.
func proof(r *http.Request) (string, error) {
	fields := r.Header["Dpop"]
	switch {
	case len(fields) == 0:
		return "", nil
	case len(fields) > 1:
		return "", fmt.Errorf("%w: more than one DPoP field", ErrMalformed)
	case len(fields[0]) > maxTokenBytes:
		return "", fmt.Errorf("%w: a proof longer than %d bytes", ErrMalformed, maxTokenBytes)
	}
	return fields[0], nil
}

// isB64Token checks RFC 6750's b64token: one or more of ALPHA DIGIT - . _ ~ + / and then any number of =.
func isB64Token(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte("-._~+/", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// isScheme checks that a scheme is a token of RFC 9110 section 5.6.2.
func isScheme(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

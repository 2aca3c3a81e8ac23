package auth

import (
	"fmt"
	"net/http"
	"strings"
)

// Bearer gives the token of a request's single Authorization field (RFC 6750 section 2.1). The scheme counts in any case
// (RFC 9110 section 11.1). No such field, or one with another scheme, is [ErrNoToken]; two fields, a broken grammar or
// more than 8 KiB are [ErrMalformed]. Tokens in the body or the query are never looked for.
func Bearer(r *http.Request) (string, error) {
	fields := r.Header.Values("Authorization")
	switch len(fields) {
	case 0:
		return "", ErrNoToken
	case 1:
	default:
		return "", fmt.Errorf("%w: more than one authorization field", ErrMalformed)
	}
	scheme, rest, _ := strings.Cut(fields[0], " ")
	if !isScheme(scheme) {
		return "", fmt.Errorf("%w: the authorization field names no scheme", ErrMalformed)
	}
	if !strings.EqualFold(scheme, "Bearer") {
		return "", fmt.Errorf("%w: another scheme than bearer", ErrNoToken)
	}
	token := strings.TrimLeft(rest, " ")
	if len(token) > maxTokenBytes {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxTokenBytes)
	}
	if !isB64Token(token) {
		return "", fmt.Errorf("%w: not of the bearer grammar", ErrMalformed)
	}
	return token, nil
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

package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/oauth2"

	"sallyport.dev/credential"
)

// Errors that callers may test for; from Fetch they match credential.ErrUnavailable too. None of them, nor anything that
// wraps them, contains a secret, what a token endpoint sent, the path of a URL or a principal.
var (
	// ErrRefused means that the token endpoint answered with an error. It stands for 15 s, unless a secret changes.
	ErrRefused = errors.New("oauth: the token endpoint refuses")
	// ErrAnswer means that what the token endpoint answered cannot be used.
	ErrAnswer = errors.New("oauth: the token endpoint's answer cannot be used")
	// ErrReauthorize means that a refresh token is not accepted any more: whoever gave the authorization has to give it
	// again. It comes with ErrRefused.
	ErrReauthorize = errors.New("oauth: the authorization has to be given again")
	// ErrStore means that a refresh token that was handed out could not be stored or read back.
	ErrStore = errors.New("oauth: stored refresh token")
)

// errChanged means that a secret was replaced while a token was fetched with it.
var errChanged = errors.New("oauth: a secret has changed meanwhile; try again")

// errInvalidGrant is how a token endpoint refuses a refresh token, an assertion or a subject token.
var errInvalidGrant = errors.New("invalid_grant")

// hints are the error codes that may be repeated, with what to do. All others are a stranger's text.
var hints = map[string]string{
	"invalid_request":         "check grant, params and the other keys against what the token endpoint wants", // RFC 6749, section 5.2
	"invalid_client":          "check client_id, client_secret and auth",
	"invalid_grant":           "what proves the authorization is not accepted",
	"unauthorized_client":     "allow this grant for the client at the authorization server",
	"unsupported_grant_type":  "the token endpoint does not know this grant; write another",
	"invalid_scope":           "check scopes",
	"invalid_target":          "check audience and resource", // RFC 8707, section 2
	"access_denied":           "allow the client at the authorization server",
	"server_error":            "look at the authorization server",
	"temporarily_unavailable": "look at the authorization server",
	"use_dpop_nonce":          "the token endpoint wants DPoP, which is not supported; turn it off for this client", // RFC 9449
	"invalid_dpop_proof":      "the token endpoint wants DPoP, which is not supported; turn it off for this client",
}

// refusal says what an error answer said, as far as that may be repeated.
func refusal(from *oauth2.RetrieveError) error {
	status := from.Response.StatusCode
	hint, registered := hints[from.ErrorCode]
	switch {
	case from.ErrorCode == errInvalidGrant.Error():
		return fmt.Errorf("%w: status %d, %w: %s", ErrRefused, status, errInvalidGrant, hint)
	case registered:
		return fmt.Errorf("%w: status %d, %s: %s", ErrRefused, status, from.ErrorCode, hint)
	}
	return fmt.Errorf("%w: status %d, and no error of RFC 6749; check token_url, and look at the authorization server's log", ErrRefused, status)
}

// broken says why there was no answer. What the other side sent may stand in such an error, and so may the URL: only what
// the dialler says is kept, for it has met no one yet.
func broken(err error) error {
	var dial *net.OpError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s; check that the token endpoint can be reached: %w", requestTimeout, context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("cannot connect to the token endpoint: %w; check token_url and the allowed addresses", dial)
	case errors.As(err, &unknown):
		return errors.New("the certificate of the token endpoint is signed by nobody who is trusted; write ca_file")
	case errors.As(err, &name):
		return errors.New("the certificate of the token endpoint is for another host; check token_url")
	case errors.As(err, &certificate):
		return errors.New("the certificate of the token endpoint is not valid; look at its dates and its chain")
	}
	return errors.New("the connection to the token endpoint broke before its answer was complete; look at the authorization server")
}

// misread says what is wrong with an answer.
func misread(response *http.Response, what string) error {
	return fmt.Errorf("%w: status %d: %s", ErrAnswer, response.StatusCode, what)
}

func (s *Source) unavailable(err error) error {
	return fmt.Errorf("%w: access token of %s: %w", credential.ErrUnavailable, s.host, err)
}

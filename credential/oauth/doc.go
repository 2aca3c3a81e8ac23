// Package oauth gets access tokens for an upstream from a token endpoint (RFC 6749), one file for each grant, and is the
// credential.Source of a token that is fetched once, again before it expires, and never given out after that.
//
// Nothing is discovered: the token endpoint is what the operator wrote. An upstream that names an authorization server,
// in a WWW-Authenticate field or in metadata, is not listened to, so that it cannot make the connector ask an address of
// its choice, nor show a secret there.
//
// It does not know how a token is put into a request, who may use it, nor which addresses may be dialled: the transport
// that it is given dials.
package oauth

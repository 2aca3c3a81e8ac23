// Package oidc verifies the access tokens of identity providers: JWTs (RFC 9068) by the providers' published keys, and
// opaque tokens by asking the provider (RFC 7662).
//
// A token passes only if everything about it is as expected, and what is unknown is refused where it could be a restriction:
//
//   - at most 8 KiB, three segments in base64url with one spelling only, JSON without a member twice at any depth or in
//     another case;
//   - typ and alg from the issuer's lists, never none or a MAC; no crit, jku, jwk, x5u, x5c, zip, b64 or enc; kid is a name
//     to look up and nothing else;
//   - a signature by a key that the issuer publishes now, with the algorithm of that key's type and curve;
//   - iss exactly, exp in the future, nbf and iat not in it, within the leeway;
//   - aud with this server's canonical URL (RFC 8707) and nobody else's, the client allowed, the scopes and claims that the
//     configuration asks for, and a proof of the key that the token is bound to, if it is.
//
// It does not know how keys are fetched, which tunnels and servers exist, and what a call asks for. What a principal may
// reach is in its grant, for others to judge.
package oidc

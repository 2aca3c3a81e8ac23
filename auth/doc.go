// Package auth answers who is calling: it turns a bearer token into a [Principal], a tunnel token into a tunnel, and
// carries a proven principal from the gateway to one connector in a short signed assertion.
//
// It does not know what a call asks for, which sessions are alive or what policy would say about it: [Principal.May] is
// the only decision made here, and it covers no more than "may this principal use this tunnel and server".
//
// Nothing in this package puts a token, a claim or a header value into an error or a log line.
package auth

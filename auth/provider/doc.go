// Package provider fetches what is to be had from one identity provider: its discovery document, its key set and its
// verdicts on opaque tokens (RFC 7662). It keeps the key set so that neither agents nor forgers decide how often the
// provider is asked, and so that a provider that is down for a while takes nobody down with it.
//
// It does not know what a token says, whom it is for, or how a signature is verified; of an answer to an introspection
// request it knows only the length.
package provider

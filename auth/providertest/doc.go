// Package providertest is an identity provider for tests: a discovery document, a key set, introspection (RFC 7662) and
// the tokens that go with them, genuine ones and forged ones, and every way in which such a provider misbehaves.
//
// It does not know who verifies its tokens, and nothing outside tests may import it: it signs whatever it is given.
package providertest

// Package oauthtest is an authorization server for tests: a token endpoint that checks what it is sent as real ones do,
// that misbehaves on demand, and a protected resource that accepts its tokens alone.
//
// It does not know who asks it in earnest, and nothing outside tests may import it: it keeps all in memory and shows its
// secrets.
package oauthtest

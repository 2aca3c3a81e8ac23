// Package authtest gives the tests of other packages identities that are always the same: a gateway key, an agent token
// that a verifier accepts, and assertions forged in every way that a checker must refuse.
//
// It does not know HTTP, and nothing outside tests may import it: its keys and tokens are public.
package authtest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/secret"
)

const (
	// Issuer is the public URL of the gateway whose identities this package makes.
	Issuer = "https://gateway.example.test"
	// Token is the agent token that [Static] accepts: 40 characters.
	Token = "authtest-agent-token-0123456789-ABCDEFGH"
	// Subject is the subject of the principal that [Token] proves.
	Subject = "agent"
)

// Key gives the private key of this package's gateway.
func Key() ed25519.PrivateKey { return keyFrom("the gateway's assertion key in tests") }

// PublicKey gives the public half of [Key].
func PublicKey() ed25519.PublicKey { return Key().Public().(ed25519.PublicKey) }

// StrangerKey gives a key that no checker of this package trusts.
func StrangerKey() ed25519.PrivateKey { return keyFrom("the key of somebody else in tests") }

func keyFrom(words string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(words))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Static gives a verifier that accepts [Token] alone, with this grant.
func Static(tb testing.TB, grant auth.Grant) *auth.Static {
	tb.Helper()
	s, err := auth.NewStatic(Issuer, []auth.StaticToken{{Name: Subject, Token: secret.New(Token), Grant: grant}})
	if err != nil {
		tb.Fatalf("make the static verifier: %v", err)
	}
	return s
}

// Signer gives the signer of this package's gateway.
func Signer(tb testing.TB) *auth.Signer {
	tb.Helper()
	s, err := auth.NewSigner(Issuer, Key())
	if err != nil {
		tb.Fatalf("make the signer: %v", err)
	}
	return s
}

// Checker gives the checker of a connector that is attached to this package's gateway.
func Checker(tb testing.TB, tunnel, connector string) *auth.Checker {
	tb.Helper()
	c, err := auth.NewChecker(auth.CheckerConfig{Keys: []ed25519.PublicKey{PublicKey()}, Issuer: Issuer, Tunnel: tunnel, Connector: connector})
	if err != nil {
		tb.Fatalf("make the checker: %v", err)
	}
	return c
}

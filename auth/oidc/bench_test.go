package oidc_test

import (
	"testing"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/oidc"
	"sallyport.dev/auth/providertest"
)

// token is what an identity provider issues to an agent for a day of tests.
func token(f fixture, alg string) string {
	return f.idp.Issue(map[string]any{
		"exp": time.Now().Add(24 * time.Hour).Unix(), "scope": "mcp wiki.read wiki.write", "groups": []string{"engineering", "wiki-users"},
		"name": "Somebody Somewhere", "email": "somebody@example.com", "sid": "0d6f7a1e-4e0c-4a9b-b9b0-5f2f3c0b7f11",
	}, providertest.By(alg))
}

func benchmarked(b *testing.B) fixture {
	return newFixture(b, func(c *oidc.Config) {
		c.Require = map[string]oidc.Requirement{"wiki": {Scopes: []string{"wiki.read"}}}
	}, oidc.Options{})
}

func verify(b *testing.B, f fixture, p auth.Presented) {
	if _, err := f.Verify(b.Context(), p); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkVerify is a token that was not seen before, by the algorithm of its key.
func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			f := benchmarked(b)
			p := call(token(f, alg))
			verify(b, f, p) // fetches the keys
			b.ReportAllocs()
			for b.Loop() {
				f.Forget()
				verify(b, f, p)
			}
		})
	}
}

// BenchmarkVerifyCached is a token that was seen before.
func BenchmarkVerifyCached(b *testing.B) {
	f := benchmarked(b)
	p := call(token(f, "RS256"))
	verify(b, f, p)
	b.ReportAllocs()
	for b.Loop() {
		verify(b, f, p)
	}
	b.ReportMetric(float64(len(p.Token)), "B/token")
}

// BenchmarkVerifyCachedParallel is the same by many calls at once.
func BenchmarkVerifyCachedParallel(b *testing.B) {
	f := benchmarked(b)
	p := call(token(f, "RS256"))
	verify(b, f, p)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			verify(b, f, p)
		}
	})
}

// BenchmarkVerifyForged is a token with another's signature, which is what a forger makes us do.
func BenchmarkVerifyForged(b *testing.B) {
	f := benchmarked(b)
	p := call(f.idp.Sign(good, f.idp.Claims(nil), "stranger ES256"))
	verify(b, f, call(token(f, "ES256")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Verify(b.Context(), p); err == nil {
			b.Fatal("accepted")
		}
	}
}

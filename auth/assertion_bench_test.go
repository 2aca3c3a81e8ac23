package auth_test

import (
	"context"
	"strconv"
	"testing"

	"sallyport.dev/auth"
	"sallyport.dev/auth/authtest"
)

func BenchmarkSign(b *testing.B) {
	s := authtest.Signer(b)
	b.Run("cached", func(b *testing.B) {
		a := assertion()
		b.ReportAllocs()
		for b.Loop() {
			mustSign(b, s, a)
		}
	})
	b.Run("cached-with-claims", func(b *testing.B) {
		a := assertion()
		a.Principal.Claims = map[string]any{"team": "ops", "groups": []any{"a", "b"}}
		b.ReportAllocs()
		for b.Loop() {
			mustSign(b, s, a)
		}
	})
	b.Run("uncached", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			a := assertion()
			a.Principal.Subject = strconv.Itoa(i)
			mustSign(b, s, a)
			i++
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	token := mustSign(b, authtest.Signer(b), assertion())
	check := func(b *testing.B, c *auth.Checker) {
		if _, err := c.Check(context.Background(), token, "wiki"); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("cached", func(b *testing.B) {
		c := authtest.Checker(b, "acme", "inst1")
		b.ReportAllocs()
		for b.Loop() {
			check(b, c)
		}
	})
	b.Run("uncached", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			c := authtest.Checker(b, "acme", "inst1")
			b.StartTimer()
			check(b, c)
		}
	})
}

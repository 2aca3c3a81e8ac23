package issued_test

import (
	"testing"

	"sallyport.dev/auth"
)

func BenchmarkVerify(b *testing.B) {
	s := newSite(b)
	b.Run("cached", func(b *testing.B) {
		_, token := s.create(b, order("ci"))
		v := s.verifier(b, nil)
		p := auth.Presented{Token: token}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("uncached", func(b *testing.B) {
		// More tokens than the two generations of the cache hold.
		var tokens []string
		for range 4200 {
			_, token := s.create(b, order("ci"))
			tokens = append(tokens, token)
		}
		v := s.verifier(b, nil)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			if _, err := v.Verify(b.Context(), auth.Presented{Token: tokens[i%len(tokens)]}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

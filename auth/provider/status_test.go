package provider_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
)

// TestEvents tells of changes alone: one line in the log for each.
func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var heard events
		s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256", "EdDSA"}})
		c := config(t, s)
		c.Events, c.Introspection = heard.tell, client()
		p := open(t, c)
		fetch := func(wait time.Duration) {
			time.Sleep(wait)
			_, _ = p.Keys(t.Context(), "unknown", "ES256")
			synctest.Wait()
		}
		expect := func(when string, want ...provider.Event) {
			t.Helper()
			got := heard.take()
			same := slices.EqualFunc(got, want, func(a, b provider.Event) bool {
				return a.Issuer == s.Issuer() && a.Introspection == b.Introspection && a.Keys == b.Keys &&
					strings.Contains(a.Failure, b.Failure) && (a.Failure == "") == (b.Failure == "")
			})
			if !same {
				t.Errorf("%s: %+v", when, got)
			}
		}
		s.Misbehave(providertest.JWKS, providertest.Failing)
		fetch(0)
		expect("a failure at first", provider.Event{Failure: "status 500"})
		fetch(30 * time.Second)
		expect("the same again")
		s.Misbehave(providertest.JWKS, providertest.None)
		fetch(30 * time.Second)
		expect("the first set", provider.Event{Keys: 2})
		fetch(30 * time.Second)
		expect("the same set")
		s.Rotate(true)
		fetch(30 * time.Second)
		expect("a rotation", provider.Event{Keys: 4})
		s.Rotate(true)
		fetch(30 * time.Second)
		expect("another with as many keys", provider.Event{Keys: 4})
		s.Misbehave(providertest.Document, providertest.OtherIssuer)
		fetch(30 * time.Second)
		expect("a lie", provider.Event{Keys: 4, Failure: "another issuer"})
		since := p.Status().Fetch.Since
		s.Misbehave(providertest.Document, providertest.Redirect)
		fetch(30 * time.Second)
		expect("another failure", provider.Event{Keys: 4, Failure: "redirect"})
		if st := p.Status(); !st.Fetch.Since.Equal(since) || time.Since(since) != 30*time.Second {
			t.Errorf("since %v", st.Fetch.Since)
		}
		fetch(time.Hour)
		expect("an hour later", provider.Event{Failure: "redirect"})
		s.Misbehave(providertest.Document, providertest.None)
		fetch(time.Hour)
		expect("good again", provider.Event{Keys: 4})

		introspect := func() { _, _ = p.Introspect(t.Context(), "opaque") }
		introspect()
		expect("introspection")
		s.Misbehave(providertest.Introspection, providertest.Failing)
		introspect()
		introspect()
		expect("introspection that fails", provider.Event{Introspection: true, Keys: 4, Failure: "status 500"})
		s.Misbehave(providertest.Introspection, providertest.None)
		introspect()
		introspect()
		expect("introspection again", provider.Event{Introspection: true, Keys: 4})
	})
}

func BenchmarkCurrent(b *testing.B) {
	s := providertest.New(b, providertest.Options{Memory: true})
	p := open(b, config(b, s))
	for _, algorithm := range []string{"RS256", "ES256", "EdDSA"} {
		keys, err := p.Keys(b.Context(), s.KeyID(algorithm), algorithm)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !p.Current(keys[0]) {
					b.Fatal("not current")
				}
			}
		})
		b.Run("Keys/"+algorithm, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Keys(b.Context(), keys[0].ID, algorithm); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

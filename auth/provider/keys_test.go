package provider_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/jwk"
	"sallyport.dev/auth/provider"
	"sallyport.dev/auth/providertest"
)

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := providertest.New(t, providertest.Options{Memory: true})
		p := open(t, config(t, s))
		if s.Count(providertest.Document)+s.Count(providertest.JWKS) != 0 {
			t.Error("it was asked before it was needed")
		}
		for _, algorithm := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
			for _, id := range []string{s.KeyID(algorithm), ""} {
				keys, err := p.Keys(t.Context(), id, algorithm)
				if err != nil || len(keys) != 1 || keys[0].ID != s.KeyID(algorithm) {
					t.Fatalf("%q for %s gives %v, %v", id, algorithm, keys, err)
				}
				if !p.Current(keys[0]) {
					t.Errorf("the key for %s is not current", algorithm)
				}
			}
		}
		for _, c := range []struct{ id, algorithm string }{
			{s.KeyID("RS256"), "HS256"}, {s.KeyID("RS256"), "none"}, {s.KeyID("RS256"), "PS256"}, {s.KeyID("ES256"), "ES384"},
			{"", "HS256"}, {"", "ES512"}, {"another", "RS256"}, {"../../etc/passwd", "RS256"}, {strings.Repeat("k", 10<<10), "RS256"},
		} {
			keys, err := p.Keys(t.Context(), c.id, c.algorithm)
			if !errors.Is(err, auth.ErrInvalid) || keys != nil {
				t.Errorf("%.20q for %s gives %v, %v", c.id, c.algorithm, keys, err)
			}
			if strings.Contains(err.Error(), "passwd") || strings.Contains(err.Error(), "kkk") {
				t.Errorf("the error quotes: %v", err)
			}
		}
		if n := s.Count(providertest.JWKS); n != 1 {
			t.Errorf("the set was fetched %d times", n)
		}
		asked := s.Requests(providertest.JWKS)[0].Header
		if asked.Get("Accept-Encoding") != "identity" || asked.Get("Connection") != "close" || asked.Get("Authorization") != "" || asked.Get("Cookie") != "" {
			t.Errorf("asked with %v", asked)
		}
	})
}

func TestOneFetchForManyUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		key(t, p, s.KeyID("ES256"))
		time.Sleep(30 * time.Second)
		var invalid atomic.Int32
		var all sync.WaitGroup
		for i := range 10_000 {
			all.Go(func() {
				if _, err := p.Keys(t.Context(), fmt.Sprintf("unknown-%d", i), "ES256"); errors.Is(err, auth.ErrInvalid) {
					invalid.Add(1)
				}
			})
		}
		all.Wait()
		for range 29 { // and for as long as they go on
			time.Sleep(time.Second)
			if _, err := p.Keys(t.Context(), "unknown", "ES256"); !errors.Is(err, auth.ErrInvalid) {
				t.Fatal(err)
			}
		}
		if n := s.Count(providertest.JWKS); n != 2 || invalid.Load() != 10_000 {
			t.Errorf("%d were refused, with %d fetches", invalid.Load(), n-1)
		}
		time.Sleep(time.Second)
		if _, err := p.Keys(t.Context(), "unknown", "ES256"); !errors.Is(err, auth.ErrInvalid) || s.Count(providertest.JWKS) != 3 {
			t.Errorf("30 s later: %v", err)
		}
		key(t, p, s.KeyID("ES256"))
	})
}

// TestUnknownKeysOfNoSet makes no difference to a provider that has never answered.
func TestUnknownKeysOfNoSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		s.Misbehave(providertest.JWKS, providertest.Failing)
		for range 59 {
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() {
					if _, err := p.Keys(t.Context(), fmt.Sprint(i), "ES256"); !errors.Is(err, auth.ErrUnavailable) {
						t.Error(err)
					}
				})
			}
			all.Wait()
			time.Sleep(time.Second)
		}
		if n := s.Count(providertest.JWKS); n != 2 {
			t.Errorf("it was asked %d times in 59 s", n)
		}
		s.Misbehave(providertest.JWKS, providertest.None)
		time.Sleep(time.Second)
		key(t, p, s.KeyID("ES256"))
	})
}

// A key that was withdrawn while nobody called does not pass once more.
func TestFirstUseAfterAQuietTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		withdrawn := key(t, p, s.KeyID("ES256"))
		time.Sleep(10 * time.Minute)
		s.Rotate(false)
		if p.Current(withdrawn) {
			t.Error("a set of ten minutes ago is taken as it was")
		}
		if _, err := p.Keys(t.Context(), withdrawn.ID, "ES256"); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("the key that was withdrawn: %v", err)
		}
		k := key(t, p, s.KeyID("ES256"))
		if !p.Current(k) || s.Count(providertest.JWKS) != 2 {
			t.Errorf("fetched %d times", s.Count(providertest.JWKS))
		}

		// A provider that is gone holds up the first call, and no other one.
		time.Sleep(10 * time.Minute)
		s.Misbehave(providertest.JWKS, providertest.Hang)
		for i, longest := range []time.Duration{5 * time.Second, 0, 0} {
			began := time.Now()
			if p.Current(k) != (i > 0) {
				t.Errorf("use %d: current is %v", i, i == 0)
			}
			key(t, p, k.ID)
			if took := time.Since(began); took > longest {
				t.Errorf("use %d waited for %s", i, took)
			}
			time.Sleep(31 * time.Second)
		}
	})
}

// A provider that hangs holds up a bounded number of calls, however many there are for it.
func TestWaitingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		s.Misbehave(providertest.JWKS, providertest.Hang)
		began := time.Now()
		var waited atomic.Int64
		var all sync.WaitGroup
		for range 1000 {
			all.Go(func() {
				if _, err := p.Keys(t.Context(), "unknown", "ES256"); !errors.Is(err, auth.ErrUnavailable) {
					t.Errorf("got %v", err)
				}
				if time.Since(began) > 0 {
					waited.Add(1)
				}
			})
		}
		all.Wait()
		if n := waited.Load(); n != 64 {
			t.Errorf("%d calls waited", n)
		}
	})
}

func TestKeysAreFetchedAgainByUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		k := key(t, p, s.KeyID("ES256"))
		time.Sleep(60 * time.Second)
		if !p.Current(k) || s.Count(providertest.JWKS) != 1 {
			t.Error("fetched before it was old")
		}
		time.Sleep(time.Minute)
		if s.Count(providertest.JWKS) != 1 {
			t.Error("fetched without use")
		}
		s.Misbehave(providertest.JWKS, providertest.Hang)
		began := time.Now()
		for range 1000 {
			if !p.Current(k) {
				t.Fatal("not current")
			}
			key(t, p, s.KeyID("ES256"))
		}
		if time.Since(began) != 0 {
			t.Error("somebody waited for a fetch in the background")
		}
		synctest.Wait()
		if n := s.Count(providertest.JWKS); n != 2 {
			t.Errorf("fetched %d times", n)
		}
		s.Misbehave(providertest.JWKS, providertest.None)
		time.Sleep(30 * time.Second)
		p.Current(k)
		synctest.Wait()
		if st := p.Status(); st.Age != 0 || s.Count(providertest.JWKS) != 3 {
			t.Errorf("%v after %d fetches", st, s.Count(providertest.JWKS))
		}
		time.Sleep(61 * time.Second)
		key(t, p, s.KeyID("ES256"))
		synctest.Wait()
		if st := p.Status(); st.Age != 0 || s.Count(providertest.JWKS) != 4 {
			t.Errorf("%v after %d fetches", st, s.Count(providertest.JWKS))
		}
	})
}

func TestDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		id := s.KeyID("ES256")
		k := key(t, p, id)
		s.Down(true)
		for minute := range 60 {
			time.Sleep(59 * time.Second)
			if !p.Current(k) {
				t.Fatalf("not current after %d min", minute)
			}
			key(t, p, id)
			if _, err := p.Keys(t.Context(), "unknown", "ES256"); !errors.Is(err, auth.ErrInvalid) {
				t.Fatalf("unknown after %d min: %v", minute, err)
			}
			time.Sleep(time.Second)
		}
		if st := p.Status(); st.Keys != 2 || !strings.Contains(st.Fetch.Failure, "refused") || time.Since(st.Fetch.Since) < 58*time.Minute {
			t.Errorf("after an hour: %v", st)
		}
		time.Sleep(time.Minute)
		for range 3 {
			if p.Current(k) {
				t.Error("current after 61 min")
			}
			if _, err := p.Keys(t.Context(), id, "ES256"); !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "refused") {
				t.Errorf("after 61 min: %v", err)
			}
		}
		if st := p.Status(); st.Keys != 0 || st.Age != 61*time.Minute {
			t.Errorf("after 61 min: %v", st)
		}
		s.Down(false)
		time.Sleep(30 * time.Second)
		key(t, p, id)
		if st := p.Status(); !p.Current(k) || st.Keys != 2 || st.Fetch != (provider.Trouble{}) {
			t.Errorf("up again: %v", st)
		}
		if n := s.Count(providertest.JWKS); n > 2 {
			t.Errorf("%d sets were fetched", n)
		}
	})
}

func TestRotations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		first := key(t, p, s.KeyID("ES256"))
		s.Rotate(true)
		time.Sleep(30 * time.Second)
		second := key(t, p, s.KeyID("ES256")) // unknown until now
		if !p.Current(first) || !p.Current(second) {
			t.Error("the overlap is not seen")
		}
		s.Rotate(true) // again, before the next fetch may be
		time.Sleep(time.Second)
		if _, err := p.Keys(t.Context(), s.KeyID("ES256"), "ES256"); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("a second rotation within 30 s: %v", err)
		}
		time.Sleep(29 * time.Second)
		third := key(t, p, s.KeyID("ES256"))
		if p.Current(first) || !p.Current(second) || !p.Current(third) {
			t.Error("after two rotations others are current than the last two")
		}
		if _, err := p.Keys(t.Context(), first.ID, "ES256"); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("the first: %v", err)
		}
		s.Rotate(false)
		time.Sleep(61 * time.Second)
		p.Current(third) // begins the fetch
		synctest.Wait()
		if p.Current(second) || p.Current(third) {
			t.Error("keys that are gone are current")
		}
		key(t, p, s.KeyID("ES256"))
	})
}

// TestSameIDOtherKey is a provider that swaps a key and keeps its id.
func TestSameIDOtherKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		before := key(t, p, s.KeyID("ES256"))
		s.Misbehave(providertest.JWKS, providertest.NotTheirs)
		time.Sleep(61 * time.Second)
		p.Current(before) // begins the fetch
		synctest.Wait()
		after := key(t, p, s.KeyID("ES256"))
		if p.Current(before) || !p.Current(after) {
			t.Error("the key that is gone is current")
		}
	})
}

// TestSameKeyOtherAlgorithm is a provider that takes back what a key may be used for.
func TestSameKeyOtherAlgorithm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"RS256"}})
		p := open(t, config(t, s))
		id := s.KeyID("RS256")
		before, err := p.Keys(t.Context(), id, "RS256")
		if err != nil || !p.Current(before[0]) {
			t.Fatal(err)
		}
		s.Say(providertest.JWKS, strings.Replace(string(keySet(t, before)), "RS256", "PS256", 1))
		time.Sleep(61 * time.Second)
		p.Current(before[0]) // begins the fetch
		synctest.Wait()
		after, err := p.Keys(t.Context(), id, "PS256")
		if err != nil || p.Current(before[0]) || !p.Current(after[0]) {
			t.Errorf("the key may still verify RS256, %v", err)
		}
		if _, err := p.Keys(t.Context(), id, "RS256"); !errors.Is(err, auth.ErrInvalid) {
			t.Error(err)
		}
	})
}

func keySet(t *testing.T, keys []jwk.Key) []byte {
	t.Helper()
	set, err := jwk.MarshalSet(keys)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestWaitingIsEachCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		s.Misbehave(providertest.JWKS, providertest.Drip)
		s.Say(providertest.JWKS, `{"keys":[{}]}`) // 13 bytes: 1.3 s
		impatient, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		var all sync.WaitGroup
		all.Go(func() { // it begins the fetch, and leaves
			_, err := p.Keys(impatient, "k", "ES256")
			if !errors.Is(err, auth.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("who leaves gets %v", err)
			}
		})
		synctest.Wait()
		began := time.Now()
		for range 10 {
			all.Go(func() {
				_, err := p.Keys(t.Context(), "k", "ES256")
				if !errors.Is(err, auth.ErrUnavailable) || !strings.Contains(err.Error(), "key set") || time.Since(began) < time.Second {
					t.Errorf("who stays gets %v after %s", err, time.Since(began))
				}
			})
		}
		all.Wait()
		if n := s.Count(providertest.JWKS); n != 1 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		k := key(t, p, s.KeyID("ES256"))
		s.Misbehave(providertest.Document, providertest.Hang)
		time.Sleep(30 * time.Second)
		began := time.Now()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := p.Keys(t.Context(), "unknown", "ES256"); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("who waited gets %v", err)
			}
		})
		synctest.Wait()
		p.Close()
		p.Close()
		all.Wait()
		if time.Since(began) != 0 {
			t.Errorf("it took %s", time.Since(began))
		}
		if st := p.Status(); st.Fetch != (provider.Trouble{}) {
			t.Errorf("being closed is trouble: %v", st)
		}
		n := s.Count(providertest.Document)
		time.Sleep(59 * time.Minute)
		key(t, p, k.ID)
		if !p.Current(k) {
			t.Error("what is known is forgotten")
		}
		time.Sleep(time.Minute)
		if _, err := p.Keys(t.Context(), k.ID, "ES256"); !errors.Is(err, auth.ErrUnavailable) || p.Current(k) {
			t.Errorf("after an hour: %v", err)
		}
		if s.Count(providertest.Document) != n {
			t.Error("it was asked after Close")
		}
	})
}

func TestCloseBeforeUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, p := start(t)
		p.Close()
		if _, err := p.Keys(t.Context(), s.KeyID("ES256"), "ES256"); !errors.Is(err, auth.ErrUnavailable) {
			t.Error(err)
		}
		if s.Count(providertest.Document) != 0 {
			t.Error("it was asked after Close")
		}
	})
}

func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := providertest.New(t, providertest.Options{Memory: true, Algorithms: []string{"ES256"}})
		var told atomic.Bool
		c := config(t, s)
		c.Events = func(provider.Event) {
			time.Sleep(time.Second)
			told.Store(true)
		}
		p := open(t, c)
		key(t, p, s.KeyID("ES256"))
		p.Close()
		if !told.Load() {
			t.Error("it has ended before what it does")
		}
	})
}

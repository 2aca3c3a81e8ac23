package dpop_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport.dev/auth"
	"sallyport.dev/auth/dpop"
)

// claimsOf gives good claims with an ID.
func claimsOf(id string, at time.Time) string {
	return fmt.Sprintf(`{"jti":%q,"htm":"POST","htu":%q,"iat":%d,"ath":%q}`, id, target, at.Unix(), sum(token))
}

func TestReplay(t *testing.T) {
	p, other := newProver(t, "EdDSA"), newProver(t, "EdDSA")
	c := newChecker(t)
	proof := p.forge(p.header(), claimsOf("one", time.Now()))
	check := func(what string, by prover, proof string, want error) {
		t.Helper()
		if err := c.Check(request(proof), by.thumbprint); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	check("the first time", p, proof, nil)
	check("again", p, proof, auth.ErrProof)
	check("the same ID in another proof", p, p.forge(p.header(), with(claimsOf("one", time.Now().Add(-time.Second)), `"x":1`)), auth.ErrProof)
	check("another ID", p, p.forge(p.header(), claimsOf("two", time.Now())), nil)
	check("the ID in another case", p, p.forge(p.header(), claimsOf("ONE", time.Now())), nil)
	check("the same ID by another key", other, other.forge(other.header(), claimsOf("one", time.Now())), nil)

	// One that is refused for something else is not used up.
	fresh := p.forge(p.header(), claimsOf("three", time.Now()))
	elsewhere := request(fresh)
	elsewhere.Method = "GET"
	if err := c.Check(elsewhere, p.thumbprint); !errors.Is(err, auth.ErrProof) {
		t.Errorf("elsewhere: %v", err)
	}
	check("where it belongs", p, fresh, nil)
}

// TestOneOfAHundred presents one proof at once from everywhere.
func TestOneOfAHundred(t *testing.T) {
	p := newProver(t, "EdDSA")
	c := newChecker(t)
	for range 20 {
		r := request(p.forge(p.header(), claims()))
		var passed atomic.Int32
		var crew sync.WaitGroup
		for range 100 {
			crew.Go(func() {
				switch err := c.Check(r, p.thumbprint); {
				case err == nil:
					passed.Add(1)
				case !errors.Is(err, auth.ErrProof):
					t.Error(err)
				}
			})
		}
		crew.Wait()
		if n := passed.Load(); n != 1 {
			t.Fatalf("%d passed", n)
		}
	}
}

// TestTimes moves the clock around a proof.
func TestTimes(t *testing.T) {
	p := newProver(t, "EdDSA")
	for _, c := range []struct {
		name   string
		issued time.Duration // against now
		more   string        // a claim, whose time is against now
		offset time.Duration
		good   bool
	}{
		{"now", 0, "", 0, true},
		{"60 s old", -60 * time.Second, "", 0, true},
		{"61 s old", -61 * time.Second, "", 0, false},
		{"60 s ahead", 60 * time.Second, "", 0, true},
		{"61 s ahead", 61 * time.Second, "", 0, false},
		{"10 min old", -10 * time.Minute, "", 0, false},
		{"10 min ahead", 10 * time.Minute, "", 0, false},
		{"expires", 0, "exp", time.Second, true},
		{"expired within the leeway", 0, "exp", -59 * time.Second, true},
		{"expired", 0, "exp", -60 * time.Second, false},
		{"valid", 0, "nbf", -time.Hour, true},
		{"valid within the leeway", 0, "nbf", 60 * time.Second, true},
		{"not yet valid", 0, "nbf", 61 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				claims := claimsAt(time.Now().Add(c.issued))
				if c.more != "" {
					claims = with(claims, fmt.Sprintf(`%q:%d`, c.more, time.Now().Add(c.offset).Unix()))
				}
				err := newChecker(t).Check(request(p.forge(p.header(), claims)), p.thumbprint)
				if (err == nil) != c.good || err != nil && !errors.Is(err, auth.ErrProof) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestRemembered presents proofs again for as long as their time would let them pass.
func TestRemembered(t *testing.T) {
	p := newProver(t, "EdDSA")
	for _, ahead := range []time.Duration{-60 * time.Second, 0, 60 * time.Second} {
		for _, start := range []time.Duration{0, 7 * time.Second, 19 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				c := newChecker(t)
				if err := c.Check(request(p.forge(p.header(), claims())), p.thumbprint); err != nil { // begins a generation
					t.Fatal(err)
				}
				time.Sleep(start)
				proof := p.forge(p.header(), claimsAt(time.Now().Add(ahead)))
				if err := c.Check(request(proof), p.thumbprint); err != nil {
					t.Fatal(err)
				}
				for at := range 61 {
					if err := c.Check(request(proof), p.thumbprint); !errors.Is(err, auth.ErrProof) {
						t.Fatalf("made %s ahead, after %d times 2.5 s: %v", ahead, at, err)
					}
					if err := c.Check(request(p.forge(p.header(), claims())), p.thumbprint); err != nil { // keeps it busy
						t.Fatal(err)
					}
					time.Sleep(2500 * time.Millisecond)
				}
			})
		}
	}
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChecker(t, func(cfg *dpop.Config) { cfg.Limit = 12 })
		provers := []prover{newProver(t, "EdDSA"), newProver(t, "EdDSA"), newProver(t, "EdDSA"), newProver(t, "EdDSA"), newProver(t, "EdDSA")}
		check := func(what string, p prover, want error) string {
			t.Helper()
			proof := p.forge(p.header(), claims())
			if err := c.Check(request(proof), p.thumbprint); !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%s: got %v, want %v", what, err, want)
			}
			return proof
		}
		first := ""
		for i := range 3 {
			first = check(fmt.Sprint("number ", i), provers[0], nil)
			time.Sleep(time.Second)
		}
		check("more than a quarter of one key", provers[0], auth.ErrUnavailable)
		if err := c.Check(request(first), provers[0].thumbprint); !errors.Is(err, auth.ErrProof) {
			t.Errorf("one that was used, when there is no room: %v", err)
		}
		time.Sleep(30 * time.Second)
		for _, p := range provers[1:4] {
			for range 3 {
				check("of another key", p, nil)
			}
		}
		check("one more than there is room for", provers[4], auth.ErrUnavailable)
		bad := provers[4]
		if err := c.Check(request(bad.forge(bad.header(), claimsAt(time.Now().Add(-time.Hour)))), bad.thumbprint); !errors.Is(err, auth.ErrProof) {
			t.Errorf("one that is bad anyway: %v", err)
		}
		time.Sleep(100 * time.Second) // 130 s after the last of the first key's, in a generation that began 2 s before
		time.Sleep(10 * time.Second)
		for range 3 {
			check("the first key has room again", provers[0], nil)
		}
		check("but no more than before", provers[4], auth.ErrUnavailable)
		time.Sleep(140 * time.Second)
		check("all is forgotten", provers[4], nil)
	})
}

func TestNonces(t *testing.T) {
	p := newProver(t, "EdDSA")
	synctest.Test(t, func(t *testing.T) {
		c, sharing := newChecker(t, nonced), newChecker(t, nonced)
		stranger := newChecker(t, nonced, func(cfg *dpop.Config) { cfg.Key[0]++ })
		check := func(what, nonce string, good bool) {
			t.Helper()
			claims := claims()
			if nonce != "none" {
				claims = with(claims, fmt.Sprintf(`"nonce":%q`, nonce))
			}
			err := c.Check(request(p.forge(p.header(), claims)), p.thumbprint)
			if good {
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
				return
			}
			var fresh *auth.NonceError
			if !errors.As(err, &fresh) || !errors.Is(err, auth.ErrProof) {
				t.Errorf("%s: got %v", what, err)
				return
			}
			if fresh.Nonce != c.Nonce() || strings.Contains(err.Error(), fresh.Nonce) {
				t.Errorf("%s: got the nonce %q", what, fresh.Nonce)
			}
		}
		first := c.Nonce()
		if len(first) != 32 || first == stranger.Nonce() || first != sharing.Nonce() {
			t.Errorf("got the nonces %q, of another key %q, of the same key %q", first, stranger.Nonce(), sharing.Nonce())
		}
		check("none", "none", false)
		check("an empty one", "", false)
		check("the first", first, true)
		check("again", first, true) // it says when, not whose
		check("of another gateway with the key", sharing.Nonce(), true)
		check("of another key", stranger.Nonce(), false)
		check("altered", "A"+first[1:], first[0] == 'A')
		check("shorter", first[:31], false)
		check("longer", first+"=", false)
		check("of zero bytes", strings.Repeat("A", 32), false)

		time.Sleep(5*time.Minute - time.Second)
		check("the first in its last second", first, true)
		time.Sleep(time.Second)
		second := c.Nonce()
		if second == first {
			t.Error("the nonce is the same after five minutes")
		}
		check("the second", second, true)
		check("the first after five minutes", first, true)
		time.Sleep(5*time.Minute - time.Second)
		check("the first before ten minutes are over", first, true)
		time.Sleep(time.Second)
		check("the first after ten minutes", first, false)
		check("the second after five", second, true)

		// Only the nonce is wrong, or it is not said.
		stale := p.forge(p.header(), claimsAt(time.Now().Add(-time.Hour)))
		var fresh *auth.NonceError
		if err := c.Check(request(stale), p.thumbprint); !errors.Is(err, auth.ErrProof) || errors.As(err, &fresh) {
			t.Errorf("an old proof without a nonce: %v", err)
		}
		// A proof that lacked the nonce is not used up.
		claims := claims()
		if err := c.Check(request(p.forge(p.header(), claims)), p.thumbprint); !errors.As(err, &fresh) {
			t.Errorf("without: %v", err)
		}
		if err := c.Check(request(p.forge(p.header(), with(claims, `"nonce":"`+fresh.Nonce+`"`))), p.thumbprint); err != nil {
			t.Errorf("with: %v", err)
		}
	})
}

// TestNoNonces is about a gateway that gives none out.
func TestNoNonces(t *testing.T) {
	p := newProver(t, "EdDSA")
	c := newChecker(t)
	if got := c.Nonce(); got != "" {
		t.Errorf("gives out %q", got)
	}
	for _, nonce := range []string{"", "of-the-provider", newChecker(t, nonced).Nonce()} {
		if err := c.Check(request(p.forge(p.header(), with(claims(), fmt.Sprintf(`"nonce":%q`, nonce)))), p.thumbprint); err != nil {
			t.Errorf("%q: %v", nonce, err)
		}
	}
}

// TestKeyIsCopied alters the key after it was handed over.
func TestKeyIsCopied(t *testing.T) {
	own := key()
	c, err := dpop.New(dpop.Config{Key: own, Nonce: true})
	if err != nil {
		t.Fatal(err)
	}
	before := c.Nonce()
	own[0]++
	if after := c.Nonce(); after != before && after != newChecker(t, nonced).Nonce() {
		t.Errorf("got %q and then %q", before, after)
	}
}
